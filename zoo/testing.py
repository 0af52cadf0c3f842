"""The conformance suite for pytest, for any package with plugins for the zoo.

    from zoo.testing import conformance
    from zoo_linear import Linear

    test_conformance = conformance(Linear)

makes one test for each promise. `conformance` accepts models, references, codecs, metrics, report
sections and films, and several at once. A waived promise is an expected failure with its reason,
and a promise that cannot be tested here is skipped (`pytest -ra` prints both). Without pytest,
`assert_conforms(Linear)` tests everything at once.
"""

from __future__ import annotations

from collections.abc import Callable

from zoo.conformance.suite import Thing, examine, examine_one, names_of_checks

__all__ = ["assert_conforms", "conformance"]


def conformance(*things: Thing) -> Callable[[Thing, str], None]:
    """Make a test function for pytest, with one case for each promise of each thing.

    Assign it to a name that starts with `test`. Cases are called `name-check`.
    """
    import pytest

    cases = [
        pytest.param(thing, check, id=f"{thing.name}-{check.replace(' ', '_')}")
        for thing in things
        for check in names_of_checks(thing)
    ]

    @pytest.mark.parametrize(("thing", "check"), cases)
    def test_conformance(thing: Thing, check: str) -> None:
        finding = examine_one(thing, check)
        if finding.verdict == "waived":
            pytest.xfail(str(finding))
        if finding.verdict == "unknown":
            pytest.skip(str(finding))
        assert finding.problem is None, str(finding)

    return test_conformance


def assert_conforms(thing: Thing) -> None:
    """Raise AssertionError naming every promise that a thing breaks without a waiver."""
    broken = [str(finding) for finding in examine(thing) if finding.problem]
    if broken:
        raise AssertionError("\n".join([f"{thing.name} breaks the contract:", *broken]))
