"""What training tells those who watch it, and how it is asked to stop."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType

from zoo.errors import ZooError


class Interrupted(ZooError):
    """Training was asked to stop, and saved where it was."""

    exit_code = 130


@dataclass(frozen=True)
class Moment:
    """Training at one moment."""

    step: int
    steps: int | None
    """None if the clock decides."""
    progress: float
    """Share of the budget used, in [0, 1]."""
    frames: int
    """Frames trained on, counted as often as they were seen."""
    seconds: float
    frames_per_second: float
    data_stall: float
    """Share of the time since the moment before that the loop waited for frames, in [0, 1]."""
    share_of_peak: float | None
    """Speed as a share of what the device's measured rate of multiplying matrices would allow;
    None where nobody asked."""
    losses: Mapping[str, Mapping[str, float]]
    """By player and term: means since the moment before."""


Watcher = Callable[[Moment], None]


def nobody(_: Moment) -> None:
    """A watcher that looks away."""


class StopRequest:
    """Set when the user asks to stop; training looks at it between steps."""

    def __init__(self) -> None:
        self.asked = False


@contextmanager
def stop_on_interrupt() -> Iterator[StopRequest]:
    """Turn the first Ctrl-C (or SIGTERM) into a request, so that no step is cut in half.

    A second one interrupts at once. Outside the main thread nothing is changed.
    """
    request = StopRequest()
    if threading.current_thread() is not threading.main_thread():
        yield request
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def ask(number: int, frame: FrameType | None) -> None:
        request.asked = True
        signal.signal(signal.SIGINT, signal.default_int_handler)

    try:
        for number in before:
            signal.signal(number, ask)
        yield request
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
