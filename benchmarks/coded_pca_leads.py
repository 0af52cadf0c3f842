"""Compares `coded_pca` with every model, PCA and the codecs, at one latent size and one budget.

`python -m benchmarks.coded_pca_leads --films A,B --work DIR` takes a small size, for a CPU. The
size it was made for is `--preset film --device cuda --budget 100epochs`: 256x144 and 200 numbers
per frame. With several seeds a table has medians, with ranges. Codecs have the bytes of a latent
for a frame and code every frame, so what is held out of the models' training is in brackets; they
are left out with `--no-codecs`. `--holdout 0` lets models see all frames, as codecs do.
"""

from __future__ import annotations

import argparse
import statistics
from collections import defaultdict
from collections.abc import Mapping, Sequence
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
from zoo.base.numbers import listed
from zoo.plugins.registry import registry
from zoo.report.aggregate import MIN_SEEDS
from zoo.report.ranking import size_classes

OURS = "coded_pca"
MEASURES = [
    (part, metric, digits, sign)
    for part in ("seen", "held_out")
    for metric, digits, sign in (("lpips", 3, -1), ("psnr", 2, 1))
]
HEADINGS = ["LPIPS seen", "PSNR seen", "LPIPS held out", "PSNR held out"]


@dataclass(frozen=True)
class Row:
    """The outcomes of one model, reference or codec on a film, one per seed."""

    name: str
    outcomes: Sequence[Outcome]
    codec: bool = False

    def values(self, part: str, metric: str) -> list[float]:
        """Return means over frames, one per seed; none if a film has no such frames."""
        found = (getattr(outcome, part) for outcome in self.outcomes)
        return [scores[metric] for scores in found if metric in scores]

    def middle(self, part: str, metric: str) -> float:
        """Return the median over seeds; infinite if there is none, so that it sorts last."""
        return statistics.median(self.values(part, metric) or [float("inf")])

    def cells(self) -> list[str]:
        """Return the cells of this row of the table."""
        shown = [f"`{self.name}`", f"{self.outcomes[0].bytes_per_frame:.1f}"]
        for part, metric, digits, _ in MEASURES:
            values = self.values(part, metric)
            cell = spread_of(values, digits) if values else "–"
            shown.append(f"({cell})" if values and self.codec and part == "held_out" else cell)
        numbers = self.outcomes[0].decoder_numbers
        return [*shown, f"{numbers:,}" if numbers else "–"]


def main() -> None:
    """Train, and write the findings, the terms, and a table per film by bytes and LPIPS."""
    asked = _parsed()
    films = asked.films.split(",")
    chosen = [model.name for model in registry().choose_models(asked.models)]
    models = list(dict.fromkeys([*chosen, "pca"]))
    outcomes = defaultdict(list)
    for outcome in conduct(trials(films, models, asked), asked.work, asked.workers, asked.device):
        outcomes[outcome.trial.film].append(outcome)
    films_rows = {}
    for film, found in outcomes.items():
        rows = [Row(name, [o for o in found if o.trial.model == name]) for name in models]
        if asked.codecs:
            rows += [
                Row(name, [coded(name, found[0].trial, asked.work, asked.device)], codec=True)
                for name in registry().codecs
            ]
        films_rows[film] = rows
    publish(document(films_rows) + provenance(asked), asked.out)


def document(films: Mapping[str, Sequence[Row]]) -> str:
    """Return the findings, the terms and a table per film as Markdown."""
    won = [
        [film, *leads(rows)] for film, rows in films.items() if any(r.name == OURS for r in rows)
    ]
    parts = []
    if won:
        parts.append(
            f"## How far `{OURS}` is ahead\n\n{' '.join(_findings(films, won))}\n\n"
            "The table has the lead over the best of the others in each measure, references "
            f"included; below zero `{OURS}` is behind. Codecs count on seen frames alone, since "
            f"they coded the held-out frames too.\n\n{table(['', *HEADINGS], won)}"
        )
        terms = "".join(f"- `{OURS}`: {term}\n" for term in registry().models[OURS].unequal_terms)
        tuned = [film for film in films if film in registry().models[OURS].tuned_on]
        parts.append(
            f"## Terms that are not equal\n\n{terms}"
            + (
                f"- Tuning films, on which `{OURS}` was developed: {listed(tuned)}.\n"
                if tuned
                else ""
            )
        )
    for film, rows in films.items():
        # Grouped by about the same bytes; sorted by the seen frames if nothing is held out.
        classes = size_classes({row.name: row.outcomes[0].bytes_per_frame for row in rows})
        ordered = sorted(
            rows,
            key=lambda row: (
                classes[row.name],
                *(row.middle(part, "lpips") for part in ("held_out", "seen")),
            ),
        )
        headings = ["", "bytes per frame", *HEADINGS, "decoder's numbers"]
        parts.append(f"## {film}\n\n" + table(headings, [row.cells() for row in ordered]))
    return "\n".join(parts)


def _findings(films: Mapping[str, Sequence[Row]], won: Sequence[Sequence[str]]) -> list[str]:
    """Return sentences on where `coded_pca` is behind, those on what is ahead of it first."""
    behind = [
        f"{lead.split(' ', 1)[1].strip('()')} in {heading} on {film}"
        for film, *found in won
        for heading, lead in zip(HEADINGS, found, strict=True)
        if lead.startswith("-")
    ]
    coded = [
        film
        for film, rows in films.items()
        if any(
            row.codec and row.middle("held_out", "lpips") < ours.middle("held_out", "lpips")
            for ours in rows
            if ours.name == OURS
            for row in rows
        )
    ]
    sentences = [
        f"Ahead of `{OURS}`: {listed(behind)}."
        if behind
        else f"`{OURS}` is ahead in every measure on every film, codecs on held-out frames apart."
    ]
    if coded:
        sentences.append(
            "On held-out frames, which codecs coded too, a codec has a lower LPIPS on "
            f"{listed(coded)}."
        )
    below = _below(films, "pca")
    if below:
        sentences.append(
            f"On the frames that they were trained on, {listed(below)} have a lower PSNR than "
            f"`pca` on every film, and `{OURS}` starts from principal components: a lead over "
            "them says who starts where, not which architecture is better."
        )
    if max(len(row.outcomes) for rows in films.values() for row in rows) < MIN_SEEDS:
        sentences.append(f"With fewer than {MIN_SEEDS} seeds no spread is known.")
    return sentences


def _below(films: Mapping[str, Sequence[Row]], reference: str) -> list[str]:
    """The models that a reference beats in PSNR on the seen frames of every film."""
    found: dict[str, list[bool]] = {}
    for rows in films.values():
        least = [row.middle("seen", "psnr") for row in rows if row.name == reference]
        for row in rows:
            if least and not row.codec and row.name != reference:
                found.setdefault(f"`{row.name}`", []).append(row.middle("seen", "psnr") < least[0])
    return [name for name, below in found.items() if all(below)]


def trials(films: Sequence[str], models: Sequence[str], asked: argparse.Namespace) -> list[Trial]:
    """Return the trials of every model on every film from every seed; PCA has no seed."""
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
    """Return how far `coded_pca` leads the best other in each measure, by medians over seeds."""
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
    arguments.add_argument("--latent", type=int, help="numbers per frame; the preset's otherwise")
    arguments.add_argument("--holdout", type=float, default=0.1, help="share of the film, by shot")
    arguments.add_argument("--codecs", action=argparse.BooleanOptionalAction, default=True)
    return arguments.parse_args()


if __name__ == "__main__":
    main()
