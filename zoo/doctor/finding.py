"""One line of an examination."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

State = Literal["good", "warning", "problem"]
"""`warning`: something will be missing or slow; `problem`: something will fail."""


@dataclass(frozen=True)
class Finding:
    """What was looked at, how it is, and what to do about it."""

    topic: str
    state: State
    said: str
    step: str = ""
    """The next step; empty where all is well."""


def good(topic: str, said: str) -> Finding:
    """All is well."""
    return Finding(topic, "good", said)


def warning(topic: str, said: str, step: str) -> Finding:
    """Something will be missing or slow."""
    return Finding(topic, "warning", said, step)


def problem(topic: str, said: str, step: str) -> Finding:
    """Something will fail."""
    return Finding(topic, "problem", said, step)
