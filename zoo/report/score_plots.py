"""Plots of scores: seen against held-out frames, one metric against another, and over time.

A film's quality over time is drawn under its barcode, with shots as ticks and held-out frames
shaded.
"""

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
from zoo.base.records import FilmInfo, MetricInfo, Results, Series, SeriesRow
from zoo.base.safe_text import one_line
from zoo.base.time_code import FrameTimes
from zoo.report.aggregate import ResultRow, film_label, result_rows
from zoo.report.figure import (
    COLOURS,
    HOLLOW,
    IN_BRACKETS,
    NAME_LENGTH,
    SIZED,
    Point,
    add_legend,
    axis_label,
    codec_legend_entry,
    label_points,
    new_figure,
    point_label,
    row_colour,
    row_label,
    save_figure,
    set_title,
    style_axes,
)
from zoo.report.findings import rankings
from zoo.report.ranking import (
    OWN_PARTS,
    Ranking,
    is_measured,
    principal_metrics,
    ranking,
    sort_rows,
)
from zoo.report.results_folder import FilmSeries, open_picture, series_row
from zoo.report.table import several_sizes


def plot_scores(results: Results, film: FilmInfo, path: Path) -> str | None:
    """Plot scores on held-out and seen frames of one film, one panel per metric.

    Shows every model and reference. Returns the alternative text, or None if nothing was measured.
    """
    panels = [
        metric
        for metric in principal_metrics(results)
        if metric.unavailable is None
        and (
            is_measured(results, metric, "seen", film.name)
            or is_measured(results, metric, "held_out", film.name)
        )
    ]
    rank = ranking(results, film.name)
    rows = [
        row
        for row in sort_rows(result_rows(results, film.name), rank, films=1)
        if any(_has(row, metric) for metric in panels)
    ]
    bracketed = any(
        row.codec and Ranking(metric, "held_out").value(row) for row in rows for metric in panels
    )
    if not rows:
        return None
    sized = several_sizes(rows)
    figure, _ = new_figure(11.0, 1.25 + 0.36 * len(rows))
    panels_axes = figure.subplots(1, len(panels), sharey=True, squeeze=False)[0]
    for axes, metric in zip(panels_axes, panels, strict=True):
        _score_panel(axes, rows, metric)
    panels_axes[0].set_yticks(range(len(rows)))
    for tick, row in zip(
        panels_axes[0].set_yticklabels([row_label(row, sized) for row in rows]),
        rows,
        strict=True,
    ):
        tick.set_parse_math(False)
        tick.set_color(row_colour(row))
        tick.set_style("normal" if row.role == "model" else "italic")
    panels_axes[0].set_ylim(len(rows) - 0.4, -0.6)
    handles = [
        Line2D([], [], linestyle="", marker="o", color=style.HELD_OUT, label="held out"),
        Line2D([], [], **HOLLOW, marker="o", color=style.SEEN, label="seen in training"),
    ]
    if bracketed:
        handles.append(codec_legend_entry())
    add_legend(figure, handles, 3)
    save_figure(figure, path)
    metrics = ", ".join(one_line(metric.label, 40) for metric in panels)
    codecs = (f" {SIZED}" if sized else "") + (f" {IN_BRACKETS}" if bracketed else "")
    return (
        f"Scores on {film.name}, seen and held out, in panels for {metrics}; the numbers are "
        f"those of the table.{codecs}"
    )


def _has(row: ResultRow, metric: MetricInfo) -> bool:
    return any(Ranking(metric, part).value(row) for part in OWN_PARTS)


def _brackets(axes: Axes, x: float, y: float) -> None:
    """Put brackets around a dot, as tables do around a number."""
    for sign, shift in (("(", -8), (")", 8)):
        axes.annotate(
            sign,
            (x, y),
            xytext=(shift, 1),
            textcoords="offset points",
            ha="center",
            va="center",
            color=style.HELD_OUT,
            fontsize=13,
        )


def _score_panel(axes: Axes, rows: list[ResultRow], metric: MetricInfo) -> None:
    style_axes(axes)
    for index, row in enumerate(rows):
        seen, held_out = (Ranking(metric, part).value(row) for part in OWN_PARTS)
        if seen and held_out:
            axes.plot(
                [seen.mean, held_out.mean], [index, index], color=style.RULE, linewidth=3, zorder=2
            )
        if seen:
            axes.plot(
                seen.mean,
                index,
                "o",
                color=style.SEEN,
                markerfacecolor=style.PANEL,
                markersize=8,
                markeredgewidth=1.6,
                zorder=3,
            )
        if held_out:
            axes.plot(held_out.mean, index, "o", color=style.HELD_OUT, markersize=7, zorder=4)
            if row.codec:
                _brackets(axes, held_out.mean, index)
    set_title(axes, axis_label(metric))
    axes.grid(axis="y", color=style.RULE, linewidth=0.5, alpha=0.6)
    axes.tick_params(axis="y", length=0)
    axes.margins(x=0.08)
    axes.xaxis.set_major_locator(MaxNLocator(5))


def plot_trade_off(results: Results, path: Path) -> str | None:
    """Plot the two metrics of the findings against each other, a panel per film.

    Returns the picture's alternative text, or None with fewer than two metrics.
    """
    ranks = rankings(results)
    if len(ranks) < 2:
        return None
    up, across = ranks
    films = []
    for film in results.films:
        points = [
            (row, right.mean, high.mean)
            for row in result_rows(results, film.name)
            if (right := across.value(row)) and (high := up.value(row))
        ]
        if points:
            films.append((film, points))
    if not films:
        return None
    # Many labels need wide panels.
    crowded = max(len(points) for _, points in films) > 9
    wide = min(2 if crowded else 3, len(films))
    tall = -(-len(films) // wide)
    figure, canvas = new_figure(max(5.5, 11.0 if wide > 1 else 6.5), 0.9 + 3.6 * tall)
    grid = figure.subplots(tall, wide, squeeze=False).ravel()
    for axes in grid[len(films) :]:
        axes.remove()
    for axes, (film, points) in zip(grid, films, strict=False):
        style_axes(axes)
        set_title(axes, film_label(results, film))
        for row, x, y in points:
            model = row.role == "model"
            axes.plot(
                x,
                y,
                "o" if model else "s",
                markersize=7,
                markeredgewidth=1.6,
                color=style.HELD_OUT if model else style.REFERENCE,
                fillstyle="full" if model else "none",
            )
        # Leave room inside the panel for the labels next to the points.
        axes.margins(x=0.3, y=0.18)
        axes.grid(color=style.RULE, linewidth=0.5, alpha=0.6)
        axes.set_xlabel(axis_label(across.metric), color=style.QUIET, parse_math=False)
        axes.set_ylabel(axis_label(up.metric, upright=True), color=style.QUIET, parse_math=False)
        axes.xaxis.set_major_locator(MaxNLocator(5))
        axes.yaxis.set_major_locator(MaxNLocator(6))
    handles = [
        Line2D([], [], linestyle="", marker="o", color=style.HELD_OUT, label="model"),
        Line2D([], [], **HOLLOW, marker="s", color=style.REFERENCE, label="reference"),
    ]
    bracketed = any(row.codec for _, points in films for row, _, _ in points)
    if bracketed and up.part == "held_out":
        handles.append(codec_legend_entry())
    add_legend(figure, handles, 3 if wide > 1 else 2)
    # The first rendering settles the layout, so that labels can be placed in pixels.
    canvas.draw()
    figure.set_layout_engine("none")
    for axes, (_, points) in zip(grid, films, strict=False):
        sized = several_sizes(row for row, _, _ in points)
        labels = [
            Point(point_label(row, up.part, sized), x, y, row_colour(row)) for row, x, y in points
        ]
        label_points(canvas.get_renderer(), axes, labels)
    save_figure(figure, path)
    return (
        f"{one_line(up.metric.label, 40)} against {one_line(across.metric.label, 40)} on "
        f"{up.part.replace('_', '-')} frames of {', '.join(film.name for film, _ in films)}: "
        "models as dots, references as squares; the numbers are those of the tables."
        + (f" {SIZED}" if any(several_sizes(row for row, _, _ in p) for _, p in films) else "")
        + (f" {IN_BRACKETS}" if bracketed and up.part == "held_out" else "")
    )


MOST_LINES = 4
MOST_POINTS = 480
"""Maximum points per line; scores of longer films are averaged down to this number."""
STYLES = ("-", "--", "-.", ":")
TIMELINE_WIDTH = 11.0


@dataclass(frozen=True)
class _Line:
    row: ResultRow
    values: npt.NDArray[np.float64]
    """One value per frame of the series, (N,); NaN where the score is missing."""


@dataclass(frozen=True)
class Timeline:
    """The alternative text of a timeline, and what could not be shown."""

    text: str
    problem: str


def plot_timeline(
    results: Results, film: FilmInfo, found: FilmSeries, folder: Path, path: Path
) -> Timeline | None:
    """Plot the timeline of one film to `path`; return None if the records name no series.

    `found` is the film's series, or the reason why it is unreadable. The barcode is below `folder`.
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
    """The lines of the best models in the series, each from its first seed."""
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
    figure, _ = new_figure(TIMELINE_WIDTH, 3.9 if barcode else 3.2)
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
    # The middle of each frame's columns: a frame of a short film spans several.
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
    """Average values (N,) and times to at most `most` points; NaN where values are missing."""
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
    """Multiples for `MaxNLocator` that give round times over `length` seconds."""
    return [1, 1.5, 3, 6, 10] if length >= 60 else [1, 2, 5, 10]


def short_code(seconds: float, tenths: bool = False) -> str:
    """A time code without leading zeros: `0:07`, `0:07.5`, `1:02:05`."""
    total = round(max(0.0, seconds) * 10)
    whole, tenth = divmod(total, 10)
    minutes, second = divmod(whole, 60)
    hours, minute = divmod(minutes, 60)
    text = f"{hours}:{minute:02d}:{second:02d}" if hours else f"{minute}:{second:02d}"
    return f"{text}.{tenth}" if tenths else text
