"""The command `zoo`: its verbs, each a thin layer over other packages, and its error handling.

Neither this file nor the top of a verb's file imports anything heavy, so that `zoo --help` is
instant. An error ends in one line and an exit code, with the traceback if requested.
"""

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
from typing import Annotated

import typer

from zoo.base import interrupts
from zoo.base.errors import BadInput, ZooError, is_out_of_memory
from zoo.base.json_output import output_descriptor
from zoo.base.option_validation import option_error
from zoo.base.safe_text import error_line, one_line
from zoo.cli import (
    bench,
    compare,
    doctor,
    evaluate,
    export,
    films,
    latent_paths,
    match,
    models_and_plugins,
    options,
    reconstruct,
    report,
    runs,
    train,
)

app = typer.Typer(
    name="zoo",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.add_typer(films.app, name="films")
app.command("train", short_help="Train a model on a film.")(train.train)
app.command("evaluate", short_help="Score a trained model on a film.")(evaluate.evaluate)
app.command("compare", short_help="Compare models on films; write a report.")(compare.compare)
app.command("report", short_help="Rebuild a report from its records.", cls=options.Command)(
    report.report
)
app.command("bench", short_help="Measure the speed and memory of models.")(bench.bench)
app.command("match", short_help="Find a film, or scenes of it, in another film.")(match.match)
app.command("reconstruct", short_help="Reconstruct a film from its latents.")(
    reconstruct.reconstruct
)
app.command("encode", short_help="Encode a film as latents in a .zoo file.")(reconstruct.encode)
app.command("decode", short_help="Reconstruct a film from a .zoo file.")(reconstruct.decode)
app.command("info", short_help="Show the contents of a .zoo file.")(reconstruct.info)
app.command("interpolate", short_help="Write a video that interpolates between frames.")(
    latent_paths.interpolate
)
app.command("sample", short_help="Decode samples from a model's prior.")(latent_paths.sample)
app.command("walk", short_help="Write a video that drifts through latent space.")(latent_paths.walk)
app.command("export", short_help="Export a model's networks for other programs.")(export.export)
app.command("push", short_help="Publish a model on the Hugging Face hub.")(export.push)
app.command("pull", short_help="Download a published model into runs/.")(export.pull)
app.add_typer(runs.app, name="runs")
app.add_typer(models_and_plugins.models_app, name="models")
app.add_typer(models_and_plugins.plugins_app, name="plugins", short_help="List and check plugins.")
app.command("doctor", short_help="Check what film-zoo needs from this machine.")(doctor.doctor)


def _print_version(asked: bool) -> None:
    if asked:
        from importlib.metadata import version

        typer.echo(f"film-zoo {version('film-zoo')}")
        raise typer.Exit


@app.callback()
def common(
    debug: Annotated[
        bool,
        typer.Option("--debug", help="Show the traceback of an error; same as ZOO_DEBUG=1."),
    ] = False,
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Print the version and exit."
        ),
    ] = False,
) -> None:
    """Train and compare networks that autoencode films."""


def main() -> None:
    """Run the command line; every error ends in one line and an exit code.

    Exit codes: 2 for wrong input, 1 for a failure, 130 for Ctrl-C (other signals are in
    `zoo.base.interrupts`), 141 if nobody reads the output any more.
    """
    # `--debug` is searched for here, since an error may occur before options are parsed.
    global_options = itertools.takewhile(lambda word: word.startswith("-"), sys.argv[1:])
    debug = debug_is_asked_for() or "--debug" in global_options
    open_closed_streams()
    escape_what_cannot_be_encoded()
    try:
        refuse_empty(sys.argv[1:])
        code = app(prog_name="zoo", standalone_mode=False)
        sys.stdout.flush()
    except (Exception, KeyboardInterrupt) as error:
        code = report_error(error, debug)
    except SystemExit as error:
        # If nobody reads the output, Click exits with a code of its own.
        code = report_error(error, debug) if pipe_is_closed(error) else error.code
    sys.exit(code if isinstance(code, int) else 0)


DEBUG = "ZOO_DEBUG"
"""The environment variable that turns on tracebacks, as `zoo --debug` does."""
INTERRUPTED = 130
PIPE_CLOSED = 141
"""The exit code by which a shell reports a program that SIGPIPE ended."""
_LONGEST = 2000
_NEXT_STEPS = {
    errno.ENOSPC: "make room on that disk and try again",
    errno.EDQUOT: "make room within your quota and try again",
    errno.EFBIG: "files there cannot be that large; write to another disk",
    errno.EACCES: "check its permissions",
    errno.EPERM: "check its permissions",
    errno.EROFS: "this disk cannot be written to; work on another one",
    errno.ENOENT: "check the path",
    errno.ENAMETOOLONG: "choose a shorter name",
    errno.EMFILE: "allow more open files (`ulimit -n`) and try again",
}
# Typer contains a copy of click or uses the installed one; this finds the class in either case.
UsageError: type[Exception] = next(
    kind for kind in typer.BadParameter.__mro__ if kind.__name__ == "ClickException"
)


def report_error(error: BaseException, debug: bool) -> int:
    """Print on standard error, in one line, why a command ended; return its exit code."""
    if pipe_is_closed(error):
        # Discard what is still in the stream's buffer, or closing the stream would fail again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), output_descriptor())
        return PIPE_CLOSED
    line, code = _message_of(error)
    if interrupts.stop_signal() and code != INTERRUPTED:
        # The error that an interrupted library raised is not informative.
        line, code = "", INTERRUPTED
    if debug:
        traceback.print_exception(error)
    if line:
        # Forced onto one line, since messages quote names from untrusted files.
        sys.stderr.write(f"zoo: {one_line(line, _LONGEST)}\n")
    return code


def pipe_is_closed(error: BaseException | None) -> bool:
    """Whether a command ended because nobody reads standard output any more.

    Other pipes break too, such as those to worker processes, so this polls standard output itself.
    """
    while error is not None and not isinstance(error, BrokenPipeError):
        error = error.__cause__ or error.__context__
    if error is None or not hasattr(select, "poll"):
        return error is not None
    output = select.poll()
    output.register(output_descriptor(), 0)
    return any(event & select.POLLERR for _, event in output.poll(0))


def open_closed_streams() -> None:
    """Replace output streams that the shell closed, as `>&-` does, by ones that discard output."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            # It stays open as long as the process lives, like the stream that it replaces.
            nowhere = Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115
            setattr(sys, name, nowhere)


def escape_what_cannot_be_encoded() -> None:
    """Print characters that the output's encoding lacks as escapes, instead of failing."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def refuse_empty(words: Sequence[str]) -> None:
    """Raise BadInput on an empty word, which usually comes from an unset shell variable."""
    for before, word in itertools.pairwise(["zoo", *words]):
        option = word if re.fullmatch(r"--[a-z-]+=", word) else ""
        if not word or option:
            where = option.rstrip("=") or before
            raise BadInput(f"the word after {where} is empty: is a shell variable not set?")


def debug_is_asked_for() -> bool:
    """Whether the environment variable turns on tracebacks."""
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
    from zoo.base.network import unreachable  # imported on errors only: it imports an HTTP client

    if line := unreachable(error):
        return f"{line}; check that this machine is online", 1
    if isinstance(error, OSError) and error.strerror:
        # A full disk or a folder that is not writable: the user can solve that too.
        where = f"{os.fsdecode(error.filename)}: " if error.filename is not None else ""
        step = _NEXT_STEPS.get(error.errno or 0, "`zoo doctor` looks at this machine")
        return f"{where}{error.strerror}; {step}", 1
    line = _line_of_plugin(error)
    whose = f"in a plugin ({line})" if line else "in film-zoo or in a plugin"
    return (
        f"{error_line(error, _LONGEST // 2)}; this is a defect {whose}: "
        "`zoo --debug` with the same words shows where"
    ), 1


def _line_of_plugin(error: BaseException) -> str | None:
    # If a command has loaded no plugin, the module that loads them need not be imported.
    loader = sys.modules.get("zoo.plugins.entry_points")
    return loader.line_in_plugin(error) if loader else None


def _usage(error: Exception) -> tuple[str, int]:
    """The message and exit code for a wrong command line, with a hint how to get help."""
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
    """What is wrong with an option's value that pydantic refused; None for any other error."""
    problems = getattr(error.__cause__, "errors", None)
    hint = getattr(getattr(error, "param", None), "opts", None)
    if not problems or not hint:
        return None
    return option_error(hint[-1], problems()[0])
