"""Write the page, and the scripts with the scores per frame."""

from __future__ import annotations

import base64
import hashlib
import json
from importlib.resources import files
from pathlib import Path
from typing import Any

import jinja2
import pydantic

from zoo.base import numbers
from zoo.base.atomic_files import atomic_write
from zoo.base.records import FilmInfo, Results
from zoo.base.safe_text import one_line
from zoo.report.aggregate import machine_key, machines
from zoo.report.costs import timing_protocol
from zoo.report.cross_film_matrix import cross_film_findings
from zoo.report.findings import who_is_ahead, why_in_this_order
from zoo.report.protocol import frames_by_the_clock
from zoo.report.ranking import principal_metrics
from zoo.report.results_folder import FIGURES, PAGE_SCORES, FilmSeries, address, film_stems
from zoo.report.viewer.content import (
    Content,
    FilmContent,
    Measure,
    entry_runs,
    film_content,
)
from zoo.report.viewer.tables import (
    across_films_table,
    costs_table,
    crossing_table,
    film_tables,
)

SCRIPTS = (
    *("dom.js", "data.js", "clock.js", "panel.js", "stage.js"),
    *("plot.js", "timeline.js", "readout.js", "tables.js", "keyboard.js", "app.js"),
)
"""The page's scripts, in the order in which they are joined into one module."""


def write_film(
    results: Results,
    main: Results,
    film: FilmInfo,
    series: FilmSeries,
    folder: Path,
    out: Path,
    stem: str,
) -> FilmContent:
    """Write the film's scores to `viewer/<stem>.js` in `out`; return the film's content.

    Files that the records name are looked up below `folder`. `main` holds the results at the latent
    size that the tables show. Raises BadInput if a record names a file outside `folder`.
    """
    name = f"{stem}.js"
    content, scores = film_content(results, film, series, folder, f"./{PAGE_SCORES}/{name}")
    if scores:
        call = f"zooScores({_in_script(film.name)}, {scores.model_dump_json()});\n"
        _write(out / PAGE_SCORES / name, call)
    tables = film_tables(main, film, entry_runs(results, film))
    return content.model_copy(update={"tables": tables})


def write_page(results: Results, main: Results, films: list[FilmContent], out: Path) -> Path:
    """Write `report.html` into `out` and return its path; `films` come from `write_film`.

    The same records give the same page, byte for byte.
    """
    page = Content(
        heading=_heading(results),
        made=f"Preset {one_line(results.preset, 60)}, budget {one_line(results.budget, 60)}, "
        f"made {one_line(results.created, 40)}",
        machines=_machines(results),
        command=one_line("; ".join(results.command.splitlines()), 2000),
        metrics=_metrics(results),
        films=films,
        findings=[
            one_line(sentence, 2000)
            for sentence in (*who_is_ahead(main), *frames_by_the_clock(main))
        ],
        across=across_films_table(main),
    )
    path = out / "report.html"
    _write(path, _render(page, _beside_films(results, main, out)))
    return path


def _beside_films(results: Results, main: Results, out: Path) -> dict[str, Any]:
    """The parts of the page that need no script: sentences, tables across films, strips."""
    crossing = f"{FIGURES}/crossing.png"
    return {
        "reasons": [one_line(sentence, 2000) for sentence in why_in_this_order(main)],
        "crossing": crossing_table(main),
        "crossing_findings": cross_film_findings(main),
        "crossing_picture": address(out, crossing),
        "costs": costs_table(main),
        "timing": timing_protocol(main),
        "strips": {
            one_line(film, 60): found
            for film, stem in film_stems(results).items()
            if (found := address(out, f"{FIGURES}/strip-{stem}.webp"))
        },
    }


def _heading(results: Results) -> str:
    models = {record.model for record in results.records if record.role == "model"}
    films = numbers.counted(len(results.films), "film")
    return f"{numbers.counted(len(models), 'model')} on {films}"


def _machines(results: Results) -> str:
    """Which machine each letter in the rows stands for; empty if there is only one."""
    letters = machines(results)
    found = {letters[machine_key(r.environment)]: r.environment for r in results.records}
    names = [
        f"{letter} is {one_line(each.device_name, 100)} ({one_line(each.device, 20)}, "
        f"{numbers.counted(each.threads, 'thread')})"
        for letter, each in found.items()
    ]
    return f"Rows on a machine: {numbers.listed(names)}." if len(names) > 1 else ""


def _metrics(results: Results) -> list[Measure]:
    first = principal_metrics(results)
    ordered = [*first, *(metric for metric in results.metrics if metric not in first)]
    return [
        Measure(
            name=metric.name,
            label=one_line(metric.label, 60),
            unit=one_line(metric.unit, 20),
            better=metric.better,
            digits=metric.digits,
        )
        for metric in ordered
        if metric.unavailable is None
    ]


def _render(page: Content, beside_films: dict[str, Any]) -> str:
    static = files("zoo.report.viewer") / "static"
    style = (static / "viewer.css").read_text(encoding="utf-8")
    parts = [(static / name).read_text(encoding="utf-8") for name in SCRIPTS]
    # The element's text has a line break on either side, which the hash includes.
    style, script = f"\n{style}", "\n" + "\n".join(parts)
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("zoo.report.viewer", "static"),
        undefined=jinja2.StrictUndefined,
        autoescape=True,
        keep_trailing_newline=True,
    )
    return environment.get_template("page.html.j2").render(
        page=page,
        **beside_films,
        style=style,
        script=script,
        style_hash=_hash(style),
        script_hash=_hash(script),
        content=_in_script(page),
    )


def _in_script(value: pydantic.BaseModel | str) -> str:
    """Encode as JSON that cannot open or close an HTML element."""
    text = value.model_dump_json() if isinstance(value, pydantic.BaseModel) else json.dumps(value)
    for letter in "<>&\u2028\u2029":
        text = text.replace(letter, f"\\u{ord(letter):04x}")
    return text


def _hash(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def _write(path: Path, text: str) -> None:
    with atomic_write(path) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="\n")
