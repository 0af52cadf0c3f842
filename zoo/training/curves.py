"""Learning curves: a run's log as a picture, a panel for each player and a line for each term.

What a model logs beside its losses has a panel for each player as well, and what a few held-out and
seen frames scored has one for each metric.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from zoo.base.workspace import written_aside
from zoo.training.callbacks import METRICS, PARTS
from zoo.training.run_folder import LogEntry, read_log

if TYPE_CHECKING:
    from matplotlib.axes import Axes


CURVES = "curves.png"
"""The picture's name in a run's folder."""
GROUND = "#14171c"
PANEL = "#1c2028"
RULE = "#3a414d"
TEXT = "#f0ede6"
QUIET = "#a9b0bb"
LINES = ("#8fb8de", "#f2a65a", "#9ad08f", "#e58fb1", "#c9b1f0", "#e8d76b", "#7fd3d0", "#d99a7c")
DASHES = ("-", "--", ":")
WIDTH, PANEL_HEIGHT, REST_HEIGHT = 9.0, 2.5, 0.75
"""Inches, at 100 dots an inch."""
LABEL_SIZE = 9
LABEL_GAP = 0.095
"""Of a panel's height."""
LONGEST_LABEL, LONGEST_TITLE = 28, 60
NUMBERS_IN_A_DECADE = (
    (0.6, (1.0, 1.2, 1.5, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0)),
    (1.3, (1.0, 1.5, 2.0, 3.0, 5.0, 7.0)),
    (3.0, (1.0, 3.0)),
)
"""What a logarithmic axis shows that spans fewer decades than the first number."""
Looks = Mapping[str, tuple[str, str]]
"""By term: colour and dashes."""


@dataclass
class Panel:
    """What is drawn over one another: values over frames trained on, by the name of the line."""

    title: str
    may_be_logarithmic: bool = True
    lines: dict[str, tuple[list[float], list[float]]] = field(default_factory=dict)

    def add(self, name: str, frames: float, value: float) -> None:
        """Add a point to a line."""
        at, values = self.lines.setdefault(name, ([], []))
        at.append(frames)
        values.append(value)


def _panels(entries: Sequence[LogEntry]) -> list[Panel]:
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
                    label, _, unit = METRICS.get(metric, (metric, "", ""))
                    title = f"{label} of a few frames" + (f",{unit}" if unit else "")
                    panel = scores.setdefault(metric, Panel(title, may_be_logarithmic=False))
                    panel.add(PARTS.get(part, part), frames, value)
    # A short training has one score, its last: that is no curve.
    curves = [p for p in scores.values() if any(len(at) > 1 for at, _ in p.lines.values())]
    return [*losses.values(), *logged.values(), *curves]


def draw_curves(log: Path, path: Path) -> None:
    """Draw a run's log as a PNG: losses and scores over frames trained on.

    An axis is logarithmic where all of a panel's losses are positive. Writes nothing while the
    log is empty; raises BadInput if it is damaged.
    """
    panels = _panels(read_log(log))
    # A term that several players have looks the same in all panels; more terms than colours are
    # told apart by their dashes.
    looks = {
        name: (LINES[index % len(LINES)], DASHES[index // len(LINES) % len(DASHES)])
        for index, name in enumerate(dict.fromkeys(n for panel in panels for n in panel.lines))
    }
    if not looks:
        return
    # Imported late and without pyplot: training needs none of it until there is a picture to draw.
    # It tells in five lines of a home that cannot be written, and does without.
    logging.getLogger("matplotlib").setLevel(logging.ERROR)
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    height = REST_HEIGHT + PANEL_HEIGHT * len(panels)
    figure = Figure(figsize=(WIDTH, height), dpi=100, facecolor=GROUND)
    FigureCanvasAgg(figure)
    # Margins in inches: a layout engine would draw everything twice to find them.
    figure.subplots_adjust(
        left=0.85 / WIDTH,
        right=1 - 2.3 / WIDTH,
        bottom=0.55 / height,
        top=1 - 0.4 / height,
        hspace=0.3,
    )
    places = figure.subplots(len(panels), 1, sharex=True, squeeze=False)[:, 0]
    for axes, panel in zip(places, panels, strict=True):
        _draw(axes, panel, looks)
    places[-1].set_xlabel("frames trained on", color=QUIET, fontsize=LABEL_SIZE)
    with written_aside(path) as aside:
        # Without the writer's version the same log gives the same bytes.
        figure.savefig(aside, format="png", facecolor=GROUND, metadata={"Software": None})


def _draw(axes: Axes, panel: Panel, looks: Looks) -> None:
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
        colour, dashes = looks[name]
        # A single point has no line to be seen.
        marker = "o" if len(values) == 1 else ""
        axes.plot(frames, values, dashes, marker=marker, color=colour, linewidth=1.6)
    axes.margins(x=0.01, y=0.08)
    if panel.may_be_logarithmic:
        _scale(axes, [value for _, values in panel.lines.values() for value in values])
    _label_ends(axes, {name: values[-1] for name, (_, values) in panel.lines.items()}, looks)


def _scale(panel: Axes, values: list[float]) -> None:
    """Make the axis logarithmic where all values are positive, with numbers one can read."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    if min(values) <= 0:
        return
    panel.set_yscale("log")
    if min(values) == max(values):
        panel.set_ylim(min(values) / 2, max(values) * 2)
    # Within a decade or two powers of ten alone would leave the axis without a number.
    decades = math.log10(max(values) / min(values))
    subs = next((subs for most, subs in NUMBERS_IN_A_DECADE if decades < most), (1.0,))
    panel.yaxis.set_major_locator(LogLocator(subs=subs, numticks=7))
    panel.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    panel.yaxis.set_minor_formatter(NullFormatter())


def _label_ends(panel: Axes, ends: Mapping[str, float], looks: Looks) -> None:
    """Write each term's name and last value beside the end of its line, outside the panel."""
    panel.autoscale_view()  # matplotlib puts this off, and the heights below depend on it
    to_panel = panel.transData + panel.transAxes.inverted()
    heights = [float(to_panel.transform((0, value))[1]) for value in ends.values()]
    for (term, value), end, height in zip(
        ends.items(), heights, spread(heights, LABEL_GAP), strict=True
    ):
        colour, _ = looks[term]
        panel.annotate(
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


def spread(heights: list[float], gap: float) -> list[float]:
    """Move heights in [0, 1] apart until neighbours are `gap` apart, keeping their order."""
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
