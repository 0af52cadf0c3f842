"""Whether the network may be used: not where `ZOO_OFFLINE` is set to anything but 0."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from zoo.base.errors import BadInput

OFFLINE = "ZOO_OFFLINE"
_kept_off: ContextVar[str | None] = ContextVar("kept off the network", default=None)


def why_offline() -> str | None:
    """Why the network may not be used, in a few words; None where it may."""
    if os.environ.get(OFFLINE, "") not in ("", "0"):
        return f"{OFFLINE} forbids to fetch"
    return _kept_off.get()


def is_offline() -> bool:
    """Whether the network may not be used."""
    return why_offline() is not None


@contextmanager
def without_network(why: str) -> Iterator[None]:
    """Forbid this thread to use the network while the block runs; `why` is part of messages."""
    token = _kept_off.set(why)
    try:
        yield
    finally:
        _kept_off.reset(token)


def refuse_offline(what: str) -> None:
    """Raise BadInput if the network may not be used; `what` needs it, in a few words."""
    if is_offline():
        raise BadInput(f"{what} needs the network, which {OFFLINE} forbids; unset it and try again")
