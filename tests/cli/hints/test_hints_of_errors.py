"""Hints in messages about errors that nobody expects: provoked, cut out, and run."""

from __future__ import annotations

import errno
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cli.hints.conftest import Shell

hint = pytest.mark.hint


@hint("zoo/cli/__init__.py", "`zoo doctor` looks at this machine")
@hint("zoo/cli/__init__.py", "`zoo --debug` with the same words shows where")
def test_an_error_that_nobody_expects(
    shell: Shell, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(error: Exception) -> Callable[..., None]:
        def fail(*given: object, **named: object) -> None:
            raise error

        return fail

    with monkeypatch.context() as patch:
        broken = OSError(errno.EIO, "Input/output error")
        patch.setattr("zoo.films.catalogue.Catalogue.open", fails(broken))
        shell("films", code=1)
    said = shell.follow("`zoo doctor` looks at this machine", code=None)
    assert said.code in (0, 1) and "workspace" in said.out
    with monkeypatch.context() as patch:
        patch.setattr("zoo.films.catalogue.Catalogue.open", fails(KeyError("lost")))
        shell("films", code=1)
        shown = shell.follow("`zoo --debug` with the same words shows where", "films", code=1)
        assert "Traceback" in shown.err
