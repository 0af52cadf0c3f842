"""One film's part of the report: its tables, its pictures and its findings."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from zoo.records import FilmInfo, Results
from zoo.report import numbers
from zoo.report.differences import difference_table
from zoo.report.failings import failings
from zoo.report.folder import FIGURES
from zoo.report.markdown import Markdown, bullets, escape, folded, image, table
from zoo.report.rate_plot import draw_rates
from zoo.report.scores_plot import draw_scores
from zoo.report.series_rows import FilmSeries
from zoo.report.sizes import sizes
from zoo.report.strips import alternative, draw_strip
from zoo.report.table import Table
from zoo.report.tables import film_table, interval_note, interval_table, more_table
from zoo.report.takedown import takedown_rule, takedown_table
from zoo.report.text import one_line
from zoo.report.timeline import draw_timeline
from zoo.report.weaknesses import held_out_table, weakness_notes, weakness_table
from zoo.report.winners import beside_references


@dataclass(frozen=True)
class Heading:
    """Part of a film's section under a heading of its own."""

    heading: str
    blocks: tuple[Markdown, ...]


@dataclass(frozen=True)
class FilmSection:
    """One film's section of the report."""

    film: FilmInfo
    title: str
    blocks: tuple[Markdown, ...]
    """What stands first, without a heading."""
    parts: tuple[Heading, ...]


def film_section(
    results: Results,
    main: Results,
    film: FilmInfo,
    series: FilmSeries,
    folder: Path,
    out: Path,
    stem: str,
) -> FilmSection:
    """Write a film's section, and draw its pictures as `figures/<kind>-<stem>.<format>` in `out`.

    What the records name is read below `folder`. `main` are the results at the one size of the
    latent that most of it is of.
    """
    parts = [
        Heading("Quality over time", tuple(_timeline(main, film, series, folder, out, stem))),
        Heading("Rate and distortion", tuple(_rates(results, film, out, stem))),
        Heading("Where it fails", tuple(_weaknesses(main, film))),
        Heading("Would content matching recognise it?", tuple(_takedown(main, film))),
    ]
    return FilmSection(
        film=film,
        title=one_line(film.title),
        blocks=tuple(_first(main, film, folder, out, stem)),
        parts=tuple(part for part in parts if part.blocks),
    )


def _first(results: Results, film: FilmInfo, folder: Path, out: Path, stem: str) -> list[Markdown]:
    content = film_table(results, film)
    blocks = _with_notes(content)
    beside = beside_references(results, film)
    if beside:
        blocks += [escape("How many models are better than each reference:"), table(beside)]
    strip_path = f"{FIGURES}/strip-{stem}.webp"
    strip = draw_strip(results, film, folder, out / strip_path)
    if strip is None:
        words = "No strip: the records name no pictures of this film, or the files are missing."
        blocks.append(escape(words))
    else:
        blocks.append(image(strip_path, alternative(film, strip)))
        if strip.missing:
            lost = numbers.counted(strip.missing, "picture")
            blocks.append(escape(f"{lost} of this strip could not be read."))
        if not film.licence:
            words = "No licence is stated for this film: do not publish its pictures."
            blocks.append(escape(words))
    scores_path = f"{FIGURES}/scores-{stem}.png"
    scores = draw_scores(results, film, out / scores_path)
    if scores:
        blocks.append(image(scores_path, scores))
    more = more_table(results, film)
    if more:
        blocks += [escape("Other metrics:"), *_with_notes(more)]
    intervals = interval_table(results, film)
    if intervals:
        summary = f"95% intervals of the means on {film.name}, over shots"
        blocks.append(folded(summary, table(intervals)))
    note = interval_note(results, film)
    if note:
        blocks.append(escape(note))
    return blocks


def _timeline(
    results: Results, film: FilmInfo, series: FilmSeries, folder: Path, out: Path, stem: str
) -> list[Markdown]:
    path = f"{FIGURES}/time-{stem}.png"
    drawn = draw_timeline(results, film, series, folder, out / path)
    if drawn is None:
        return []
    blocks = [image(path, drawn.text)] if drawn.text else []
    return [*blocks, *([escape(drawn.problem)] if drawn.problem else [])]


def _rates(results: Results, film: FilmInfo, out: Path, stem: str) -> list[Markdown]:
    path = f"{FIGURES}/rate-{stem}.png"
    drawn = draw_rates(results, film, out / path)
    if drawn is None:
        return []
    blocks = [image(path, drawn)]
    found = difference_table(results, film)
    if isinstance(found, str):
        blocks.append(escape(found))
    elif found:
        words = (
            "Bjontegaard differences between each model and each codec on seen frames: in the "
            "metric at equal bytes, and in bytes at equal quality. The bytes do not include the "
            "models' decoders."
        )
        blocks += [escape(words), table(found)]
    if len(sizes(results)) > 1:
        every = table(film_table(results, film))
        blocks.append(folded(f"All latent sizes on {film.name}", every))
    return blocks


def _weaknesses(results: Results, film: FilmInfo) -> list[Markdown]:
    content = weakness_table(results, film)
    if content is None:
        return []
    blocks = [bullets(failings(results, film)), table(content)]
    blocks += [escape(note) for note in weakness_notes(results, film)]
    held_out = held_out_table(results, film)
    if held_out:
        blocks.append(folded("The same on held-out frames", table(held_out)))
    return [block for block in blocks if block]


def _takedown(results: Results, film: FilmInfo) -> list[Markdown]:
    content = takedown_table(results, film)
    return [table(content), escape(takedown_rule(results, film))] if content else []


def _with_notes(content: Table) -> list[Markdown]:
    blocks = [table(content)]
    return [*blocks, bullets(content.notes)] if content.notes else blocks
