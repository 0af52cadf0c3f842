"""When each frame is shown, exact to a tick, in as few bytes as may be."""

from __future__ import annotations

import lzma
from fractions import Fraction

import numpy as np
import numpy.typing as npt

from zoo.archive.description import TICKS
from zoo.base.errors import BadInput
from zoo.films.time_code import FrameTimes

Ticks = npt.NDArray[np.int64]

_FILTERS = [{"id": lzma.FILTER_LZMA2, "preset": 9}]
_LONGEST = 1 << 34
"""Ticks from one frame to the next: more than a day."""


def steady_ticks(frames: int, rate: Fraction, first: int) -> Ticks:
    """Ticks of frames that follow one another at a rate (N,), each rounded to the nearest."""
    numbers = np.arange(frames, dtype=np.int64) * (TICKS * rate.denominator)
    return first + (2 * numbers + rate.numerator) // (2 * rate.numerator)


def pack_ticks(ticks: Ticks, rate: Fraction) -> bytes | None:
    """Code ascending ticks (N,); None where the first and the rate say them all.

    Else the steps between them, as 64-bit whole numbers, by LZMA. Raises ValueError where ticks do
    not ascend, or by more than a day.
    """
    steps = np.diff(ticks)
    if steps.size and not 1 <= steps.min() <= steps.max() < _LONGEST:
        raise ValueError("time codes ascend, by less than a day each")
    if np.array_equal(ticks, steady_ticks(len(ticks), rate, int(ticks[0]))):
        return None
    return lzma.compress(steps.astype("<u8").tobytes(), lzma.FORMAT_RAW, filters=_FILTERS)


def unpack_ticks(packed: bytes | None, frames: int, rate: Fraction, first: int) -> Ticks:
    """The ticks again: (N,). Raises BadInput where the bytes do not hold exactly that many."""
    if packed is None:
        return steady_ticks(frames, rate, first)
    wanted = 8 * (frames - 1)
    decoder = lzma.LZMADecompressor(lzma.FORMAT_RAW, filters=_FILTERS)
    try:
        flat = decoder.decompress(packed, max_length=wanted + 1)
    except (lzma.LZMAError, EOFError):
        raise BadInput("the time codes are damaged") from None
    if len(flat) != wanted:
        raise BadInput(f"the time codes are not those of {frames:,} frames")
    steps = np.frombuffer(flat, dtype="<u8")
    if steps.size and not 1 <= steps.min() <= steps.max() < _LONGEST:
        raise BadInput("the time codes do not ascend")
    return first + np.concatenate([[0], np.cumsum(steps.astype(np.int64))])


def ends_of(ticks: Ticks, rate: Fraction) -> float:
    """When the last frame's time is over, in seconds: it is shown as long as most are.

    A single frame is shown for one period of the rate.
    """
    if len(ticks) < 2:
        return float(ticks[0]) / TICKS + float(1 / rate)
    return FrameTimes.of(ticks / TICKS).ends
