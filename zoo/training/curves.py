"""Learning curves: a run's log as a picture, with one panel per player and one line per loss term.

What a model logs beside its losses has a panel per player too, and the scores of a few frames have
one per metric.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from zoo.api.training_events import METRIC_FORMATS, PART_LABELS
from zoo.base.atomic_files import atomic_write
from zoo.base.picture_style import GROUND, PANEL, QUIET, RULE, TEXT
from zoo.training.run_folder import LogEntry, read_log

if TYPE_CHECKING:
    from matplotlib.axes import Axes


CURVES = "curves.png"
"""Name of the picture in a run's folder."""

LINES = ("#8fb8de", "#f2a65a", "#9ad08f", "#e58fb1", "#c9b1f0", "#e8d76b", "#7fd3d0", "#d99a7c")
DASHES = ("-", "--", ":")
WIDTH, PANEL_HEIGHT, REST_HEIGHT = 9.0, 2.5, 0.75
"""Inches, at 100 dots an inch."""
LABEL_SIZE = 9
LABEL_GAP = 0.095
"""Of a panel's height."""
LONGEST_LABEL, LONGEST_TITLE = 28, 60
TICKS_PER_DECADE = (
    (0.6, (1.0, 1.2, 1.5, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0)),
    (1.3, (1.0, 1.5, 2.0, 3.0, 5.0, 7.0)),
    (3.0, (1.0, 3.0)),
)
"""Tick multiples of a logarithmic axis that spans fewer decades than the first number."""

Styles = Mapping[str, tuple[str, str]]
"""Colour and dashes by term."""


@dataclass
class Panel:
    """Lines of one plot: values over frames trained on, by name."""

    title: str
    may_be_logarithmic: bool = True
    lines: dict[str, tuple[list[float], list[float]]] = field(default_factory=dict)

    def add(self, name: str, frames: float, value: float) -> None:
        """Add a point to a line."""
        at, values = self.lines.setdefault(name, ([], []))
        at.append(frames)
        values.append(value)


def panels_of(entries: Sequence[LogEntry]) -> list[Panel]:
    """The plots of a log: of losses, of what is logged beside them, and of scores."""
    losses: dict[str, Panel] = {}
    logged: dict[str, Panel] = {}
    scores: dict[str, Panel] = {}
    for entry in entries:
        for player, terms in entry.losses.items():
            panel = losses.setdefault(player, Panel(player))
            for term, value in terms.items():
                panel.add(term, entry.frames, value)
        for player, terms in entry.logged.items():
            panel = logged.setdefault(player, Panel(f"{player}, logged"))
            for name, value in terms.items():
                panel.add(name, entry.frames, value)
        if entry.score and entry.step:
            frames = entry.frames * entry.score.step / entry.step
            for part, values in entry.score.values.items():
                for metric, value in values.items():
                    label, _, unit = METRIC_FORMATS.get(metric, (metric, "", ""))
                    title = f"{label} of a few frames" + (f",{unit}" if unit else "")
                    panel = scores.setdefault(metric, Panel(title, may_be_logarithmic=False))
                    panel.add(PART_LABELS.get(part, part), frames, value)
    # A short training has only its final score, which makes no curve.
    curves = [p for p in scores.values() if any(len(at) > 1 for at, _ in p.lines.values())]
    return [*losses.values(), *logged.values(), *curves]


def plot_curves(log: Path, path: Path) -> None:
    """Plot a run's log as a PNG: losses and scores over frames trained on.

    A panel of losses has a logarithmic axis if all are positive. Writes nothing if the log is
    empty; raises BadInput if it is damaged.
    """
    panels = panels_of(read_log(log))
    # A term looks the same in all panels; terms beyond the number of colours differ in dashes.
    styles = {
        name: (LINES[index % len(LINES)], DASHES[index // len(LINES) % len(DASHES)])
        for index, name in enumerate(dict.fromkeys(n for panel in panels for n in panel.lines))
    }
    if not styles:
        return
    # Imported late and without pyplot, since training needs matplotlib only at its end.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    height = REST_HEIGHT + PANEL_HEIGHT * len(panels)
    figure = Figure(figsize=(WIDTH, height), dpi=100, facecolor=GROUND)
    FigureCanvasAgg(figure)
    # Margins in inches, because a layout engine draws everything twice to find them.
    figure.subplots_adjust(
        left=0.85 / WIDTH,
        right=1 - 2.3 / WIDTH,
        bottom=0.55 / height,
        top=1 - 0.4 / height,
        hspace=0.3,
    )
    all_axes = figure.subplots(len(panels), 1, sharex=True, squeeze=False)[:, 0]
    for axes, panel in zip(all_axes, panels, strict=True):
        _plot_panel(axes, panel, styles)
    all_axes[-1].set_xlabel("frames trained on", color=QUIET, fontsize=LABEL_SIZE)
    with atomic_write(path) as temporary:
        # Without matplotlib's version, so that the same log gives the same bytes.
        figure.savefig(temporary, format="png", facecolor=GROUND, metadata={"Software": None})


def _plot_panel(axes: Axes, panel: Panel, styles: Styles) -> None:
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    axes.set_facecolor(PANEL)
    for side in axes.spines.values():
        side.set_visible(False)
    axes.tick_params(which="both", colors=QUIET, labelsize=LABEL_SIZE, length=0)
    axes.grid(color=RULE, linewidth=0.5)
    axes.set_axisbelow(True)
    title = axes.set_title(
        _short(panel.title, LONGEST_TITLE), loc="left", color=TEXT, fontsize=11, fontweight="bold"
    )
    title.set_parse_math(False)
    axes.xaxis.set_major_formatter(FuncFormatter(lambda frames, _: f"{frames:,.0f}"))
    axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    for name, (frames, values) in panel.lines.items():
        colour, dashes = styles[name]
        # A single point has no visible line.
        marker = "o" if len(values) == 1 else ""
        axes.plot(frames, values, dashes, marker=marker, color=colour, linewidth=1.6)
    axes.margins(x=0.01, y=0.08)
    if panel.may_be_logarithmic:
        _set_log_scale(axes, [value for _, values in panel.lines.values() for value in values])
    _label_ends(axes, {name: values[-1] for name, (_, values) in panel.lines.items()}, styles)


def _set_log_scale(axes: Axes, values: list[float]) -> None:
    """Make the axis logarithmic if all values are positive, with readable tick labels."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    if min(values) <= 0:
        return
    axes.set_yscale("log")
    if min(values) == max(values):
        axes.set_ylim(min(values) / 2, max(values) * 2)
    # Within a decade or two an axis with powers of ten alone could have no label.
    decades = math.log10(max(values) / min(values))
    subs = next((subs for most, subs in TICKS_PER_DECADE if decades < most), (1.0,))
    axes.yaxis.set_major_locator(LogLocator(subs=subs, numticks=7))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.yaxis.set_minor_formatter(NullFormatter())


def _label_ends(axes: Axes, ends: Mapping[str, float], styles: Styles) -> None:
    """Write each term's name and last value beside the end of its line, outside the panel."""
    axes.autoscale_view()  # matplotlib delays this, and the heights below depend on it
    to_axes = axes.transData + axes.transAxes.inverted()
    heights = [float(to_axes.transform((0, value))[1]) for value in ends.values()]
    for (term, value), end, height in zip(
        ends.items(), heights, spread_labels(heights, LABEL_GAP), strict=True
    ):
        colour, _ = styles[term]
        axes.annotate(
            f"{_short(term)}  {value:.3g}",
            xy=(1.0, end),
            xytext=(1.035, height),
            xycoords="axes fraction",
            textcoords="axes fraction",
            color=colour,
            fontsize=LABEL_SIZE,
            va="center",
            parse_math=False,
            annotation_clip=False,
            arrowprops={
                "arrowstyle": "-",
                "color": colour,
                "linewidth": 0.7,
                "shrinkB": 0,
                "relpos": (0, 0.5),
            },
        )


def spread_labels(heights: list[float], gap: float) -> list[float]:
    """Move heights in [0, 1] until neighbours are at least `gap` apart, keeping their order."""
    order = sorted(range(len(heights)), key=heights.__getitem__)
    placed = list(heights)
    for before, index in zip([None, *order], order, strict=False):
        if before is not None:
            placed[index] = max(placed[index], placed[before] + gap)
    ceiling = max(1.0, gap * (len(heights) - 1))
    for index in reversed(order):
        placed[index] = min(placed[index], ceiling)
        ceiling = placed[index] - gap
    return placed


def _short(text: str, longest: int = LONGEST_LABEL) -> str:
    text = " ".join(text.split())
    return text if len(text) <= longest else text[: longest - 1] + "…"
