"""Times of sound on the film's time line, which its pictures made."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

# Sound may begin a little before the picture that it belongs to, and waver by as much, in seconds.
_TOLERANCE = 1.0


@dataclass(frozen=True)
class Section:
    """A stretch of one file whose clock runs on without a break."""

    starts: float
    """Seconds on the film's time line at which its pictures begin."""
    shift: float
    """What is added to a time of the file to have that of the film, in seconds."""


class SoundClock:
    """Gives packets of one file their times; joins sound where the pictures were joined.

    Where the clock of the sound alone breaks, by a step back or by a leap to after the last
    picture, the sound goes on without a gap. `sections` are in order, at least one; `ends` is when
    the last picture's time is over. All times are in seconds.
    """

    def __init__(self, sections: Sequence[Section], ends: float) -> None:
        self._sections = sections
        self._ends = ends
        self._now = 0
        self._mended = 0.0
        self._last: float | None = None
        self.joined = False
        """Whether sound was moved or left out because of a break."""

    def source_time(self, film_time: float) -> float | None:
        """A time of the film on the file's clock; None where that clock breaks and says nothing."""
        return film_time - self._sections[0].shift if len(self._sections) == 1 else None

    def time(self, stamp: float, length: float) -> float | None:
        """When the next packet, which lasts `length`, is heard; None if it belongs to no picture.

        `stamp` is its time on the file's clock.
        """
        found = self._place(stamp)
        if found is not None:
            self._last = found + length
        return found

    def _place(self, stamp: float) -> float | None:
        at = stamp + self._sections[self._now].shift + self._mended
        last = at if self._last is None else self._last
        broken = at < last - _TOLERANCE
        if not broken and at < self._until(self._now):
            beyond = at > self._ends + _TOLERANCE and at > last + _TOLERANCE
            return self._continued(at, last) if beyond else at
        for number in range(self._now + 1, len(self._sections)):
            section = self._sections[number]
            there = stamp + section.shift
            earliest = max(section.starts, last if broken else section.starts) - _TOLERANCE
            if earliest <= there < self._until(number):
                self._now, self._mended, self.joined = number, 0.0, True
                return there
        if broken:
            return self._continued(at, last)
        self.joined = True
        return None

    def _until(self, number: int) -> float:
        following = number + 1
        return self._sections[following].starts if following < len(self._sections) else float("inf")

    def _continued(self, at: float, last: float) -> float:
        self._mended += last - at
        self.joined = True
        return last
