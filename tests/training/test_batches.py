"""The same frames in the same order for every model."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tests.training.tiny_runs import CPU
from zoo.films.ingested_film import Film
from zoo.training.training_frames import BatchLoader, prefetch_pinned


def loader(
    film: Film, seed: int = 3, batch: int = 4, rank: int = 0, world_size: int = 1
) -> BatchLoader:
    return BatchLoader(film, batch, seed, CPU, rank, world_size)


def pixels(batches: BatchLoader, step: int) -> torch.Tensor:
    return batches.read(step)[-1]


def test_every_training_frame_is_loaded_once_per_epoch(film: Film) -> None:
    count = len(film.split.seen)
    batches = [loader(film).positions(step) for step in range(2 * count // 4)]
    positions = np.concatenate(batches)[:, 0]
    assert sorted(positions[:count]) == sorted(positions[count : 2 * count]) == list(range(count))
    assert list(positions[:count]) != list(positions[count : 2 * count])


def test_only_the_frames_that_a_model_takes_are_loaded(film: Film) -> None:
    count = len(film.split.seen) - 5
    some = BatchLoader(film, 4, 3, CPU, 0, 1, count)
    positions = np.concatenate([some.positions(step) for step in range(count)])[:, 0]
    assert sorted(positions[:count]) == list(range(count))
    assert positions.max() == count - 1
    wanted = film.store.array[film.split.seen[positions[:4]]]
    np.testing.assert_array_equal(pixels(some, 0).numpy(), wanted)


def test_a_batch_depends_on_seed_and_step_alone(film: Film) -> None:
    one, other = loader(film), loader(film)
    for step in (7, 0, 30, 7):
        one.positions(step)
    assert torch.equal(pixels(one, 12), pixels(other, 12))
    assert not torch.equal(pixels(loader(film, seed=4), 12), pixels(other, 12))


def test_batches_are_floats_from_zero_to_one_channels_last(film: Film) -> None:
    with loader(film).from_step(0) as batch_at:
        batch = batch_at(0)
    frames, number = batch.frames, film.split.seen[loader(film).positions(0)[0, 0]]
    assert batch.index[0] == number and batch.seconds[0] == pytest.approx(
        film.frame_seconds[number]
    )
    original = film.frames[number]
    assert frames.shape == (4, 3, film.size.height, film.size.width)
    assert frames.is_contiguous(memory_format=torch.channels_last)
    np.testing.assert_allclose(frames[0].numpy(), original / 255.0, atol=1e-6)


def test_ranks_get_slices_of_the_batch_of_one_process(film: Film) -> None:
    whole = pixels(loader(film), 5)
    parts = [pixels(loader(film, rank=rank, world_size=2), 5) for rank in range(2)]
    assert torch.equal(torch.cat(parts), whole)


def test_prefetching_gives_the_same_batches_in_order() -> None:
    class NotPinned(torch.Tensor):
        """Pinning needs a GPU; the rest of prefetching does not."""

        def pin_memory(self):
            return self

    def read(step: int) -> tuple[torch.Tensor, ...]:
        if step == 9:
            raise OSError("the disk went away")
        return (torch.full((2,), step).as_subclass(NotPinned),)

    with prefetch_pinned(read, 3, torch.device("cuda")) as prefetched:
        for step in range(3, 9):
            assert prefetched(step)[0].tolist() == [step, step]
        with pytest.raises(OSError, match="the disk went away"):
            prefetched(9)
    with prefetch_pinned(read, 3, torch.device("cuda")) as prefetched:
        assert prefetched(3)[0].tolist() == [3, 3]
    with prefetch_pinned(read, 3, CPU) as direct:
        assert direct is read
