"""What models cost to run: one table across all films, and how it was measured."""

from __future__ import annotations

from collections.abc import Callable
from itertools import groupby

from zoo.base import numbers
from zoo.base.records import Cost, Memory, Record, Results
from zoo.base.safe_text import one_line
from zoo.report.aggregate import (
    Measure,
    ResultRow,
    machine_key,
    machines,
    result_rows,
    training_precision,
)
from zoo.report.ranking import ranking, sort_rows
from zoo.report.table import (
    Column,
    Table,
    build_table,
    bytes_column,
    machine_columns,
    mean_value,
    pair,
    parameters_column,
    throughput,
)

TIMINGS = (
    *("train", "encode", "decode", "round_trip"),
    *("encode_one", "decode_one", "round_trip_one"),
)


def cost_table(results: Results) -> Table | None:
    """Speed, memory, arithmetic and energy of every row; None if nothing was measured."""
    rows = sort_rows(result_rows(results), ranking(results), films=len(results.films))
    rows = [row for row in rows if any(record.cost for record in row.records)]
    if not rows:
        return None
    columns = [
        bytes_column(),
        Column(("train", "frames/s"), _speed("train")),
        Column(("encode frames/s", "in batch / alone"), _speeds("encode")),
        Column(("decode frames/s", "in batch / alone"), _speeds("decode")),
        Column(("round trip frames/s", "in batch / alone"), _speeds("round_trip")),
        Column(("memory to train", "/ round trip"), _pair("train_memory", "round_trip_memory")),
        parameters_column(),
        Column(
            ("multiply-adds to", "encode / decode"),
            _pair("encode_multiply_adds", "decode_multiply_adds"),
        ),
        Column(
            ("of peak in training", "/ round trip"),
            _pair("train_share_of_peak", "round_trip_share_of_peak"),
        ),
    ]
    if any(_has(row, name) for row in rows for name in ("train_joules", "round_trip_joules")):
        heading = ("mJ per frame to train", "/ round trip")
        columns.append(Column(heading, _pair("train_joules", "round_trip_joules")))
    if any(record.environment.compile != "none" for row in rows for record in row.records):
        columns.append(Column(("training", "compiled"), _compiled))
    return build_table(rows, [*columns, *machine_columns(results)], results.films, _notes(rows))


def timing_protocol(results: Results) -> list[str]:
    """How throughput was measured, machine by machine."""
    letters = machines(results)
    trainings: dict[str, dict[str, None]] = {}
    settings_by_machine: dict[str, set[tuple[int, int]]] = {}
    for record in results.records:
        if record.cost is None or record.cost.batch is None:
            continue
        environment = record.environment
        letter = f"{letters[machine_key(environment)]}: " if len(letters) > 1 else ""
        compiled = "" if environment.compile == "none" else f" and compiled ({environment.compile})"
        machine = (
            f"{letter}{one_line(environment.device_name, 80)} ({environment.device}), "
            f"{numbers.counted(environment.threads, 'thread')}, {environment.memory_format}, "
        )
        if precision := training_precision(record):
            trainings.setdefault(machine, {})[f"at {precision}{compiled}"] = None
        for timing in (getattr(record.cost, name) for name in TIMINGS):
            if timing:
                settings_by_machine.setdefault(machine, set()).add(
                    (record.cost.batch, timing.repeats)
                )
    sentences = []
    for machine, settings in settings_by_machine.items():
        trained = numbers.listed([*trainings.get(machine, {})], "or")
        how = f"{machine}{f'training {trained}, ' * bool(trained)}encoding and decoding in 32 bits"
        for batch, group in groupby(sorted(settings), key=lambda setting: setting[0]):
            repeats = numbers.listed([str(count) for _, count in group], "or")
            sentences.append(
                f"{how}: batches of {batch} and single frames, medians of {repeats} timings."
            )
    if any(record.cost and record.cost.batch is None for record in results.records):
        sentences.append(
            "Codecs were timed once over the whole film, at the quality that gives the requested "
            "bytes, including conversion from and to RGB."
        )
    return sentences


def _figure(name: str) -> Measure:
    def measure(record: Record) -> float | None:
        value = getattr(record.cost, name) if record.cost else None
        if isinstance(value, Memory):
            return value.reserved if value.allocated is None else value.allocated
        return value

    return measure


def _has(row: ResultRow, name: str) -> bool:
    return mean_value(row, _figure(name)) is not None


def _missing(row: ResultRow, name: str) -> str:
    """`n/a` for a figure that could not be measured, a dash for one that does not apply."""
    asked = any(record.cost and name in record.cost.unavailable for record in row.records)
    return numbers.NOT_AVAILABLE if asked else numbers.NOT_APPLICABLE


def _one(row: ResultRow, name: str) -> str:
    value = mean_value(row, _figure(name))
    if value is None:
        return _missing(row, name)
    if "memory" in name:
        return numbers.scaled(value, "B")
    if "share" in name:
        return f"{numbers.significant(100 * value, 2)}%"
    if "joules" in name:
        return numbers.significant(1000 * value)
    return numbers.scaled(value)


def _pair(first: str, second: str) -> Callable[[ResultRow], str]:
    return lambda row: pair(_one(row, first), _one(row, second))


def _speed(kind: str) -> Callable[[ResultRow], str]:
    def text(row: ResultRow) -> str:
        value = mean_value(row, throughput(kind))
        return _missing(row, kind) if value is None else numbers.significant(value)

    return text


def _speeds(kind: str) -> Callable[[ResultRow], str]:
    def text(row: ResultRow) -> str:
        together = _speed(kind)(row)
        # A codec does not code single frames.
        return together if row.codec else pair(together, _speed(f"{kind}_one")(row))

    return text


def _compiled(row: ResultRow) -> str:
    modes = dict.fromkeys(one_line(record.environment.compile, 40) for record in row.records)
    return ", ".join(modes)


def _notes(rows: list[ResultRow]) -> list[str]:
    """Explain missing figures: each reason once, with the rows that it applies to."""
    missing: dict[str, dict[str, set[str]]] = {}
    for row in rows:
        for cost in (record.cost for record in row.records if record.cost):
            for name, reason in _unavailable(cost):
                missing.setdefault(reason, {}).setdefault(row.name, set()).add(name)
    notes = []
    for reason, found in missing.items():
        names = sorted(set().union(*found.values()))
        figures = [f"the {_figure_in_words(name)}" for name in names]
        what = numbers.listed(figures)
        whose = "every row" if len(found) == len(rows) > 1 else numbers.listed([*found])
        verb = numbers.verb(len(figures), "is", "are")
        notes.append(f"{what[:1].upper()}{what[1:]} {verb} n/a for {whose}: {reason}")
    return notes


_WORK = {
    "train": "training",
    "encode": "encoding",
    "decode": "decoding",
    "round_trip": "round trip",
}
_QUANTITIES = {"": "speed", "one": "speed of single frames", "joules": "energy"}


def _figure_in_words(name: str) -> str:
    """A field of `Cost` as a noun, such as `encoding speed of single frames`."""
    for field, work in _WORK.items():
        if name.startswith(field):
            rest = name.removeprefix(field).strip("_").replace("_", " ")
            return f"{work} {_QUANTITIES.get(rest, rest)}"
    return name.replace("_", " ")


def _unavailable(cost: Cost) -> list[tuple[str, str]]:
    return [(name, one_line(reason, 300)) for name, reason in cost.unavailable.items()]


UNSTEADY = 0.2
"""Timings whose quartiles differ by more than this share of their median are not compared."""


def _timings_vary(cost: Cost | None) -> bool:
    """Whether training timings vary too much to be compared."""
    train = cost.train if cost else None
    if not train or not train.median or train.lower_quartile is None:
        return False
    return ((train.upper_quartile or 0.0) - train.lower_quartile) / train.median > UNSTEADY


def training_time(models: list[ResultRow]) -> list[str]:
    """A sentence on how training time per frame differs between models."""
    if len({(row.machine, row.precision) for row in models}) > 1:
        return []
    timed = []
    for row in models:
        if any(_timings_vary(record.cost) for record in row.records):
            return []
        speed = row.value(throughput("train"))
        if speed:
            timed.append((speed.mean, row.name))
    if len(timed) < 2:
        return []
    (slow, slowest), (fast, fastest) = min(timed), max(timed)
    if slow <= 0 or fast < 1.1 * slow:
        return []
    return [
        f"Training on a frame does not take every model equally long: {slowest} takes "
        f"{numbers.times(fast / slow)} as long as {fastest}."
    ]
