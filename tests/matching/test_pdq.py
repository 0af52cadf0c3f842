"""PDQ in torch against the reference implementation, bit by bit, and how far hashes are apart."""

from __future__ import annotations

import numpy as np
import pdqhash
import pytest
import torch

from tests.matching.clips import Pixels, frames_of
from zoo.matching.pdq_hashes import HashBuffer, Hashes, distances, pairwise_distances, pdq

SIZES = [(256, 144), (96, 54), (128, 96), (64, 64), (251, 141), (129, 257), (33, 47)]
EDGE = 1e-5
"""A coefficient this far from the median has a sure bit; in standard deviations of all 256."""


def hashed(frames: Pixels) -> Hashes:
    return pdq(torch.from_numpy(frames).permute(0, 3, 1, 2))


def assert_as_the_reference(frames: Pixels) -> None:
    """Quality is equal, and so is every bit whose coefficient is not at the median's edge."""
    ours = hashed(frames)
    theirs = [pdqhash.compute(frame) for frame in frames]
    values = np.stack([pdqhash.compute_float(frame)[0] for frame in frames])
    median = np.sort(values, axis=1)[:, 127:128]
    sure = np.abs(values - median) > EDGE * values.std(axis=1, keepdims=True)
    # The median itself is one of the 256, and is at its own edge.
    assert sure.mean() > 0.99
    bits = np.stack([bits for bits, _ in theirs]).astype(bool)
    assert np.array_equal(ours.bits.numpy()[sure], bits[sure])
    assert ours.quality.tolist() == [quality for _, quality in theirs]


@pytest.mark.parametrize(("width", "height"), SIZES)
def test_real_frames_hash_as_the_reference_has_them(width: int, height: int) -> None:
    frames = np.concatenate(
        [frames_of(clip, width, height, 5) for clip in ("bikes", "bigbuckbunny", "carphone")]
    )
    assert len(frames) > 100
    assert_as_the_reference(frames)


@pytest.mark.parametrize(("width", "height"), [(256, 144), (97, 55)])
def test_noise_and_ramps_hash_as_the_reference_has_them(width: int, height: int) -> None:
    random = np.random.default_rng(0)
    noise = random.integers(0, 256, (8, height, width, 3)).astype(np.uint8)
    across = np.linspace(0, 255, width)[None, :, None] * np.array([1, 0.5, 0.8])
    down = np.linspace(30, 200, height)[:, None, None] * np.array([0.2, 1, 0.9])
    faint = (0.3 * noise[0] + 0.2 * (across + down)).astype(np.uint8)
    assert_as_the_reference(np.stack([*noise, faint]))


@pytest.mark.parametrize(("width", "height"), [(256, 144), (97, 55)])
def test_faint_frames_have_the_quality_that_the_reference_has(width: int, height: int) -> None:
    frames = frames_of("bikes", width, height, 5)
    contrast = np.linspace(0.02, 0.3, len(frames))[:, None, None, None]
    faint = (100 + contrast * frames).astype(np.uint8)
    assert_as_the_reference(faint)
    quality = hashed(faint).quality
    # Spread over the whole range, on either side of the threshold.
    assert (len(quality.unique()) > 15) and (quality.min() < 20) and (quality.max() > 80)


def test_plain_frames_have_no_quality_and_are_not_comparable() -> None:
    frames = np.stack([np.full((54, 96, 3), level, np.uint8) for level in (0, 90, 255)])
    assert [pdqhash.compute(frame)[1] for frame in frames] == [0, 0, 0]
    hashes = hashed(frames)
    assert hashes.quality.tolist() == [0, 0, 0]
    assert not hashes.comparable.any()


def test_quality_from_50_is_comparable() -> None:
    hashes = Hashes(torch.zeros(3, 256, dtype=torch.bool), torch.tensor([49, 50, 100]).byte())
    assert hashes.comparable.tolist() == [False, True, True]


def test_floats_are_taken_to_8_bits_and_batches_change_nothing() -> None:
    frames = frames_of("bikes", 96, 54, 25)
    whole = hashed(frames)
    floats = torch.from_numpy(frames).permute(0, 3, 1, 2) / 255
    shown = pdq(floats + 0.3 / 255)
    assert torch.equal(shown.bits, whole.bits)
    assert torch.equal(shown.quality, whole.quality)
    alone = [hashed(frames[i : i + 1]) for i in range(len(frames))]
    # A value at the threshold of its bit may fall on either side, by the kernel's rounding.
    apart = torch.cat([one.bits for one in alone]) != whole.bits
    assert apart.sum(dim=1).max() <= 2


def test_a_mirrored_frame_is_another_picture() -> None:
    frames = frames_of("bikes", 96, 54, 50)
    mirrored = hashed(np.ascontiguousarray(frames[:, :, ::-1]))
    assert int(distances(hashed(frames).bits, mirrored.bits).min()) > 64


def test_all_distances_are_counted_in_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("zoo.matching.pdq_hashes.ROWS", 3)
    monkeypatch.setattr("zoo.matching.pdq_hashes.COLUMNS", 4)
    random = torch.Generator().manual_seed(0)
    rows, columns = (torch.rand(n, 256, generator=random) < 0.5 for n in (8, 9))
    rows[2], rows[5] = columns[7], ~columns[1]
    counted = torch.full((8, 9), -1.0)
    for block in pairwise_distances(rows, columns):
        assert block.distances.numel() <= 12
        counted[block.rows, block.columns] = block.distances
    assert torch.equal(counted, (rows[:, None] != columns[None]).sum(dim=2).float())
    assert (counted[2, 7], counted[5, 1]) == (0, 256)


def test_31_bits_match_and_32_do_not() -> None:
    bits = torch.zeros(3, 256, dtype=torch.bool)
    bits[1, :31], bits[2, :32] = True, True
    (block,) = pairwise_distances(bits[:1], bits)
    assert block.close.tolist() == [[True, True, False]]


def test_hashes_come_back_from_a_buffer_as_they_went_in() -> None:
    hashes = hashed(frames_of("carphone", 64, 64, 10))
    buffer = HashBuffer()
    buffer.add(hashes[:5])
    buffer.add(hashes[5:])
    again = buffer.hashes(torch.device("cpu"))
    assert torch.equal(again.bits, hashes.bits)
    assert torch.equal(again.quality, hashes.quality)
