"""A film's quality over time, under its barcode: shots as ticks, held-out frames shaded."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import FuncFormatter, MaxNLocator
from PIL import Image

from zoo.base import picture_style as style
from zoo.base.records import FilmInfo, Results, Series, SeriesRow
from zoo.base.time_code import FrameTimes
from zoo.report.aggregate import ResultRow, result_rows
from zoo.report.figure import (
    COLOURS,
    NAME_LENGTH,
    add_legend,
    axis_label,
    new_figure,
    save_figure,
    style_axes,
)
from zoo.report.ranking import Ranking, ranking, sort_rows
from zoo.report.results_folder import FilmSeries, open_picture, series_row

MOST_LINES = 4
MOST_POINTS = 480
"""Points per line; the scores of a longer film are averaged to this many."""
STYLES = ("-", "--", "-.", ":")
WIDTH = 11.0


@dataclass(frozen=True)
class _Line:
    row: ResultRow
    values: npt.NDArray[np.float64]
    """One per frame of the series, (N,); NaN where there is none."""


@dataclass(frozen=True)
class Timeline:
    """The alternative text of a timeline, and what could not be shown."""

    text: str
    problem: str


def plot_timeline(
    results: Results, film: FilmInfo, found: FilmSeries, folder: Path, path: Path
) -> Timeline | None:
    """Plot the timeline of one film to `path`; None if the records name no series of it.

    `found` is the film's series, or why it cannot be read. The barcode is read below `folder`.
    """
    rank = ranking(results, film.name)
    if film.series is None or rank is None:
        return None
    if found.series is None:
        return Timeline("", f"No timeline: {found.problem}")
    series = found.series
    lines = _lines(results, film, rank, series)
    if not lines or len(series.frames) < 2 or len(series.seconds) != len(series.frames):
        return Timeline("", "No timeline: the series of this film has no scores of its models.")
    barcode = open_picture(folder, film.barcode) if film.barcode else None
    _draw(film, rank, series, lines, barcode, path)
    names = ", ".join(line.row.name for line in lines)
    under = "below the film's barcode, " if barcode else ""
    return Timeline(
        f"{rank.label} over time in {film.name}, {under}with shots as ticks"
        f"{' and held-out frames shaded' if film.held_out else ''}: {names}.",
        "" if barcode or not film.barcode else "The film's barcode could not be read.",
    )


def _lines(results: Results, film: FilmInfo, rank: Ranking, series: Series) -> list[_Line]:
    """The best models in the series, by their first seed."""
    lines = []
    for row in sort_rows(result_rows(results, film.name), rank, films=1):
        records = sorted(row.records, key=lambda record: (record.seed, record.run or ""))
        found = [scores for record in records if (scores := series_row(series, record))]
        values = _values(found[0], rank, len(series.frames)) if found else None
        if row.role == "model" and values is not None:
            lines.append(_Line(row, values))
    return lines[:MOST_LINES]


def _values(row: SeriesRow, rank: Ranking, frames: int) -> npt.NDArray[np.float64] | None:
    scores = row.scores.get(rank.metric.name)
    if scores is None or len(scores) != frames:
        return None
    values = np.array([np.nan if value is None else value for value in scores])
    return values if np.isfinite(values).any() else None


def _draw(
    film: FilmInfo,
    rank: Ranking,
    series: Series,
    lines: Sequence[_Line],
    barcode: Image.Image | None,
    path: Path,
) -> None:
    figure, _ = new_figure(WIDTH, 3.9 if barcode else 3.2)
    times = FrameTimes.of(series.seconds, series.frames, film.frames)
    begin, end = times.begins, times.ends
    if barcode:
        top, axes = figure.subplots(2, 1, sharex=True, height_ratios=(1, 4))
        strip = _over_time(np.asarray(barcode), times)
        top.imshow(strip, aspect="auto", extent=(begin, end, 0, 1))
        top.set_yticks([])
        top.tick_params(axis="x", length=0, labelbottom=False)
        for side in top.spines.values():
            side.set_visible(False)
    else:
        axes = figure.subplots()
    style_axes(axes)
    _mark(axes, film, times)
    for index, line in enumerate(lines):
        at, values = thinned(times.seconds, line.values, MOST_POINTS)
        axes.plot(
            at,
            values,
            color=style.LINES[index],
            linestyle=STYLES[index],
            linewidth=1.3,
            zorder=5 - index * 0.1,
        )
    axes.set_xlim(begin, end)
    axes.grid(axis="y", color=style.RULE, linewidth=0.5, alpha=0.6)
    axes.yaxis.set_major_locator(MaxNLocator(5))
    axes.xaxis.set_major_locator(MaxNLocator(9, steps=_steps(end - begin), min_n_ticks=3))
    tenths = end - begin < 10
    axes.xaxis.set_major_formatter(FuncFormatter(lambda seconds, _: short_code(seconds, tenths)))
    axes.set_ylabel(axis_label(rank.metric, upright=True), color=style.QUIET, parse_math=False)
    add_legend(figure, _handles(lines, film), len(lines) + 2)
    save_figure(figure, path, colours=None if barcode else COLOURS)


def _over_time(barcode: npt.NDArray[np.uint8], times: FrameTimes) -> npt.NDArray[np.uint8]:
    """Resample a barcode (H, W, 3) from a column per frame to a column per unit of time."""
    width = barcode.shape[1]
    moments = np.linspace(times.begins, times.ends, width, endpoint=False)
    # The middle of each frame's columns; in a short film a frame has several.
    shown = (times.frame_at(moments) + 0.5) * width / times.count
    return barcode[:, np.minimum(shown.astype(int), width - 1)]


def _mark(axes: Axes, film: FilmInfo, times: FrameTimes) -> None:
    """Shade held-out frames, and put a tick where a shot begins."""
    for start, stop in film.held_out:
        left, right = times.at([start, stop])
        axes.axvspan(left, right, color=style.HELD_OUT, alpha=0.22, linewidth=0)
    starts = [times.at(start) for start in film.shot_starts if start]
    if starts:
        axes.plot(
            starts,
            [0.985] * len(starts),
            linestyle="",
            marker="|",
            markersize=9,
            color=style.TEXT,
            transform=axes.get_xaxis_transform(),
            clip_on=False,
        )


def _handles(lines: Sequence[_Line], film: FilmInfo) -> list[Line2D | Patch]:
    handles: list[Line2D | Patch] = [
        Line2D(
            [],
            [],
            color=style.LINES[index],
            linestyle=STYLES[index],
            label=style.picture_text(line.row.name, NAME_LENGTH),
        )
        for index, line in enumerate(lines)
    ]
    if film.held_out:
        handles.append(Patch(color=style.HELD_OUT, alpha=0.4, label="held out"))
    if len(film.shot_starts) > 1:
        handles.append(
            Line2D([], [], linestyle="", marker="|", color=style.TEXT, label="a shot begins")
        )
    return handles


def thinned(
    at: npt.NDArray[np.float64], values: npt.NDArray[np.float64], most: int
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Average values (N,) and their times to at most `most` points; NaN where there are none."""
    if len(at) <= most:
        return at, values
    starts = np.linspace(0, len(at), most, endpoint=False).astype(np.int64)
    known = np.isfinite(values)
    sums = np.add.reduceat(np.where(known, values, 0.0), starts)
    counts = np.add.reduceat(known.astype(np.int64), starts)
    lengths = np.diff(np.append(starts, len(at)))
    means = np.where(counts > 0, sums / np.maximum(counts, 1), np.nan)
    return np.add.reduceat(at, starts) / lengths, means


def _steps(length: float) -> list[float]:
    """Natural steps between ticks over this many seconds."""
    return [1, 1.5, 3, 6, 10] if length >= 60 else [1, 2, 5, 10]


def short_code(seconds: float, tenths: bool = False) -> str:
    """A time code without leading zeros: `0:07`, `0:07.5`, `1:02:05`."""
    total = round(max(0.0, seconds) * 10)
    whole, tenth = divmod(total, 10)
    minutes, second = divmod(whole, 60)
    hours, minute = divmod(minutes, 60)
    text = f"{hours}:{minute:02d}:{second:02d}" if hours else f"{minute}:{second:02d}"
    return f"{text}.{tenth}" if tenths else text
