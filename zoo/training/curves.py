"""Learning curves: a run's log as a picture, a panel a player and a line a term."""

from __future__ import annotations

import itertools
import logging
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from zoo.errors import BadInput
from zoo.reading import check_regular, parse_json
from zoo.workspace import written_aside

if TYPE_CHECKING:
    from matplotlib.axes import Axes

CURVES = "curves.png"
"""The picture's name in a run's folder."""

LONGEST_LINE = 1 << 20
"""Bytes of a line in a log; ours take some hundreds."""
MOST_ENTRIES = 50_000

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
LONGEST_LABEL = 28
NUMBERS_IN_A_DECADE = (
    (0.6, (1.0, 1.2, 1.5, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0)),
    (1.3, (1.0, 1.5, 2.0, 3.0, 5.0, 7.0)),
    (3.0, (1.0, 3.0)),
)
"""What a logarithmic axis shows that spans fewer decades than the first number."""

Looks = Mapping[str, tuple[str, str]]
"""By term: colour and dashes."""


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

    Of a log of very many lines, evenly spaced ones are read. A file that is not there is an empty
    log. Raises BadInput if a line is not one of a log.
    """
    entries: list[LogEntry] = []
    every = 1
    try:
        check_regular(path)
        with path.open("rb") as file:
            for number in itertools.count():
                line = file.readline(LONGEST_LINE)
                if not line.endswith(b"\n"):
                    if len(line) == LONGEST_LINE:
                        raise BadInput(f"{path} is damaged at line {number + 1}")
                    break
                if number % every == 0:
                    entries.append(_entry(line, f"{path} is damaged at line {number + 1}"))
                if len(entries) > MOST_ENTRIES:
                    entries, every = entries[::2], 2 * every
    except FileNotFoundError:
        return []
    return entries


def last_entry(path: Path) -> LogEntry | None:
    """Read the last whole line of a log, however long the log is; raises BadInput as `read_log`."""
    try:
        check_regular(path)
        with path.open("rb") as file:
            size = file.seek(0, 2)
            file.seek(max(0, size - 65_536))
            lines = file.read().splitlines(keepends=True)
    except FileNotFoundError:
        return None
    whole = [line for line in lines if line.endswith(b"\n")]
    if not whole:
        return None
    return _entry(whole[-1], f"{path} is damaged at its end")


def _entry(line: bytes, complaint: str) -> LogEntry:
    try:
        found = parse_json(line)
        entry = LogEntry(
            step=int(found["step"]),
            frames=int(found["frames"]),
            seconds=float(found["seconds"]),
            losses={
                str(player): {str(term): float(value) for term, value in terms.items()}
                for player, terms in found["losses"].items()
            },
        )
    except (ValueError, OverflowError, KeyError, TypeError, AttributeError):
        raise BadInput(complaint) from None
    numbers = [entry.seconds, *(v for terms in entry.losses.values() for v in terms.values())]
    counts = (entry.step, entry.frames)
    if not all(map(math.isfinite, numbers)) or not all(0 <= c < 1 << 62 for c in counts):
        raise BadInput(complaint)
    return entry


def draw_curves(log: Path, path: Path) -> None:
    """Draw a run's log as a PNG: losses over frames trained on.

    An axis is logarithmic where all of a panel's values are positive. Writes nothing while the
    log is empty; raises BadInput if it is damaged.
    """
    entries = read_log(log)
    terms_by_player = [terms for entry in entries for terms in entry.losses.values()]
    # A term that several players have looks the same in all panels; more terms than colours are
    # told apart by their dashes.
    looks = {
        term: (LINES[index % len(LINES)], DASHES[index // len(LINES) % len(DASHES)])
        for index, term in enumerate(dict.fromkeys(t for terms in terms_by_player for t in terms))
    }
    if not looks:
        return
    # Imported late and without pyplot: training needs none of it until there is a picture to draw.
    # It tells in five lines of a home that cannot be written, and does without.
    logging.getLogger("matplotlib").setLevel(logging.ERROR)
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    players = list(dict.fromkeys(player for entry in entries for player in entry.losses))
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
        _draw_player(panel, player, entries, looks)
    panels[-1].set_xlabel("frames trained on", color=QUIET, fontsize=LABEL_SIZE)
    with written_aside(path) as aside:
        # Without the writer's version the same log gives the same bytes.
        figure.savefig(aside, format="png", facecolor=GROUND, metadata={"Software": None})


def _draw_player(panel: Axes, player: str, entries: list[LogEntry], looks: Looks) -> None:
    from matplotlib.ticker import FuncFormatter, MaxNLocator

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

    curves: dict[str, tuple[list[int], list[float]]] = {}
    for entry in entries:
        for term, value in entry.losses.get(player, {}).items():
            frames, values = curves.setdefault(term, ([], []))
            frames.append(entry.frames)
            values.append(value)
    for term, (frames, values) in curves.items():
        colour, dashes = looks[term]
        # A single point has no line to be seen.
        marker = "o" if len(values) == 1 else ""
        panel.plot(frames, values, dashes, marker=marker, color=colour, linewidth=1.6)
    panel.margins(x=0.01, y=0.08)
    _scale(panel, [value for _, values in curves.values() for value in values])
    _label_ends(panel, {term: values[-1] for term, (_, values) in curves.items()}, looks)


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


def _short(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= LONGEST_LABEL else text[: LONGEST_LABEL - 1] + "…"
