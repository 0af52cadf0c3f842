"""Where models fail: slices of a film's frames, plain frames, still shots, batch dependence.

Builds tables, and sentences that state their rules; none of the rules depends on a model's name.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from zoo.base import numbers
from zoo.base.records import FilmInfo, Part, PlainFrame, Record, Results, Slice
from zoo.report.aggregate import Measure, ResultRow
from zoo.report.ranking import DISTORTION, Ranking, arrow, ranking
from zoo.report.score_tables import film_rows
from zoo.report.table import (
    Column,
    Table,
    bracketed,
    build_table,
    bytes_column,
    fixed_value,
    inline,
    machine_columns,
    mean_value,
    pair,
    percentage,
)

PLAIN: tuple[Literal["black", "grey", "white"], ...] = ("black", "grey", "white")


@dataclass(frozen=True)
class SliceKind:
    """A property that frames are sliced by, with phrases for the lowest and highest fifth.

    `low` and `high` complete the sentence "worse on {low} than on {high}", or the reverse;
    in the first of the two, "fifth" then becomes "fifth of frames".
    """

    name: str
    heading: tuple[str, str]
    low: str
    high: str
    unit: str


SLICE_KINDS = (
    SliceKind(
        "brightness",
        ("darkest /", "brightest"),
        "the darkest fifth",
        "the brightest fifth",
        "mean luma",
    ),
    SliceKind(
        "contrast",
        ("lowest / highest", "contrast"),
        "the fifth with the lowest contrast",
        "the fifth with the highest contrast",
        "standard deviation of luma",
    ),
    SliceKind(
        "motion",
        ("least / most", "motion"),
        "the fifth with the least motion",
        "the fifth with the most motion",
        "change of luma, in levels",
    ),
    SliceKind(
        "shot length",
        ("shortest / longest", "shots"),
        "the fifth in the shortest shots",
        "the fifth in the longest shots",
        "seconds",
    ),
)

End = Literal["low", "high"]


def failure_table(results: Results, film: FilmInfo) -> Table | None:
    """Where each model fails on its training frames; None without a failure analysis."""
    rows, rank = analysed_rows(results, film), ranking(results, film.name)
    if not rows or not rank:
        return None
    columns = [bytes_column(), *_slice_columns(rows, Ranking(rank.metric, "seen"))]
    columns += [
        Column((f"{name} frame", "PSNR, RGB"), _plain_text(results, name))
        for name in PLAIN
        if any(_plain(record, name) for row in rows for record in row.records)
    ]
    columns += [
        Column(("spread left in", "still shots"), _still),
        Column(("changed by", "batch"), _by_batch),
        *machine_columns(results),
    ]
    return build_table(rows, columns, [film])


def held_out_failure_table(results: Results, film: FilmInfo) -> Table | None:
    """The failure slices of held-out frames; None if no record has them."""
    rows, rank = analysed_rows(results, film), ranking(results, film.name)
    if not rows or not rank:
        return None
    columns = _slice_columns(rows, Ranking(rank.metric, "held_out"))
    return build_table(rows, [bytes_column(), *columns], [film]) if columns else None


def failure_notes(results: Results, film: FilmInfo) -> list[str]:
    """Explain the slices, with their bounds."""
    rows, rank = analysed_rows(results, film), ranking(results, film.name)
    if not rows or not rank:
        return []
    first = next(record for row in rows for record in row.records if record.failure_analysis)
    bounds = []
    for kind in SLICE_KINDS:
        low, high = (_end(first, kind.name, "seen", end) for end in ("low", "high"))
        if low and high:
            bounds.append(
                f"{kind.low} reaches up to {numbers.significant(low.highest)} and {kind.high} "
                f"starts at {numbers.significant(high.lowest)} ({kind.unit})"
            )
    if not bounds:
        return []
    return [
        f"Slices are fifths of the film's frames, scored by {rank.label} on seen frames: "
        f"{'; '.join(bounds)}."
    ]


def analysed_rows(results: Results, film: FilmInfo) -> list[ResultRow]:
    """The rows of a film that have a failure analysis."""
    return [
        row
        for row in film_rows(results, film)
        if any(record.failure_analysis for record in row.records)
    ]


def _end(record: Record, sliced_by: str, part: Part, end: End) -> Slice | None:
    """The lowest or highest fifth of frames by one property; None if the part has no such frames.

    If a part has no frames in the film's first fifth, its own first slice is a later fifth. So its
    bounds are compared with the slices of seen frames, which nearly every film has in full.
    """
    if not record.failure_analysis:
        return None

    def of(where: Part) -> list[Slice]:
        assert record.failure_analysis is not None
        return [s for s in record.failure_analysis.slices.get(where, []) if s.by == sliced_by]

    whole, own = of("seen"), of(part)
    if len(whole) < 2 or not own:
        return None
    chosen = own[0] if end == "low" else own[-1]
    neighbour = whole[1] if end == "low" else whole[-2]
    if None in (chosen.lowest, chosen.highest, neighbour.lowest, neighbour.highest):
        return None
    if end == "low":
        return chosen if (chosen.highest or 0.0) <= (neighbour.lowest or 0.0) else None
    return chosen if (chosen.lowest or 0.0) >= (neighbour.highest or 0.0) else None


def slice_score(rank: Ranking, sliced_by: str, end: End) -> Measure:
    """The metric's mean over the lowest or highest fifth of frames by one property."""

    def measure(record: Record) -> float | None:
        found = _end(record, sliced_by, rank.part, end)
        return found.scores.get(rank.metric.name) if found else None

    return measure


def _slice_columns(rows: Sequence[ResultRow], rank: Ranking) -> list[Column]:
    columns = []
    for kind in SLICE_KINDS:
        ends: tuple[End, ...] = ("low", "high")
        if any(row.value(slice_score(rank, kind.name, end)) for row in rows for end in ends):
            first, second = kind.heading
            heading = (first, f"{second} {arrow(rank.metric)}")
            columns.append(Column(heading, _both_ends(rank, kind.name)))
    return columns


def _both_ends(rank: Ranking, sliced_by: str) -> Callable[[ResultRow], str]:
    def text(row: ResultRow) -> str:
        ends: tuple[End, ...] = ("low", "high")
        values = [row.value(slice_score(rank, sliced_by, end), rank.ratio) for end in ends]
        shown = [
            inline(fixed_value(value, rank.metric.digits)) if value else numbers.NOT_APPLICABLE
            for value in values
        ]
        # A codec's numbers are put in brackets one by one.
        marked = [
            bracketed(text, row, rank.part) if value else text
            for text, value in zip(shown, values, strict=True)
        ]
        return pair(*marked)

    return text


def _plain(record: Record, name: str) -> PlainFrame | None:
    found = record.failure_analysis.plain if record.failure_analysis else []
    return next((frame for frame in found if frame.name == name), None)


def plain_frame_error(name: str) -> Measure:
    """Measure a plain frame's root mean square error in levels, from its mean and spread."""

    def measure(record: Record) -> float | None:
        frame = _plain(record, name)
        if not frame or frame.reconstructed_sd is None or None in frame.reconstructed:
            return None
        off = [((channel or 0.0) - frame.level) ** 2 for channel in frame.reconstructed]
        return math.sqrt(sum(off) / len(off) + frame.reconstructed_sd**2)

    return measure


def _plain_text(results: Results, name: str) -> Callable[[ResultRow], str]:
    digits = next((m.digits - 1 for m in results.metrics if m.name == DISTORTION), None)

    def psnr(record: Record) -> float | None:
        frame = _plain(record, name)
        return frame.scores.get(DISTORTION) if frame else None

    def text(row: ResultRow) -> str:
        if not any(_plain(record, name) for record in row.records):
            return numbers.NOT_APPLICABLE
        shown = [plain_frame_colour(row, name)]
        if digits is not None:
            shown.insert(0, f"{inline(fixed_value(row.value(psnr), max(digits, 0)))} dB")
        return "\n".join(shown)

    return text


def plain_frame_colour(row: ResultRow, name: str) -> str:
    """The mean red, green and blue of a plain frame's reconstruction, averaged over seeds."""

    def channel(number: int) -> Measure:
        def measure(record: Record) -> float | None:
            frame = _plain(record, name)
            return frame.reconstructed[number] if frame else None

        return measure

    return " ".join(numbers.whole(mean_value(row, channel(number))) for number in range(3))


def still_spread_ratio(record: Record) -> float | None:
    """The remaining change within the stillest shots, as a share of the change in the source."""
    shots = record.failure_analysis.still_shots if record.failure_analysis else None
    return shots.ratio if shots else None


def _still(row: ResultRow) -> str:
    value = row.value(still_spread_ratio, ratio=True)
    return percentage(value) if value else numbers.NOT_APPLICABLE


def batch_dependence(record: Record) -> float | None:
    """The share of samples that change by over a level if the batch has other frames in it."""
    found = record.failure_analysis.batch_dependence if record.failure_analysis else None
    return found.differing if found else None


def _by_batch(row: ResultRow) -> str:
    value = row.value(batch_dependence)
    # A codec does not code single frames.
    return percentage(value) if value else numbers.NOT_APPLICABLE


FAR = 25.5
"""A model fails on a plain frame if its RMS error in levels is above this (under 20 dB)."""
COLLAPSED = 0.5
"""Still shots have collapsed if less than this share of their spread remains."""
WORSE = 1.25
"""A slice is worse if its error is more than this many times that of the opposite slice."""
CHANGED = 0.01
"""A frame depends on its batch if more than this share of samples changes by over a level."""


def failure_findings(results: Results, film: FilmInfo) -> list[str]:
    """Sentences on where the models fail on their training frames, and where none fails."""
    rank = ranking(results, film.name)
    models = [row for row in analysed_rows(results, film) if row.role == "model"]
    if not models or not rank:
        return []
    seen = Ranking(rank.metric, "seen")
    return [
        *(sentence for kind in SLICE_KINDS for sentence in _worse_end(models, seen, kind)),
        *_collapsed(models),
        *_changed(models),
        # These come last, because a film need not have plain frames.
        *_on_plain_frames(models),
    ]


def _on_plain_frames(models: Sequence[ResultRow]) -> list[str]:
    found, well = [], []
    for name in PLAIN:
        errors = [(mean_value(row, plain_frame_error(name)), row) for row in models]
        known = [(error, row) for error, row in errors if error is not None]
        failing = [
            f"{row.name} (rgb {plain_frame_colour(row, name)})"
            for error, row in known
            if error > FAR
        ]
        if failing:
            found.append(
                f"{_of(failing, known, 'fails', 'fail')} on a {name} frame, with a PSNR under "
                f"20 dB: {numbers.listed(failing)}."
            )
        elif known:
            well.append(f"a {name}")
    if well:
        found.append(
            f"No model fails on {numbers.listed(well, 'or')} frame: PSNR is 20 dB or more."
        )
    return found


def _of(some: Sequence[object], known: Sequence[object], one: str, several: str) -> str:
    """The subject and verb of a sentence: `All 4 models fail`, `1 of 4 models fails`."""
    if len(some) == len(known) > 1:
        return f"{'Both' if len(known) == 2 else f'All {len(known)}'} models {several}"
    counted = numbers.counted(len(known), "model")
    return f"{len(some)} of {counted} {numbers.verb(len(some), one, several)}"


def _worse_end(models: Sequence[ResultRow], rank: Ranking, kind: SliceKind) -> list[str]:
    if rank.metric.better != "lower":
        # Ratios of decibels or of similarities have no meaning.
        return []
    ratios = []
    for row in models:
        low, high = (
            mean_value(row, slice_score(rank, kind.name, "low")),
            mean_value(row, slice_score(rank, kind.name, "high")),
        )
        if low and high:
            ratios.append((low / high, row))
    found = []
    for power, here, there in ((1, kind.low, kind.high), (-1, kind.high, kind.low)):
        worse = [(ratio**power, row) for ratio, row in ratios if ratio**power > WORSE]
        if worse:
            times, most = max(worse, key=lambda pair: pair[0])
            example = f"{numbers.times(times)} for {most.name}"
            found.append(
                f"{_of(worse, ratios, 'does', 'do')} worse on "
                f"{here.replace('fifth', 'fifth of frames')} than on {there}: more than "
                f"{WORSE:g} times the {rank.short} "
                f"({example if len(worse) == 1 else f'up to {example}'})."
            )
    return found


def _collapsed(models: Sequence[ResultRow]) -> list[str]:
    known = [
        (value, row)
        for row in models
        if (value := mean_value(row, still_spread_ratio, ratio=True)) is not None
    ]
    flat = [f"{row.name} ({numbers.percent(value)})" for value, row in known if value < COLLAPSED]
    if flat:
        return [
            f"{_of(flat, known, 'collapses', 'collapse')} still shots towards a single picture, "
            f"with less than {COLLAPSED:.0%} of the source's spread left: {numbers.listed(flat)}."
        ]
    kept = f"every model keeps at least {COLLAPSED:.0%} of the source's spread."
    return [f"Still shots do not collapse: {kept}"] if known else []


def _changed(models: Sequence[ResultRow]) -> list[str]:
    known = [
        (value, row) for row in models if (value := mean_value(row, batch_dependence)) is not None
    ]
    changed = [f"{row.name} ({numbers.percent(value)})" for value, row in known if value > CHANGED]
    if changed:
        return [
            "The reconstruction of a frame depends on the other frames in its batch for "
            f"{numbers.listed(changed)}: in brackets, the share of samples that change by more "
            "than one level."
        ]
    return ["No reconstruction depends on the other frames in its batch."] if known else []
