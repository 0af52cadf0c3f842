"""How a command reports an error: one line, an exit code, and the traceback if asked for."""

from __future__ import annotations

import errno
import io
import itertools
import os
import re
import select
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path

import typer

from zoo.base import interrupts
from zoo.base.errors import BadInput, ZooError, is_out_of_memory
from zoo.base.json_output import output_descriptor
from zoo.base.option_validation import option_error
from zoo.base.text import error_line, one_line

DEBUG = "ZOO_DEBUG"
"""The environment variable that asks for tracebacks, as `zoo --debug` does."""
INTERRUPTED = 130
PIPE_CLOSED = 141
"""The exit code of a shell for a program that SIGPIPE ended."""
_LONGEST = 2000
_NEXT_STEPS = {
    errno.ENOSPC: "make room on that disk and try again",
    errno.EDQUOT: "make room within your quota and try again",
    errno.EFBIG: "files there may not be so large; write to another disk",
    errno.EACCES: "see who may read and write it",
    errno.EPERM: "see who may read and write it",
    errno.EROFS: "it lies on a disk that is not written to; work on another one",
    errno.ENOENT: "see whether the path is right",
    errno.ENAMETOOLONG: "choose a shorter name",
    errno.EMFILE: "allow more open files (`ulimit -n`) and try again",
}
# Typer brings its own copy of click or uses the one installed; this is whichever it is.
UsageError: type[Exception] = next(
    kind for kind in typer.BadParameter.__mro__ if kind.__name__ == "ClickException"
)


def report(error: BaseException, debug: bool) -> int:
    """Print on standard error why a command ended, in one line; return its exit code."""
    if pipe_is_closed(error):
        # What is still in the stream's buffer goes nowhere, or closing it would fail once more.
        os.dup2(os.open(os.devnull, os.O_WRONLY), output_descriptor())
        return PIPE_CLOSED
    line, code = _message_of(error)
    if interrupts.stop_signal() and code != INTERRUPTED:
        # What an interrupted library raised says nothing more.
        line, code = "", INTERRUPTED
    if debug:
        traceback.print_exception(error)
    if line:
        # On one line whatever is in it: messages quote names from untrusted files.
        sys.stderr.write(f"zoo: {one_line(line, _LONGEST)}\n")
    return code


def pipe_is_closed(error: BaseException | None) -> bool:
    """Whether a command ended because nobody reads standard output any more.

    Other pipes break, too, such as those to worker processes: so the output itself is asked.
    """
    while error is not None and not isinstance(error, BrokenPipeError):
        error = error.__cause__ or error.__context__
    if error is None or not hasattr(select, "poll"):
        return error is not None
    output = select.poll()
    output.register(output_descriptor(), 0)
    return any(event & select.POLLERR for _, event in output.poll(0))


def open_closed_streams() -> None:
    """Print to nowhere where a shell started the command with closed output, as `>&-` does."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            # Stays open as long as the process lives, as the stream that it replaces.
            nowhere = Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115
            setattr(sys, name, nowhere)


def escape_what_cannot_be_encoded() -> None:
    """Print letters that standard output has no bytes for as escapes, instead of failing."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def refuse_empty(words: Sequence[str]) -> None:
    """Raise BadInput where a word is empty, as a shell makes it of a variable that is not set."""
    for before, word in itertools.pairwise(["zoo", *words]):
        option = word if re.fullmatch(r"--[a-z-]+=", word) else ""
        if not word or option:
            where = option.rstrip("=") or before
            raise BadInput(f"the word after {where} is empty: is a variable of the shell not set?")


def debug_is_asked_for() -> bool:
    """Whether the environment asks for tracebacks."""
    return os.environ.get(DEBUG, "") not in ("", "0")


def _message_of(error: BaseException) -> tuple[str, int]:
    if isinstance(error, ZooError):
        return str(error), error.exit_code
    if isinstance(error, UsageError):
        return _usage(error)
    if isinstance(error, (KeyboardInterrupt, typer.Abort)):
        return "" if interrupts.stop_signal() else "interrupted", INTERRUPTED
    if is_out_of_memory(error):
        return "memory ran out; choose a smaller --size or --batch, or close other programs", 1
    from zoo.base.network import unreachable  # most commands end well, and need no client of HTTP

    if line := unreachable(error):
        return f"{line}; see whether this machine is online", 1
    if isinstance(error, OSError) and error.strerror:
        # A disk that is full, a folder that cannot be written: the user can solve that as well.
        where = f"{os.fsdecode(error.filename)}: " if error.filename is not None else ""
        step = _NEXT_STEPS.get(error.errno or 0, "`zoo doctor` looks at this machine")
        return f"{where}{error.strerror}; {step}", 1
    line = _line_of_plugin(error)
    whose = f"in a plugin ({line})" if line else "in film-zoo or in a plugin"
    return (
        f"{error_line(error, _LONGEST // 2)}; this is a defect {whose}: "
        "`zoo --debug` and the same words show where"
    ), 1


def _line_of_plugin(error: BaseException) -> str | None:
    # Commands that load no plugin need not import what loads them.
    loader = sys.modules.get("zoo.plugins.entry_points")
    return loader.line_in_plugin(error) if loader else None


def _usage(error: Exception) -> tuple[str, int]:
    """What is wrong with the words of a command, and how to get help."""
    code = int(getattr(error, "exit_code", 2))
    if type(error).__name__ == "NoArgsIsHelpError":
        error.show()  # type: ignore[attr-defined]
        return "", code
    message = _refused(error) or str(error.format_message()).rstrip(". ")  # type: ignore[attr-defined]
    context = getattr(error, "ctx", None)
    path = context.command_path if context else "zoo"
    if message.startswith("No such command") and context is not None:
        message = message.replace(". Did you mean", " (did you mean").replace("'?", "'?)")
        message = f"{message}; there are: {', '.join(context.command.list_commands(context))}"
    return f"{message}; see `{path} --help`", code


def _refused(error: Exception) -> str | None:
    """What is wrong with an option's value, where pydantic refused it for Typer; None if not."""
    problems = getattr(error.__cause__, "errors", None)
    hint = getattr(getattr(error, "param", None), "opts", None)
    if not problems or not hint:
        return None
    return option_error(hint[-1], problems()[0])
