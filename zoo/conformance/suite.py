"""Running the checks on one architecture, and what its waivers make of the findings."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from zoo.autoencoder import Autoencoder
from zoo.conformance.checks import CHECKS
from zoo.conformance.subject import Subject
from zoo.conformance.verdict import Broken, CannotTell

Verdict = Literal["kept", "waived", "unknown", "broken"]

_BY_NAME = {check.__name__.replace("_", " "): check for check in CHECKS}


@dataclass(frozen=True)
class Finding:
    """What one check found."""

    check: str
    promise: str
    verdict: Verdict
    """Waived: broken, as the model declares. Unknown: it cannot be examined here."""
    detail: str = ""
    """What was seen, where the promise is not simply kept."""

    @property
    def problem(self) -> str | None:
        """What is wrong with the model; None where it keeps its promise or has a waiver."""
        return self.detail if self.verdict == "broken" else None

    def __str__(self) -> str:
        """One line, the verdict first."""
        said = self.promise if self.verdict == "kept" else self.detail
        return f"{self.verdict:<7} {self.check}: {said}"


def names_of_checks(architecture: type[Autoencoder]) -> list[str]:
    """Every check, and every waiver of the architecture that is for none of them."""
    return [*_BY_NAME, *(name for name in architecture.waivers if name not in _BY_NAME)]


def examine(architecture: type[Autoencoder]) -> Iterator[Finding]:
    """Run every check on an architecture, one after another, whatever the others found."""
    for name in names_of_checks(architecture):
        yield examine_one(architecture, name)


def examine_one(architecture: type[Autoencoder], name: str) -> Finding:
    """Run the check of that name.

    A waiver where the promise is kept, or for a check that does not exist, is broken itself: it
    would hide what breaks later, and says of the model what is not so.
    """
    reason = architecture.waivers.get(name)
    if name not in _BY_NAME:
        return Finding(name, "", "broken", f"needless waiver: no check has this name ({reason})")
    promise = " ".join((_BY_NAME[name].__doc__ or "").split())
    try:
        _BY_NAME[name](Subject(architecture))
    except CannotTell as unknown:
        return Finding(name, promise, "unknown", str(unknown))
    except Broken as broken:
        problem = str(broken)
    except Exception as error:  # the model's own code failed: that is the finding
        problem = " ".join(f"{type(error).__name__}: {error}".split())
    else:
        if reason is None:
            return Finding(name, promise, "kept")
        problem = f"needless waiver: the promise is kept ({reason})"
        return Finding(name, promise, "broken", problem)
    if reason is None:
        return Finding(name, promise, "broken", problem)
    return Finding(name, promise, "waived", f"{problem} (waiver: {reason})")
