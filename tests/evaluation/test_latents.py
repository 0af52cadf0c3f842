"""Latents in few bits: rounding, packing without loss, and the file beside a run."""

from __future__ import annotations

import lzma
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from safetensors import safe_open
from safetensors.torch import save_file

from zoo.api.samples_and_latents import MOST_CODES, LatentSpec
from zoo.base.errors import BadInput
from zoo.evaluation import latents as files
from zoo.evaluation.latents import EncodedFilm, Quantiser, pack_levels, unpack_levels

CPU = torch.device("cpu")


@pytest.mark.parametrize("bits", [1, 2, 5, 8])
def test_rounding_moves_a_number_by_at_most_half_a_step(bits: int) -> None:
    numbers = torch.randn(200, 7, generator=torch.Generator().manual_seed(0))
    numbers[:, 3] = 0.25
    quantiser = Quantiser.spanning(numbers, bits)
    levels = quantiser.quantise(numbers)
    assert levels.max() == 2**bits - 1 and levels.min() == 0
    error = (quantiser.dequantise(levels) - numbers).abs()
    assert (error <= quantiser.step / 2 + 1e-6).all()
    assert error[:, 3].max() == 0


def test_what_lies_outside_the_training_films_range_is_cut() -> None:
    quantiser = Quantiser.spanning(torch.tensor([[0.0], [0.25], [1.0]]))
    cut = quantiser.dequantise(quantiser.quantise(torch.tensor([[-3.0], [0.5], [9.0]])))
    assert cut.flatten().tolist() == pytest.approx([0.0, 0.5, 1.0], abs=1 / 255)


def test_codes_of_another_film_are_kept_as_they_are() -> None:
    codes = torch.tensor([[44.0, 3.0], [243.0, 3.0], [100.0, 7.0]])
    quantiser = Quantiser.of(LatentSpec((2,), codes=256), codes)
    others = torch.tensor([[14.0, 255.0], [250.0, 0.0]])
    assert torch.equal(quantiser.dequantise(quantiser.quantise(others)), others)


def test_whole_numbers_that_are_not_declared_codes_have_the_range_that_they_span() -> None:
    numbers = torch.tensor([[44.0, 3.0], [243.0, 3.0], [100.0, 7.0]])
    quantiser = Quantiser.of(LatentSpec((2,)), numbers)
    assert quantiser.lowest.tolist() == [44, 3] and quantiser.codes is None
    assert Quantiser.spanning(numbers, 4).step[0] > 1


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from([np.uint8, np.uint16, np.uint32]).flatmap(
        lambda kind: arrays.arrays(kind, st.tuples(st.integers(0, 40), st.integers(0, 6)))
    )
)
def test_packing_loses_nothing(levels: np.ndarray) -> None:
    frames, numbers = levels.shape
    again = unpack_levels(pack_levels(levels), frames, numbers, levels.itemsize)
    assert again.dtype == levels.dtype
    np.testing.assert_array_equal(again, levels)


@pytest.mark.parametrize("shape", [(1, 6), (6, 1), (3, 4)])
def test_what_is_unpacked_can_be_written_to(shape: tuple[int, int]) -> None:
    # torch warns of a tensor over read-only memory.
    levels = np.arange(np.prod(shape), dtype=np.uint8).reshape(shape) * 37
    assert unpack_levels(pack_levels(levels), *shape).flags.writeable


def test_planes_of_wide_levels_cost_little_where_they_are_empty() -> None:
    levels = np.random.default_rng(0).integers(0, 200, (2000, 8)).astype(np.uint8)
    assert len(pack_levels(levels.astype(np.uint32))) < 1.02 * len(pack_levels(levels))


def test_what_was_packed_with_the_whole_dictionary_is_read() -> None:
    """As before the dictionary was cut to the size of what is packed."""
    filters = [{"id": lzma.FILTER_LZMA2, "preset": 9, "lc": 4, "lp": 0, "pb": 0}]
    levels = np.random.default_rng(0).integers(0, 9, (50, 4)).astype(np.uint8)
    coded = b"\0" + lzma.compress(levels.T.tobytes(), lzma.FORMAT_RAW, filters=filters)
    np.testing.assert_array_equal(unpack_levels(coded, 50, 4), levels)
    assert len(pack_levels(levels)) <= len(coded)


def test_slow_change_packs_as_differences_and_noise_as_values() -> None:
    ramp = (np.arange(600)[:, None] // 3 + np.arange(8)).astype(np.uint8)
    noise = np.random.default_rng(0).integers(0, 4, (600, 8)).astype(np.uint8)
    assert pack_levels(ramp)[0] == 1 and len(pack_levels(ramp)) < 400
    assert pack_levels(noise)[0] == 0 and len(pack_levels(noise)) < 600 * 8 / 3


@settings(max_examples=80, deadline=None)
@given(st.binary(max_size=200), st.integers(0, 30), st.integers(0, 5))
def test_foreign_bytes_are_an_error_or_the_right_shape(
    packed: bytes, frames: int, numbers: int
) -> None:
    try:
        levels = unpack_levels(packed, frames, numbers)
    except BadInput:
        return
    assert levels.shape == (frames, numbers)


def test_bytes_that_hold_too_much_are_refused_without_unpacking_them_all() -> None:
    filters = [{"id": lzma.FILTER_LZMA2, "preset": 9, "lc": 4, "lp": 0, "pb": 0}]
    bomb = b"\0" + lzma.compress(bytes(50_000_000), lzma.FORMAT_RAW, filters=filters)
    with pytest.raises(BadInput, match="do not hold 10 frames"):
        unpack_levels(bomb, 10, 4)


def test_the_file_keeps_latents_and_knows_its_film(tmp_path: Path) -> None:
    numbers = torch.randn(30, 6, generator=torch.Generator().manual_seed(1))
    latents = EncodedFilm(numbers, (2, 3), len(numbers)).quantised(Quantiser.spanning(numbers, 5))
    path = tmp_path / "latents.safetensors"
    files.save_latents(path, latents, "film a")
    again = files.load_latents(path, "film a", CPU)
    assert again.shape == (2, 3) and again.quantiser.bits == 5
    assert torch.equal(again.dequantised(slice(3, 9)), latents.dequantised(slice(3, 9)))
    assert again.dequantised(slice(3, 9)).shape == (6, 2, 3)
    with pytest.raises(BadInput, match="another film"):
        files.load_latents(path, "film b", CPU)


@pytest.mark.parametrize("codes", [1, 2, 256, 257, 1024, 65_536, 65_537, MOST_CODES])
def test_the_file_keeps_declared_codes_to_the_bit(tmp_path: Path, codes: int) -> None:
    numbers = torch.randint(codes, (30, 6), generator=torch.Generator().manual_seed(1)).float()
    numbers[0], numbers[1] = 0, codes - 1
    latents = EncodedFilm(numbers, (6,), len(numbers)).quantised(Quantiser.of_codes(codes, 6))
    path = tmp_path / "latents.safetensors"
    files.save_latents(path, latents, "film a")
    again = files.load_latents(path, "film a", CPU)
    assert torch.equal(again.dequantised(slice(None)), numbers)
    assert again.quantiser.codes == codes
    kept = unpack_levels(again.packed, 30, 6, again.quantiser.width)
    assert np.array_equal(kept, numbers.numpy())


def test_codes_beyond_those_that_a_file_declares_are_refused(tmp_path: Path) -> None:
    numbers = torch.full((3, 2), 999.0)
    path = tmp_path / "latents.safetensors"
    files.save_latents(
        path, EncodedFilm(numbers, (2,), len(numbers)).quantised(Quantiser.of_codes(1000, 2)), "f"
    )
    with safe_open(path, "pt") as file:
        tensors = {name: file.get_tensor(name) for name in ("levels", "lowest", "step")}
    save_file(
        tensors, path, {"shape": "[2]", "bits": "10", "codes": "990", "frames": "3", "film": "f"}
    )
    with pytest.raises(BadInput, match="other codes than the 990"):
        files.load_latents(path, "f", CPU)


def test_latents_are_coded_once(monkeypatch: pytest.MonkeyPatch) -> None:
    coded: list[int] = []
    monkeypatch.setattr(files, "pack_levels", lambda levels: coded.append(1) or pack_levels(levels))
    numbers = torch.randn(30, 6)
    latents = EncodedFilm(numbers, (6,), len(numbers)).quantised(Quantiser.spanning(numbers))
    assert latents.bytes_per_frame == latents.bytes_per_frame == len(latents.packed) / 30
    assert coded == [1]


@pytest.mark.parametrize(
    ("change", "value"),
    [
        *(("shape", "[7]"), ("shape", "x"), ("bits", "many"), ("levels", None), ("lowest", None)),
        *(("bits", "9"), ("codes", "4"), ("codes", "0"), ("codes", "many")),
    ],
)
def test_a_damaged_file_is_one_clear_line(tmp_path: Path, change: str, value: str | None) -> None:
    tensors = {
        "levels": torch.zeros(4, 6, dtype=torch.uint8),
        "lowest": torch.zeros(6),
        "step": torch.ones(6),
    }
    described = {"shape": "[6]", "bits": "8", "film": "f"}
    if value is None:
        tensors[change] = torch.zeros(2)
    else:
        described[change] = value
    path = tmp_path / "latents.safetensors"
    save_file(tensors, path, described)
    with pytest.raises(BadInput, match="holds no latents"):
        files.load_latents(path, "f", CPU)
    path.write_bytes(b"no safetensors")
    with pytest.raises(BadInput, match="holds no latents"):
        files.load_latents(path, "f", CPU)
