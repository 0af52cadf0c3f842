"""A training of a few steps on a small film of moving shapes."""

from __future__ import annotations

from zoo.base.frame_size import FrameSize
from zoo.films.film import Film
from zoo.training.run_folder import TrainingConfig

SIZE = FrameSize(32, 32)


def config_of(model: str, film: Film, **changes: object) -> TrainingConfig:
    """A training of 24 steps, unless `changes` say otherwise."""
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
