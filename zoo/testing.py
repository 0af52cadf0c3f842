"""The conformance suite for pytest, in any package that has a model.

    from zoo.testing import conformance
    from zoo_linear import Linear

    test_conformance = conformance(Linear)

is one test for each promise. A waived one is shown as an expected failure with its reason
(`pytest -ra` prints it). Without pytest, `assert_conforms(Linear)` examines everything at once.
"""

from __future__ import annotations

from collections.abc import Callable

from zoo.autoencoder import Autoencoder
from zoo.conformance.suite import examine, examine_one, names_of_checks

__all__ = ["assert_conforms", "conformance"]


def conformance(*architectures: type[Autoencoder]) -> Callable[[type[Autoencoder], str], None]:
    """Make a test function for pytest: a case for each promise of each architecture.

    Assign it to a name that starts with `test`. Cases are called `name-check`.
    """
    import pytest

    cases = [
        pytest.param(architecture, check, id=f"{architecture.name}-{check.replace(' ', '_')}")
        for architecture in architectures
        for check in names_of_checks(architecture)
    ]

    @pytest.mark.parametrize(("architecture", "check"), cases)
    def test_conformance(architecture: type[Autoencoder], check: str) -> None:
        finding = examine_one(architecture, check)
        if finding.verdict == "waived":
            pytest.xfail(str(finding))
        if finding.verdict == "unknown":
            pytest.skip(str(finding))
        assert finding.problem is None, str(finding)

    return test_conformance


def assert_conforms(architecture: type[Autoencoder]) -> None:
    """Raise AssertionError naming every promise that the architecture breaks without a waiver."""
    broken = [str(finding) for finding in examine(architecture) if finding.problem]
    if broken:
        raise AssertionError("\n".join([f"{architecture.name} breaks the contract:", *broken]))
