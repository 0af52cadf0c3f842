"""How a check ends other than well."""

from __future__ import annotations


class Broken(Exception):
    """A promise that a model does not keep."""


class CannotTell(Exception):
    """A promise that cannot be examined here, with the reason."""


def expect(holds: object, otherwise: str) -> None:
    """Raise Broken with what was seen, if the promise does not hold."""
    if not holds:
        raise Broken(otherwise)
