"""What each option of a model does: the model as it is, and with one thing changed, as a table.

`python -m benchmarks.variants vaegan --work DIR` is the ablation behind the VAE-GAN's defaults;
with `perceptual` the backbones of the perceptual VAE are compared, and with `coded_pca` its parts
are left out one by one.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping

from benchmarks.trials import Outcome, Trial, conduct, parser, provenance, publish, table

VARIANTS: Mapping[str, Mapping[str, Mapping[str, str]]] = {
    "vaegan": {
        "as it is": {},
        "no pixel error": {"pixel": "0"},
        "no feature distance": {"feature": "0"},
        "no adversary for the decoder": {"adversarial": "0"},
        "adversary at 1": {"adversarial": "1"},
        "features scaled": {"feature_scaled": "true", "feature": "0.2"},
        "third stage alone": {"feature_stage": "3"},
        "saturating loss": {"saturating": "true"},
        "prior samples alone": {"fakes": "prior"},
        "gated": {"gated": "true"},
        "no spectral norm": {"spectral": "false"},
        "no spectral norm, R1": {"spectral": "false", "r1": "0.1"},
        "one time scale": {"discriminator_lr_ratio": "1"},
        "adversary warmed up": {"warm_up": "0.5"},
        "as in the paper": {
            "pixel": "0",
            "feature_stage": "3",
            "adversarial": "1",
            "saturating": "true",
            "fakes": "prior",
            "gated": "true",
            "spectral": "false",
            "discriminator_lr_ratio": "1",
        },
    },
    "perceptual": {
        "tf_efficientnet_lite0": {"backbone": "tf_efficientnet_lite0"},
        "tf_efficientnet_lite0, 5 stages": {"backbone": "tf_efficientnet_lite0", "stages": "5"},
        "vgg16": {"backbone": "vgg16"},
        "vgg16 at double weight": {"backbone": "vgg16", "feature": "32"},
        # As many weights as the decoder of coded_pca has.
        "wide": {"width": "70", "lr": "2e-3"},
    },
    "coded_pca": {
        "as it is": {},
        "one coordinate a number": {"coordinates_per_number": "1"},
        "two": {"coordinates_per_number": "2"},
        "four": {"coordinates_per_number": "4"},
        "no warped frames": {"warps": "0"},
        "no features in the loss": {"feature": "0"},
        "no structure in the loss": {"structure": "0"},
        "no search": {"search": "0"},
        "search by pixels alone": {"search_feature": "0"},
        # A network that does not learn adds next to nothing.
        "no network": {"lr": "1e-9", "search": "0"},
        "no network and one coordinate a number": {
            "lr": "1e-9",
            "search": "0",
            "coordinates_per_number": "1",
        },
    },
}


def main() -> None:
    """Train, and write the table."""
    arguments = parser(__doc__ or "")
    arguments.add_argument("model", choices=sorted(VARIANTS))
    arguments.add_argument("--latent", type=int, help="numbers per frame; the preset's otherwise")
    arguments.add_argument("--only", help="names of variants, separated by commas; all otherwise")
    asked = arguments.parse_args()
    films = asked.films.split(",")
    chosen = asked.only.split(",") if asked.only else list(VARIANTS[asked.model])
    if unknown := [name for name in chosen if name not in VARIANTS[asked.model]]:
        known = ", ".join(VARIANTS[asked.model])
        arguments.error(f"{asked.model} has no variant {unknown[0]!r}; it has: {known}")
    trials = [
        Trial(
            asked.model,
            film,
            seed,
            options=tuple(VARIANTS[asked.model][name].items()),
            budget=asked.budget,
            latent=asked.latent,
        )
        for name in chosen
        for film in films
        for seed in range(asked.seeds)
    ]
    outcomes = list(conduct(trials, asked.work, asked.workers, asked.device))
    a_row = len(films) * asked.seeds
    rows = [
        [name, *_cells(outcomes[number * a_row : (number + 1) * a_row], films)]
        for number, name in enumerate(chosen)
    ]
    headings = [
        asked.model,
        *(f"`{film}` {part}" for film in films for part in ("seen", "held out")),
    ]
    publish(table([*headings, "least spread"], rows) + provenance(asked), asked.out)


def _cells(outcomes: list[Outcome], films: list[str]) -> list[str]:
    """Return LPIPS and PSNR per film and part, by medians over seeds, and the smallest spread."""
    cells = []
    for film in films:
        of_film = [outcome for outcome in outcomes if outcome.trial.film == film]
        for part in ("seen", "held_out"):
            lpips = statistics.median(getattr(o, part)["lpips"] for o in of_film)
            psnr = statistics.median(getattr(o, part)["psnr"] for o in of_film)
            cells.append(f"{lpips:.3f} / {psnr:.1f}")
    return [*cells, f"{min(outcome.spread for outcome in outcomes):.2f}"]


if __name__ == "__main__":
    main()
