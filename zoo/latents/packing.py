"""Quantised latents as bytes, without loss."""

from __future__ import annotations

import lzma

import numpy as np
import numpy.typing as npt

from zoo.errors import BadInput

# Levels have no structure of words, only neighbours in time: one context of literals.
_FILTERS = [{"id": lzma.FILTER_LZMA2, "preset": 9, "lc": 4, "lp": 0, "pb": 0}]
_VALUES, _DIFFERENCES = 0, 1


def pack(levels: npt.NDArray[np.uint8]) -> bytes:
    """Code levels, uint8 (N, L) in the film's order, by LZMA.

    Each dimension is laid out through time, as values or as differences from the frame before,
    whichever is shorter; the first byte says which.
    """
    through_time = np.ascontiguousarray(levels.T)
    if not through_time.size:
        return b""
    first = np.zeros((len(through_time), 1), dtype=np.uint8)
    layouts = {
        _VALUES: through_time,
        _DIFFERENCES: np.diff(through_time, axis=1, prepend=first),
    }
    coded = (
        bytes([layout]) + lzma.compress(rows.tobytes(), lzma.FORMAT_RAW, filters=_FILTERS)
        for layout, rows in layouts.items()
    )
    return min(coded, key=len)


def unpack(packed: bytes, frames: int, numbers: int) -> npt.NDArray[np.uint8]:
    """The levels again: uint8 (frames, numbers).

    Raises BadInput where the bytes do not hold exactly that many; no more than that is ever
    taken into memory.
    """
    wanted = frames * numbers
    if not packed and not wanted:
        return np.zeros((frames, numbers), dtype=np.uint8)
    if not packed or packed[0] not in (_VALUES, _DIFFERENCES):
        raise BadInput("the coded latents begin with no layout that is known")
    decoder = lzma.LZMADecompressor(lzma.FORMAT_RAW, filters=_FILTERS)
    try:
        # One byte more than wanted, so that too many are noticed.
        flat = decoder.decompress(packed[1:], max_length=wanted + 1)
    except lzma.LZMAError:
        raise BadInput("the coded latents are damaged") from None
    if len(flat) != wanted:
        raise BadInput(f"the coded latents do not hold {frames:,} frames of {numbers:,} numbers")
    rows = np.frombuffer(flat, dtype=np.uint8).reshape(numbers, frames)
    if packed[0] == _DIFFERENCES:
        rows = np.add.accumulate(rows, axis=1, dtype=np.uint8)
    return np.ascontiguousarray(rows.T)
