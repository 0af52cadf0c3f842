"""Writing a results folder: the records as JSON and CSV, the pictures, and the report itself."""

from __future__ import annotations

from pathlib import Path

from zoo.errors import BadInput
from zoo.records import Results, write_json
from zoo.report import flat
from zoo.report.brought import section_registry
from zoo.report.crossing_plot import draw_crossing
from zoo.report.film_page import FIGURES, film_section
from zoo.report.markdown import Markdown, image
from zoo.report.page import render
from zoo.report.placing import placed
from zoo.report.sizes import at_main_size
from zoo.report.text import file_names
from zoo.report.trade_plot import draw_trade
from zoo.report.viewer.write import write_page
from zoo.workspace import written_aside

_OURS = ("strip-*", "scores-*", "time-*", "rate-*", "trade.png", "crossing.png")


def write_report(results: Results, folder: Path) -> Path:
    """Write `results.json`, `results.csv`, `figures/`, `report.html`, `report.md`; return the last.

    Pictures and series that the records name are read below `folder`. The same records, pictures
    and plugins give the same report, byte for byte. Raises BadInput if the records contradict one
    another, or name a file elsewhere.
    """
    check(results, folder)
    write_json(folder / "results.json", results)
    flat.write_csv(folder / "results.csv", results)
    stems = file_names(film.name for film in results.films)
    main = at_main_size(results)
    sections = [
        film_section(results, main, film, folder, stems[film.name]) for film in results.films
    ]
    pictures: dict[str, Markdown | None] = {}
    for name, draw in (("trade", draw_trade), ("crossing", draw_crossing)):
        drawn = f"{FIGURES}/{name}.png"
        text = draw(main, folder / drawn)
        pictures[name] = image(drawn, text) if text else None
    plugins = section_registry()
    report = render(results, main, sections, pictures, plugins.write(results), plugins.failures())
    _remove_stale(folder, report)
    path = folder / "report.md"
    with written_aside(path) as aside:
        aside.write_text(report, encoding="utf-8", newline="\n")
    write_page(results, main, folder)
    return path


def check(results: Results, folder: Path) -> None:
    """Raise BadInput if the records contradict one another, or name a file outside `folder`."""
    names = [film.name for film in results.films]
    for film in results.films:
        if names.count(film.name) > 1:
            raise BadInput(f"the results list the film {film.name[:60]!r} twice")
        for name in (film.barcode, film.series, film.video):
            if name:
                placed(folder, name)
    for record in results.records:
        for film_name, what in ((record.watched, "watched"), (record.trained_on, "learnt")):
            if film_name not in names:
                raise BadInput(
                    f"a record of {record.model[:60]!r} {what} {film_name[:60]!r}, "
                    "a film that the results do not list"
                )
        drawn = [name for p in record.pictures for name in (p.original, p.reconstruction)]
        for name in (*drawn, *([record.video] if record.video else [])):
            placed(folder, name)


def _remove_stale(folder: Path, text: str) -> None:
    """Remove what an earlier report drew and this one, of other films, does not show."""
    for kind in _OURS:
        for path in (folder / FIGURES).glob(kind):
            if f"]({FIGURES}/{path.name})" not in text:
                path.unlink()
