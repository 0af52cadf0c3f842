"""Plots of scores: seen against held-out frames, and one metric against another."""

from __future__ import annotations

from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from zoo.base import picture_style as style
from zoo.base.records import FilmInfo, MetricInfo, Results
from zoo.base.text import one_line
from zoo.report.aggregate import ResultRow, result_rows
from zoo.report.figure import (
    HOLLOW,
    IN_BRACKETS,
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
from zoo.report.table import several_sizes


def plot_scores(results: Results, film: FilmInfo, path: Path) -> str | None:
    """Plot every model and reference on one film, held out and seen, a panel per metric.

    Returns the picture's alternative text, or None if nothing was measured.
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

    Returns the picture's alternative text, or None if there are not two metrics.
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
        set_title(axes, film.name)
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
        # Room for the labels, which are beside the points and inside the panel.
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
