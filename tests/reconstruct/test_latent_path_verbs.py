"""`zoo interpolate`, `zoo sample` and `zoo walk` as a user types them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from PIL import Image

import zoo as package
from tests.reconstruct.small_model import film_in, train


def pictures(path: Path) -> np.ndarray:
    with av.open(str(path)) as container:
        return np.array([f.to_ndarray(format="rgb24") for f in container.decode(video=0)], float)


@pytest.fixture
def film(zoo: Callable, workspace: Path) -> Path:
    """A film on which a VAE was trained."""
    path = film_in(workspace, audio=None)
    train(zoo, path, steps=40)
    return path


def test_interpolate_begins_and_ends_at_its_moments(zoo: Callable, film: Path) -> None:
    words = ("--from", "0.4", "--via", "0:02", "--to", "2.92", "--seconds", "1", "--path", "linear")
    done = zoo("interpolate", "vae", "--film", film, *words, "-o", "way.mp4")
    assert done.code == 0, done.err
    drawn = pictures(Path("way.mp4"))
    # 24 pictures, made odd for the stop in the middle.
    assert len(drawn) == 25
    loaded = package.load("vae", film=film)
    wanted = loaded.reconstruct(np.array(loaded.film.store.array[[10, 50, 73]])).astype(float)
    for number, frame in ((0, 0), (12, 1), (24, 2)):
        apart = np.abs(drawn[number] - wanted).mean(axis=(1, 2, 3))
        assert apart[frame] < 1.05 * apart.min() and apart[frame] < 0.7 * apart.max()
    with Image.open("way.png") as strip:
        assert strip.width <= 1920 and strip.width > 9 * 64


def test_a_way_between_codes_leads_through_what_they_stand_for(
    zoo: Callable, workspace: Path
) -> None:
    film = film_in(workspace, audio=None)
    train(zoo, film, "coded_pca")
    words = ("--from", "0.4", "--to", "2.92", "--seconds", "1", "--path", "linear", "-o", "way.mp4")
    done = zoo("interpolate", "coded_pca", "--film", film, *words)
    assert done.code == 0, done.err
    drawn = pictures(Path("way.mp4"))
    loaded = package.load("coded_pca", film=film)
    numbers = loaded.latents().dequantised([10, 73]).flatten(1)
    ends = loaded.network.to_coordinates(numbers)
    share = (len(drawn) // 2) / (len(drawn) - 1)
    wanted, naive = (
        loaded.decode(latent[None])[0].astype(float)
        for latent in (
            loaded.network.from_coordinates(torch.lerp(ends[0], ends[1], share)[None])[0],
            torch.lerp(numbers[0], numbers[1], share),
        )
    )
    shown = drawn[len(drawn) // 2]
    assert np.abs(shown - wanted).mean() < 0.5 * np.abs(shown - naive).mean()
    assert zoo("walk", "coded_pca", "--film", film, "--seconds", "1").code == 0


def test_interpolate_refuses_what_is_not_there(zoo: Callable, film: Path) -> None:
    base = ("interpolate", "vae", "--film", film, "--from", "0")
    outside = zoo(*base, "--to", "00:00:03.1")
    assert outside.code == 2 and "no frame at 00:00:03.100" in outside.err
    assert zoo(*base, "--to", "1", "--path", "round").code == 2
    assert zoo(*base, "--to", "1", "--seconds", "0").code == 2
    assert zoo(*base, "--to", "1", "--fps", "many").code == 2
    assert not list(film.parent.glob("*interpolate*"))


def test_sample_samples_the_prior(zoo: Callable, film: Path) -> None:
    words = ("--count", "6", "--hold", "0.2", "--scale", "2")
    done = zoo("sample", "vae", "--film", film, *words)
    assert done.code == 0, done.err
    (video,) = Path().glob("flash-*-vae-sample.mp4")
    drawn = pictures(video)
    assert drawn.shape == (30, 96, 128, 3)
    loaded = package.load("vae", film=film)
    assert loaded.sample(6, seed=0).shape == (6, 4)
    first = loaded.decode(loaded.sample(6, seed=0))[0].astype(float)
    assert abs(drawn[0].mean() - first.mean()) < 3
    assert zoo("sample", "vae", "--film", film, *words).code == 2  # there already


def test_a_model_without_a_prior_says_so(zoo: Callable, workspace: Path) -> None:
    film = film_in(workspace, audio=None)
    train(zoo, film, "ae")
    done = zoo("sample", "ae", "--film", film)
    done.check_refused("ae has no prior")
    assert zoo("walk", "ae", "--film", film, "--seconds", "1").code == 0


def test_a_walk_is_decided_by_its_seed(zoo: Callable, film: Path) -> None:
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        words = ("--seconds", "1", "--seed", seed, "-o", f"{name}.mp4")
        assert zoo("walk", "vae", "--film", film, *words).code == 0
    strips = [Path(f"{name}.png").read_bytes() for name in "abc"]
    assert strips[0] == strips[1] != strips[2]
    assert len(pictures(Path("a.mp4"))) == 24


@pytest.mark.parametrize("model", ["vae", "beta_vae", "vaegan", "broad2016"])
def test_priors_are_seeded_and_of_the_latent_s_form(model: str) -> None:
    from zoo.base.frame_size import FrameSize
    from zoo.plugins.model_building import build
    from zoo.plugins.registry import registry

    network = build(registry().architecture(model), FrameSize(64, 36), {"latent": 5, "width": 4})
    drawn, again = (network.sample_prior(2000, torch.Generator().manual_seed(3)) for _ in range(2))
    assert drawn is not None and drawn.shape == (2000, 5) and torch.equal(drawn, again)
    sd = 3**-0.5 if model == "broad2016" else 1.0
    assert drawn.mean().abs() < 0.05 and drawn.std() == pytest.approx(sd, abs=0.03)
