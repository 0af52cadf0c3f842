"""How a process stops when it is asked to: by Ctrl-C, by SIGTERM, or by a terminal that closes.

The first signal raises KeyboardInterrupt in the main thread; inside `deferred_stop` it sets a flag
instead, so that a training can save. Nothing that is killed does harm, so a thread ends the process
when it has not stopped by itself soon after, or when it is asked a second time. The thread works
where the main one cannot: while a module is imported, or a library computes.
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
"""Seconds that a process has to stop by itself; one that saves is waited for."""
WORDS = 0.3
"""Seconds that a line may take to be printed; a pipe that nobody reads takes for ever."""
LOOK = 0.1
"""Seconds between two looks whether it still saves."""
REPEAT = 0.5
"""Seconds within which another signal is the same request: `timeout`, for one, sends two."""
SIGNALS = tuple(
    number
    for name in ("SIGINT", "SIGTERM", "SIGHUP")
    if (number := getattr(signal, name, None)) is not None
)
RESUME = "run the same command again to resume"

on_saving: Callable[[bool], None] | None = None
"""Called when saving begins and ends, where another process waits for it."""

_first: int | None = None
_supervised = _handled = _was_resumable = False
_deferred: list[StopRequest] = []
_saving = _resumable = 0


class Interrupted(ZooError):
    """Training was asked to stop, and saved its progress."""

    exit_code = 130


class StopRequest:
    """Set when the user asks to stop; a training looks at it between steps."""

    def __init__(self) -> None:
        self.asked = False


def stop_signal() -> int | None:
    """The signal by which this process was first asked to stop; None if it was not."""
    return _first


def exit_code() -> int | None:
    """128 and the number of the signal, as shells say it: 130 for Ctrl-C, 143 for SIGTERM."""
    return None if _first is None else 128 + _first


def handle_signals() -> None:
    """Have signals stop this process, from its main thread; called once, before all else.

    SIGTERM and SIGHUP stay ignored where they are, as `nohup` wants it.
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
    """Handle a signal in the main thread: raise KeyboardInterrupt, or set what defers it."""
    global _first, _handled, _was_resumable
    if _supervised:
        if _handled:
            return  # a second one, of which the thread takes care
        _handled, _first = True, _first or number
        # The block may be left before the thread looks.
        _was_resumable = _resumable > 0
    if _deferred and not _deferred[-1].asked:
        for request in _deferred:
            request.asked = True
        return
    raise KeyboardInterrupt


@contextmanager
def deferred_stop() -> Iterator[StopRequest]:
    """Turn a signal into a request while the block runs, so that no step is cut in half.

    A block that ends without an error although it was asked raises KeyboardInterrupt after it.
    Where nothing handles signals yet, as in a notebook, Ctrl-C is handled for as long. Outside the
    main thread nothing is changed.
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
    """Delay the end of a process that was asked to stop until the block has run."""
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
    """Say, when the process is asked to stop while the block runs, that the command resumes.

    Most commands keep nothing of what they have begun, and say nothing of the sort.
    """
    global _resumable
    _resumable += 1
    try:
        yield
    finally:
        _resumable -= 1


@contextmanager
def signals_blocked() -> Iterator[None]:
    """Hold signals back in this thread, and in the processes that it starts meanwhile.

    A process that begins so is not interrupted before it says what signals are to it.
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
                end(f"ended, as it had not stopped after {now - began:.1f} s{hint}")
            if _saving and not waited:
                _say("still saving; a second signal ends it at once, at what was saved before")
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
    """Print a line on standard error from a thread of its own, which a full pipe may hold up."""

    def write() -> None:
        with suppress(Exception):
            sys.stderr.write(f"zoo: {line}\n")
            sys.stderr.flush()
        _announced.set()

    thread = threading.Thread(target=write, daemon=True)
    thread.start()
    thread.join(seconds)


def end(line: str | None = None) -> NoReturn:
    """End this process and those it started, at once, with the exit code of the signal."""
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
