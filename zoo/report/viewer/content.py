"""The data that the page receives; `static/data.js` declares the same types."""

from __future__ import annotations

from pathlib import Path

import pydantic

from zoo.base.records import FilmInfo, Number, Part, Record, Results, Series
from zoo.base.safe_text import one_line
from zoo.base.time_code import rate_fraction
from zoo.report.aggregate import ResultRow, result_rows, tuning_films
from zoo.report.frame_strip import sheet_description, side_by_side_description
from zoo.report.ranking import PART_NAMES, ranking, sort_rows
from zoo.report.results_folder import FilmSeries, RunKey, address, run_key, series_row

PARTS: tuple[Part, ...] = ("seen", "held_out", "other")
KINDS = ("typical", "best", "worst")


def film_content(
    results: Results, film: FilmInfo, found: FilmSeries, folder: Path, scores: str | None
) -> tuple[FilmContent, FilmScores | None]:
    """Build the content of one film, and its scores per frame for the separate file `scores`.

    `found` is the film's series. Files that the records name are looked up below `folder`; missing
    files are left out. Raises BadInput if a record names a file outside `folder`.
    """
    chosen = _chosen(results, film)
    series, problem = _series(film, found)
    known = _scores(series, [record for _, record in chosen]) if series else None
    content = FilmContent(
        name=one_line(film.name, 60),
        title=one_line(film.title) + " (tuning film)" * (film.name in tuning_films(results)),
        licence=one_line(film.licence) if film.licence else None,
        size=film.size,
        frames=film.frames,
        rate=_rate(film),
        begins=film.begins,
        shots=film.shot_starts or [0],
        held_out=film.held_out,
        barcode=address(folder, film.barcode),
        video=address(folder, film.video),
        video_start=film.video_start,
        sheet=_file(film.sheet, sheet_description(film), folder),
        side_by_side=_side_by_side(film, folder),
        scores=scores if known else None,
        problem=problem,
        entries=[_entry(row, record, folder) for row, record in chosen],
        moments=_moments([record for _, record in chosen], folder),
        tables=[],
    )
    return content, known


def entry_runs(results: Results, film: FilmInfo) -> dict[RunKey, int]:
    """The index of each run among the page's entries."""
    chosen = enumerate(_chosen(results, film))
    return {key: index for index, (_, record) in chosen if (key := run_key(record))}


def _file(name: str | None, caption: str, folder: Path) -> Captioned | None:
    found = address(folder, name)
    return Captioned(address=found, caption=caption) if found else None


def _side_by_side(film: FilmInfo, folder: Path) -> Captioned | None:
    beside = film.side_by_side
    return _file(beside.video, side_by_side_description(beside), folder) if beside else None


def _rate(film: FilmInfo) -> float | None:
    """Frames/s of the film's videos, as the exact fraction in the video files."""
    return float(rate_fraction(film.fps)) if film.fps else None


def _chosen(results: Results, film: FilmInfo) -> list[tuple[ResultRow, Record]]:
    """The rows of a film's table, best first, each with the record that represents it."""
    rows = sort_rows(result_rows(results, film.name), ranking(results, film.name), films=1)
    return [(row, min(row.records or row.failed, key=lambda record: record.seed)) for row in rows]


def _entry(row: ResultRow, record: Record, folder: Path) -> Entry:
    pictures = {
        picture.frame: found
        for picture in record.pictures
        if (found := address(folder, picture.reconstruction))
    }
    failed = record.status == "failed"
    return Entry(
        name=row.name,
        role="codec" if row.codec else row.role,
        summary=one_line(record.summary, 300),
        seed=record.seed,
        failed=one_line(record.reason or "no reason was recorded", 500) if failed else None,
        note=one_line(record.note, 500) if record.note else None,
        video=address(folder, record.video),
        pictures=pictures,
    )


def _moments(records: list[Record], folder: Path) -> list[Moment]:
    """The frames with stored pictures, in the order of the film's strip."""
    every = [picture for record in records for picture in record.pictures]
    # After a merge, a picture that is missing from one folder may exist in another.
    every.sort(key=lambda picture: address(folder, picture.original) is not None)
    kept = {picture.frame: picture for picture in every}
    ordered = sorted(
        kept.values(), key=lambda p: (PARTS.index(p.part), KINDS.index(p.kind), p.frame)
    )
    return [
        Moment(
            frame=picture.frame,
            label=f"{picture.kind}, {PART_NAMES[picture.part]}",
            original=address(folder, picture.original),
        )
        for picture in ordered
    ]


def _series(film: FilmInfo, found: FilmSeries) -> tuple[Series | None, str | None]:
    if film.series is None:
        return None, "The records have no scores per frame."
    series = found.series
    if series is None:
        return None, f"No scores per frame: {found.problem}"
    if not series.frames or len(series.seconds) != len(series.frames):
        return None, "No scores per frame: the series has no frames with their times."
    return series, None


def _scores(series: Series, records: list[Record]) -> FilmScores:
    rows = [series_row(series, record) if record.status == "ok" else None for record in records]
    return FilmScores(
        frames=series.frames,
        seconds=series.seconds,
        entries=[
            {
                metric: values
                for metric, values in row.scores.items()
                if len(values) == len(series.frames)
            }
            if row
            else {}
            for row in rows
        ],
    )


class _Content(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(extra="forbid", allow_inf_nan=False)


class Entry(_Content):
    """A model or reference that can be shown beside the film: one row of its table."""

    name: str
    role: str
    """`model`, `reference` or `codec`."""
    summary: str
    seed: int
    failed: str | None
    """Why the run failed; null if it succeeded."""
    note: str | None
    video: str | None
    """URL relative to the page, like all URLs here; null if there is no file."""
    pictures: dict[int, str]
    """URLs of the reconstructions of the film's moments, by frame."""


class Moment(_Content):
    """A frame that has stored pictures."""

    frame: int
    label: str
    """Such as `worst, held out`."""
    original: str | None


class Captioned(_Content):
    """A picture or a video with a description."""

    address: str
    caption: str


class GridColumn(_Content):
    """A column heading, and which of its numbers are better."""

    heading: list[str]
    better: str | None
    """`higher`, `lower` or `one` (nearest to 1); null if the column has no best."""


class GridCell(_Content):
    """The text of a cell, and the number that the column is sorted by."""

    text: str
    value: Number
    best: bool


class GridRow(_Content):
    """A model or a reference."""

    name: str
    note: str
    entry: int | None
    """Index among the film's entries; null in a table over several films."""
    cells: list[GridCell]


class Grid(_Content):
    """A table that can be sorted."""

    caption: str
    columns: list[GridColumn]
    rows: list[GridRow]
    notes: list[str]


class FilmContent(_Content):
    """One film."""

    name: str
    title: str
    licence: str | None
    size: str
    frames: int
    rate: Number
    """Frames/s of its videos; null if it is not known."""
    begins: float
    """When the first frame is shown, in seconds of the source."""
    shots: list[int]
    """First frame of every shot, in order."""
    held_out: list[tuple[int, int]]
    """Held-out runs of frames, `[start, stop)`."""
    barcode: str | None
    video: str | None
    video_start: int
    """The first frame of the videos."""
    sheet: Captioned | None
    """A frame of every shot; null if there is no file, like `side_by_side`."""
    side_by_side: Captioned | None
    """A video of the film and of its first models, with the film's sound if it has any."""
    scores: str | None
    """URL of the script with the scores per frame; null without scores."""
    problem: str | None
    """Why there are no scores."""
    entries: list[Entry]
    moments: list[Moment]
    tables: list[Grid]


class Measure(_Content):
    """A metric."""

    name: str
    label: str
    unit: str
    better: str
    digits: int


class Content(_Content):
    """Everything in the page itself."""

    heading: str
    made: str
    """The time, the preset and the budget."""
    machines: str = pydantic.Field(exclude=True)
    """The machine behind each letter, empty if there is one; not passed to the scripts."""
    command: str
    metrics: list[Measure]
    """The metrics that could be measured; the main tables' metrics come first."""
    films: list[FilmContent]
    findings: list[str]
    """The sentences on who is ahead, as in the report."""
    across: Grid | None
    """The table of means over films; null if there is one film."""


class FilmScores(_Content):
    """The scores of one film, per frame."""

    frames: list[int]
    """Frame numbers, ascending; a long film has evenly spaced frames only."""
    seconds: list[float]
    """The time of each frame."""
    entries: list[dict[str, list[Number]]]
    """Scores by entry, then by metric; empty for an entry without scores."""
