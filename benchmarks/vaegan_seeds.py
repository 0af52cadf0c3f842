"""Does the VAE-GAN train on every seed? It and the VAE on each clip, seed after seed, as a table.

A seed succeeds if the VAE-GAN's LPIPS over the whole clip is below that of the VAE with the same
seed and budget, and its reconstructions spread over frames at least half as far as the originals.
"""

from __future__ import annotations

from benchmarks.trials import Trial, conduct, parser, provenance, publish, spread_of, table
from zoo.cli.options import read_settings

SPREAD = 0.5
MODELS = "vae", "vaegan"


def main() -> None:
    """Train, and write the table."""
    arguments = parser(__doc__ or "")
    arguments.set_defaults(seeds=10)
    arguments.add_argument(
        "--set", action="append", default=[], help="an option of the VAE-GAN, NAME=VALUE"
    )
    asked = arguments.parse_args()
    films = asked.films.split(",")
    options = {"vae": (), "vaegan": tuple(read_settings(asked.set).items())}
    trials = [
        Trial(model, film, seed, options[model], budget=asked.budget)
        for seed in range(asked.seeds)
        for film in films
        for model in MODELS
    ]
    outcomes = {
        (o.trial.model, o.trial.film, o.trial.seed): o
        for o in conduct(trials, asked.work, asked.workers, asked.device)
    }
    rows = []
    for film in films:
        plain, gan = (
            [outcomes[model, film, seed] for seed in range(asked.seeds)] for model in MODELS
        )
        better = [
            a.everywhere["lpips"] < b.everywhere["lpips"] for a, b in zip(gan, plain, strict=True)
        ]
        alive = [outcome.spread >= SPREAD for outcome in gan]
        successes = sum(a and b for a, b in zip(better, alive, strict=True))
        rows.append(
            [
                f"`{film}`",
                f"{successes} of {asked.seeds}",
                *(spread_of([o.everywhere["lpips"] for o in side], 3) for side in (gan, plain)),
                *(spread_of([o.everywhere["psnr"] for o in side], 1) for side in (gan, plain)),
                spread_of([outcome.spread for outcome in gan], 2),
            ]
        )
    headings = ["film", "succeeded", "LPIPS `vaegan`", "LPIPS `vae`"]
    headings += ["PSNR `vaegan`", "PSNR `vae`", "spread `vaegan`"]
    publish(table(headings, rows) + provenance(asked), asked.out)


if __name__ == "__main__":
    main()
