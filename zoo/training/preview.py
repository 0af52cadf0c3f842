"""The strip that shows how training goes: originals over reconstructions."""

from __future__ import annotations

from pathlib import Path

import torch
from PIL import Image
from torch import Tensor

from zoo.base.workspace import written_aside

COLUMNS = 6
"""Frames side by side: half of them seen, half held out, where there are held-out frames."""


def write_preview(path: Path, originals: Tensor, drawn: Tensor) -> None:
    """Write frames over what became of them, (N, 3, H, W) in [0, 1] each, as one PNG."""
    rows = [torch.cat(list(batch), dim=2) for batch in (originals, drawn)]
    picture = (torch.cat(rows, dim=1) * 255).round().byte().permute(1, 2, 0).cpu().numpy()
    with written_aside(path) as aside:
        Image.fromarray(picture).save(aside, format="PNG")
