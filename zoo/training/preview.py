"""The strip that shows how training goes: originals over reconstructions."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from zoo.autoencoder import Autoencoder
from zoo.films.film import Film
from zoo.sampling import FilmSamples, Sampling, middle_frames
from zoo.workspace import written_aside

COLUMNS = 6


def preview_samples(film: Film, sampling: Sampling, device: torch.device) -> Tensor:
    """Samples spread evenly over the film, as `encode` takes them: six, fewer of a short film."""
    samples = FilmSamples.of(sampling, map(len, film.shots)).indices
    count = min(COLUMNS, len(samples))
    chosen = np.linspace(0, len(samples) - 1, 2 * count + 1).round().astype(int)[1::2]
    frames = torch.from_numpy(film.store.array[samples[chosen].reshape(-1)]).to(device)
    return sampling.shaped(frames.permute(0, 3, 1, 2).float() / 255)


@torch.no_grad()
def write_preview(path: Path, model: Autoencoder, samples: Tensor) -> None:
    """Write a frame of each sample over what the model makes of it, as one PNG."""
    frames = Sampling.of(model).frame_drawn(samples)
    was_training = model.training
    model.eval()
    drawn = middle_frames(model.decode(model.encode(samples))).float().clamp(0, 1)
    model.train(was_training)
    rows = [torch.cat(list(batch), dim=2) for batch in (frames, drawn)]
    picture = (torch.cat(rows, dim=1) * 255).round().byte().permute(1, 2, 0).cpu().numpy()
    with written_aside(path) as aside:
        Image.fromarray(picture).save(aside, format="PNG")
