"""The same frames in the same order for every model."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from zoo.films.film import Film
from zoo.training.batches import FrameFeed, read_ahead

CPU = torch.device("cpu")


def feed(film: Film, seed: int = 3, batch: int = 4, rank: int = 0, ranks: int = 1) -> FrameFeed:
    return FrameFeed(film, batch, seed, CPU, rank, ranks)


def pixels(of: FrameFeed, step: int) -> torch.Tensor:
    return of.read(step)[-1]


def test_every_training_frame_comes_once_an_epoch_and_no_other(film: Film) -> None:
    count = len(film.split.seen)
    batches = [feed(film).positions(step) for step in range(2 * count // 4)]
    positions = np.concatenate(batches)[:, 0]
    assert sorted(positions[:count]) == sorted(positions[count : 2 * count]) == list(range(count))
    assert list(positions[:count]) != list(positions[count : 2 * count])


def test_frames_that_a_model_does_not_take_never_come(film: Film) -> None:
    count = len(film.split.seen) - 5
    some = FrameFeed(film, 4, 3, CPU, 0, 1, count)
    positions = np.concatenate([some.positions(step) for step in range(count)])[:, 0]
    assert sorted(positions[:count]) == list(range(count))
    assert positions.max() == count - 1
    wanted = film.store.array[film.split.seen[positions[:4]]]
    np.testing.assert_array_equal(pixels(some, 0).numpy(), wanted)


def test_a_batch_depends_on_seed_and_step_alone(film: Film) -> None:
    one, other = feed(film), feed(film)
    for step in (7, 0, 30, 7):
        one.positions(step)
    assert torch.equal(pixels(one, 12), pixels(other, 12))
    assert not torch.equal(pixels(feed(film, seed=4), 12), pixels(other, 12))


def test_frames_come_as_floats_from_zero_to_one_channels_last(film: Film) -> None:
    with feed(film).from_step(0) as batch_of:
        batch = batch_of(0)
    frames, number = batch.frames, film.split.seen[feed(film).positions(0)[0, 0]]
    assert batch.index[0] == number and batch.seconds[0] == pytest.approx(
        film.frame_seconds[number]
    )
    original = film.frames[number]
    assert frames.shape == (4, 3, film.size.height, film.size.width)
    assert frames.is_contiguous(memory_format=torch.channels_last)
    np.testing.assert_allclose(frames[0].numpy(), original / 255.0, atol=1e-6)


def test_ranks_share_the_batch_of_one_process(film: Film) -> None:
    whole = pixels(feed(film), 5)
    parts = [pixels(feed(film, rank=rank, ranks=2), 5) for rank in range(2)]
    assert torch.equal(torch.cat(parts), whole)


def test_reading_ahead_gives_the_same_batches_in_order() -> None:
    class NotPinned(torch.Tensor):
        """Pinning needs a GPU; all else of reading ahead does not."""

        def pin_memory(self):
            return self

    def read(step: int) -> tuple[torch.Tensor, ...]:
        if step == 9:
            raise OSError("the disk went away")
        return (torch.full((2,), step).as_subclass(NotPinned),)

    with read_ahead(read, 3, torch.device("cuda")) as ahead:
        for step in range(3, 9):
            assert ahead(step)[0].tolist() == [step, step]
        with pytest.raises(OSError, match="the disk went away"):
            ahead(9)
    with read_ahead(read, 3, torch.device("cuda")) as ahead:
        assert ahead(3)[0].tolist() == [3, 3]
    with read_ahead(read, 3, CPU) as direct:
        assert direct is read
