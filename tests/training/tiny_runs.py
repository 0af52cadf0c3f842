"""Trainings of a few steps on a small film of moving shapes, and models made for one test."""

from __future__ import annotations

import torch

from zoo.api.autoencoder import Autoencoder
from zoo.base.frame_size import FrameSize
from zoo.films.ingested_film import Film
from zoo.plugins.registry import registry
from zoo.training.run_folder import TrainingConfig

CPU = torch.device("cpu")
SIZE = FrameSize(32, 32)
TINY = (
    *("--film", "carphone", "--preset", "quick", "--device", "cpu"),
    *("--size", "32x32", "--latent", "4", "--set", "width=8"),
)
"""Options of `zoo train` for a training of a second; the budget is to be added."""


def config_of(model: str, film: Film, **changes: object) -> TrainingConfig:
    """The configuration of a training of 24 steps, with changes."""
    settings = {
        "model": model,
        "origin": "film-zoo 0",
        "options": {"latent": 4, "width": 8},
        "film": film.name,
        "film_fingerprint": film.fingerprint,
        "size": str(SIZE),
        "budget": "24steps",
        "batch": 4,
        "seed": 5,
        "precision": "32-true",
        **changes,
    }
    return TrainingConfig.model_validate(settings)


def breaking_ae(from_step: int) -> type[Autoencoder]:
    """The `ae` with a loss that is not a number from one step on."""

    class Breaks(registry().models["ae"]):  # type: ignore[misc]
        name = "breaks"

        def losses(self, batch, step):
            losses = super().losses(batch, step)
            if step.number >= from_step:
                losses["autoencoder"].terms["pixel"].data.fill_(torch.nan)
            return losses

    return Breaks
