"""Writing a results folder: the records as JSON and CSV, the pictures, and the report itself."""

from __future__ import annotations

from pathlib import Path

from zoo.errors import BadInput
from zoo.records import FilmInfo, Results, write_json
from zoo.report import flat, numbers
from zoo.report.brought import section_registry
from zoo.report.findings import beside_references
from zoo.report.markdown import image, table
from zoo.report.page import FilmSection, render
from zoo.report.plots import draw_scores, draw_trade
from zoo.report.strips import alternative, draw_strip, picture_path
from zoo.report.tables import film_table
from zoo.report.text import file_names, one_line
from zoo.workspace import written_aside

FIGURES = "figures"
"""The folder of pictures, below the folder of results; ours in it are `<kind>-<film>.png`."""


def write_report(results: Results, folder: Path) -> Path:
    """Write `results.json`, `results.csv`, `figures/*.png` and `report.md`; return the last.

    Pictures that the records name are read below `folder`. The same records, pictures and plugins
    give the same report, byte for byte. Raises BadInput if the records contradict one another.
    """
    _check(results, folder)
    write_json(folder / "results.json", results)
    flat.write_csv(folder / "results.csv", results)
    names = file_names(film.name for film in results.films)
    sections = [_film_section(results, film, folder, names[film.name]) for film in results.films]
    trade_path = f"{FIGURES}/trade.png"
    trade = draw_trade(results, folder / trade_path)
    plugins = section_registry()
    text = render(
        results,
        sections,
        image(trade_path, trade) if trade else None,
        plugins.write(results),
        plugins.failures(),
    )
    _remove_stale(folder, text)
    path = folder / "report.md"
    with written_aside(path) as aside:
        aside.write_text(text, encoding="utf-8", newline="\n")
    return path


def _check(results: Results, folder: Path) -> None:
    names = [film.name for film in results.films]
    for name in names:
        if names.count(name) > 1:
            raise BadInput(f"the results list the film {name[:60]!r} twice")
    for record in results.records:
        if record.watched not in names:
            raise BadInput(
                f"a record of {record.model[:60]!r} watched {record.watched[:60]!r}, "
                "a film that the results do not list"
            )
        for picture in record.pictures:
            picture_path(folder, picture.original)
            picture_path(folder, picture.reconstruction)


def _film_section(results: Results, film: FilmInfo, folder: Path, stem: str) -> FilmSection:
    content = film_table(results, film)
    strip_path, scores_path = f"{FIGURES}/strip-{stem}.png", f"{FIGURES}/scores-{stem}.png"
    strip = draw_strip(results, film, folder, folder / strip_path)
    scores = draw_scores(results, film, folder / scores_path)
    note = ""
    if strip is None:
        note = "No strip: the records hold no pictures of this film, or these are not here."
    elif strip.missing:
        note = f"{numbers.counted(strip.missing, 'picture')} of this strip could not be read."
    if strip and not film.licence:
        note = f"{note} No licence is stated for this film: keep its pictures to yourself.".strip()
    return FilmSection(
        film=film,
        title=one_line(film.title),
        table=table(content),
        notes=(*content.notes, *beside_references(results, film)),
        strip=image(strip_path, alternative(film, strip)) if strip else None,
        strip_note=note,
        scores=image(scores_path, scores) if scores else None,
    )


def _remove_stale(folder: Path, text: str) -> None:
    """Remove what an earlier report drew and this one, of other films, does not show."""
    for kind in ("strip-*.png", "scores-*.png", "trade.png"):
        for path in (folder / FIGURES).glob(kind):
            if f"]({FIGURES}/{path.name})" not in text:
                path.unlink()
