"""Learning curves: a run's log as a picture, a panel a player and a line a term."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from zoo.errors import BadInput
from zoo.workspace import written_aside

if TYPE_CHECKING:
    from matplotlib.axes import Axes

GROUND = "#14171c"
PANEL = "#1c2028"
RULE = "#3a414d"
TEXT = "#f0ede6"
QUIET = "#a9b0bb"
LINES = ("#8fb8de", "#f2a65a", "#9ad08f", "#e58fb1", "#c9b1f0", "#e8d76b", "#7fd3d0", "#d99a7c")
WIDTH, PANEL_HEIGHT, REST_HEIGHT = 9.0, 2.5, 0.75
"""Inches, at 100 dots an inch."""
LABEL_SIZE = 9
LONGEST_LABEL = 28


@dataclass(frozen=True)
class LogEntry:
    """One line of a run's log."""

    step: int
    frames: int
    seconds: float
    losses: Mapping[str, Mapping[str, float]]
    """By player and term: means since the line before."""


def read_log(path: Path) -> list[LogEntry]:
    """Read a `log.jsonl`; a last line that is cut short or still being written is left out.

    A file that is not there is an empty log. Raises BadInput if a line is not one of a log.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    except FileNotFoundError:
        return []
    except UnicodeDecodeError:
        raise BadInput(f"{path} is damaged: it is not text") from None
    return [
        _entry(line, f"{path} is damaged at line {number}")
        for number, line in enumerate(lines, start=1)
        if line.endswith("\n")
    ]


def last_entry(path: Path) -> LogEntry | None:
    """Read the last whole line of a log, however long the log is; raises BadInput as `read_log`."""
    try:
        with path.open("rb") as file:
            size = file.seek(0, 2)
            file.seek(max(0, size - 65_536))
            lines = file.read().splitlines(keepends=True)
    except FileNotFoundError:
        return None
    whole = [line for line in lines if line.endswith(b"\n")]
    if not whole:
        return None
    return _entry(whole[-1].decode(errors="replace"), f"{path} is damaged at its end")


def _entry(line: str, complaint: str) -> LogEntry:
    try:
        found = json.loads(line)
        return LogEntry(
            step=int(found["step"]),
            frames=int(found["frames"]),
            seconds=float(found["seconds"]),
            losses={
                str(player): {str(term): float(value) for term, value in terms.items()}
                for player, terms in found["losses"].items()
            },
        )
    except (ValueError, KeyError, TypeError, AttributeError):
        raise BadInput(complaint) from None


def draw_curves(log: Path, path: Path) -> None:
    """Draw a run's log as a PNG: losses over frames trained on.

    An axis is logarithmic where all of a panel's values are positive. Writes nothing while the
    log is empty; raises BadInput if it is damaged.
    """
    entries = read_log(log)
    players = list(dict.fromkeys(player for entry in entries for player in entry.losses))
    if not players:
        return
    # Imported late and without pyplot: training needs none of it until there is a picture to draw.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    height = REST_HEIGHT + PANEL_HEIGHT * len(players)
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
    panels = figure.subplots(len(players), 1, sharex=True, squeeze=False)[:, 0]
    for panel, player in zip(panels, players, strict=True):
        _draw_player(panel, player, entries)
    panels[-1].set_xlabel("frames trained on", color=QUIET, fontsize=LABEL_SIZE)
    with written_aside(path) as aside:
        # Without the writer's version the same log gives the same bytes.
        figure.savefig(aside, format="png", facecolor=GROUND, metadata={"Software": None})


def _draw_player(panel: Axes, player: str, entries: list[LogEntry]) -> None:
    from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter

    curves: dict[str, tuple[list[int], list[float]]] = {}
    for entry in entries:
        for term, value in entry.losses.get(player, {}).items():
            frames, values = curves.setdefault(term, ([], []))
            frames.append(entry.frames)
            values.append(value)

    panel.set_facecolor(PANEL)
    for side in panel.spines.values():
        side.set_visible(False)
    panel.tick_params(which="both", colors=QUIET, labelsize=LABEL_SIZE, length=0)
    panel.grid(color=RULE, linewidth=0.5)
    panel.set_axisbelow(True)
    title = panel.set_title(_short(player), loc="left", color=TEXT, fontsize=11, fontweight="bold")
    title.set_parse_math(False)
    panel.xaxis.set_major_formatter(FuncFormatter(lambda frames, _: f"{frames:,.0f}"))
    panel.xaxis.set_major_locator(MaxNLocator(6, integer=True))

    if all(value > 0 for _, values in curves.values() for value in values):
        panel.set_yscale("log")
        low, high = panel.get_ylim()
        everything = [value for _, values in curves.values() for value in values]
        low, high = min(everything, default=low), max(everything, default=high)
        # Within a decade or two powers of ten alone would leave the axis without a number.
        within = math.log10(high / low)
        subs = (1.0,) if within > 3 else (1.0, 3.0) if within > 1.3 else (1.0, 1.5, 2, 3, 5, 7)
        panel.yaxis.set_major_locator(LogLocator(subs=subs, numticks=7))
        panel.yaxis.set_minor_formatter(NullFormatter())
        panel.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))

    ends = []
    for index, (term, (frames, values)) in enumerate(curves.items()):
        colour = LINES[index % len(LINES)]
        dashes = ("-", "--", ":")[index // len(LINES) % 3]
        # A single point has no line to be seen.
        marker = "o" if len(values) == 1 else ""
        panel.plot(frames, values, dashes, marker=marker, color=colour, linewidth=1.6)
        ends.append((values[-1], f"{_short(term)}  {values[-1]:.3g}", colour))
    panel.margins(x=0.01, y=0.08)
    _label_ends(panel, ends)


def _label_ends(panel: Axes, ends: list[tuple[float, str, str]]) -> None:
    """Write each term's name and last value beside the end of its line, outside the panel."""
    gap = 0.095
    to_panel = panel.transData + panel.transAxes.inverted()
    heights = [float(to_panel.transform((0, value))[1]) for value, _, _ in ends]
    for (_, text, colour), wanted, height in zip(
        ends, heights, spread(heights, gap), strict=True
    ):
        panel.annotate(
            text,
            xy=(1.0, wanted),
            xytext=(1.035, height),
            xycoords="axes fraction",
            textcoords="axes fraction",
            color=colour,
            fontsize=LABEL_SIZE,
            va="center",
            parse_math=False,
            annotation_clip=False,
            arrowprops={"arrowstyle": "-", "color": colour, "linewidth": 0.7, "shrinkB": 0},
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


def _short(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= LONGEST_LABEL else text[: LONGEST_LABEL - 1] + "…"
