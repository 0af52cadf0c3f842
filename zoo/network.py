"""Whether the network may be used: not where `ZOO_OFFLINE` is set to anything but 0."""

from __future__ import annotations

import os

from zoo.errors import BadInput

OFFLINE = "ZOO_OFFLINE"


def is_offline() -> bool:
    """Whether ZOO_OFFLINE forbids to use the network."""
    return os.environ.get(OFFLINE, "") not in ("", "0")


def refuse_offline(what: str) -> None:
    """Raise BadInput if the network may not be used; `what` needs it, in a few words."""
    if is_offline():
        raise BadInput(f"{what} needs the network, which {OFFLINE} forbids; unset it and try again")
