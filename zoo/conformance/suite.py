"""Running the checks on one architecture."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from zoo.autoencoder import Autoencoder
from zoo.conformance.checks import CHECKS, Broken
from zoo.conformance.subject import Subject


@dataclass(frozen=True)
class Finding:
    """What one check found."""

    check: str
    promise: str
    problem: str | None
    """None where the promise is kept."""


def examine(architecture: type[Autoencoder]) -> Iterator[Finding]:
    """Run every check on an architecture, one after another, whatever the others found."""
    subject = Subject(architecture)
    for check in CHECKS:
        name = check.__name__.replace("_", " ")
        promise = (check.__doc__ or "").strip()
        problem = None
        try:
            check(subject)
        except Broken as broken:
            problem = str(broken)
        except Exception as error:  # the model's own code failed: that is the finding
            problem = " ".join(f"{type(error).__name__}: {error}".split())
        yield Finding(name, promise, problem)
