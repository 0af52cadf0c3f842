"""The same frames in the same order for every model."""

from __future__ import annotations

import numpy as np
import torch

from zoo.films.film import Film
from zoo.training.feed import FrameFeed

CPU = torch.device("cpu")


def feed(film: Film, seed: int = 3, batch: int = 4, rank: int = 0, ranks: int = 1) -> FrameFeed:
    return FrameFeed(film, batch, seed, CPU, rank, ranks)


def test_every_training_frame_comes_once_an_epoch_and_no_other(film: Film) -> None:
    count = len(film.split.seen)
    batches = [feed(film).positions(step) for step in range(2 * count // 4)]
    positions = np.concatenate(batches)
    assert sorted(positions[:count]) == sorted(positions[count : 2 * count]) == list(range(count))
    assert list(positions[:count]) != list(positions[count : 2 * count])


def test_a_batch_depends_on_seed_and_step_alone(film: Film) -> None:
    one, other = feed(film), feed(film)
    for step in (7, 0, 30, 7):
        one(step)
    assert torch.equal(one(12), other(12))
    assert not torch.equal(feed(film, seed=4)(12), other(12))


def test_frames_come_as_floats_from_zero_to_one_channels_last(film: Film) -> None:
    frames = feed(film)(0)
    position = feed(film).positions(0)[0]
    original = film.frames[film.split.seen[position]]
    assert frames.shape == (4, 3, film.size.height, film.size.width)
    assert frames.is_contiguous(memory_format=torch.channels_last)
    np.testing.assert_allclose(frames[0].numpy(), original / 255.0, atol=1e-6)


def test_ranks_share_the_batch_of_one_process(film: Film) -> None:
    whole = feed(film)(5)
    parts = [feed(film, rank=rank, ranks=2)(5) for rank in range(2)]
    assert torch.equal(torch.cat(parts), whole)
