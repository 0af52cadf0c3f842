"""Plots: how far seen and held-out frames lie apart, and how two metrics disagree."""

from __future__ import annotations

from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from zoo.records import FilmInfo, MetricInfo, Results
from zoo.report import look
from zoo.report.findings import rankings
from zoo.report.labels import Point, name_points
from zoo.report.standings import Standing, in_order, measured, ranking, score, standings
from zoo.report.text import one_line
from zoo.workspace import written_aside

DOTS_PER_INCH = 100
NAME_LENGTH = 22


def draw_scores(results: Results, film: FilmInfo, path: Path) -> str | None:
    """Every model and reference on one film: held out and seen, a panel a metric.

    Returns the text that stands for the picture, or None where nothing was measured.
    """
    panels = [
        metric
        for metric in results.metrics
        if metric.unavailable is None
        and (
            measured(results, metric, "seen", film.name)
            or measured(results, metric, "held_out", film.name)
        )
    ]
    rank = ranking(results, film.name)
    rows = [
        row
        for row in in_order(standings(results, film.name), rank, films=1)
        if any(_has(row, metric) for metric in panels)
    ]
    if not rows:
        return None
    figure, _ = _figure(11.0, 1.25 + 0.36 * len(rows))
    axes = figure.subplots(1, len(panels), sharey=True, squeeze=False)[0]
    for place, metric in zip(axes, panels, strict=True):
        _score_panel(place, rows, metric)
    axes[0].set_yticks(range(len(rows)))
    for tick, row in zip(
        axes[0].set_yticklabels([_named(row) for row in rows]),
        rows,
        strict=True,
    ):
        tick.set_parse_math(False)
        tick.set_color(_colour(row))
        tick.set_style("normal" if row.role == "model" else "italic")
    axes[0].set_ylim(len(rows) - 0.4, -0.6)
    figure.legend(
        handles=[
            Line2D([], [], linestyle="", marker="o", color=look.HELD_OUT, label="held out"),
            Line2D(
                [],
                [],
                linestyle="",
                marker="o",
                color=look.SEEN,
                fillstyle="none",
                markeredgewidth=1.6,
                label="seen in training",
            ),
        ],
        loc="outside upper left",
        ncols=2,
        frameon=False,
        labelcolor=look.TEXT,
        fontsize=10,
    )
    _save(figure, path)
    metrics = ", ".join(one_line(metric.label, 40) for metric in panels)
    codecs = " To codecs nothing was held out." if any(row.codec for row in rows) else ""
    return (
        f"Scores on {film.name}, seen and held out, in panels for {metrics}; the numbers are "
        f"those of the table.{codecs}"
    )


def _named(row: Standing) -> str:
    name = look.drawable(row.name, NAME_LENGTH)
    return f"{name} (codec)" if row.codec else name


def _colour(row: Standing) -> str:
    return look.TEXT if row.role == "model" else look.REFERENCE


def _has(row: Standing, metric: MetricInfo) -> bool:
    return any(row.value(score(metric.name, part)) for part in ("seen", "held_out"))


def _score_panel(place: Axes, rows: list[Standing], metric: MetricInfo) -> None:
    _dress(place)
    for index, row in enumerate(rows):
        seen = row.value(score(metric.name, "seen"))
        held_out = row.value(score(metric.name, "held_out"))
        if seen and held_out:
            place.plot(
                [seen.mean, held_out.mean], [index, index], color=look.RULE, linewidth=3, zorder=2
            )
        if seen:
            place.plot(
                seen.mean,
                index,
                "o",
                color=look.SEEN,
                markerfacecolor=look.PANEL,
                markersize=8,
                markeredgewidth=1.6,
                zorder=3,
            )
        if held_out:
            place.plot(held_out.mean, index, "o", color=look.HELD_OUT, markersize=7, zorder=4)
    title = place.set_title(_axis_label(metric), color=look.TEXT, fontsize=11, loc="left")
    title.set_parse_math(False)
    place.grid(axis="y", color=look.RULE, linewidth=0.5, alpha=0.6)
    place.tick_params(axis="y", length=0)
    place.margins(x=0.08)
    place.xaxis.set_major_locator(MaxNLocator(5))


def draw_trade(results: Results, path: Path) -> str | None:
    """The two metrics that name winners against each other, a panel a film.

    Returns the text that stands for the picture, or None where there are not two of them.
    """
    ranks = rankings(results)
    if len(ranks) < 2:
        return None
    up, across = ranks
    films = []
    for film in results.films:
        points = [
            (row, right.mean, high.mean)
            for row in standings(results, film.name)
            if (right := row.value(across.measure)) and (high := row.value(up.measure))
        ]
        if points:
            films.append((film, points))
    if not films:
        return None
    wide = min(3, len(films))
    tall = -(-len(films) // wide)
    figure, canvas = _figure(max(5.5, 11.0 if wide > 1 else 6.5), 0.9 + 3.6 * tall)
    grid = figure.subplots(tall, wide, squeeze=False).ravel()
    for place in grid[len(films) :]:
        place.remove()
    for place, (film, points) in zip(grid, films, strict=False):
        _dress(place)
        title = place.set_title(
            look.drawable(film.name, 30), color=look.TEXT, fontsize=12, loc="left"
        )
        title.set_parse_math(False)
        for row, x, y in points:
            model = row.role == "model"
            place.plot(
                x,
                y,
                "o" if model else "s",
                markersize=7,
                markeredgewidth=1.6,
                color=look.HELD_OUT if model else look.REFERENCE,
                fillstyle="full" if model else "none",
            )
        # Room for the names: they stand beside the points and inside the panel.
        place.margins(x=0.3, y=0.18)
        place.grid(color=look.RULE, linewidth=0.5, alpha=0.6)
        place.set_xlabel(_axis_label(across.metric), color=look.QUIET, parse_math=False)
        place.set_ylabel(_axis_label(up.metric, upright=True), color=look.QUIET, parse_math=False)
        place.xaxis.set_major_locator(MaxNLocator(5))
        place.yaxis.set_major_locator(MaxNLocator(6))
    figure.legend(
        handles=[
            Line2D([], [], linestyle="", marker="o", color=look.HELD_OUT, label="model"),
            Line2D(
                [],
                [],
                linestyle="",
                marker="s",
                color=look.REFERENCE,
                fillstyle="none",
                markeredgewidth=1.6,
                label="reference",
            ),
        ],
        loc="outside upper left",
        ncols=2,
        frameon=False,
        labelcolor=look.TEXT,
        fontsize=10,
    )
    # Twice: the first drawing lets the layout settle, and only then are there pixels to place in.
    canvas.draw()
    for place, (_, points) in zip(grid, films, strict=False):
        named = [
            Point(look.drawable(row.name, NAME_LENGTH), x, y, _colour(row)) for row, x, y in points
        ]
        name_points(canvas.get_renderer(), place, named)
    _save(figure, path)
    return (
        f"{one_line(up.metric.label, 40)} against {one_line(across.metric.label, 40)} on "
        f"{up.part.replace('_', '-')} frames of {', '.join(film.name for film, _ in films)}: "
        "models as dots, references as squares; the numbers are those of the tables."
    )


def _figure(width: float, height: float) -> tuple[Figure, FigureCanvasAgg]:
    figure = Figure(
        figsize=(width, height),
        dpi=DOTS_PER_INCH,
        facecolor=look.GROUND,
        layout=ConstrainedLayoutEngine(w_pad=0.12, h_pad=0.1),
    )
    return figure, FigureCanvasAgg(figure)


def _dress(place: Axes) -> None:
    place.set_facecolor(look.PANEL)
    for side in place.spines.values():
        side.set_visible(False)
    place.tick_params(colors=look.QUIET, labelsize=9)
    place.set_axisbelow(True)


def _axis_label(metric: MetricInfo, upright: bool = False) -> str:
    name = look.drawable(f"{metric.label} {metric.unit}".strip(), 30)
    if upright:
        return f"better ↑   {name}" if metric.better == "higher" else f"↓ better   {name}"
    return f"{name}   better →" if metric.better == "higher" else f"{name}   ← better"


def _save(figure: Figure, path: Path) -> None:
    with written_aside(path) as aside:
        # Without the writer's version the same records give the same bytes.
        figure.savefig(aside, format="png", metadata={"Software": None})
