"""Is `best` the best? Every model, PCA and the codecs on films, at one latent size and one budget.

`python -m benchmarks.best --films A,B --work DIR` takes a small size, for a CPU. The size it was
made for is `--preset film --device cuda --budget 100epochs`: 256x144 and 200 numbers a frame. With
several seeds a table has medians, with ranges. Codecs have the bytes of a latent for a frame and
code every frame, so what is held out of the models' training is in brackets; they are left out
with `--no-codecs`. `--holdout 0` lets models see all frames, as codecs do.
"""

from __future__ import annotations

import argparse
import statistics
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.trials import (
    Outcome,
    Trial,
    coded,
    conduct,
    parser,
    provenance,
    publish,
    spread_of,
    table,
)
from zoo.plugins import registry

OURS = "best"
MEASURES = [
    (part, metric, digits, sign)
    for part in ("seen", "held_out")
    for metric, digits, sign in (("lpips", 3, -1), ("psnr", 2, 1))
]
HEADINGS = ["", "LPIPS seen", "PSNR seen", "LPIPS held out", "PSNR held out"]


@dataclass(frozen=True)
class Row:
    """What one model, reference or codec came to on a film, from every seed."""

    name: str
    outcomes: Sequence[Outcome]
    codec: bool = False

    def values(self, part: str, metric: str) -> list[float]:
        """Means over frames, one a seed; none where a film has no such frames."""
        found = (getattr(outcome, part) for outcome in self.outcomes)
        return [scores[metric] for scores in found if metric in scores]

    def middle(self, part: str, metric: str) -> float:
        """The median over seeds; infinite where there is none, which sorts last."""
        return statistics.median(self.values(part, metric) or [float("inf")])

    def cells(self) -> list[str]:
        """As a line of the table."""
        shown = [f"`{self.name}`"]
        for part, metric, digits, _ in MEASURES:
            values = self.values(part, metric)
            cell = spread_of(values, digits) if values else "–"
            shown.append(f"({cell})" if values and self.codec and part == "held_out" else cell)
        numbers = self.outcomes[0].decoder_numbers
        return [*shown, f"{self.outcomes[0].bytes_a_frame:.1f}", f"{numbers:,}" if numbers else "–"]


def main() -> None:
    """Train, and write a table a film, sorted by LPIPS on held-out frames, and what was won."""
    asked = _parsed()
    films = asked.films.split(",")
    chosen = [model.name for model in registry().choose_models(asked.models)]
    models = list(dict.fromkeys([*chosen, "pca"]))
    outcomes = defaultdict(list)
    for outcome in conduct(trials(films, models, asked), asked.work, asked.workers, asked.device):
        outcomes[outcome.trial.film].append(outcome)
    parts, won = [], []
    for film, found in outcomes.items():
        rows = [Row(name, [o for o in found if o.trial.model == name]) for name in models]
        if asked.codecs:
            rows += [
                Row(name, [coded(name, found[0].trial, asked.work, asked.device)], codec=True)
                for name in registry().codecs
            ]
        # Where nothing is held out, by the frames that were seen.
        rows.sort(key=lambda row: [row.middle(part, "lpips") for part in ("held_out", "seen")])
        headings = [*HEADINGS, "bytes a frame", "decoder's numbers"]
        parts.append(f"## {film}\n\n" + table(headings, [row.cells() for row in rows]))
        if OURS in models:
            won.append([film, *leads(rows)])
    if won:
        parts.append(
            f"## How far `{OURS}` is ahead\n\nOf the best of the others in each measure; below "
            f"zero it is behind. Codecs count on seen frames.\n\n{table(HEADINGS, won)}"
        )
    publish("\n".join(parts) + provenance(asked), asked.out)


def trials(films: Sequence[str], models: Sequence[str], asked: argparse.Namespace) -> list[Trial]:
    """Every model on every film from every seed; PCA has none."""
    return [
        Trial(
            name,
            film,
            seed,
            preset=asked.preset,
            latent=asked.latent,
            budget=asked.budget,
            holdout=asked.holdout,
        )
        for film in films
        for name in models
        for seed in range(asked.seeds if name != "pca" else 1)
    ]


def leads(rows: Sequence[Row]) -> list[str]:
    """By how much ours leads the best of the others in each measure, medians over seeds."""
    (ours,) = (row for row in rows if row.name == OURS)
    found = []
    for part, metric, digits, sign in MEASURES:
        rivals = [
            (sign * row.middle(part, metric), row.name)
            for row in rows
            if row is not ours and row.values(part, metric) and not (row.codec and part != "seen")
        ]
        if not rivals or not ours.values(part, metric):
            found.append("–")
            continue
        value, name = max(rivals)
        found.append(f"{sign * ours.middle(part, metric) - value:+.{digits}f} (`{name}`)")
    return found


def _parsed() -> argparse.Namespace:
    arguments = parser(__doc__ or "")
    arguments.set_defaults(budget="12000frames")
    arguments.add_argument("--models", default="all", help="as for `zoo compare`")
    arguments.add_argument("--preset", default="quick")
    arguments.add_argument("--latent", type=int, help="numbers a frame; the preset's otherwise")
    arguments.add_argument("--holdout", type=float, default=0.1, help="share of the film, by shot")
    arguments.add_argument("--codecs", action=argparse.BooleanOptionalAction, default=True)
    return arguments.parse_args()


if __name__ == "__main__":
    main()
