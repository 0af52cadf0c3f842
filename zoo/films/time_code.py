"""Time codes: seconds of a film as people read and type them, `00:01:02.480`."""

from __future__ import annotations

import re

from zoo.errors import BadInput

_WRITTEN = re.compile(r"(?:(?:(\d{1,3}):)?(\d{1,3}):)?(\d{1,6}(?:\.\d{1,9})?)")


def parse_time_code(text: str) -> float:
    """Read `SS`, `MM:SS` or `HH:MM:SS`, seconds with or without a fraction, as seconds.

    Raises BadInput on anything else, and on minutes or seconds of 60 and more after a colon.
    """
    match = _WRITTEN.fullmatch(text.strip())
    if match:
        hours, minutes, seconds = match.groups()
        whole = (int(hours or 0), int(minutes or 0), float(seconds))
        if (hours is None or whole[1] < 60) and (minutes is None or whole[2] < 60):
            return whole[0] * 3600.0 + whole[1] * 60.0 + whole[2]
    raise BadInput(f"a time code is written HH:MM:SS.mmm, such as 00:01:02.480; not {text[:40]!r}")


def format_time_code(seconds: float) -> str:
    """Write seconds, at least 0, as `HH:MM:SS.mmm`, rounded to the millisecond."""
    total = max(0, round(seconds * 1000))
    minutes, thousandths = divmod(total, 60_000)
    return (
        f"{minutes // 60:02d}:{minutes % 60:02d}:{thousandths // 1000:02d}.{thousandths % 1000:03d}"
    )
