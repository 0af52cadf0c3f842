"""Principal components: exact where they can be, settled where they are found by iteration."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from zoo_plugins.references import pca
from zoo_plugins.references.pca import PrincipalComponents

from zoo.base.errors import BadInput
from zoo.films.ingested_film import Film, film_from_frames
from zoo.plugins.model_building import build
from zoo.training.training_frames import TrainingFrames


def film() -> Film:
    """Frames of eight strong directions that fade, and a little noise: 200 of them, one shot."""
    rng = np.random.default_rng(0)
    patterns = rng.normal(size=(8, 32 * 32 * 3)) * 0.7 ** np.arange(8)[:, None]
    frames = 128 + 12 * rng.normal(size=(200, 8)) @ patterns + rng.normal(size=(200, 32 * 32 * 3))
    shaped = frames.clip(0, 255).round().astype(np.uint8).reshape(-1, 32, 32, 3)
    return film_from_frames(shaped, holdout=0)


def fitted(of: Film, latent: int = 6) -> PrincipalComponents:
    model = build(PrincipalComponents, of.size, {"latent": latent})
    model.fit(TrainingFrames(of))
    return model


@pytest.mark.parametrize(
    ("frames", "said"),
    [
        (1, "has 1 training frame, too few for principal components$"),
        (2, "has 2 training frames, too few for 6 principal components; use --latent 1$"),
        (4, "has 4 training frames, too few for 6 principal components; use --latent 1$"),
    ],
)
def test_a_latent_that_is_proposed_fits(frames: int, said: str) -> None:
    few = film_from_frames(film().store.array[:frames], holdout=0)
    with pytest.raises(BadInput, match=said):
        fitted(few)
    if "--latent" in said:
        fitted(few, latent=1)


def kept(model: PrincipalComponents, of: Film) -> float:
    """The share of the frames' variance that the components keep."""
    flat = torch.from_numpy(of.frames.copy()).flatten(1).double() / 255
    centred = flat - flat.mean(dim=0)
    inside = centred @ model.components.double().T
    return float(inside.square().sum() / centred.square().sum())


@pytest.mark.parametrize("block", [64, 128, 512])
def test_components_are_those_of_a_singular_value_decomposition(
    block: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pca, "BLOCK", block)
    of = film()
    model = fitted(of)
    flat = torch.from_numpy(of.frames.copy()).flatten(1).double() / 255
    _, _, right = torch.linalg.svd(flat - flat.mean(dim=0), full_matrices=False)
    alike = (model.components.double() @ right[:6].T).abs()
    assert torch.allclose(alike, torch.eye(6, dtype=torch.float64), atol=1e-3)


def test_long_films_come_as_near_by_iteration(monkeypatch: pytest.MonkeyPatch) -> None:
    of = film()
    exact = kept(fitted(of), of)
    monkeypatch.setattr(pca, "EXACT_UP_TO", 10)
    assert kept(fitted(of), of) == pytest.approx(exact, rel=1e-3)
    identity = fitted(of).components @ fitted(of).components.T
    assert torch.allclose(identity, torch.eye(6), atol=1e-4)
