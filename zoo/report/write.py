"""Writing a results folder: the records as JSON and CSV, the pictures, and the report itself."""

from __future__ import annotations

from pathlib import Path

from zoo.errors import BadInput
from zoo.records import Results, write_results
from zoo.report import flat
from zoo.report.brought import section_registry
from zoo.report.crossing_plot import draw_crossing
from zoo.report.film_page import film_section
from zoo.report.folder import FIGURES, MARK, RESULTS, film_stems, new_report, put_in_place
from zoo.report.gpu import gpu_sections
from zoo.report.markdown import Markdown, image
from zoo.report.page import render
from zoo.report.placing import placed
from zoo.report.series_rows import FilmSeries
from zoo.report.sizes import at_main_size
from zoo.report.trade_plot import draw_trade
from zoo.report.viewer.write import write_film, write_page
from zoo.workspace import written_aside


def write_report(results: Results, folder: Path) -> Path:
    """Write `results.json`, `results.csv`, `figures/`, `report.html`, `report.md`; return the last.

    Pictures and series that the records name are read below `folder`. The same records, pictures
    and plugins give the same report, byte for byte. The caller holds the folder's lock. Raises
    BadInput if the records contradict one another or name a file elsewhere, or a link stands where
    the report would be written; the earlier report is whole then.
    """
    with new_report(folder) as new:
        draw_report(results, folder, new)
        put_in_place(new, folder, results, keep=[MARK])
    return folder / "report.md"


def draw_report(results: Results, folder: Path, out: Path, gpu: Path | None = None) -> None:
    """Write a report into the folder `out`; pictures and series are read below `folder`.

    What was measured on GPUs lies in `gpu/` below the results folder `gpu`, or else `folder`.
    Raises BadInput as `write_report`.
    """
    check(results, folder)
    write_results(out / RESULTS, results)
    flat.write_csv(out / "results.csv", results)
    stems = film_stems(results)
    main = at_main_size(results)
    sections, films = [], []
    for film in results.films:
        # Long series take gigabytes: each is read once, and only one is held.
        given = (results, main, film, FilmSeries.read(film, folder), folder, out, stems[film.name])
        sections.append(film_section(*given))
        films.append(write_film(*given))
    pictures: dict[str, Markdown | None] = {}
    for name, draw in (("trade", draw_trade), ("crossing", draw_crossing)):
        drawn = f"{FIGURES}/{name}.png"
        text = draw(main, out / drawn)
        pictures[name] = image(drawn, text) if text else None
    plugins = section_registry()
    report = render(
        results,
        main,
        sections,
        pictures,
        gpu_sections(gpu or folder),
        plugins.write(results),
        plugins.failures(),
    )
    with written_aside(out / "report.md") as aside:
        aside.write_text(report, encoding="utf-8", newline="\n")
    write_page(results, main, films, out)


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
