"""`zoo runs`: list, show, watch and remove trained models."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from zoo.cli import options as opt

if TYPE_CHECKING:
    from rich.console import JustifyMethod, RenderableType
    from rich.table import Table
    from rich.text import Text

    from zoo.base.records import Part, Record
    from zoo.training.run_folder import RunFile, RunFolder
    from zoo.training.runs import Run

app = typer.Typer(help="List, show, watch and remove trained models.", rich_markup_mode=None)

RUN = "A run: its path, its id, the start of either, or film/model if there is only one such run."


@opt.lists(app)
def list_runs(as_json: opt.JsonOption = False) -> None:
    """List the runs in the workspace."""
    from zoo.base.json_output import print_json
    from zoo.base.workspace import Workspace
    from zoo.cli.console import WIDE, Console
    from zoo.training.runs import bundled_runs, find_runs

    workspace = Workspace.here()
    found, bundled = find_runs(workspace), bundled_runs()
    if as_json:
        print_json(runs=list(map(_as_json, found)), bundled=list(map(_as_json, bundled)))
        return
    if not found:
        above = workspace.is_above
        typer.echo(f"no runs here; `zoo train` and `zoo compare` leave them in runs/{above}")
        typer.echo(_bundled_in_words(bundled))
        return
    console = Console()
    for table in _from_wide_to_narrow(found):
        wide = console.options.update(width=WIDE)
        if console.measure(table, options=wide).maximum <= console.width:
            break
    console.print(table)
    for run in found:
        if run.problem:
            console.print(_escaped(f"damaged: {run.name}: {run.problem}", 400), soft_wrap=True)
    console.print(_bundled_in_words(bundled))


def _bundled_in_words(bundled: Sequence[Run]) -> str:
    """A line about the runs that come with film-zoo."""
    named = (f"{run.name} ({run.model} trained on {run.film})" for run in bundled)
    return f"with film-zoo comes {', '.join(named)}: `zoo walk {bundled[0].name}`"


@app.command("show")
def show(word: Annotated[str, typer.Argument(metavar="RUN", help=RUN)]) -> None:
    """Show a run: its settings, environment, losses, scores and files."""
    from zoo.api.recipe_and_events import PART_LABELS, format_scores
    from zoo.base.errors import BadInput
    from zoo.base.numbers import scaled, significant, whole
    from zoo.base.workspace import Workspace
    from zoo.cli.console import Console
    from zoo.training.run_folder import last_entry
    from zoo.training.runs import choose_run, files_of, find_runs

    workspace = Workspace.here()
    run = choose_run(find_runs(workspace), word, workspace)
    sections = {
        run.name: [
            ("state", run.status),
            *([("damaged", run.problem)] if run.problem else []),
            ("last touched", _when(run.modified)),
        ]
    }
    if run.description:
        config = run.description.config.model_dump(mode="json")
        options = config.pop("options")
        sections["configuration"] = [
            *((key, str(value)) for key, value in config.items()),
            *((f"option {key}", str(value)) for key, value in options.items()),
        ]
        machine = run.description.environment.model_dump(mode="json")
        sections["environment"] = [
            (key.replace("_", " "), "none" if value is None else str(value))
            for key, value in machine.items()
        ]
        sections["training"] = [("frames", whole(run.frames)), ("seconds", whole(run.seconds))]
        if run.status in ("finished", "interrupted") and (training := run.description.training):
            sections["training"] += [("steps", whole(training.steps))]
            sections["training"] += [("epochs", significant(training.epochs))]
        sections["training"] += _waiting(run.description)
        try:
            last = last_entry(run.folder.log)
        except BadInput as error:
            sections["losses"] = [("damaged", str(error))]
        else:
            step = f" at step {last.step:,}" if last else ""
            sections[f"losses{step}"] = [
                (f"{player}: {term}", significant(value, 4))
                for player, terms in (last.losses if last else {}).items()
                for term, value in terms.items()
            ]
        sections["a few frames, with the final weights"] = [
            (PART_LABELS.get(part, part), format_scores(values))
            for part, values in (run.description.score or {}).items()
        ]
    if run.record:
        sections[f"scores on {run.record.evaluated_on}"] = _score_rows(run.record)
    if run.record_problem:
        sections["scores"] = [("damaged", run.record_problem)]
    sections["files"] = [(file, scaled(size, "B")) for file, size in files_of(run).items()]
    console = Console()
    for title, rows in sections.items():
        if rows:
            console.print(_escaped(title), style="bold", soft_wrap=True)
            console.print(_section(rows))


@app.command("watch")
def watch(
    word: Annotated[
        str | None,
        typer.Argument(metavar="RUN", help=f"{RUN} Default: all runs in training."),
    ] = None,
    opened: Annotated[bool, typer.Option("--open", help="Also open it in the browser.")] = False,
) -> None:
    """Print the address of the page that shows a training's progress: a local file, no server."""
    import webbrowser

    from zoo.base.errors import BadInput
    from zoo.base.workspace import Workspace
    from zoo.training.curves_and_progress_page import PAGE
    from zoo.training.runs import choose_run, find_runs

    workspace = Workspace.here()
    found = find_runs(workspace)
    if word is None:
        chosen = [run for run in found if _in_training(run)]
        if not chosen:
            raise BadInput(
                f"nothing is being trained here{workspace.is_above}; name a run to see its page"
            )
    else:
        chosen = [choose_run(found, word, workspace)]
    for run in chosen:
        page = (_in_training(run) or run.folder).path / PAGE
        if not page.is_file():
            raise BadInput(f"{run.name} is {run.status} and has no page: it took no training step")
        typer.echo(page.absolute().as_uri())
        if opened and not webbrowser.open(page.absolute().as_uri()):
            raise BadInput("no browser could be opened on this machine: open that file yourself")


def _in_training(run: Run) -> RunFolder | None:
    """The folder in which a run is being trained: a subfolder if an existing run is replaced."""
    from contextlib import suppress

    from zoo.base.errors import BadInput

    with suppress(BadInput):
        for folder in (run.folder.to_train(overwrite=True), run.folder):
            if folder.state == "training":
                return folder
    return None


@app.command("remove", cls=opt.Command)
def remove(
    words: Annotated[list[str], typer.Argument(metavar="RUN", help=RUN)],
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask for confirmation.")] = False,
) -> None:
    """Delete runs and everything in them, including evaluations."""
    import sys

    from zoo.base.errors import BadInput
    from zoo.base.numbers import counted, scaled
    from zoo.base.workspace import Workspace
    from zoo.cli.console import Console
    from zoo.training.runs import check_removable, choose_run, files_of, find_runs, remove_run

    workspace = Workspace.here()
    found = find_runs(workspace)
    # Check all runs before removing the first: if one is refused, none is removed.
    chosen = {run.name: run for run in (choose_run(found, word, workspace) for word in words)}
    for run in chosen.values():
        check_removable(run, workspace)
    console = Console()
    if not yes:
        if not sys.stdin.isatty():
            raise BadInput("no terminal to ask for confirmation; --yes removes without asking")
        for run in chosen.values():
            size = scaled(sum(files_of(run).values()), "B")
            console.print(_escaped(f"{run.name} ({run.status}, {size})"), soft_wrap=True)
        if not typer.confirm(f"Remove {counted(len(chosen), 'run')}?"):
            typer.echo("nothing was removed")
            raise typer.Exit(1)
    for run in chosen.values():
        remove_run(run, workspace)
        console.print(_escaped(f"{run.name} is removed"), soft_wrap=True)


def _as_json(run: Run) -> dict[str, Any]:
    """A run as an entry of the JSON list; times are in seconds since 1970."""
    scores = run.record.scores if run.record else {}
    return {
        "name": run.name,
        "film": run.film or None,
        "model": run.model or None,
        "id": run.id,
        "state": run.status,
        "problem": run.problem or run.record_problem or None,
        "frames": run.frames,
        "seconds": run.seconds,
        "scores": {
            metric: {part: summary.mean for part, summary in parts.items()}
            for metric, parts in scores.items()
        },
        "last_touched": run.modified,
    }


def _from_wide_to_narrow(runs: Sequence[Run]) -> Iterator[RenderableType]:
    """Yield layouts of the list of runs, each narrower than the last; the final one always fits."""
    yield _table(runs, narrow=False)
    left_out: set[str] = set()
    for heading in ("", "last touched", "seconds", "frames"):
        left_out.add(heading)
        yield _table(runs, narrow=True, left_out=left_out)
    yield _stacked(runs)


def _stacked(runs: Sequence[Run]) -> Text:
    """Lay out two lines per run, which may wrap: its name, then its state and score."""
    from rich.text import Text

    from zoo.base.safe_text import one_line
    from zoo.training.runs import short_digests

    digests, scored_by = short_digests(runs), _metric_shown(runs)
    lines = []
    for run in runs:
        where = f"{run.film}/{run.model}/{digests[run.name]}" if run.film else run.name
        score = f", {_heading(scored_by)}: {_score(run, scored_by)}" if scored_by else ""
        lines += [one_line(where), f"  {run.status}{one_line(score)}"]
    return Text("\n".join(lines), overflow="fold")


def _table(runs: Sequence[Run], narrow: bool, left_out: Collection[str] = ()) -> Table:
    """Lay out a row per run; a narrow table shows only digests of ids, which also name a run."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    from zoo.base.numbers import NOT_APPLICABLE, whole
    from zoo.training.runs import short_digests

    digests = short_digests(runs)
    scored_by = _metric_shown(runs)
    table = Table(box=SIMPLE_HEAD, padding=(0, 1 if narrow else 2, 0, 0), pad_edge=False)
    names, numbers = ("film", "model", "run"), ("frames", "seconds", _escaped(_heading(scored_by)))
    headings = [*names, "state", *numbers, "last touched"]
    for heading in headings:
        if heading not in left_out:
            justify: JustifyMethod = "right" if heading in numbers else "left"
            table.add_column(
                heading,
                overflow="fold",
                vertical="bottom",
                justify=justify,
                no_wrap=heading not in names,
            )
    for run in runs:
        digest = digests[run.name]
        cut = run.id.removesuffix(run.digest) + digest
        # A folder in the wrong place has no film and no model, only a name.
        shown = (digest if narrow else cut) if run.film else run.name
        row = (
            _escaped(run.film),
            _escaped(run.model),
            _escaped(shown),
            run.status,
            NOT_APPLICABLE if run.frames is None else whole(run.frames),
            NOT_APPLICABLE if run.seconds is None else whole(run.seconds),
            _score(run, scored_by),
            _when(run.modified, narrow),
        )
        cells = zip(headings, row, strict=True)
        table.add_row(*(cell for heading, cell in cells if heading not in left_out))
    return table


def _metric_shown(runs: Sequence[Run]) -> tuple[str, Part] | None:
    """The metric and part of the film to show: held-out LPIPS if any run has it."""
    from zoo.report.ranking import PERCEPTUAL

    parts: tuple[Part, ...] = ("held_out", "seen")
    records = [run.record for run in runs if run.record]
    metrics = [PERCEPTUAL, *(metric for record in records for metric in record.scores)]
    for part in parts:
        for metric in metrics:
            if any(part in record.scores.get(metric, {}) for record in records):
                return metric, part
    return None


def _heading(scored_by: tuple[str, Part] | None) -> str:
    return f"{scored_by[0]}, {scored_by[1].replace('_', ' ')}" if scored_by else "score"


def _score(run: Run, scored_by: tuple[str, Part] | None) -> str:
    from zoo.base.numbers import NOT_APPLICABLE, NOT_AVAILABLE, significant

    if run.record_problem:
        return "damaged"
    if not run.record or not scored_by:
        return NOT_APPLICABLE
    metric, part = scored_by
    summary = run.record.scores.get(metric, {}).get(part)
    return significant(summary.mean) if summary else NOT_AVAILABLE


def _score_rows(record: Record) -> list[tuple[str, str]]:
    from zoo.base.numbers import significant, whole

    return [
        (
            f"{metric}, {part.replace('_', ' ')}",
            f"{significant(summary.mean, 4)} (sd {significant(summary.sd)}, "
            f"{whole(summary.frames)} frames)",
        )
        for metric, parts in record.scores.items()
        for part, summary in parts.items()
    ]


def _waiting(description: RunFile) -> list[tuple[str, str]]:
    """Say how much training time was spent waiting for frames, and where frames came from."""
    rows = []
    if description.data_stall is not None:
        rows.append(("waiting for frames", f"{description.data_stall:.1%} of the time"))
    if description.film_on_device is not None:
        rows.append(("film", "on the GPU" if description.film_on_device else "read in batches"))
    return rows


def _section(rows: Sequence[tuple[str, str]]) -> Table:
    from rich.table import Table

    table = Table(show_header=False, box=None, pad_edge=False)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for key, value in rows:
        table.add_row("  " + _escaped(key), _escaped(value))
    return table


def _when(seconds: float | None, short: bool = False) -> str:
    from datetime import datetime

    from zoo.base.numbers import NOT_APPLICABLE

    if seconds is None:
        return NOT_APPLICABLE
    form = "%m-%d %H:%M" if short else "%Y-%m-%d %H:%M"
    return datetime.fromtimestamp(seconds).astimezone().strftime(form)


def _escaped(text: str, longest: int = 200) -> str:
    """Make text from a run's files or folder names safe to print: one short line, no markup."""
    from zoo.cli.console import escaped

    return escaped(text, longest)
