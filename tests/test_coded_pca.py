"""Coded PCA beyond the contract: its first weights, and how it searches for latents."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from zoo_plugins.architectures.blocks.packed_levels import ByteCode
from zoo_plugins.architectures.blocks.warped_components import WarpedComponents, reduced, warped
from zoo_plugins.architectures.coded_pca import CodedPCA, CoordinateError, Decoder

import zoo
from zoo import Batch, FrameSize, Step
from zoo.conformance.fixtures import scene, scene_as_film
from zoo.evaluation.inference import film_batch
from zoo.films.ingested_film import film_from_frames
from zoo.plugins.model_building import build as build_model
from zoo.plugins.registry import registry
from zoo.training.training_frames import TrainingFrames

SIZE = FrameSize(64, 36)


def build(name: str = "coded_pca", **options: object) -> zoo.Autoencoder:
    torch.manual_seed(0)
    architecture = registry().architecture(name)
    quick = architecture.presets.get("quick", {})
    return build_model(architecture, SIZE, {"latent": 6, **quick, **options})


def errors(model: zoo.Autoencoder, frames: Tensor) -> Tensor:
    """Mean squared error per frame (B,)."""
    with torch.inference_mode():
        decoded = model.decode(model.encode(frames))
        return (decoded - frames).square().mean(dim=(1, 2, 3))


def prepared(**options: object) -> CodedPCA:
    model = build(**options).eval()
    assert isinstance(model, CodedPCA)
    model.prepare(TrainingFrames(scene_as_film(SIZE)))
    return model


def stirred(model: CodedPCA) -> CodedPCA:
    """As after a training: what the network adds depends on the latent."""
    with torch.no_grad():
        for weights in model.decoder.refinement.up[0].parameters():
            weights.mul_(30)
    return model


def test_it_starts_from_the_principal_components() -> None:
    """With a byte for each coordinate, and no network to speak of yet, it is PCA."""
    frames = scene(48, SIZE)
    model, pca = prepared(warps=0, search=0, coordinates_per_number=1), build("pca")
    pca.fit(TrainingFrames(scene_as_film(SIZE)))
    start = errors(model, frames).mean()
    assert float(start) == pytest.approx(float(errors(pca, frames).mean()), rel=0.05)


def test_several_coordinates_a_number_draw_nearer_than_one() -> None:
    frames = scene(48, SIZE)
    one, three = (
        errors(prepared(search=0, coordinates_per_number=n), frames).mean() for n in (1, 3)
    )
    assert three < 0.8 * one


def test_latents_are_whole_bytes() -> None:
    with torch.inference_mode():
        latent = prepared().encode(scene(9, SIZE))
    assert torch.equal(latent, latent.round()) and latent.min() >= 0 and latent.max() <= 255


def test_halfway_between_two_frames_lies_what_is_like_both() -> None:
    model = prepared(search=0)
    with torch.inference_mode():
        numbers = model.encode(scene(48, SIZE)[[5, 40]])
        ends, between = model.to_coordinates(numbers), []
        for share in (0.25, 0.5, 0.75):
            between.append(torch.lerp(ends[0], ends[1], share))
        decoded = model.decode(model.from_coordinates(torch.stack([ends[0], *between, ends[1]])))
        coded = model.decode(torch.lerp(numbers[0], numbers[1], 0.5)[None])
    first, last = decoded[0], decoded[-1]
    apart = [float((picture - last).square().mean()) for picture in decoded]
    assert apart == sorted(apart, reverse=True)
    middle = (first + last) / 2
    # Halfway between two numbers whose digits are names lies anything.
    assert (decoded[2] - middle).square().mean() < 0.2 * (coded[0] - middle).square().mean()


def test_a_coarse_linear_picture_is_the_frame_s_at_that_size() -> None:
    model = prepared(warps=0, search=0, coarse=2)
    frames = scene(48, SIZE)
    with torch.inference_mode():
        coordinates = model.projected(frames)
        picture = model.decoder.compose(coordinates).unflatten(1, (3, 18, 32))
    wanted = reduced(frames, FrameSize(32, 18))
    assert (picture - wanted).square().mean() < 0.1 * wanted.var(dim=0).mean()


def test_warped_frames_teach_the_components_of_what_the_film_does_not_show() -> None:
    film = scene_as_film(SIZE)
    chance = torch.randn(40, 4, generator=torch.Generator().manual_seed(1))
    unseen = warped(scene(40, SIZE), chance)
    plain, widened = WarpedComponents(SIZE, 6, 0.0), WarpedComponents(SIZE, 6, 0.5)
    plain.fit(TrainingFrames(film))
    widened.fit(TrainingFrames(film))
    assert errors(widened, unseen).mean() < 0.8 * errors(plain, unseen).mean()
    again = WarpedComponents(SIZE, 6, 0.5)
    again.fit(TrainingFrames(film))
    assert torch.equal(widened.components, again.components)


def test_errors_are_measured_against_those_of_the_linear_picture() -> None:
    frames = scene(48, SIZE)
    films = [
        film_from_frames(
            (contrast * 255 * frames).round().byte().permute(0, 2, 3, 1).contiguous().numpy()
        )
        for contrast in (1.0, 0.25)
    ]
    linear = [WarpedComponents(SIZE, 6, 0.0) for _ in films]
    for components, film in zip(linear, films, strict=True):
        components.fit(TrainingFrames(film))
    plain, faint = (
        components.typical_error(TrainingFrames(film))
        for components, film in zip(linear, films, strict=True)
    )
    assert faint == pytest.approx(0.25 * plain, rel=0.1)
    seen = film_batch(films[0], films[0].split.seen.tolist(), torch.device("cpu"))
    typical = errors(linear[0], seen).log().mean().exp().sqrt()
    assert plain == pytest.approx(float(typical), rel=0.1)


def test_a_warp_enlarges_moves_and_mirrors() -> None:
    frames = scene(3, SIZE)
    still = torch.tensor([[0.0, 0, 0, 1]])
    assert torch.allclose(warped(frames, still.expand(3, -1)), frames, atol=1e-5)
    mirroring = torch.tensor([[0.0, 0, 0, -1]])
    assert torch.allclose(warped(frames, mirroring.expand(3, -1)), frames.flip(-1), atol=1e-5)
    # Twice 0.3 of half of 64 pixels is 19.2.
    moved = warped(frames, torch.tensor([[0.0, 2 / 0.3 * 16 / 64, 0, 1]]).expand(3, -1))
    assert torch.allclose(moved[..., :-16], frames[..., 16:], atol=1e-4)


def test_a_search_draws_frames_nearer() -> None:
    model = stirred(prepared(search_feature=0))
    frames = scene(5, SIZE).flip(-1)
    plain = build(search=0).eval()
    plain.load_state_dict(model.state_dict())
    before, after = errors(plain, frames), errors(model, frames)
    assert (after <= before + 1e-6).all()
    assert after.mean() < 0.98 * before.mean()


def test_a_search_lowers_what_it_weighs_features_and_all() -> None:
    model = stirred(prepared(search_feature=2))
    frames = scene(5, SIZE).flip(-1)
    features = model.distance.features(frames)
    weight = torch.tensor(2 * 2.0) * (0.6 * model.typical_error) ** 2
    of_coordinates = CoordinateError(model.decoder, model.distance)

    def error(digits: Tensor) -> Tensor:
        return of_coordinates(model.code.levels_of(digits), frames, weight, *features)

    with torch.inference_mode():
        before = error(model.code.nearest(model.projected(frames)))
        after = error(model.code.unpack(model.encode(frames)))
    assert (after <= before + 1e-6).all()
    assert after.mean() < 0.98 * before.mean()


@pytest.mark.parametrize("count", [1, 3, 10])
@pytest.mark.parametrize("warps", [0.0, 0.4])
def test_a_film_of_few_frames_has_few_components(count: int, warps: float) -> None:
    model = build(warps=warps, search=0).eval()
    model.prepare(TrainingFrames(scene_as_film(SIZE, count=count, holdout=0)))
    error = errors(model, scene(count, SIZE))
    assert error.isfinite().all() and error.max() < 0.01


def test_a_coarse_picture_has_no_more_components_than_values() -> None:
    model = build(coarse=8, latent=40, search=0).eval()
    model.prepare(TrainingFrames(scene_as_film(SIZE, count=200)))
    assert errors(model, scene(48, SIZE)).isfinite().all()


def test_a_film_of_one_colour_takes_no_levels_at_all() -> None:
    frames = torch.full((20, 3, SIZE.height, SIZE.width), 0.4)
    film = film_from_frames((frames * 255).byte().permute(0, 2, 3, 1).contiguous().numpy())
    model = build(search=0).eval()
    assert isinstance(model, CodedPCA)
    model.prepare(TrainingFrames(film))
    assert (model.code.base == 1).all()
    assert errors(model, (frames * 255).byte() / 255).max() < 1e-3


def test_the_number_of_ranks_changes_nothing() -> None:
    model, frames = prepared(noise=0.5), scene(8, SIZE)

    def loss(rank: int, ranks: int) -> Tensor:
        torch.manual_seed(0)
        part = Batch.numbered(frames).part(rank, ranks)
        step = Step(torch.tensor(0.5), 0, torch.Generator().manual_seed(3), rank, ranks)
        return model.losses(part, step)["autoencoder"].total.detach()

    apart = (loss(0, 2) + loss(1, 2)) / 2
    assert float(apart) == pytest.approx(float(loss(0, 1)), rel=1e-4)


def test_warps_are_as_exact_in_a_training_of_16_bits() -> None:
    frames = scene(4, FrameSize(256, 144))
    chance = torch.randn(4, 4, generator=torch.Generator().manual_seed(1))
    with torch.autocast("cpu", torch.bfloat16):
        rounded = warped(frames, chance)
    assert torch.equal(rounded, warped(frames, chance))


def test_a_latent_is_its_frame_s_alone() -> None:
    model = stirred(prepared())
    frames = scene(7, SIZE)
    with torch.inference_mode():
        together = model.encode(frames)
        assert torch.equal(together, model.encode(frames))
        alone = torch.cat([model.encode(frame[None]) for frame in frames])
    # To the bit: a search by slopes makes much of the least difference in rounding.
    assert torch.equal(together, alone)
    assert all(weights.grad is None for weights in model.parameters())


def test_at_its_full_size_the_decoder_is_no_larger_than_that_of_2016() -> None:
    options = CodedPCA.Options.model_validate({})
    coarse = FrameSize(256 // options.coarse, 144 // options.coarse)
    count = options.coordinates_per_number * options.latent
    with torch.device("meta"):
        decoder = Decoder(FrameSize(256, 144), coarse, options.width, count)
        levels = ByteCode(count, options.latent).levels
    numbers = sum(weights.numel() for weights in decoder.state_dict().values())
    assert 15e6 < numbers + levels.numel() < 25.3e6
