"""A run's learning curves: the picture `curves.png`, and the page `progress.html` while it trains.

Each player has a panel with a line per loss term, and one for the values that the model logs in
addition; the scores of a few frames have a panel per metric. The page also shows previews and
scores. It opens from disk, needs no server, network or script, and reloads itself every few seconds
until the training has ended.
"""

from __future__ import annotations

import base64
import datetime
import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import jinja2

from zoo.api.recipe_and_events import METRIC_FORMATS, PART_LABELS, format_scores
from zoo.base.atomic_files import atomic_write
from zoo.base.numbers import duration, significant, whole
from zoo.base.picture_style import GROUND, PANEL, QUIET, RULE, TEXT
from zoo.base.safe_text import one_line
from zoo.training.run_folder import LogEntry, RunFolder, RunState, TrainingConfig, read_log

if TYPE_CHECKING:
    from matplotlib.axes import Axes


CURVES = "curves.png"
"""Name of the picture in a run's folder."""

LINES = ("#8fb8de", "#f2a65a", "#9ad08f", "#e58fb1", "#c9b1f0", "#e8d76b", "#7fd3d0", "#d99a7c")
DASHES = ("-", "--", ":")
FIGURE_WIDTH, PANEL_HEIGHT, REST_HEIGHT = 9.0, 2.5, 0.75
"""In inches, at 100 dots per inch."""
LABEL_SIZE = 9
LABEL_GAP = 0.095
"""The least distance between two labels, as a share of a panel's height."""
LONGEST_LABEL, LONGEST_TITLE = 28, 60
TICKS_PER_DECADE = (
    (0.6, (1.0, 1.2, 1.5, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0)),
    (1.3, (1.0, 1.5, 2.0, 3.0, 5.0, 7.0)),
    (3.0, (1.0, 3.0)),
)
"""(decades, tick multiples for a logarithmic axis that spans fewer decades)."""

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
    """Make the panels of a log: losses, values logged in addition to them, and scores."""
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
    figure = Figure(figsize=(FIGURE_WIDTH, height), dpi=100, facecolor=GROUND)
    FigureCanvasAgg(figure)
    # Margins in inches, because a layout engine draws everything twice to find them.
    figure.subplots_adjust(
        left=0.85 / FIGURE_WIDTH,
        right=1 - 2.3 / FIGURE_WIDTH,
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
        one_line(panel.title, LONGEST_TITLE), loc="left", color=TEXT, fontsize=11, fontweight="bold"
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
            f"{one_line(term, LONGEST_LABEL)}  {value:.3g}",
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


PAGE = "progress.html"
REFRESH_SECONDS = 5
WIDTH, HEIGHT = 900, 200
"""The size of a panel in pixels."""
MOST_POINTS = 450
"""The most points of a line."""

STYLE = f"""
body {{ margin: 0 auto; padding: 24px; max-width: {WIDTH}px; background: {GROUND};
  color: {TEXT}; font: 15px/1.5 system-ui, sans-serif; font-variant-numeric: tabular-nums; }}
h1 {{ font-size: 20px; overflow-wrap: anywhere; }}
h2 {{ font-size: 15px; margin: 20px 0 4px; overflow-wrap: anywhere; }}
.quiet {{ color: {QUIET}; }}
progress {{ width: 100%; }}
img, svg {{ display: block; width: 100%; height: auto; }}
img {{ image-rendering: pixelated; }}
svg {{ background: {PANEL}; }}
svg text {{ fill: {QUIET}; font-size: 11px; }}
td {{ padding-right: 18px; }}
""" + "".join(f".line{n} {{ stroke: {c}; color: {c}; }}\n" for n, c in enumerate(LINES))

TEMPLATE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; \
style-src '{{ style_hash }}'; img-src 'self' file:; base-uri 'none'; form-action 'none'">
{% if state == "training" %}<meta http-equiv="refresh" content="{{ refresh }}">{% endif %}
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{{ share }} {{ name }}</title>
<style>{{ style | safe }}</style>
</head>
<body>
<h1>{{ name }}</h1>
<progress max="1" value="{{ progress }}"></progress>
<p>{{ state }}, {{ facts }}</p>
<p class="quiet">Written at {{ written }}{% if state == "training" %}, and again while it trains; \
`zoo runs` says whether it still does{% endif %}.</p>
{% if scores %}
<h2>A few frames, before quantisation{{ scored }}</h2>
<table>{% for part, text in scores %}<tr><td>{{ part }}</td><td>{{ text }}</td></tr>{% endfor %}\
</table>
{% endif %}
{% if picture %}
<h2>Originals above reconstructions</h2>
<img src="./preview.png?{{ picture }}" alt="Frames of the film above their reconstructions">
{% else %}
<p class="quiet">The first pictures and scores come after about a quarter of a minute.</p>
{% endif %}
{% for plot in plots %}
<h2>{{ plot.title }}</h2>
<svg viewBox="0 0 {{ width }} {{ height }}" role="img" aria-label="{{ plot.title }}">
<line x1="0" x2="{{ width }}" y1="{{ height / 2 }}" y2="{{ height / 2 }}" stroke="{{ grid }}"/>
{% for line in plot.lines %}
<polyline class="line{{ line.colour }}" points="{{ line.points }}" fill="none" stroke-width="2"/>
{% endfor %}
<text x="6" y="14">{{ plot.highest }}</text>
<text x="6" y="{{ height - 6 }}">{{ plot.lowest }}</text>
</svg>
<p>{% for line in plot.lines %}<span class="line{{ line.colour }}">{{ line.name }} \
{{ line.last }}</span> {% endfor %}</p>
{% endfor %}
{% if plots %}<p class="quiet">Over frames trained on, from 0 to {{ frames }}.</p>{% endif %}
</body>
</html>
"""


@dataclass(frozen=True)
class Line:
    """One curve."""

    name: str
    colour: int
    points: str
    """In the syntax of an SVG polyline."""
    last: str


@dataclass(frozen=True)
class Plot:
    """A panel of curves with the ends of its axis."""

    title: str
    lines: list[Line]
    lowest: str
    highest: str


def write_progress_page(
    folder: RunFolder, config: TrainingConfig, state: RunState, progress: float
) -> None:
    """Write a run's page from its log and its preview; `progress` is the share of its budget.

    Raises BadInput if the log is damaged.
    """
    entries = read_log(folder.log)
    last = entries[-1] if entries else None
    scored = next((entry.score for entry in reversed(entries) if entry.score), None)
    share = min(1.0, max(0.0, progress))
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined)
    page = environment.from_string(TEMPLATE).render(
        style=STYLE,
        style_hash="sha256-" + base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode(),
        refresh=REFRESH_SECONDS,
        name=f"{config.model} on {one_line(config.film, 100)}, {config.id}",
        state=state,
        progress=f"{share:.4f}",
        share=f"{share:.0%}",
        facts=_facts(last, share),
        written=datetime.datetime.now().astimezone().strftime("%Y-%m-%d %H:%M:%S"),
        scores=[
            (PART_LABELS.get(part, part), format_scores(values))
            for part, values in sorted((scored.values if scored else {}).items())
        ],
        scored=f", at step {scored.step:,}" if scored else "",
        # A new address for each picture: a browser would show the one in its cache.
        picture=scored.step if scored and folder.preview.exists() else None,
        plots=[_plot(panel) for panel in panels_of(entries)],
        frames=whole(last.frames if last else 0),
        width=WIDTH,
        height=HEIGHT,
        grid=RULE,
    )
    with atomic_write(folder.path / PAGE) as temporary:
        temporary.write_text(page + "\n", encoding="utf-8")


def _facts(last: LogEntry | None, share: float) -> str:
    """Describe how far a training is and how long it will still take."""
    if last is None:
        return f"{share:.1%}"
    text = f"{share:.1%}: step {last.step:,} after {duration(last.seconds)}"
    if 0 < share < 1:
        text += f", about {duration(last.seconds * (1 - share) / share)} left"
    return text


def _plot(panel: Panel) -> Plot:
    values = [value for _, line in panel.lines.values() for value in line]
    logarithmic = panel.may_be_logarithmic and min(values) > 0
    scale = math.log if logarithmic else float
    low, high = scale(min(values)), scale(max(values))
    end = max(at[-1] for at, _ in panel.lines.values()) or 1

    def points(at: Sequence[float], line: Sequence[float]) -> str:
        every = -(-len(at) // MOST_POINTS)
        pairs = [*zip(at[::every], line[::every], strict=True), (at[-1], line[-1])]
        corners = []
        for frames, value in pairs:
            height = (scale(value) - low) / (high - low) if high > low else 0.5
            corners.append(f"{WIDTH * frames / end:.1f},{HEIGHT - 10 - (HEIGHT - 20) * height:.1f}")
        return " ".join(corners)

    return Plot(
        title=one_line(panel.title, 80) + (", logarithmic" if logarithmic else ""),
        lines=[
            Line(one_line(name, 40), number % len(LINES), points(*line), significant(line[1][-1]))
            for number, (name, line) in enumerate(panel.lines.items())
        ],
        lowest=significant(min(values)),
        highest=significant(max(values)),
    )
