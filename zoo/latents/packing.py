"""Quantised latents as bytes, without loss."""

from __future__ import annotations

import lzma
from typing import Any

import numpy as np
import numpy.typing as npt

from zoo.base.errors import BadInput

Levels = npt.NDArray[np.unsignedinteger[Any]]
"""Whole numbers from 0 in 8, 16 or 32 bits each."""

# Levels have no structure of words, only neighbours in time: one context of literals.
_FILTER: dict[str, Any] = {"id": lzma.FILTER_LZMA2, "preset": 9, "lc": 4, "lp": 0, "pb": 0}
_LARGEST_DICTIONARY, _SMALLEST_DICTIONARY = 64 << 20, 4096
"""Bytes; the first is that of preset 9."""
_QUICK = 1
"""The preset that says which layout is shorter: it takes a tenth of the time of preset 9."""
_CLOSE = 1.05
"""Layouts of which neither is longer by more than this are coded both."""
_VALUES, _DIFFERENCES = 0, 1


def width_of(bits: int) -> int:
    """Bytes of a level that has so many bits: 1, 2 or 4."""
    return 1 if bits <= 8 else 2 if bits <= 16 else 4


def pack(levels: Levels) -> bytes:
    """Code levels, uint8, uint16 or uint32 (N, L) in the film's order, by LZMA.

    Each dimension is laid out through time, as values or as differences from the frame before
    (modulo the type's range), whichever is shorter; the first byte says which. Levels of several
    bytes are split into planes: the lowest bytes of all of them, then the next ones.
    """
    through_time = np.ascontiguousarray(levels.T)
    if not through_time.size:
        return b""
    first = np.zeros((len(through_time), 1), dtype=through_time.dtype)
    layouts = {
        _VALUES: _planes(through_time),
        _DIFFERENCES: _planes(np.diff(through_time, axis=1, prepend=first)),
    }
    sizes = {layout: len(_coded(data, preset=_QUICK)) for layout, data in layouts.items()}
    hopeful = [n for n in layouts if sizes[n] <= _CLOSE * min(sizes.values())]
    return min((bytes([n]) + _coded(layouts[n]) for n in hopeful), key=len)


def unpack(packed: bytes, frames: int, numbers: int, width: int = 1) -> Levels:
    """The levels again: (frames, numbers), unsigned, of `width` bytes each.

    Raises BadInput where the bytes do not hold exactly that many; no more than that is ever
    taken into memory.
    """
    kind = np.dtype(f"<u{width}")
    wanted = frames * numbers * width
    if not packed and not wanted:
        return np.zeros((frames, numbers), dtype=kind)
    if not packed or packed[0] not in (_VALUES, _DIFFERENCES):
        raise BadInput("the coded latents begin with no layout that is known")
    decoder = lzma.LZMADecompressor(lzma.FORMAT_RAW, filters=[_FILTER])
    try:
        # One byte more than wanted, so that too many are noticed.
        flat = decoder.decompress(packed[1:], max_length=wanted + 1)
    except lzma.LZMAError:
        raise BadInput("the coded latents are damaged") from None
    if len(flat) != wanted:
        raise BadInput(f"the coded latents do not hold {frames:,} frames of {numbers:,} numbers")
    planes = np.frombuffer(flat, dtype=np.uint8).reshape(width, numbers, frames)
    rows = np.ascontiguousarray(np.moveaxis(planes, 0, -1)).view(kind)[..., 0]
    if packed[0] == _DIFFERENCES:
        rows = np.add.accumulate(rows, axis=1, dtype=kind)
    return np.ascontiguousarray(rows.T)


def _planes(rows: Levels) -> bytes:
    """The lowest byte of every level, then the next one of every level, and so on."""
    width = rows.dtype.itemsize
    split = rows.astype(f"<u{width}").view(np.uint8).reshape(*rows.shape, width)
    return np.moveaxis(split, -1, 0).tobytes()


def _coded(data: bytes, **settings: int) -> bytes:
    # A dictionary beyond the data changes no byte, and clearing its tables takes longer than
    # coding a short film. Decoding takes any up to that of `_FILTER`.
    size = min(max(len(data), _SMALLEST_DICTIONARY), _LARGEST_DICTIONARY)
    chosen = {**_FILTER, "dict_size": size, **settings}
    return lzma.compress(data, lzma.FORMAT_RAW, filters=[chosen])
