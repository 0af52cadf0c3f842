"""Which frames make the samples of a film, and where each frame is drawn."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest
import torch

import zoo
from zoo.api.samples_and_latents import FilmSamples, Sampling
from zoo.base.errors import BadInput
from zoo.evaluation.evaluate import ScoreSample
from zoo.evaluation.failure_slices import batch_dependence
from zoo.evaluation.inference import encode_film, reconstruct_frames, samples_of
from zoo.evaluation.latents import Quantiser
from zoo.films.ingested_film import Film, film_from_frames
from zoo.training.training_frames import BatchLoader

CPU = torch.device("cpu")
LENGTHS = [1, 2, 3, 4, 5, 9]
SIZE = zoo.FrameSize(32, 32)


def film(lengths: list[int], holdout: float = 0.0) -> Film:
    """A film of shots of these lengths; every frame is of a colour of its own."""
    numbers = np.arange(sum(lengths), dtype=np.uint8)
    frames = np.broadcast_to(numbers[:, None, None, None], (len(numbers), 32, 32, 3)).copy()
    frames[..., 1] = 200 - frames[..., 1]
    return film_from_frames(frames, cuts=np.cumsum(lengths)[:-1].tolist(), holdout=holdout)


class Stored(zoo.Autoencoder):
    """The pixels of every frame of a window of four, as codes."""

    name = "stored"
    summary = "keeps its frames as they are"
    window = 4
    largest = 0
    """Most frames that were encoded or drawn at once."""

    def latent_spec(self) -> zoo.LatentSpec:
        return zoo.LatentSpec((self.window, 3, 32, 32), codes=256)

    def encode(self, frames: torch.Tensor) -> torch.Tensor:
        self.see(len(frames) * Sampling.of(self).frames)
        return (frames * 255).round()

    def decode(self, latent: torch.Tensor) -> torch.Tensor:
        self.see(len(latent) * self.window)
        return latent / 255

    def see(self, frames: int) -> None:
        type(self).largest = max(self.largest, frames)


class Neighbours(Stored):
    """The pixels of a frame and of those around it."""

    name = "neighbours"
    window = 1
    context = (1, 2)

    def latent_spec(self) -> zoo.LatentSpec:
        return zoo.LatentSpec((4, 3, 32, 32), codes=256)

    def decode(self, latent: torch.Tensor) -> torch.Tensor:
        self.see(len(latent))
        return latent[:, 1] / 255


def every_order() -> list[list[int]]:
    """Each length alone, and all of them in some orders."""
    orders = itertools.islice(itertools.permutations(LENGTHS), 0, 720, 240)
    return [*([length] for length in LENGTHS), *map(list, orders)]


@pytest.mark.parametrize("window", [1, 2, 3, 4, 8])
@pytest.mark.parametrize("lengths", every_order(), ids=str)
def test_every_frame_is_drawn_once_and_in_its_place(lengths: list[int], window: int) -> None:
    samples = FilmSamples.of(Sampling(window), lengths)
    drawn = samples.indices.reshape(-1)
    count = sum(lengths)
    assert np.array_equal(drawn[samples.places], np.arange(count))
    assert len(samples) == sum(-(-length // window) for length in lengths)
    starts = np.cumsum([0, *lengths])
    shot_of = np.searchsorted(starts, samples.indices, side="right")
    assert (shot_of == shot_of[:, :1]).all(), "a sample reaches over a cut"
    # What is beyond a shot's end is its last frame again.
    beyond = np.setdiff1d(np.arange(len(drawn)), samples.places)
    assert np.isin(drawn[beyond], starts[1:] - 1).all()


@pytest.mark.parametrize("window", [1, 4, 32, 100])
def test_frames_are_drawn_few_at_a_time(window: int) -> None:
    samples = FilmSamples.of(Sampling(window), LENGTHS * 4)
    drawn = samples.indices.reshape(-1, window)
    for start, stop in ((0, 32), (5, 6), (20, 52), (64, 96), (0, 96)):
        found = []
        for which, wanted in samples.decoding_batches(slice(start, stop)):
            assert len(which) * window <= max(32, window)
            found += drawn[which].reshape(-1)[wanted].tolist()
        assert found == list(range(start, stop))
    some = np.array([0, 3, 4, 23, 24, 50, 95])
    parts = [drawn[which].reshape(-1)[wanted] for which, wanted in samples.decoding_batches(some)]
    assert np.array_equal(np.concatenate(parts), some)


def test_neighbours_beyond_a_shot_are_its_own_last_frames() -> None:
    samples = FilmSamples.of(Sampling(before=1, after=2), [1, 2, 4]).indices
    assert samples.tolist() == [
        [0, 0, 0, 0],
        [1, 1, 2, 2],
        [1, 2, 2, 2],
        *([3, 3, 4, 5], [3, 4, 5, 6], [4, 5, 6, 6], [5, 6, 6, 6]),
    ]


@pytest.mark.parametrize("sampling", [Sampling(4), Sampling(3), Sampling(before=1, after=1)])
@pytest.mark.parametrize("holdout", [0.0, 0.1, 0.5])
@pytest.mark.parametrize("taken", [None, 20, 1])
def test_training_keeps_to_training_frames_of_one_shot(
    sampling: Sampling, holdout: float, taken: int | None
) -> None:
    lengths = [*LENGTHS, 30, 1, 60]
    one = film(lengths, holdout)
    taken = taken and min(taken, len(one.split.seen))
    feed = BatchLoader(one, 8, 0, CPU, taken=taken, sampling=sampling)
    numbers = one.split.seen[:taken][feed.samples]
    shot_of = np.searchsorted(np.cumsum(lengths), numbers, side="right")
    assert (shot_of == shot_of[:, :1]).all(), "a sample reaches over a cut"
    steps = np.diff(numbers, axis=1)
    assert np.isin(steps, (0, 1)).all(), "a sample reaches over held-out frames"
    assert set(numbers.reshape(-1)) == set(one.split.seen[:taken]), "not all is trained on"


@pytest.mark.parametrize("model", [Stored, Neighbours])
def test_a_batch_says_which_frames_it_has(model: type[Stored]) -> None:
    one, sampling = film([5, 9, 2, 40], 0.1), Sampling.of(model)
    whole = BatchLoader(one, 16, 3, CPU, sampling=sampling)
    halves = [BatchLoader(one, 16, 3, CPU, rank, 2, sampling=sampling) for rank in (0, 1)]
    with whole.from_step(0) as batch_of:
        batches = [batch_of(step) for step in range(5)]
    parts = []
    for feed in halves:
        with feed.from_step(0) as batch_of:
            parts.append([batch_of(step) for step in range(5)])
    for step, batch in enumerate(batches):
        shape = (4, 4) if sampling.window > 1 else (16,)
        assert batch.index.shape == batch.seconds.shape == shape
        shown = batch.frames if sampling.window > 1 else batch.frames[:, sampling.before]
        assert torch.equal((shown[..., 0, 0, 0] * 255).round().long(), batch.index)
        assert torch.allclose(batch.seconds, batch.index / 25, atol=1e-4)
        together = torch.cat([part[step].frames for part in parts])
        assert torch.equal(together, batch.frames), "ranks share a batch"


@pytest.mark.parametrize("model", [Stored, Neighbours])
@pytest.mark.parametrize("lengths", every_order(), ids=str)
def test_what_is_stored_comes_back_as_it_was(model: type[Stored], lengths: list[int]) -> None:
    one = film(lengths)
    network = model(SIZE, zoo.Options())
    encoded = encode_film(network, one, CPU)
    latents = encoded.quantised(Quantiser.of(network.latent_spec(), encoded.numbers))
    assert latents.frames == len(one)
    drawn = reconstruct_frames(network, samples_of(one, network), slice(0, len(one)), latents)
    pixels = (drawn * 255).round().byte().permute(0, 2, 3, 1).numpy()
    assert np.array_equal(pixels, one.store.array)


class ManyShots(Stored):
    """A window that is longer than every shot."""

    name = "many_shots"
    window = 32


@pytest.mark.parametrize("model", [ManyShots, Neighbours])
def test_no_more_is_encoded_or_drawn_at_once_than_a_batch(model: type[Stored]) -> None:
    one = film([1] * 60 + [3] * 10)
    network = model(SIZE, zoo.Options())
    model.largest = 0
    encoded = encode_film(network, one, CPU)
    latents = encoded.quantised(Quantiser.of(network.latent_spec(), encoded.numbers))
    samples = samples_of(one, network)
    for start in range(0, len(one), 32):
        reconstruct_frames(network, samples, slice(start, min(len(one), start + 32)), latents)
    parts = {"seen": np.arange(len(one))}
    coded = [(latents, 1.0), (replace(latents), 1.0)]
    ScoreSample.of(network, one, parts, [], CPU).rate_points(coded, {})  # type: ignore[arg-type]
    batch_dependence(network, one, latents.quantiser, CPU)
    assert model.largest <= 32


@pytest.mark.parametrize(
    "declared",
    [
        *({"window": wrong} for wrong in (0, -4, 2.0, True, 257, None)),
        *({"context": wrong} for wrong in ((1,), 1, (1, -1), (0.5, 1), [1, 1], (200, 0), None)),
        {"window": 4, "context": (1, 1)},
    ],
    ids=str,
)
def test_what_cannot_be_declared_names_the_model(declared: dict[str, object]) -> None:
    model = type("Wrong", (Stored,), {"name": "wrong", "window": 1, **declared})
    with pytest.raises(BadInput, match=r"^wrong: a (window|context|model) (must|may) "):
        Sampling.of(model)
