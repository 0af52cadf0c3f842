"""Statistics gathered in one pass, plain frames, batch dependence, rate and distortion."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

import zoo
from zoo.api.metric import Metric
from zoo.base.errors import BadInput
from zoo.base.frame_size import FrameSize
from zoo.evaluation.evaluate import (
    BIT_DEPTHS,
    ScoreSample,
    coarser_latents,
)
from zoo.evaluation.failure_slices import ShotSpread, batch_dependence, score_plain_frames
from zoo.evaluation.film_scores import score_film
from zoo.evaluation.inference import (
    batch_slices,
    encode_film,
    film_batch,
    reconstruct_frames,
    round_to_8_bits,
    samples_of,
)
from zoo.evaluation.latents import Quantiser
from zoo.evaluation.metrics import MetricSet, parts_of, score_reconstruction
from zoo.films.ingested_film import Film, film_from_frames
from zoo.matching.pdq_hashes import pdq
from zoo.training.weight_rounding import rounded

CPU = torch.device("cpu")
SIZE = FrameSize(12, 8)


class Thumbnail(zoo.Autoencoder):
    """Its latent is the frame at a quarter of the size; `skew` leans on the batch's mean."""

    name = "thumbnail"
    summary = "for this test"
    skew = 0.0

    def latent_spec(self) -> zoo.LatentSpec:
        return zoo.LatentSpec((3, self.size.height // 4, self.size.width // 4))

    def encode(self, frames: Tensor) -> Tensor:
        small = torch.nn.functional.avg_pool2d(frames, 4)
        return small + self.skew * frames.mean(dim=0, keepdim=True).mean()

    def decode(self, latent: Tensor) -> Tensor:
        return latent.repeat_interleave(4, 2).repeat_interleave(4, 3)


class MeanError(Metric):
    name = "error"
    label = "Error"
    source = "this test"

    def __call__(self, originals: Tensor, reconstructions: Tensor) -> Tensor:
        return (originals - reconstructions).abs().flatten(1).mean(1)


def a_film(frames: int = 90, cuts: tuple[int, ...] = (40, 70)) -> Film:
    noise = np.random.default_rng(0).integers(0, 255, (frames, 2, 3, 3))
    enlarged = noise.repeat(4, 1).repeat(4, 2).astype(np.uint8)
    return film_from_frames(enlarged, cuts=cuts, holdout=0.2)


def model(skew: float = 0.0) -> Thumbnail:
    made = Thumbnail(SIZE, zoo.Options(latent=18))
    made.skew = skew
    return made


def accumulate(film: Film, change: Callable[[Tensor, slice], Tensor], spread: ShotSpread) -> None:
    for indices in batch_slices(film):
        spread.add(indices, change(film_batch(film, indices, CPU), indices))


def test_hashes_are_those_of_the_reconstructed_frames_in_order() -> None:
    film = a_film()
    batches = (1 - film_batch(film, indices, CPU) for indices in batch_slices(film))
    found = score_film(film, batches, film.name, MetricSet([], {}, []), CPU).hashes
    reconstructed = 1 - film_batch(film, slice(0, len(film)), CPU)
    # Batches of another size may round otherwise, at the threshold of a bit.
    assert (found.bits != pdq(reconstructed).bits).sum(dim=1).max() <= 2


def test_spread_within_shots_is_that_of_numpy() -> None:
    film, spread = a_film(), ShotSpread(a_film(), CPU)
    accumulate(film, lambda frames, _: frames * 0.5, spread)
    every = spread.collapse(only_still=False)
    assert every is not None and every.shots == 3
    wanted = np.mean(
        [film.store.array[s.start : s.stop].astype(float).std(axis=0).mean() for s in film.shots]
    )
    assert every.source_spread == pytest.approx(wanted, rel=1e-4)
    assert every.ratio == pytest.approx(0.5, rel=1e-4)


def test_frames_that_are_not_numbers_are_one_line_and_in_no_mean() -> None:
    class Broken(Thumbnail):
        def decode(self, latent: Tensor) -> Tensor:
            frames = super().decode(latent)
            frames[-1] = float("nan")
            return frames

    film, network = a_film(), Broken(SIZE, zoo.Options(latent=18))
    encoded = encode_film(network, film, CPU)
    latents = encoded.quantised(Quantiser.spanning(encoded.numbers))
    said = "^thumbnail: decode gave frames with values that are not numbers$"
    with pytest.raises(BadInput, match=said):
        reconstruct_frames(network, samples_of(film, network), slice(0, 5), latents)


def test_a_still_shot_that_has_become_one_picture_shows() -> None:
    # The first of four shots hardly moves; its reconstruction does not move at all.
    frames = np.random.default_rng(1).integers(0, 255, (80, 8, 12, 3)).astype(np.uint8)
    frames[:20] = 100 + frames[:20] // 64
    film = film_from_frames(frames, cuts=[20, 40, 60], holdout=0)

    def frozen(batch: Tensor, indices: slice) -> Tensor:
        batch = batch.clone()
        batch[[i < 20 for i in range(indices.start, indices.stop)]] = 0.4
        return batch

    spread = ShotSpread(film, CPU)
    accumulate(film, frozen, spread)
    still, every = spread.collapse(only_still=True), spread.collapse(only_still=False)
    assert still is not None and every is not None
    assert still.shots == 1 and still.ratio < 0.01
    assert still.source_spread == pytest.approx(frames[:20].astype(float).std(0).mean(), rel=1e-3)
    assert every.ratio > 0.95


def test_a_film_in_which_nothing_ever_moves_has_no_spread() -> None:
    film = film_from_frames(np.full((40, 8, 12, 3), 7, np.uint8), cuts=[20], holdout=0)
    spread = ShotSpread(film, CPU)
    accumulate(film, lambda frames, _: frames, spread)
    assert spread.collapse(only_still=False) is None


def test_plain_frames_come_back_as_the_model_reconstructs_them() -> None:
    quantiser = Quantiser.spanning(torch.stack([torch.zeros(18), torch.full((18,), 0.5)]))
    black, grey, white = score_plain_frames(model(), quantiser, [MeanError(CPU)], CPU)
    assert (black.name, black.reconstructed, black.reconstructed_sd) == ("black", (0, 0, 0), 0)
    assert grey.reconstructed == pytest.approx((128, 128, 128), abs=1)
    # The training film was never brighter than one half: white cannot be stored.
    assert white.level == 255 and white.reconstructed == pytest.approx((128, 128, 128), abs=1)
    assert white.scores["error"] == pytest.approx(0.5, abs=0.01)


def test_a_model_that_treats_frames_alone_has_no_batch_dependence() -> None:
    film = a_film()
    quantiser = Quantiser.spanning(encode_film(model(), film, CPU).numbers)
    found = batch_dependence(model(), film, quantiser, CPU)
    assert (found.latent_difference, found.levels, found.differing) == (0, 0, 0)


def test_batch_dependence_is_measured() -> None:
    film = a_film()
    quantiser = Quantiser.spanning(encode_film(model(), film, CPU).numbers)
    found = batch_dependence(model(skew=0.5), film, quantiser, CPU)
    assert found.latent_difference is not None and found.latent_difference > 0.01
    assert found.levels > 1
    assert found.differing is not None and found.differing > 0.1


def test_fewer_bits_cost_fewer_bytes_and_more_error() -> None:
    film, metrics = a_film(), [MeanError(CPU)]
    encoded = encode_film(model(), film, CPU)
    latents = encoded.quantised(Quantiser.spanning(encoded.numbers))
    network = model()
    samples = samples_of(film, network)
    pictures = (
        reconstruct_frames(network, samples, frames, latents) for frames in batch_slices(film)
    )
    scores = score_reconstruction(film, pictures, metrics, latents.levels.device)
    parts = parts_of(film, film.name)
    coded = [(each, each.bytes_per_frame) for each in (latents, *coarser_latents(encoded, latents))]
    points = ScoreSample.of(model(), film, parts, metrics, CPU).rate_points(coded, scores)
    assert [point.bits for point in points] == [8, *BIT_DEPTHS]
    sizes = [point.coded_bytes for point in points]
    errors = [point.scores["error"]["held_out"] for point in points]
    assert sizes == sorted(sizes, reverse=True) and len(set(sizes)) == len(sizes)
    assert errors == sorted(errors)
    assert points[0].kilobits_per_second == pytest.approx(sizes[0] * 8 * 25 / 1000)
    # The first point is that of the scores everywhere else, on the same frames.
    held_out = film.split.held_out
    assert errors[0] == pytest.approx(scores["error"][held_out].mean())


class Mixing(Thumbnail):
    """Its decoder mixes colours by a matrix, which is a buffer, and shifts them by a bias."""

    name = "mixing"

    def __init__(self, size: FrameSize, options: zoo.Options) -> None:
        super().__init__(size, options)
        turns = torch.linalg.qr(torch.randn(3, 3, generator=torch.Generator().manual_seed(0)))[0]
        self.register_buffer("colours", turns)
        self.register_buffer("unused", turns.clone())
        self.register_buffer("bias", torch.rand(3))

    def encode(self, frames: Tensor) -> Tensor:
        shifted = super().encode(frames) - self.bias[:, None, None]
        return torch.einsum("dc,bdhw->bchw", self.colours, shifted)

    def decode(self, latent: Tensor) -> Tensor:
        mixed = torch.einsum("dc,bchw->bdhw", self.colours, latent)
        return super().decode(mixed + self.bias[:, None, None])


def test_decoders_of_fewer_bits_are_scored_with_the_same_latents_and_put_back() -> None:
    film, metrics, network = a_film(), [MeanError(CPU)], Mixing(SIZE, zoo.Options(latent=18))
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    encoded = encode_film(network, film, CPU)
    latents = encoded.quantised(Quantiser.spanning(encoded.numbers))
    parts = parts_of(film, film.name)

    def error() -> float:
        batches = list(batch_slices(film))
        samples = samples_of(film, network)
        return float(
            torch.cat(
                [
                    (film_batch(film, b, CPU) - reconstruct_frames(network, samples, b, latents))
                    .abs()
                    .flatten(1)
                    .mean(1)
                    for b in batches
                ]
            )[film.split.held_out].mean()
        )

    sample = ScoreSample.of(network, film, parts, metrics, CPU)
    found = sample.decoder_points(latents, 32)
    assert [(p.weight_bits, p.decoder_bytes) for p in found] == [
        (16, 2 * 9 + 3 * 8 + 3 * 4),
        (8, 9 + 3 * 8 + 3 * 4),
    ]
    after = network.state_dict()
    assert all(torch.equal(after[name], tensor) for name, tensor in before.items())
    for point in found:
        with rounded(network, {"colours"}, point.weight_bits):
            assert not torch.equal(network.colours, before["colours"])
            assert point.scores["error"]["held_out"] == pytest.approx(error(), rel=1e-5)
    assert sample.decoder_points(latents, 8) == []


def test_a_latent_that_is_not_finite_is_an_error() -> None:
    broken = model()
    broken.encode = lambda frames: frames[:, :, :2, :3] / 0  # type: ignore[method-assign]
    with pytest.raises(zoo.ZooError, match="not finite"):
        encode_film(broken, a_film(), CPU)


def test_frames_are_rounded_to_whole_levels() -> None:
    shown = round_to_8_bits(torch.tensor([-1.0, 0.5, 2.0])) * 255
    assert shown.tolist() == pytest.approx([0, 128, 255])
