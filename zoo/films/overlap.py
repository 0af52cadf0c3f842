"""Running the making of things in a thread of its own, a few things ahead of their use."""

from __future__ import annotations

import queue
import threading
from collections.abc import Generator, Iterable
from dataclasses import dataclass
from typing import TypeVar

_T = TypeVar("_T")


@dataclass
class _Failed:
    error: BaseException


class _Finished:
    pass


def made_ahead(things: Iterable[_T], depth: int) -> Generator[_T, None, None]:
    """Yield `things`, made in another thread at most `depth` ahead.

    An error in the making is raised here. Closing the generator ends the thread before it
    returns, so that what the thread uses can be closed after it.
    """
    ready: queue.Queue[_T | _Failed | _Finished] = queue.Queue(maxsize=depth)
    unwanted = threading.Event()

    def hand_over(thing: _T | _Failed | _Finished) -> None:
        while not unwanted.is_set():
            try:
                ready.put(thing, timeout=0.1)
            except queue.Full:
                continue
            return

    def make() -> None:
        # Whatever ends the making, also an interrupt, has to reach the thread that waits.
        try:
            for thing in things:
                hand_over(thing)
                if unwanted.is_set():
                    return
        except BaseException as error:
            hand_over(_Failed(error))
        else:
            hand_over(_Finished())

    thread = threading.Thread(target=make, name="made-ahead", daemon=True)
    thread.start()
    try:
        while True:
            thing = ready.get()
            if isinstance(thing, _Finished):
                return
            if isinstance(thing, _Failed):
                raise thing.error
            yield thing
    finally:
        unwanted.set()
        thread.join()
