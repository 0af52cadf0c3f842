"""`zoo.load`: a trained model from Python."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

import zoo as package
from tests.fresh_process import imports_none_of
from tests.reconstruct.small_model import film_in, reconstructed, train
from zoo.base.errors import BadInput


@pytest.fixture
def loaded(zoo: Callable, workspace: Path) -> package.Loaded:
    film = film_in(workspace, audio=None)
    train(zoo, film)
    return package.load("vae", film=film)


def test_importing_zoo_stays_light() -> None:
    heavy = {"torch", "numpy", "av", "pydantic", "PIL"}
    imports_none_of(heavy, "import zoo; assert 'load' in dir(zoo)")


def test_it_draws_what_zoo_reconstruct_draws(loaded: package.Loaded, workspace: Path) -> None:
    frames = np.array(loaded.film.store.array)
    film = str(workspace / "flash.mp4")
    wanted = np.array(list(reconstructed(workspace, film, "vae")))
    drawn = loaded.reconstruct(frames)
    assert drawn.dtype == np.uint8 and drawn.shape == (75, 48, 64, 3)
    assert np.array_equal(drawn, wanted)
    assert np.array_equal(loaded.decode(loaded.latents().dequantised(slice(None))), wanted)


def test_every_form_of_frames_gives_the_same_latents(loaded: package.Loaded) -> None:
    pixels = np.array(loaded.film.store.array[3:40])
    latents = loaded.encode(pixels)
    assert latents.shape == (37, 4) and latents.dtype == torch.float32
    floats = torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 255
    colours_first = np.ascontiguousarray(pixels.transpose(0, 3, 1, 2))
    for same in (
        *(torch.from_numpy(pixels), floats, floats.double()),
        *(colours_first, torch.from_numpy(colours_first), loaded.film.frames[3:40]),
    ):
        assert torch.allclose(loaded.encode(same), latents, atol=1e-5)
    # Ordinary tensors, so that a latent can be searched for by its slope.
    assert latents.requires_grad_().requires_grad
    latents = latents.detach()
    assert np.array_equal(loaded.decode(latents), loaded.decode(latents.numpy()))


def test_quantised_latents_lie_on_the_scale(loaded: package.Loaded) -> None:
    frames = np.array(loaded.film.store.array[:10])
    plain, rounded = loaded.encode(frames), loaded.encode(frames, quantise=True)
    step, lowest = loaded.quantiser.step, loaded.quantiser.lowest
    assert not torch.equal(plain, rounded)
    assert ((plain - rounded).abs() <= 0.51 * step + 1e-6).all()
    places = (rounded - lowest) / step
    assert (places - places.round()).abs().max() < 1e-3


def test_another_film_at_the_model_s_size(loaded: package.Loaded) -> None:
    latents = loaded.latents("carphone")
    assert latents.levels.shape[1] == 4 and len(latents.levels) == 120
    assert loaded.decode(latents.dequantised(slice(0, 2))).shape == (2, 48, 64, 3)


@pytest.mark.parametrize(
    "frames",
    [
        np.zeros((2, 48, 62, 3), np.uint8),
        np.zeros((48, 64, 3), np.uint8),
        np.zeros((0, 48, 64, 3), np.uint8),
        np.zeros((2, 48, 64, 3), np.int64),
        torch.zeros(2, 48, 64, 3),
    ],
)
def test_frames_of_another_form_are_refused(loaded: package.Loaded, frames: object) -> None:
    with pytest.raises(ValueError, match="frames"):
        loaded.encode(frames)


def test_latents_of_another_form_are_refused(loaded: package.Loaded) -> None:
    for latents in (torch.zeros(4), torch.zeros(2, 5), np.zeros((0, 4), np.float32)):
        with pytest.raises(ValueError, match="latents"):
            loaded.decode(latents)


def test_a_workspace_elsewhere_and_runs_by_name(
    loaded: package.Loaded, workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    film = workspace / "flash.mp4"
    (workspace / "empty").mkdir()
    monkeypatch.chdir(workspace / "empty")
    with pytest.raises(BadInput, match="no finished run"):
        package.load("vae", film=film)
    assert loaded.run is not None
    there = package.load(film=film, run=loaded.run.digest[:6], workspace=workspace)
    assert there.run is not None and there.run.name == loaded.run.name
    assert there.config.model == "vae"
    with pytest.raises(BadInput, match="name a model"):
        package.load(film=film, workspace=workspace)
    with pytest.raises(BadInput, match="no model is called"):
        package.load("veagan", film=film, workspace=workspace)
    known = package.load("vae", film="carphone", trained_on=str(film), workspace=workspace)
    assert (known.config.film, known.film.name) == (loaded.config.film, "carphone")
