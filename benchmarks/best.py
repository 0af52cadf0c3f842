"""Is `best` the best? Every model and PCA on a film, at one latent size and one budget, as a table.

`python -m benchmarks.best FILM --work DIR` takes a small size, for a CPU. The size it was made for
is `--preset film --device cuda --budget 100epochs`: 256x144 and 200 numbers a frame.
"""

from __future__ import annotations

from benchmarks.trials import Trial, conduct, parser, provenance, publish, table
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
        Trial(name, asked.film, preset=asked.preset, latent=asked.latent, budget=asked.budget)
        for name in [*models, "pca"]
    ]
    outcomes = sorted(
        conduct(trials, asked.work, asked.workers, asked.device),
        key=lambda outcome: outcome.held_out["lpips"],
    )
    rows = [
        [
            f"`{outcome.trial.model}`",
            *(
                f"{part[metric]:.{digits}f}"
                for part in (outcome.seen, outcome.held_out)
                for metric, digits in (("lpips", 3), ("psnr", 2))
            ),
            f"{outcome.decoder_numbers:,}",
        ]
        for outcome in outcomes
    ]
    headings = ["", "LPIPS seen", "PSNR seen", "LPIPS held out", "PSNR held out"]
    publish(table([*headings, "decoder's numbers"], rows) + provenance(asked), asked.out)


if __name__ == "__main__":
    main()
