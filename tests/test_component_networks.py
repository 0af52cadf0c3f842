"""Networks that start as principal components: what they start from, and what keeps it."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from zoo_plugins.architectures.blocks import component_networks
from zoo_plugins.architectures.blocks.component_networks import map_sizes

import zoo
from zoo import FrameSize
from zoo.conformance.fixtures import scene, scene_as_film, take_step
from zoo.films.ingested_film import film_from_frames
from zoo.plugins.model_building import build as build_model
from zoo.plugins.model_building import build_to_train
from zoo.plugins.registry import registry
from zoo.training.training_frames import TrainingFrames

SIZE = FrameSize(64, 36)
MODELS = "ae", "vae", "beta_vae", "vaegan", "perceptual", "msssim_ae"


def build(name: str, **options: object) -> zoo.Autoencoder:
    torch.manual_seed(0)
    architecture = registry().architecture(name)
    quick = architecture.presets.get("quick", {})
    return build_model(architecture, SIZE, {"latent": 6, **quick, **options}).eval()


def prepared(name: str, **options: object) -> zoo.Autoencoder:
    model = build(name, **options)
    model.prepare(TrainingFrames(scene_as_film(SIZE)))
    return model


def error(model: zoo.Autoencoder) -> float:
    frames = scene(48, SIZE)
    with torch.inference_mode():
        return float((model.decode(model.encode(frames)) - frames).square().mean())


@pytest.fixture(scope="module")
def pca_error() -> float:
    pca = build("pca")
    pca.fit(TrainingFrames(scene_as_film(SIZE)))
    return error(pca)


@pytest.mark.parametrize("name", MODELS)
def test_training_starts_at_the_error_of_pca(name: str, pca_error: float) -> None:
    assert error(prepared(name, coarse=1)) == pytest.approx(pca_error, rel=0.05)


@pytest.mark.parametrize("coarse", [2, 4])
def test_a_coarse_linear_picture_starts_nearer_than_chance(coarse: int, pca_error: float) -> None:
    coarse_error = error(prepared("ae", coarse=coarse))
    assert pca_error < coarse_error < error(build("ae", start="scratch")) / 4


def test_a_small_gain_starts_the_same_and_makes_the_first_step_small(pca_error: float) -> None:
    frames, moved = scene(8, SIZE), []
    for gain in (1.0, 0.1):
        model = prepared("ae", coarse=1, gain=gain)
        assert error(model) == pytest.approx(pca_error, rel=0.05)
        with torch.inference_mode():
            before = model.decode(model.encode(frames))
        optimizer = torch.optim.AdamW(p for p in model.parameters() if p.requires_grad)
        take_step(model, frames)["autoencoder"].total.backward()
        optimizer.step()
        with torch.inference_mode():
            moved.append(float((model.decode(model.encode(frames)) - before).square().mean()))
    assert 0 < moved[1] < moved[0] / 10


def test_latents_are_whitened() -> None:
    frames = TrainingFrames(scene_as_film(SIZE))
    model = prepared("ae")
    with torch.inference_mode():
        latents = torch.cat([model.encode(some) for some in frames.batches(16)])
    assert torch.allclose(latents.mean(dim=0), torch.zeros(6), atol=0.1)
    assert torch.allclose(latents.std(dim=0), torch.ones(6), atol=0.1)


def test_what_is_computed_survives_a_reload_and_is_the_same_again() -> None:
    first, second, empty = prepared("vae"), prepared("vae"), build("vae")
    for one, other in zip(first.state_dict().values(), second.state_dict().values(), strict=True):
        assert torch.equal(one, other)
    empty.load_state_dict(first.state_dict())
    assert error(empty) == error(first)


def test_a_posterior_starts_as_narrow_as_that_of_probabilistic_pca() -> None:
    model = prepared("vae")
    scratch = prepared("vae", start="scratch")
    with torch.inference_mode():
        narrow, wide = (m.posterior(scene(8, SIZE)).log_variance for m in (model, scratch))  # type: ignore[operator]
    assert float(narrow.exp().max()) < 0.1 < float(wide.exp().min())


def test_a_start_from_scratch_looks_at_no_frame_and_has_no_linear_path() -> None:
    model, untouched = prepared("ae", start="scratch"), build("ae", start="scratch")
    for one, other in zip(
        model.state_dict().values(), untouched.state_dict().values(), strict=True
    ):
        assert torch.equal(one, other)
    assert not model.encoder.project.weight.any()  # type: ignore[union-attr]


def test_the_linear_path_is_nobodys_to_train() -> None:
    model = build_to_train(registry().architecture("vaegan"), SIZE, {"latent": 6, "width": 4})
    trained = {id(p) for players in ("encoder", "decoder") for p in model.players()[players]}
    for name, parameter in model.named_parameters():
        if name.startswith("discriminator."):
            continue
        linear = name.startswith(("encoder.project.", "decoder.compose."))
        assert (id(parameter) in trained) != linear


def test_a_film_of_fewer_frames_than_numbers_is_enough() -> None:
    frames = (scene(3, SIZE).permute(0, 2, 3, 1) * 255).round().to(torch.uint8).numpy()
    for shown in (frames, frames[:1], np.zeros_like(frames)):
        model = build("vae")
        model.prepare(TrainingFrames(film_from_frames(shown, holdout=0)))
        assert np.isfinite(error(model))


def test_of_a_long_film_some_frames_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    frames = TrainingFrames(scene_as_film(SIZE))
    whole = error(prepared("ae"))
    monkeypatch.setattr(component_networks, "MOST_FRAMES", len(frames) // 3)
    spread = component_networks.SpreadFrames(frames)
    assert len(spread) <= len(frames) // 3
    read = torch.cat(list(spread.batches(5)))
    assert len(read) == len(spread)
    assert error(prepared("ae")) == pytest.approx(whole, rel=0.5)


@pytest.mark.parametrize(
    ("size", "columns", "smallest", "maps"),
    [
        ("96x54", 8, (4, 6), 3),
        ("256x144", 8, (5, 8), 4),
        ("512x288", 8, (5, 8), 5),
        ("32x32", 8, (4, 4), 2),
        ("96x54", 16, (7, 12), 2),
        ("256x144", 16, (9, 16), 3),
        ("512x288", 16, (9, 16), 4),
    ],
)
def test_depth_follows_the_frame_size(
    size: str, columns: int, smallest: tuple[int, int], maps: int
) -> None:
    sizes = map_sizes(FrameSize.parse(size), columns)
    assert sizes[-1] == smallest
    assert len(sizes) == maps
