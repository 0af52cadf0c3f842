"""A model's folder without a film: what `zoo push` publishes, read again."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open

from zoo.base.errors import BadInput
from zoo.base.untrusted_files import check_regular, check_tensors
from zoo.latents.latents import read_bits
from zoo.latents.quantise import Quantiser
from zoo.reconstruct.eyes import Eyes
from zoo.training.jobs import load_model
from zoo.training.run_folder import RunFolder

SCALE = "scale.safetensors"
"""The scale of the latents: `lowest` and `step`, float32 (L,), and in the metadata `bits`, and
`codes` where the latents are codes."""
LARGEST_SCALE = 256 << 20
"""Bytes: latents of sixteen million numbers have one of half that size."""


def read_folder(folder: Path, device: torch.device) -> Eyes:
    """The network that such a folder holds; raises BadInput if it holds none or is damaged."""
    run = RunFolder(folder)
    description = run.read()
    if description is None:
        raise BadInput(f"{folder} holds no model: there is no {run.file.name}")
    model = load_model(run, description.config, device)
    try:
        check_regular(folder / SCALE, LARGEST_SCALE)
        check_tensors(folder / SCALE)
        with safe_open(folder / SCALE, "pt", device=str(device)) as file:
            bits, codes = read_bits(file.metadata() or {})
            lowest, step = file.get_tensor("lowest"), file.get_tensor("step")
    except (OSError, SafetensorError, KeyError, ValueError, BadInput) as error:
        raise BadInput(f"{folder / SCALE} holds no scale: {error}") from None
    fits = lowest.dim() == 1 and lowest.shape == step.shape
    if not fits or not (lowest.isfinite().all() and step.isfinite().all()):
        raise BadInput(f"{folder / SCALE} holds no scale that fits")
    return Eyes(model, Quantiser(lowest, step, bits, codes), run, description.config, device)
