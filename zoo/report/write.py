"""Write a results folder: the records as JSON and CSV, the figures, and the report itself."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2

from zoo.base import numbers
from zoo.base.atomic_files import atomic_write
from zoo.base.errors import BadInput
from zoo.base.markdown import (
    Markdown,
    bullets,
    code_block,
    escape,
    finish,
    folded,
    grid,
    image,
    link,
)
from zoo.base.records import MIN_SHOTS, FilmInfo, Results
from zoo.base.safe_text import one_line
from zoo.report.aggregate import (
    MIN_SEEDS,
    at_main_latent_size,
    film_label,
    latent_sizes,
    main_latent_size,
    means_in_words,
)
from zoo.report.costs import cost_table, timing_protocol
from zoo.report.cross_film_matrix import (
    cross_film_findings,
    cross_film_table,
    overlaps,
    plot_cross_film,
)
from zoo.report.failure_slices import (
    failure_findings,
    failure_notes,
    failure_table,
    held_out_failure_table,
)
from zoo.report.findings import who_is_ahead, why_in_this_order
from zoo.report.frame_strip import (
    sheet_description,
    side_by_side_description,
    strip_description,
    write_strip,
)
from zoo.report.gpu_section import GpuSection, gpu_sections
from zoo.report.plugin_sections import WrittenSection, section_registry
from zoo.report.protocol import (
    budget_in_words,
    by_the_clock,
    codecs,
    codecs_at_their_least,
    environments_table,
    failed_runs,
    films_table,
    frames_by_the_clock,
    latent_notes,
    metrics_table,
    options_table,
    rows_table,
    seeds_in_words,
    training_received,
    tuning_notes,
    unequal_terms,
)
from zoo.report.ranking import PART_NAMES, PERCEPTUAL, ranking
from zoo.report.rate_distortion import bjontegaard_table, plot_rate_distortion
from zoo.report.results_csv import explained, write_csv
from zoo.report.results_folder import (
    FIGURES,
    MERGE_MARKER,
    RESULTS,
    FilmSeries,
    address,
    film_stems,
    named,
    new_report,
    path_in_folder,
    replace_report,
    write_results,
)
from zoo.report.score_plots import plot_scores, plot_timeline, plot_trade_off
from zoo.report.score_tables import (
    across_films_table,
    film_table,
    interval_note,
    interval_table,
    other_metrics_table,
    reference_table,
    takedown_explanation,
    takedown_notice,
    takedown_table,
)
from zoo.report.table import Table, to_markdown
from zoo.report.viewer.write import write_film, write_page
from zoo.report.worth_of_training import film_lengths


def write_report(results: Results, folder: Path) -> Path:
    """Write `results.json`, `results.csv`, `figures/`, `report.html`, `report.md`; return the last.

    Pictures and series that the records name are read below `folder`. The same records, pictures
    and plugins give the same report, byte for byte. The caller holds the folder's lock. Raises
    BadInput, and keeps the earlier report, if the records contradict one another, if they name a
    file outside `folder`, or if a link is in the way.
    """
    with new_report(folder) as new:
        build_report(results, folder, new)
        replace_report(new, folder, results, keep=[MERGE_MARKER])
    return folder / "report.md"


def build_report(results: Results, folder: Path, out: Path, gpu: Path | None = None) -> None:
    """Write a report into the folder `out`; pictures and series are read below `folder`.

    GPU measurements are read from `gpu/` below the results folder `gpu`, or else below `folder`.
    Raises BadInput like `write_report`.
    """
    check(results, folder)
    write_results(out / RESULTS, results)
    write_csv(out / "results.csv", results)
    stems = film_stems(results)
    main = at_main_latent_size(results)
    sections, films = [], []
    for film in results.films:
        # Long series take gigabytes: each is read once, and only one is held in memory.
        given = (results, main, film, FilmSeries.read(film, folder), folder, out, stems[film.name])
        sections.append(film_section(*given))
        films.append(write_film(*given))
    pictures: dict[str, Markdown | None] = {}
    for name, plot in (("trade", plot_trade_off), ("crossing", plot_cross_film)):
        path = f"{FIGURES}/{name}.png"
        text = plot(main, out / path)
        pictures[name] = image(path, text) if text else None
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
    with atomic_write(out / "report.md") as temporary:
        temporary.write_text(report, encoding="utf-8", newline="\n")
    write_page(results, main, films, out)


def check(results: Results, folder: Path) -> None:
    """Raise BadInput if the records contradict one another, or name a file outside `folder`."""
    names = [film.name for film in results.films]
    for film in results.films:
        if names.count(film.name) > 1:
            raise BadInput(f"the results list the film {film.name[:60]!r} twice")
    for record in results.records:
        for film_name, what in (
            (record.evaluated_on, "evaluated"),
            (record.trained_on, "trained"),
        ):
            if film_name not in names:
                raise BadInput(
                    f"a record of {record.model[:60]!r} was {what} on {film_name[:60]!r}, a film "
                    "that the results do not list"
                )
    for name in named(results):
        path_in_folder(folder, name)


@dataclass(frozen=True)
class Heading:
    """A part of a film's section with its own heading."""

    heading: str
    blocks: tuple[Markdown, ...]


@dataclass(frozen=True)
class FilmSection:
    """One film's section of the report."""

    film: FilmInfo
    heading: str
    title: str
    blocks: tuple[Markdown, ...]
    """The first blocks, without a heading."""
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
    """Write a film's section, and its pictures as `figures/<kind>-<stem>.<format>` in `out`.

    Files that the records name are read below `folder`. `main` holds the results at the latent size
    that most of the section shows.
    """
    parts = [
        Heading("Quality over time", tuple(_timeline(main, film, series, folder, out, stem))),
        Heading("Rate and distortion", tuple(_rates(results, film, out, stem))),
        Heading("Where it fails", tuple(_failure_slices(main, film))),
        Heading("Would content matching recognise it?", tuple(_matching(main, film))),
    ]
    return FilmSection(
        film=film,
        heading=film_label(results, film),
        title=one_line(film.title),
        blocks=tuple(_first(main, film, folder, out, stem)),
        parts=tuple(part for part in parts if part.blocks),
    )


def _first(results: Results, film: FilmInfo, folder: Path, out: Path, stem: str) -> list[Markdown]:
    blocks = _with_notes(film_table(results, film))
    if beside := reference_table(results, film):
        blocks += [escape("How many models are better than each reference:"), to_markdown(beside)]
    strip_path = f"{FIGURES}/strip-{stem}.webp"
    strip = write_strip(results, film, folder, out / strip_path)
    if strip is None:
        words = "No strip: the records name no pictures of this film, or the files are missing."
        blocks.append(escape(words))
    else:
        blocks.append(image(strip_path, strip_description(film, strip)))
        if strip.missing:
            lost = numbers.counted(strip.missing, "picture")
            blocks.append(escape(f"{lost} of this strip could not be read."))
        if not film.licence:
            words = "No licence is stated for this film: do not publish its pictures."
            blocks.append(escape(words))
    blocks += _video_and_sheet(film, folder)
    scores_path = f"{FIGURES}/scores-{stem}.png"
    if scores := plot_scores(results, film, out / scores_path):
        blocks.append(image(scores_path, scores))
    if more := other_metrics_table(results, film):
        blocks += [escape("Other metrics:"), *_with_notes(more)]
    if intervals := interval_table(results, film):
        summary = f"95% intervals of the means on {film.name}, over shots"
        blocks.append(folded(summary, to_markdown(intervals)))
    if note := interval_note(results, film):
        blocks.append(escape(note))
    return blocks


def _video_and_sheet(film: FilmInfo, folder: Path) -> list[Markdown]:
    blocks = []
    beside = film.side_by_side
    if beside and (path := address(folder, beside.video)):
        blocks.append(link(path, side_by_side_description(beside)))
    if path := address(folder, film.sheet):
        blocks.append(image(path, sheet_description(film)))
    return blocks


def _timeline(
    results: Results, film: FilmInfo, series: FilmSeries, folder: Path, out: Path, stem: str
) -> list[Markdown]:
    path = f"{FIGURES}/time-{stem}.png"
    plotted = plot_timeline(results, film, series, folder, out / path)
    if plotted is None:
        return []
    blocks = [image(path, plotted.text)] if plotted.text else []
    return [*blocks, *([escape(plotted.problem)] if plotted.problem else [])]


def _rates(results: Results, film: FilmInfo, out: Path, stem: str) -> list[Markdown]:
    path = f"{FIGURES}/rate-{stem}.png"
    text = plot_rate_distortion(results, film, out / path)
    if text is None:
        return []
    blocks = [image(path, text)]
    if lengths := film_lengths(results, film):
        blocks += [escape(lengths[0]), bullets(lengths[1:])]
    found = bjontegaard_table(results, film)
    if isinstance(found, str):
        blocks.append(escape(found))
    elif found:
        words = (
            "Bjontegaard differences of each model from each codec on seen frames: in the metric "
            "at equal bytes, and in bytes at equal quality. The bytes do not include the models' "
            "decoders."
        )
        blocks += [escape(words), to_markdown(found)]
    if len(latent_sizes(results)) > 1:
        every = to_markdown(film_table(results, film))
        blocks.append(folded(f"All latent sizes on {film.name}", every))
    return blocks


def _failure_slices(results: Results, film: FilmInfo) -> list[Markdown]:
    content = failure_table(results, film)
    if content is None:
        return []
    blocks = [bullets(failure_findings(results, film)), to_markdown(content)]
    blocks += [escape(note) for note in failure_notes(results, film)]
    if held_out := held_out_failure_table(results, film):
        blocks.append(folded("The same on held-out frames", to_markdown(held_out)))
    return [block for block in blocks if block]


def _matching(results: Results, film: FilmInfo) -> list[Markdown]:
    content = takedown_table(results, film)
    if content is None:
        return []
    notice = takedown_notice(results, film)
    said = [escape(notice)] if notice else []
    return [*said, to_markdown(content), escape(takedown_explanation(results, film))]


def _with_notes(content: Table) -> list[Markdown]:
    blocks = [to_markdown(content)]
    return [*blocks, bullets(content.notes)] if content.notes else blocks


def render(
    results: Results,
    main: Results,
    sections: list[FilmSection],
    pictures: dict[str, Markdown | None],
    gpu: list[GpuSection],
    plugin_sections: list[WrittenSection],
    missing_sections: list[str],
) -> str:
    """Render the report from its sections.

    These are films, pictures across films (`trade`, `crossing`), GPUs and sections of plugins, with
    reasons for missing ones. `main` holds the results at the latent size that is compared.
    """
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("zoo.report"),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        # The output is Markdown, not HTML: `finish` escapes everything for it.
        autoescape=False,
        finalize=finish,
    )
    return environment.get_template("report.md.j2").render(
        **_head(results, main),
        **_across(main),
        **_crossing(main),
        **_costs(main),
        **_protocol(results),
        sections=sections,
        pictures=pictures,
        gpu=gpu,
        plugin_sections=plugin_sections,
        failures=[*failed_runs(results), *missing_sections],
        environments_table=environments_table(results),
        fingerprints_table=grid(
            ["film", "fingerprint"], [[f.name, one_line(f.fingerprint, 100)] for f in results.films]
        ),
        options_table=options_table(results),
        columns_table=grid(
            ["column", "what it holds"], [list(pair) for pair in explained(results).items()]
        ),
        command=code_block(results.command),
    )


def _head(results: Results, main: Results) -> dict[str, Any]:
    models = {r.model for r in results.records if r.role == "model"}
    references = {r.model for r in results.records if r.role == "reference"}
    seeds = [str(seed) for seed in sorted({r.seed for r in results.records})]
    return {
        "results": results,
        "budget": budget_in_words(results),
        "numbers": numbers,
        "models": numbers.counted(len(models), "model"),
        "references": numbers.counted(len(references), "reference") if references else "",
        "films": numbers.counted(len(results.films), "film"),
        "films_table": films_table(results),
        "rows_table": rows_table(main),
        "sizes": numbers.listed([str(size) for size in latent_sizes(results)]),
        "main_size": main_latent_size(results),
        "seeds": seeds_in_words(results),
        "seeded": len(seeds) >= MIN_SEEDS,
        "some_seeds": 1 < len(seeds) < MIN_SEEDS,
        "findings": [*who_is_ahead(main), *frames_by_the_clock(main)],
        "reasons": why_in_this_order(main),
    }


def _across(results: Results) -> dict[str, Any]:
    rank = ranking(results)
    across = across_films_table(results)
    beside = reference_table(results)
    overlapping = [overlap.sentence for overlap in overlaps(results)]
    return {
        "overlapping": overlapping,
        "counted": means_in_words(results),
        "sorted_by": f"{rank.metric.label}, {PART_NAMES[rank.part]}" if rank else None,
        # Only stated if the tables are not sorted by the usual metric.
        "fell_back": rank is not None and rank.metric.name != PERCEPTUAL,
        "across": to_markdown(across),
        "across_notes": across.notes,
        "beside": to_markdown(beside) if beside else None,
        "matched": any(record.takedown for record in results.records),
    }


def _crossing(results: Results) -> dict[str, Any]:
    content = cross_film_table(results)
    return {
        "crossing": folded("The same as a table", to_markdown(content)) if content else None,
        "crossing_findings": cross_film_findings(results),
    }


def _costs(results: Results) -> dict[str, Any]:
    content = cost_table(results)
    return {
        "costs": to_markdown(content) if content else None,
        "cost_notes": content.notes if content else (),
        "timing": timing_protocol(results),
    }


def _protocol(results: Results) -> dict[str, Any]:
    return {
        "latent_notes": latent_notes(results),
        "training": training_received(results),
        "unequal_terms": unequal_terms(results),
        "tuning": tuning_notes(results),
        "min_seeds": MIN_SEEDS,
        "min_shots": MIN_SHOTS,
        "metrics_table": metrics_table(results),
        "codecs": numbers.listed(codecs(results)),
        "headers": codecs_at_their_least(results),
        "by_the_clock": by_the_clock(results),
        "foreign": any(record.trained_on != record.evaluated_on for record in results.records),
    }
