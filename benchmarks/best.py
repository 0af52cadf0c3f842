"""Is `best` the best? Every model and PCA on a film, at one latent size and one budget, as a table.

`python -m benchmarks.best FILM --work DIR` takes a small size, for a CPU. The size it was made for
is `--preset film --device cuda --budget 100epochs`: 256x144 and 200 numbers a frame. With several
seeds the table has medians, with ranges.
"""

from __future__ import annotations

import statistics
from collections import defaultdict

from benchmarks.trials import (
    Trial,
    conduct,
    parser,
    provenance,
    publish,
    spread_of,
    table,
)
from zoo.plugins import registry


def main() -> None:
    """Train, and write the table, sorted by LPIPS on held-out frames."""
    arguments = parser(__doc__ or "")
    arguments.set_defaults(budget="12000frames")
    arguments.add_argument("film", help="a film's path, or its name")
    arguments.add_argument("--models", default="all", help="as for `zoo compare`")
    arguments.add_argument("--preset", default="quick")
    arguments.add_argument("--latent", type=int, help="numbers a frame; the preset's otherwise")
    asked = arguments.parse_args()
    models = [model.name for model in registry().choose_models(asked.models)]
    trials = [
        Trial(name, asked.film, seed, (), asked.preset, latent=asked.latent, budget=asked.budget)
        for name in [*models, "pca"]
        for seed in range(asked.seeds)
    ]
    by_model = defaultdict(list)
    for outcome in conduct(trials, asked.work, asked.workers, asked.device):
        by_model[outcome.trial.model].append(outcome)
    groups = sorted(
        by_model.values(),
        key=lambda group: statistics.median(outcome.held_out["lpips"] for outcome in group),
    )
    rows = [
        [
            f"`{group[0].trial.model}`",
            *(
                spread_of([getattr(outcome, part)[metric] for outcome in group], digits)
                for part in ("seen", "held_out")
                for metric, digits in (("lpips", 3), ("psnr", 2))
            ),
            f"{group[0].decoder_numbers:,}",
        ]
        for group in groups
    ]
    headings = ["", "LPIPS seen", "PSNR seen", "LPIPS held out", "PSNR held out"]
    publish(table([*headings, "decoder's numbers"], rows) + provenance(asked), asked.out)


if __name__ == "__main__":
    main()
