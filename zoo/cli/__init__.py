"""The command `zoo`: its verbs, each a thin layer over the other packages.

Nothing heavy is imported here or at the top of a verb's file, so that `zoo --help` is instant.
"""

from __future__ import annotations

import itertools
import sys
from typing import Annotated

import typer

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
from zoo.cli.errors import (
    debug_is_asked_for,
    escape_what_cannot_be_encoded,
    open_closed_streams,
    pipe_is_closed,
    refuse_empty,
)
from zoo.cli.errors import (
    report as report_error,
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
app.command("report", short_help="Write a report again from its records.", cls=options.Command)(
    report.report
)
app.command("bench", short_help="Measure what models cost to run.")(bench.bench)
app.command("match", short_help="Find one film, or scenes of it, in another.")(match.match)
app.command("reconstruct", short_help="Reconstruct a film from its latents.")(
    reconstruct.reconstruct
)
app.command("encode", short_help="Write a film as its latents, in one file.")(reconstruct.encode)
app.command("decode", short_help="Reconstruct a film from such a file.")(reconstruct.decode)
app.command("info", short_help="Show what is in such a file.")(reconstruct.info)
app.command("interpolate", short_help="Write a path through latent space between moments.")(
    latent_paths.interpolate
)
app.command("sample", short_help="Decode samples of a model's prior.")(latent_paths.sample)
app.command("walk", short_help="Drift through the latents of a film.")(latent_paths.walk)
app.command("export", short_help="Write a model's networks for other programs.")(export.export)
app.command("push", short_help="Publish a model on the Hugging Face hub.")(export.push)
app.command("pull", short_help="Download a published model into runs/.")(export.pull)
app.add_typer(runs.app, name="runs")
app.add_typer(models_and_plugins.models_app, name="models")
app.add_typer(
    models_and_plugins.plugins_app, name="plugins", short_help="List plugins, and check them."
)
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
        typer.Option("--debug", help="Show the traceback of an error; ZOO_DEBUG=1 as well."),
    ] = False,
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Print the version and exit."
        ),
    ] = False,
) -> None:
    """Train networks that autoencode films, and compare what they remember."""


def main() -> None:
    """Run the command line; every error ends in one line and an exit code.

    2 for wrong input, 1 for a failure, 130 for Ctrl-C (`zoo.base.interrupts` has the other
    signals), 141 where nobody reads the output any more.
    """
    # Looked for here: the words can be wrong before any option is read.
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
        # Where nobody reads on, Click itself ends with a code of its own.
        code = report_error(error, debug) if pipe_is_closed(error) else error.code
    sys.exit(code if isinstance(code, int) else 0)
