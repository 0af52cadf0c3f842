"""The strip that shows how training goes: originals over reconstructions."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from zoo.autoencoder import Autoencoder
from zoo.films.film import Film
from zoo.workspace import written_aside

COLUMNS = 6


def preview_frames(film: Film, device: torch.device) -> Tensor:
    """Frames spread evenly over the film: float (6, 3, H, W) in [0, 1], fewer of a short film."""
    count = min(COLUMNS, len(film))
    chosen = np.linspace(0, len(film) - 1, 2 * count + 1).round().astype(int)[1::2]
    frames = torch.from_numpy(film.store.array[chosen]).to(device)
    return frames.permute(0, 3, 1, 2).float() / 255


@torch.no_grad()
def write_preview(path: Path, model: Autoencoder, frames: Tensor) -> None:
    """Write `frames` over what the model makes of them, as one PNG."""
    was_training = model.training
    model.eval()
    drawn = model.decode(model.encode(frames)).float().clamp(0, 1)
    model.train(was_training)
    rows = [torch.cat(list(batch), dim=2) for batch in (frames, drawn)]
    picture = (torch.cat(rows, dim=1) * 255).round().byte().permute(1, 2, 0).cpu().numpy()
    with written_aside(path) as aside:
        Image.fromarray(picture).save(aside, format="PNG")
