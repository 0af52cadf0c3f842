"""Frames of films above what models draw of them: four that were seen, four that were held out.

`python -m benchmarks.model_strip --films A,B --models coded_pca,pca,perceptual --latent 50
--work DIR --out FILE` trains what is missing. Rows are the frames themselves and the models, in
their order.
"""

from __future__ import annotations

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from benchmarks.trials import Trial, parser, trained
from zoo.api.autoencoder import Autoencoder
from zoo.evaluation.inference import encode_film, film_batch, round_to_8_bits
from zoo.evaluation.latents import Quantiser
from zoo.films.ingested_film import Film
from zoo.plugins.model_building import latent_spec

OF_EACH = 4
ENLARGED = 2


def main() -> None:
    """Reconstruct the frames, and write the picture."""
    arguments = parser(__doc__ or "")
    arguments.add_argument(
        "--models", default="coded_pca,pca,perceptual", help="one below the other"
    )
    arguments.add_argument("--latent", type=int, help="numbers per frame; the preset's otherwise")
    asked = arguments.parse_args()
    rows = []
    for film_name in asked.films.split(","):
        for number, model_name in enumerate(asked.models.split(",")):
            trial = Trial(model_name, film_name, latent=asked.latent, budget=asked.budget)
            film, model = trained(trial, asked.work, asked.device)
            frames = film_batch(film, chosen(film), torch.device(asked.device))
            rows += [row(frames)] if number == 0 else []
            rows.append(row(drawn(model, film, frames)))
    picture = Image.fromarray(np.concatenate(rows))
    size = picture.width * ENLARGED, picture.height * ENLARGED
    asked.out.parent.mkdir(parents=True, exist_ok=True)
    picture.resize(size, Image.Resampling.LANCZOS).save(asked.out, quality=85)


def chosen(film: Film) -> list[int]:
    """Choose frames spread evenly over the seen ones, then over those held out."""
    parts = (film.split.seen, film.split.held_out)
    return [
        int(part[(2 * n + 1) * len(part) // (2 * OF_EACH)])
        for part in parts
        for n in range(OF_EACH)
    ]


@torch.inference_mode()
def drawn(model: Autoencoder, film: Film, frames: Tensor) -> Tensor:
    """Reconstruct frames (B, 3, H, W) from latents of 8 bits per number, as for scores."""
    latent = model.encode(frames.contiguous(memory_format=torch.channels_last))
    spec = latent_spec(model)
    if spec.codes is None:
        quantiser = Quantiser.spanning(encode_film(model, film, frames.device).numbers)
        latent = quantiser.round_trip(latent)
    return round_to_8_bits(model.decode(latent))


def row(frames: Tensor) -> np.ndarray:
    """Put frames (B, 3, H, W) side by side: uint8 (H, B * W, 3)."""
    pixels = (frames * 255).round().byte().permute(0, 2, 3, 1).cpu().numpy()
    return np.concatenate(list(pixels), axis=1)


if __name__ == "__main__":
    main()
