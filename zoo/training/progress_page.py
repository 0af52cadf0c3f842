"""The page `progress.html` in a run's folder: curves, pictures and scores while it trains.

It opens from disk, without a server, a network or a script, and loads itself again every few
seconds until the training has ended.
"""

from __future__ import annotations

import base64
import datetime
import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass

import jinja2

from zoo.api.training_events import PART_LABELS, format_scores
from zoo.base.atomic_files import atomic_write
from zoo.base.numbers import duration, significant, whole
from zoo.base.picture_style import GROUND, PANEL, QUIET, RULE, TEXT
from zoo.base.text import one_line
from zoo.training.curves import LINES, Panel, panels_of
from zoo.training.run_folder import LogEntry, RunFolder, RunState, TrainingConfig, read_log

PAGE = "progress.html"
REFRESH_SECONDS = 5
WIDTH, HEIGHT = 900, 200
"""Of a panel, in pixels."""
MOST_POINTS = 450
"""Of a line."""

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
    """As an SVG polyline has them."""
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
        # Another address for each picture: a browser would show the one that it has.
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
    """How far it is, and how long it will take."""
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
