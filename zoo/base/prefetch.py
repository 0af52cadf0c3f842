"""Run an iterator in a background thread, a few items ahead of its consumer."""

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


def prefetch(items: Iterable[_T], group: int, ahead: int = 1) -> Generator[_T, None, None]:
    """Yield `items`, which a background thread reads ahead in groups of `group` items.

    Handing over a group wakes a thread, which costs much compared with cheap items such as small
    frames. Up to `ahead` groups wait, in addition to the one in use and the one being filled. An
    error of the iterator is raised here, after the items before it. Closing the generator waits for
    the thread to end, so that its resources can be closed afterwards.
    """
    # Two SimpleQueues, which are written in C: one for groups, one for free slots.
    ready: queue.SimpleQueue[list[_T] | _Failed | _Finished] = queue.SimpleQueue()
    room: queue.SimpleQueue[None] = queue.SimpleQueue()
    for _ in range(ahead):
        room.put(None)
    closed = threading.Event()

    def produce() -> None:
        taken: list[_T] = []
        # The waiting thread must be notified of any exception, even an interrupt.
        try:
            for item in items:
                taken.append(item)
                if len(taken) == group:
                    room.get()
                    ready.put(taken)
                    taken = []
                if closed.is_set():
                    return
        except BaseException as error:
            ready.put(taken)
            ready.put(_Failed(error))
        else:
            ready.put(taken)
            ready.put(_Finished())

    thread = threading.Thread(target=produce, name="prefetch", daemon=True)
    thread.start()
    try:
        while True:
            received = ready.get()
            if isinstance(received, _Finished):
                return
            if isinstance(received, _Failed):
                raise received.error
            room.put(None)
            yield from received
    finally:
        closed.set()
        room.put(None)
        thread.join()
