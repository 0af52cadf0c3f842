"""Frame times: time codes such as `00:01:02.480`, frame numbers to seconds and back, and ticks.

Ticks are times as whole numbers, as they are stored in video files and film files.
"""

from __future__ import annotations

import lzma
import re
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from zoo.base.errors import BadInput

_WRITTEN = re.compile(r"(?:(?:(\d{1,3}):)?(\d{1,3}):)?(\d{1,6}(?:\.\d{1,9})?)")
JITTER_SECONDS = 0.0021
"""Deviation above which a rate is variable; containers round times to about a millisecond."""


def parse_time_code(text: str) -> float:
    """Read `SS`, `MM:SS` or `HH:MM:SS`, with or without a fraction of a second, as seconds.

    Raises BadInput on anything else, and on minutes or seconds of 60 or more after a colon.
    """
    match = _WRITTEN.fullmatch(text.strip())
    if match:
        hours, minutes, seconds = match.groups()
        whole = (int(hours or 0), int(minutes or 0), float(seconds))
        if (hours is None or whole[1] < 60) and (minutes is None or whole[2] < 60):
            return whole[0] * 3600.0 + whole[1] * 60.0 + whole[2]
    raise BadInput(f"a time code must be HH:MM:SS.mmm, such as 00:01:02.480; not {text[:40]!r}")


def format_time_code(seconds: float) -> str:
    """Format seconds, at least 0, as `HH:MM:SS.mmm`, rounded to the millisecond."""
    total = max(0, round(seconds * 1000))
    minutes, thousandths = divmod(total, 60_000)
    return (
        f"{minutes // 60:02d}:{minutes % 60:02d}:{thousandths // 1000:02d}.{thousandths % 1000:03d}"
    )


def in_file_name(seconds: float) -> str:
    """Format a time code for a file name: dots for colons, no decimals for a whole second."""
    return format_time_code(seconds).replace(":", ".").removesuffix(".000")


@dataclass(frozen=True)
class FrameTimes:
    """The times of a film's frames: converts frame numbers to seconds and back.

    `seconds` (K,) are the times of the frames `known` (K,); both ascend, from frame 0. Other times
    are interpolated. `count` is the number of frames in the film.
    """

    known: npt.NDArray[np.int64]
    seconds: npt.NDArray[np.float64]
    count: int

    @classmethod
    def of(
        cls,
        seconds: Sequence[float] | npt.NDArray[np.float64],
        known: Sequence[int] | None = None,
        count: int | None = None,
    ) -> FrameTimes:
        """Make from the times of all frames, or of the frames `known` of `count`; at least two."""
        frames = np.arange(len(seconds)) if known is None else np.array(known, np.int64)
        return cls(frames, np.array(seconds, np.float64), count or len(seconds))

    @cached_property
    def period(self) -> float:
        """Seconds for which a frame is usually shown: the median, which ignores long stills."""
        return float(np.median(np.diff(self.seconds) / np.diff(self.known)))

    @property
    def begins(self) -> float:
        """The time of the first frame, in seconds from the start of the source."""
        return float(self.seconds[0])

    @property
    def ends(self) -> float:
        """The time at which the last frame ends."""
        return float(self.seconds[-1] + self.period * (self.count - self.known[-1]))

    def at(self, frame: Any) -> Any:
        """Return the time of a frame, or of an array of them; frame `count` gives the end."""
        return np.interp(frame, *self._corners)

    def frame_at(self, seconds: Any) -> Any:
        """Return the frame shown at a time, or at an array of times: 0 to `count` - 1."""
        frames, times = self._corners
        # The tolerance is for frame times that were rounded.
        found = np.floor(np.interp(np.asarray(seconds) + 1e-6, times, frames)).astype(np.int64)
        return np.clip(found, 0, self.count - 1)

    @property
    def _corners(self) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        return np.append(self.known, self.count), np.append(self.seconds, self.ends)


TICKS: Literal[120_000] = 120_000
"""Ticks per second; frame times at every usual rate, also 24000/1001, are whole ticks."""

Ticks = npt.NDArray[np.int64]


LARGEST_OF_RATE = 1_001_000
"""Largest numerator or denominator of such a fraction, up to this rate or frame period."""


def rate_fraction(rate: Fraction | float) -> Fraction:
    """Approximate a positive rate by a fraction of small numbers, such as 24000/1001, for a video.

    Below one frame per second the frame period is approximated instead, so that a rate of one frame
    in several hours does not become 0.
    """
    exact = Fraction(rate)
    above_1 = max(exact, 1 / exact)
    short = above_1.limit_denominator(max(1, min(1001, int(LARGEST_OF_RATE / above_1))))
    return short if exact >= 1 else 1 / short


_FILTERS = [{"id": lzma.FILTER_LZMA2, "preset": 9}]
_LONGEST = 1 << 34
"""Upper limit of the ticks between two frames, more than a day."""


def steady_ticks(frames: int, rate: Fraction, first: int) -> Ticks:
    """Ticks (N,) of frames at a constant rate, each rounded to the nearest tick."""
    numbers = np.arange(frames, dtype=np.int64) * (TICKS * rate.denominator)
    return first + (2 * numbers + rate.numerator) // (2 * rate.numerator)


def pack_ticks(ticks: Ticks, rate: Fraction) -> bytes | None:
    """Pack ascending ticks (N,): compress their differences, as 64-bit integers, by LZMA.

    Returns None if the rate is constant. Raises ValueError if ticks do not ascend, or if a
    difference is not below `_LONGEST`.
    """
    steps = np.diff(ticks)
    if steps.size and not 1 <= steps.min() <= steps.max() < _LONGEST:
        raise ValueError(f"its frame times must increase by less than {_LONGEST // TICKS:,} s each")
    if np.array_equal(ticks, steady_ticks(len(ticks), rate, int(ticks[0]))):
        return None
    return lzma.compress(steps.astype("<u8").tobytes(), lzma.FORMAT_RAW, filters=_FILTERS)


def unpack_ticks(packed: bytes | None, frames: int, rate: Fraction, first: int) -> Ticks:
    """Unpack ticks (N,); raises BadInput if the bytes do not hold exactly `frames` ticks."""
    if packed is None:
        return steady_ticks(frames, rate, first)
    wanted = 8 * (frames - 1)
    decoder = lzma.LZMADecompressor(lzma.FORMAT_RAW, filters=_FILTERS)
    try:
        flat = decoder.decompress(packed, max_length=wanted + 1)
    except (lzma.LZMAError, EOFError):
        raise BadInput("the time codes are damaged") from None
    if len(flat) != wanted:
        raise BadInput(f"the time codes do not match its {frames:,} frames")
    steps = np.frombuffer(flat, dtype="<u8")
    if steps.size and not 1 <= steps.min() <= steps.max() < _LONGEST:
        raise BadInput("the time codes are not in ascending order")
    return first + np.concatenate([[0], np.cumsum(steps.astype(np.int64))])


def ends_of(ticks: Ticks, rate: Fraction) -> float:
    """The end of the last frame in seconds; it is shown as long as the median frame.

    A single frame is shown for one period of the rate.
    """
    if len(ticks) < 2:
        return float(ticks[0]) / TICKS + float(1 / rate)
    return FrameTimes.of(ticks / TICKS).ends
