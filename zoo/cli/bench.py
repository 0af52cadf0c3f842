"""`zoo bench`: measure what models cost to run, one after another."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from zoo.base import numbers
from zoo.cli import options as opt

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderableType
    from rich.table import Table

    from zoo.base.records import Throughput
    from zoo.compare.costs import Bench, BenchRow
    from zoo.evaluation.cost import CostSubject

ORDERS = ("name", "speed")
NAME_WIDTH = 20
PLAIN_UP_TO = 100_000
"""Speed from which on numbers are printed with a prefix."""


def bench(
    models: Annotated[
        str,
        typer.Option(
            "--models",
            help="Models to measure: all (including references), or names: a,b.",
            autocompletion=opt.several_models,
        ),
    ] = "all",
    settings: opt.SetOption = None,
    sort: Annotated[
        str,
        typer.Option(
            "--sort", help="Sort by name, or by speed: frames encoded and decoded per second."
        ),
    ] = "speed",
    preset: opt.PresetOption = "film",
    size: opt.SizeOption = None,
    latent: opt.LatentOption = None,
    batch: opt.BatchOption = None,
    threads: opt.ThreadsOption = None,
    device: opt.DeviceOption = "auto",
    precision: opt.PrecisionOption = "auto",
    recipe: opt.RecipeOption = None,
    compiled: opt.CompileOption = False,
) -> None:
    """Measure speed, memory and multiply-adds of untrained models; write results/bench.json.

    Needs no film. Run nothing else on the machine meanwhile. A model that fails gets a row with
    the reason; exits with 1 if all models fail.
    """
    import sys

    from rich.markup import escape

    from zoo.base.atomic_files import write_json
    from zoo.base.errors import BadInput
    from zoo.base.workspace import Workspace
    from zoo.cli.console import Console
    from zoo.compare.costs import measure_all
    from zoo.evaluation.cost import CostSubject
    from zoo.plugins.entry_points import as_typed
    from zoo.plugins.registry import registry
    from zoo.report.results_folder import check_folder
    from zoo.training.settings import Settings

    if sort not in ORDERS:
        raise BadInput(f"--sort must be {' or '.join(ORDERS)}; not {sort!r}")
    console = Console()
    chosen_models = registry().choose_models(models)
    if models == "all":
        chosen_models += [r for r in registry().references.values() if not r.pretrained]
    chosen = Settings.choose(
        preset,
        size=size,
        latent=latent,
        batch=batch,
        threads=threads,
        device=device,
        precision=precision,
        recipe=opt.read_recipe(recipe),
        compiled=compiled,
        options=opt.read_settings(settings),
    )
    path = Workspace.here().results / "bench.json"
    check_folder(path.parent)
    subjects = [CostSubject(**chosen.terms(architecture)) for architecture in chosen_models]
    chosen.pin_threads()

    def show_progress(subject: CostSubject, number: int, count: int) -> None:
        # A line instead of a live display, which would take time while a model is timed.
        if console.is_terminal:
            console.print(escape(f"{number}/{count} {subject.model}"), highlight=False)

    command = as_typed(["zoo", *sys.argv[1:]])
    found = measure_all(subjects, chosen.device, on_subject=show_progress, command=command)
    # Print first, so that no measurement is lost if the file cannot be written.
    console.print(bench_table(found, by_speed=sort == "speed"))
    write_json(path, found)
    console.print(f"kept in: {path}", markup=False, soft_wrap=True)
    if all(row.failure for row in found.rows):
        raise typer.Exit(1)


@dataclass(frozen=True)
class _Column:
    heading: str
    """If the two lines of a row differ in kind, the heading's last two lines name them."""
    cell: Callable[[BenchRow], str]


def bench_table(bench: Bench, by_speed: bool) -> RenderableType:
    """Lay out measured costs: a row of two lines per model, and reasons for missing figures.

    Rows are sorted by decreasing speed or by name.
    """
    from rich.console import Group
    from rich.text import Text

    rows = sorted(bench.rows, key=lambda row: row.subject.model)
    if by_speed:
        rows.sort(key=_round_trips, reverse=True)
    return Group(Text(_protocol(bench)), _Fitting(rows), *map(Text, _notes(rows)))


def _round_trips(row: BenchRow) -> float:
    timed = row.cost.round_trip
    return timed.median or 0.0 if timed else -1.0


def _protocol(bench: Bench) -> str:
    """State device, threads, precision, batch and repeats in a few sentences."""
    from zoo.report.costs import TIMINGS

    here, first = bench.environment, bench.rows[0].subject
    cuda = f", CUDA {here.cuda}" if here.cuda else ""
    compiled = "" if here.compile == "none" else f", compiled ({here.compile})"
    protocol = (
        f"{here.device_name}, {numbers.counted(here.threads, 'thread')}, torch {here.torch}{cuda}. "
        f"Frames of {first.size}, {first.batch} in a batch; training at {here.precision}"
        f"{compiled}, encoding and decoding in 32 bits."
    )
    repeats = {
        timed.repeats
        for row in bench.rows
        for timing in TIMINGS
        if (timed := getattr(row.cost, timing))
    }
    if not repeats:
        return protocol
    times = "–".join(map(str, sorted({min(repeats), max(repeats)})))
    return (
        f"{protocol} Frames/s: medians of {times} repeats, ± half the interquartile range; the "
        "second line one frame at a time."
    )


class _Fitting:
    """One table if the terminal is wide enough, else two, or else one per figure."""

    def __init__(self, rows: Sequence[BenchRow]) -> None:
        self.rows = rows

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[Table]:
        from rich.measure import Measurement

        rest = _REST + ([_ENERGY] if any(_metered(row) for row in self.rows) else [])
        wide = options.update(width=10_000)

        def fits(table: Table) -> bool:
            return Measurement.get(console, wide, table).maximum <= options.max_width

        whole = self._table(_SPEED + rest, gap=2)
        if fits(whole):
            yield whole
            return
        for columns in (_SPEED, rest):
            table = next(filter(fits, (self._table(columns, gap) for gap in (2, 1, 0))), None)
            yield from [table] if table else [self._table([column], 1) for column in columns]

    def _table(self, columns: Sequence[_Column], gap: int) -> Table:
        from rich.box import SIMPLE_HEAD
        from rich.table import Table
        from rich.text import Text

        # `Text` everywhere, so that square brackets in a model's name are not read as markup.
        table = Table(box=SIMPLE_HEAD, padding=(0, gap, 0, 0), pad_edge=False)
        table.add_column(Text("model"), no_wrap=True, max_width=NAME_WIDTH, vertical="top")
        for column in columns:
            table.add_column(Text(column.heading), justify="right", no_wrap=True)
        for row in self.rows:
            cells = [Text(column.cell(row)) for column in columns]
            table.add_row(Text(row.subject.model), *cells)
        return table


def _speed(timing: str) -> Callable[[BenchRow], str]:
    def cell(row: BenchRow) -> str:
        first = _timed(row, timing)
        # Training is timed only in batches.
        return first if timing == "train" else f"{first}\n{_timed(row, timing + '_one')}"

    return cell


def _timed(row: BenchRow, timing: str) -> str:
    timed: Throughput | None = getattr(row.cost, timing)
    if timed is None or timed.median is None:
        return _missing(row, timing)
    text = (
        numbers.scaled(timed.median)
        if timed.median >= PLAIN_UP_TO
        else numbers.significant(timed.median)
    )
    if not timed.median or timed.upper_quartile is None or timed.lower_quartile is None:
        return text
    spread = (timed.upper_quartile - timed.lower_quartile) / 2 / timed.median
    return f"{text} ±{spread:3.0%}"


def _missing(row: BenchRow, figure: str) -> str:
    """`n/a` for a missing figure; a dash for one that was not requested."""
    if row.failure:
        return "failed" if figure in ("train", "encode", "decode", "round_trip") else ""
    return numbers.NOT_AVAILABLE if figure in row.cost.unavailable else numbers.NOT_APPLICABLE


def _two(first: str, second: str, write: Callable[[float], str]) -> Callable[[BenchRow], str]:
    """A cell of two figures, one above the other."""

    def one(row: BenchRow, figure: str) -> str:
        from zoo.base.records import Memory

        value = getattr(row.cost, figure)
        if isinstance(value, Memory):
            value = value.reserved if value.allocated is None else value.allocated
        return _missing(row, figure) if value is None else write(value)

    return lambda row: f"{one(row, first)}\n{one(row, second)}"


def _metered(row: BenchRow) -> bool:
    return row.cost.train_joules is not None or row.cost.round_trip_joules is not None


_SPEED = [
    _Column("train", _speed("train")),
    _Column("encode", _speed("encode")),
    _Column("decode", _speed("decode")),
    _Column("round trip", _speed("round_trip")),
]
_REST = [
    _Column("parameters", lambda row: numbers.scaled(row.parameters)),
    _Column(
        "multiply-adds\nto encode\nto decode",
        _two("encode_multiply_adds", "decode_multiply_adds", numbers.scaled),
    ),
    _Column(
        "memory\nto train\nround trip",
        _two("train_memory", "round_trip_memory", lambda value: numbers.scaled(value, "B")),
    ),
    _Column(
        "of peak\ntraining\nround trip",
        _two("train_share_of_peak", "round_trip_share_of_peak", lambda value: f"{value:.1%}"),
    ),
]
_ENERGY = _Column(
    "mJ/frame\ntraining\nround trip",
    _two("train_joules", "round_trip_joules", lambda value: numbers.significant(1000 * value)),
)


def _notes(rows: Sequence[BenchRow]) -> list[str]:
    """Reasons for missing figures, each once, with the models and figures concerned."""
    missing: dict[str, dict[str, list[str]]] = {}
    for row in rows:
        if row.failure:
            missing.setdefault(row.failure, {}).setdefault("everything", []).append(
                row.subject.model
            )
            continue
        for figure, reason in row.cost.unavailable.items():
            missing.setdefault(reason, {}).setdefault(figure, []).append(row.subject.model)
    notes = []
    for reason, figures in missing.items():
        models = list(dict.fromkeys(model for found in figures.values() for model in found))
        all_of_them = len(models) == len(rows) > 1
        whose = "all models" if all_of_them else ", ".join(models)
        what = ", ".join(figure.replace("joules", "energy").replace("_", " ") for figure in figures)
        notes.append(f"n/a for {whose} ({what}): {reason}")
    return notes
