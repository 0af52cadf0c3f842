"""Whatever goes wrong, a command ends in one line with the cause and the next step."""

from __future__ import annotations

import errno
import re
import signal
import socket
import subprocess
import sys
import urllib.error
from collections.abc import Callable
from pathlib import Path

import pytest
import typer

from zoo.base.errors import BadInput, ZooError
from zoo.base.safe_text import error_line
from zoo.cli import report_error


def failing(monkeypatch: pytest.MonkeyPatch, error: BaseException) -> None:
    """Let `zoo models` fail by this."""

    def fail() -> None:
        raise error

    monkeypatch.setattr("zoo.plugins.registry.list_plugins", fail)


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (BadInput("the film is not a film"), 2, "^zoo: the film is not a film$"),
        (ZooError("two\nlines \x1b[2J here"), 1, "^zoo: two lines here$"),
        (OSError(errno.ENOSPC, "No space left on device", "/a/b"), 1, "^zoo: /a/b: .*; make room"),
        (OSError(errno.ENOSPC, "No space left on device"), 1, "^zoo: No space left .*; make room"),
        (PermissionError(errno.EACCES, "Permission denied", "x"), 1, "check its permissions"),
        (OSError(errno.EROFS, "Read-only file system", "x"), 1, "work on another one"),
        (OSError(errno.EIO, "Input/output error", "x"), 1, "`zoo doctor`"),
        (MemoryError(), 1, "memory ran out; choose a smaller"),
        (KeyboardInterrupt(), 130, "^$"),
        (typer.Abort(), 130, "^zoo: interrupted$"),
        (RuntimeError("boom\nboom"), 1, "RuntimeError: boom boom; .*defect.*`zoo --debug`"),
        (RecursionError(), 1, "RecursionError; .*`zoo --debug`"),
    ],
    ids=lambda part: type(part).__name__ if isinstance(part, BaseException) else "",
)
def test_every_end_is_one_line_and_a_code(
    error: BaseException, code: int, said: str, zoo: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    failing(monkeypatch, error)
    done = zoo("models")
    assert done.code == code
    assert done.err.count("\n") <= 1 and "Traceback" not in done.err
    assert re.search(said, done.err.rstrip("\n"))


@pytest.mark.parametrize("error", [RuntimeError("boom"), BadInput("no")], ids=["defect", "input"])
def test_debug_shows_the_traceback_and_then_the_line(
    error: Exception, zoo: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    failing(monkeypatch, error)
    for words, environment in ((("--debug", "models"), ""), (("models",), "1")):
        monkeypatch.setenv("ZOO_DEBUG", environment)
        said = zoo(*words).err
        assert "Traceback" in said and "in fail" in said
        assert said.splitlines()[-1].startswith("zoo: ")
    monkeypatch.setenv("ZOO_DEBUG", "0")
    assert "Traceback" not in zoo("models").err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("trian",), "No such command 'trian'.*`zoo --help`"),
        (("train",), "Missing argument.*`zoo train --help`"),
        (("train", "ae", "--nope"), "No such option.*`zoo train --help`"),
        (("train", "ae", "--film"), "requires an argument.*--help`"),
        (("train", "ae", "--film", "bikes", "--batch", "x"), "--batch.*`zoo train --help`"),
        (("runs", "show"), "Missing argument.*`zoo runs show --help`"),
        (("train", "ae", "--debug"), "No such option.*--debug"),
    ],
    ids=lambda part: " ".join(part) if isinstance(part, tuple) else "",
)
def test_wrong_words_are_one_line_that_says_where_help_is(
    words: tuple[str, ...], said: str, zoo: Callable
) -> None:
    done = zoo(*words)
    assert done.code == 2
    assert done.err.count("\n") == 1 and done.err.startswith("zoo: ")
    assert re.search(said, done.err)


def test_zoo_alone_prints_its_help(zoo: Callable) -> None:
    done = zoo()
    assert (
        done.code == 2 and "Commands:" in done.out + done.err and "--debug" in done.out + done.err
    )


@pytest.mark.parametrize(
    "words",
    [
        ("train", "ae", "--film", "./missing.mkv"),
        ("train", "ae", "--film", "bikes", "--size", "1x1"),
        ("compare", "--films", "nothing"),
        ("report", "nowhere"),
        ("match", "a.mp4", "b.mp4"),
        ("reconstruct", "ae", "--film", "bikes"),
        ("encode", "ae", "--film", "bikes"),
        ("decode", "a.zoo"),
        ("info", "a.zoo"),
        ("interpolate", "ae", "--film", "bikes", "--from", "0", "--to", "1"),
        ("sample", "ae", "--film", "bikes"),
        ("walk", "ae", "--film", "bikes"),
        ("export", "ae", "--film", "bikes", "--format", "torch"),
        ("push", "ae", "--film", "bikes", "--repo", "a/b"),
        ("runs", "show", "x"),
        ("runs", "remove", "x"),
        ("models", "show", "x"),
        ("models", "check", "x"),
        ("films", "add", "--name", "x", "x.mp4"),
        ("films", "remove", "x"),
        ("films", "info", "x"),
        ("films", "ingest", "x"),
        ("bench", "--models", "x"),
    ],
    ids=" ".join,
)
def test_every_verb_refuses_what_is_not_there_with_2_and_one_line(
    words: tuple[str, ...], zoo: Callable, workspace: Path
) -> None:
    done = zoo(*words)
    assert done.code == 2, done.err
    assert done.err.count("\n") == 1 and done.err.startswith("zoo: ")
    assert "defect" not in done.err
    assert list(workspace.iterdir()) == []


def test_ctrl_c_ends_a_command_with_130_and_no_traceback(tmp_path: Path) -> None:
    code = (
        "import functools, os, signal, sys, zoo.plugins.registry\n"
        "from zoo.cli import main\n"
        # A shell that starts the tests in the background has them ignore it.
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "interrupt = functools.cache(lambda: os.kill(os.getpid(), signal.SIGINT))\n"
        "zoo.plugins.registry.registry = interrupt\n"
        "sys.argv = ['zoo', 'models', 'show', 'ae']\n"
        "main()\n"
    )
    words = [sys.executable, "-c", code]
    done = subprocess.run(words, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode in (130, -signal.SIGINT)
    assert "Traceback" not in done.stderr


def test_what_torch_adds_of_its_own_code_is_no_reason() -> None:
    said = (
        'empty(): argument failed to unpack the object at pos 1 with error "Overflow\n'
        "Exception raised from THPUtils_unpackLong at /__w/python_numbers.h:79 (most recent call "
        "first):\nframe #0: c10::Error::Error(c10::SourceLocation) + 0x9d (0x7f in libc10.so)"
    )
    line = 'TypeError: empty(): argument failed to unpack the object at pos 1 with error "Overflow'
    assert error_line(TypeError(said)) == line
    assert error_line(ValueError()) == "ValueError"


class _Request:
    url = "https://hub.example:443/api/models"


def _client_error(package: str, name: str) -> Exception:
    """An error as a client of HTTP raises it, with the one of the system below."""
    kind = type(name, (Exception,), {"__module__": f"{package}._exceptions", "request": _Request()})
    error = kind("[Errno -2] Name or service not known")
    error.__context__ = socket.gaierror(-2, "Name or service not known")
    return error


@pytest.mark.parametrize(
    ("error", "host"),
    [
        (_client_error("httpx", "TransportError"), "hub.example"),
        (_client_error("httpx2", "ConnectError"), "hub.example"),
        (_client_error("requests", "ConnectionError"), "hub.example"),
        (urllib.error.URLError(socket.gaierror(-2, "Name or service not known")), "the host"),
        (socket.gaierror(-2, "Name or service not known"), "the host"),
    ],
    ids=lambda value: type(value).__module__ if isinstance(value, Exception) else "",
)
def test_a_host_that_cannot_be_reached_is_no_defect(
    error: Exception, host: str, capsys: pytest.CaptureFixture[str]
) -> None:
    wrapped = RuntimeError("a plugin's own words")
    wrapped.__cause__ = error
    for raised in (error, wrapped):
        assert report_error(raised, debug=False) == 1
        assert capsys.readouterr().err == (
            f"zoo: {host} cannot be reached: Name or service not known; check that this machine "
            "is online\n"
        )


def test_a_defect_met_while_a_network_error_was_handled_stays_one(
    capsys: pytest.CaptureFixture[str],
) -> None:
    defect = KeyError("x")
    defect.__context__ = _client_error("httpx", "ConnectError")
    for error in (defect, type("ConnectError", (Exception,), {"__module__": "mine"})("no")):
        report_error(error, debug=False)
        assert "this is a defect" in capsys.readouterr().err
