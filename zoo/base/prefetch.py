"""Making things in a thread of its own, a few ahead of their use."""

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


def prefetch(things: Iterable[_T], together: int) -> Generator[_T, None, None]:
    """Yield `things`, made in another thread and handed over so many `together`.

    Handing over wakes a thread, which is dear for things as cheap as small frames. At most three
    times as many as are handed over together exist at once. An error in the making is raised
    here, after what was made before it. Closing the generator ends the thread before it returns,
    so that what the thread uses can be closed after it.
    """
    # Two queues written in C, one of things and one of room for them; `queue.Queue` is Python.
    ready: queue.SimpleQueue[list[_T] | _Failed | _Finished] = queue.SimpleQueue()
    room: queue.SimpleQueue[None] = queue.SimpleQueue()
    room.put(None)
    unwanted = threading.Event()

    def make() -> None:
        made: list[_T] = []
        # Whatever ends the making, also an interrupt, has to reach the thread that waits.
        try:
            for thing in things:
                made.append(thing)
                if len(made) == together:
                    room.get()
                    ready.put(made)
                    made = []
                if unwanted.is_set():
                    return
        except BaseException as error:
            ready.put(made)
            ready.put(_Failed(error))
        else:
            ready.put(made)
            ready.put(_Finished())

    thread = threading.Thread(target=make, name="made-ahead", daemon=True)
    thread.start()
    try:
        while True:
            handed = ready.get()
            if isinstance(handed, _Finished):
                return
            if isinstance(handed, _Failed):
                raise handed.error
            room.put(None)
            yield from handed
    finally:
        unwanted.set()
        room.put(None)
        thread.join()
