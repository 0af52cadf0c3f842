"""Which row of a series is a record's: several machines may have a run of the same name."""

from __future__ import annotations

from zoo.records import Record, Series, SeriesRow
from zoo.report.standings import machine_key

RunKey = tuple[str, tuple[str, ...]]
"""A run's folder, and the machine that has it."""


def run_key(record: Record) -> RunKey | None:
    """What tells a record's run from all others; None where it has none."""
    return (record.run, machine_key(record.environment)) if record.run else None


def row_of(series: Series, record: Record) -> SeriesRow | None:
    """The scores of a record frame by frame; None where the series has none of it.

    A row that names no machine is of the only one there is.
    """
    machine = machine_key(record.environment)
    for row in series.rows:
        if row.run == record.run and row.machine in (None, machine):
            return row
    return None
