"""Series: which row is a record's, and how long one may be so that it can be read again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from zoo.errors import BadInput
from zoo.records import FilmInfo, Record, Series, SeriesRow, read_json
from zoo.report.placing import placed
from zoo.report.standings import machine_key
from zoo.report.text import one_line

RunKey = tuple[str, tuple[str, ...]]
"""A run's folder, and the machine that has it."""


@dataclass(frozen=True)
class FilmSeries:
    """The series of a film, or why there is none."""

    series: Series | None
    problem: str | None
    """Why it cannot be read; None where it can, or the records name none."""

    @classmethod
    def read(cls, film: FilmInfo, folder: Path) -> FilmSeries:
        """Read what a record names below `folder`; raises BadInput where that is elsewhere."""
        if film.series is None:
            return cls(None, None)
        path = placed(folder, film.series)
        try:
            return cls(read_json(path, Series), None)
        except BadInput as error:
            # Named as the record does, whatever folder the results lie in.
            return cls(None, one_line(str(error).replace(str(path), film.series), 300))


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


def frames_of_both(one: Series, other: Series) -> Series | None:
    """`one` at the frames that both have; None where they differ in when these are shown."""
    if any(len(each.frames) != len(each.seconds) for each in (one, other)):
        return None
    times = dict(zip(other.frames, other.seconds, strict=True))
    kept = [place for place, frame in enumerate(one.frames) if frame in times]
    if not kept or any(one.seconds[place] != times[one.frames[place]] for place in kept):
        return None
    return _at(one, kept)


def bounded(series: Series) -> Series:
    """The series at every second, fourth, eighth frame, as needed for a file that can be read."""
    shorter, step = series, 1
    while _bytes(shorter) >= Series.largest and step < len(series.frames):
        step *= 2
        shorter = _at(series, range(0, len(series.frames), step))
    return shorter


def _bytes(series: Series) -> int:
    return len(series.model_dump_json().encode())


def _at(series: Series, places: Sequence[int]) -> Series:
    if len(places) == len(series.frames):
        return series
    return series.model_copy(
        update={
            "frames": [series.frames[place] for place in places],
            "seconds": [series.seconds[place] for place in places],
            "rows": [
                row.model_copy(
                    update={
                        "scores": {
                            metric: [values[place] for place in places]
                            for metric, values in row.scores.items()
                            if len(values) == len(series.frames)
                        }
                    }
                )
                for row in series.rows
            ],
        }
    )
