"""Stop the process on request: on Ctrl-C, SIGTERM, or when its terminal closes.

The first signal raises KeyboardInterrupt in the main thread; inside `deferred_stop` it sets a flag
instead, so that a training can save. A separate thread ends the process if it has not stopped soon
after, or on a second signal; a killed process leaves nothing damaged. The thread also reacts while
the main thread cannot: during an import, or while a library computes.
"""

from __future__ import annotations

import os
import select
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import NoReturn

from zoo.base.errors import ZooError

GRACE = 2.3
"""Seconds that a process has to stop by itself, in addition to the time it needs to save."""
WORDS = 0.3
"""Seconds to wait for a line to be printed; a pipe that nobody reads would block forever."""
LOOK = 0.1
"""Seconds between checks whether the process is still saving."""
REPEAT = 0.5
"""Seconds within which a second signal counts as the same request: `timeout` sends two."""
SIGNALS = tuple(
    number
    for name in ("SIGINT", "SIGTERM", "SIGHUP")
    if (number := getattr(signal, name, None)) is not None
)
RESUME = "run the same command again to resume"

on_saving: Callable[[bool], None] | None = None
"""Called with True when saving begins and False when it ends, if another process waits for it."""

_first: int | None = None
_supervised = _handled = _was_resumable = False
_deferred: list[StopRequest] = []
_saving = _resumable = 0


class Interrupted(ZooError):
    """Training stopped on request, and saved its progress."""

    exit_code = 130


class StopRequest:
    """A flag that is set when the user asks to stop; training checks it between steps."""

    def __init__(self) -> None:
        self.asked = False


def stop_signal() -> int | None:
    """The first signal that asked this process to stop; None if there was none."""
    return _first


def exit_code() -> int | None:
    """128 plus the signal's number, as shells do: 130 for Ctrl-C, 143 for SIGTERM; None if none."""
    return None if _first is None else 128 + _first


def handle_signals() -> None:
    """Install the signal handlers; call it once, first of all, in the main thread.

    SIGTERM and SIGHUP stay ignored if they already are, as under `nohup`.
    """
    global _supervised
    receiver, sender = socket.socketpair()
    sender.setblocking(False)
    for number in SIGNALS:
        if number == signal.SIGINT or signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, interrupt)
    signal.set_wakeup_fd(sender.fileno(), warn_on_full_buffer=False)
    _supervised = True
    threading.Thread(
        target=_supervise, args=(receiver, sender), name="signals", daemon=True
    ).start()


def interrupt(number: int, frame: FrameType | None) -> None:
    """Handle a signal in the main thread: set the `StopRequest`s, or raise KeyboardInterrupt."""
    global _first, _handled, _was_resumable
    if _supervised:
        if _handled:
            return  # a second signal, which the thread handles
        _handled, _first = True, _first or number
        # The block may have ended before the thread checks this.
        _was_resumable = _resumable > 0
    if _deferred and not _deferred[-1].asked:
        for request in _deferred:
            request.asked = True
        return
    raise KeyboardInterrupt


@contextmanager
def deferred_stop() -> Iterator[StopRequest]:
    """Turn a signal into a request while the block runs, so that a step is never interrupted.

    If the block ends without an error after a request, KeyboardInterrupt is raised at its end. If
    no handler is installed, as in a notebook, one for Ctrl-C is installed during the block. Outside
    the main thread this does nothing.
    """
    request = StopRequest()
    if threading.current_thread() is not threading.main_thread():
        yield request
        return
    before = signal.getsignal(signal.SIGINT)
    ours = before is signal.default_int_handler
    if ours:
        signal.signal(signal.SIGINT, interrupt)
    _deferred.append(request)
    try:
        yield request
    finally:
        _deferred.remove(request)
        if ours:
            signal.signal(signal.SIGINT, before)
    if request.asked:
        raise KeyboardInterrupt


@contextmanager
def saving() -> Iterator[None]:
    """Do not let the process be ended before the block has finished, unless asked a second time."""
    global _saving
    _saving += 1
    if on_saving:
        on_saving(True)
    try:
        yield
    finally:
        _saving -= 1
        if on_saving:
            on_saving(False)


@contextmanager
def resumable() -> Iterator[None]:
    """Print how to resume the work if a signal arrives during the block.

    Most commands keep no partial work and print no such hint.
    """
    global _resumable
    _resumable += 1
    try:
        yield
    finally:
        _resumable -= 1


@contextmanager
def signals_blocked() -> Iterator[None]:
    """Block signals in this thread and in the processes that it starts during the block.

    Such a process cannot be interrupted before it has installed its own signal handlers.
    """
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _supervise(receiver: socket.socket, sender: socket.socket) -> None:
    """End the process if it does not stop by itself after a signal."""
    global _first
    began, deadline, waited, hint = 0.0, None, False, ""
    while True:
        left = None if deadline is None else max(0.0, deadline - time.monotonic())
        ready, _, _ = select.select([receiver], [], [], left)
        now = time.monotonic()
        if not ready:
            if not _saving and not waited:
                end(f"killed, because it did not stop within {now - began:.1f} s{hint}")
            if _saving and not waited:
                _say("still saving; a second signal ends it at once, keeping what was saved before")
            deadline = now + (LOOK if _saving else GRACE)
            waited = _saving > 0
            continue
        for number in receiver.recv(64):
            if number not in SIGNALS:
                continue
            if deadline is None:
                _first = _first or number
                began, deadline = now, now + GRACE
                hint = f"; {RESUME}" if _resumable or _was_resumable else ""
                said = "interrupted" if number == signal.SIGINT else signal.Signals(number).name
                again = "Ctrl-C again" if number == signal.SIGINT else "a second one"
                _say(f"{said}, stopping ({again} ends it at once){hint}")
            elif now - began > REPEAT and number in (_first, signal.SIGINT):
                end(f"ended at once{hint}")


_announced = threading.Event()


def _say(line: str, seconds: float = 0.0) -> None:
    """Print a line on standard error from a separate thread, since a full pipe may block it."""

    def write() -> None:
        with suppress(Exception):
            sys.stderr.write(f"zoo: {line}\n")
            sys.stderr.flush()
        _announced.set()

    thread = threading.Thread(target=write, daemon=True)
    thread.start()
    thread.join(seconds)


def end(line: str | None = None) -> NoReturn:
    """End this process and its child processes at once, with the exit code of the signal."""
    _announced.wait(WORDS)
    if line:
        _say(line, seconds=WORDS)
    if "multiprocessing" in sys.modules:
        with suppress(Exception):
            for child in sys.modules["multiprocessing"].active_children():
                child.kill()
    with suppress(Exception):
        sys.stdout.flush()
    with suppress(OSError):
        if os.isatty(1):
            os.write(1, b"\x1b[?25h")  # a live display hides the cursor
    os._exit(exit_code() or 1)
