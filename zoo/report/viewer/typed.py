"""What the page's scripts are given, typed: `static/data.js` says the same in their language."""

from __future__ import annotations

import pydantic

from zoo.records import Number


class _Given(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(extra="forbid", allow_inf_nan=False)


class Entry(_Given):
    """A model or a reference that can stand beside the film: one row of its table."""

    name: str
    role: str
    """`model`, `reference` or `codec`."""
    summary: str
    seed: int
    failed: str | None
    """Why it failed; null where it did not."""
    note: str | None
    video: str | None
    """Addresses are relative to the page; null where there is no file."""
    pictures: dict[int, str]
    """Of the film's moments, by frame."""


class Moment(_Given):
    """A frame that every entry has a picture of."""

    frame: int
    label: str
    """`worst, held out`, say."""
    original: str | None


class GridColumn(_Given):
    """A heading, and the metric that stands under it if there is one."""

    heading: list[str]
    better: str | None
    """`higher`, `lower` or `one`; null where nothing is better."""


class GridCell(_Given):
    """What is shown, and what it is sorted by."""

    text: str
    value: Number
    best: bool


class GridRow(_Given):
    """A model or a reference."""

    name: str
    note: str
    entry: int | None
    """Which of the film's entries this is; null in a table over several films."""
    cells: list[GridCell]


class Grid(_Given):
    """A table that can be sorted."""

    caption: str
    columns: list[GridColumn]
    rows: list[GridRow]
    notes: list[str]


class FilmContent(_Given):
    """One film."""

    name: str
    title: str
    licence: str | None
    size: str
    frames: int
    rate: Number
    """Frames a second of its videos; null where it is not known."""
    begins: float
    """When the first frame is shown, in seconds of the source."""
    shots: list[int]
    """First frame of every shot, in order."""
    held_out: list[tuple[int, int]]
    """Held-out runs of frames, `[start, stop)`."""
    barcode: str | None
    video: str | None
    scores: str | None
    """The script that hands over the scores frame by frame; null where there are none."""
    problem: str | None
    """Why there are none."""
    entries: list[Entry]
    moments: list[Moment]
    tables: list[Grid]


class Measure(_Given):
    """A metric."""

    name: str
    label: str
    unit: str
    better: str
    digits: int


class Content(_Given):
    """All that stands in the page itself."""

    heading: str
    made: str
    """When, with which preset and budget."""
    machines: str = pydantic.Field(exclude=True)
    """Which machine each letter is, empty where there is one: for the page, not for its scripts."""
    command: str
    metrics: list[Measure]
    """Those that could be measured, those of the first tables first."""
    films: list[FilmContent]
    findings: list[str]
    """Who is ahead, as in the report."""
    across: Grid | None
    """Means over films; null where there is one film."""


class FilmScores(_Given):
    """The scores of one film, frame by frame."""

    frames: list[int]
    """Ascending; evenly spaced ones of a long film."""
    seconds: list[float]
    """When each is shown."""
    entries: list[dict[str, list[Number]]]
    """By entry, then by metric; an entry that has none is empty."""
