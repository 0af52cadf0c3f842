"""The text of the report: what the template prints, as values that it only has to place."""

from __future__ import annotations

from typing import Any

import jinja2

from zoo.records import LEAST_SHOTS, Environment, Record, Results
from zoo.report import flat, numbers
from zoo.report.brought import WrittenSection
from zoo.report.costs import cost_table, timing_protocol
from zoo.report.crossing import crossing_findings, crossing_table, overlaps
from zoo.report.film_page import FilmSection
from zoo.report.gpu import GpuSection
from zoo.report.markdown import Markdown, code_block, finish, folded, grid, table
from zoo.report.order import order
from zoo.report.ranking import PART_NAMES, PERCEPTUAL, in_order, ranking
from zoo.report.sizes import main_size, sizes
from zoo.report.standings import LEAST_SEEDS, machine_key, machines, standings
from zoo.report.tables import across_table
from zoo.report.text import one_line
from zoo.report.training import latent_notes, training, tuning, unequal_terms
from zoo.report.winners import beside_references, winners


def render(
    results: Results,
    main: Results,
    sections: list[FilmSection],
    pictures: dict[str, Markdown | None],
    gpu: list[GpuSection],
    brought: list[WrittenSection],
    not_brought: list[str],
) -> str:
    """Print the report: the sections of its films, the pictures across films (`trade`, `crossing`),
    what was measured on GPUs, and what plugins have brought, or why they could not.

    `main` are the results at one size of the latent, which comparisons are of.
    """
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("zoo.report"),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        # The output is no HTML: `finish` escapes everything for Markdown instead.
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
        brought=brought,
        failures=[*_failures(results), *not_brought],
        environments_table=_environments_table(results),
        fingerprints_table=grid(
            ["film", "fingerprint"], [[f.name, one_line(f.fingerprint, 100)] for f in results.films]
        ),
        options_table=_options_table(results),
        columns_table=grid(
            ["column", "what it holds"], [list(pair) for pair in flat.explained(results).items()]
        ),
        command=code_block(results.command),
    )


def _head(results: Results, main: Results) -> dict[str, Any]:
    models = {r.model for r in results.records if r.role == "model"}
    references = {r.model for r in results.records if r.role == "reference"}
    seeds = [str(seed) for seed in sorted({r.seed for r in results.records})]
    return {
        "results": results,
        "numbers": numbers,
        "models": numbers.counted(len(models), "model"),
        "references": numbers.counted(len(references), "reference") if references else "",
        "films": numbers.counted(len(results.films), "film"),
        "films_table": _films_table(results),
        "rows_table": _rows_table(main),
        "sizes": numbers.listed([str(size) for size in sizes(results)]),
        "main_size": main_size(results),
        "seeds": ("seed " if len(seeds) == 1 else "seeds ") + numbers.listed(seeds),
        "seeded": len(seeds) >= LEAST_SEEDS,
        "some_seeds": 1 < len(seeds) < LEAST_SEEDS,
        "winners": winners(main),
        "order": order(main),
    }


def _across(results: Results) -> dict[str, Any]:
    rank = ranking(results)
    across = across_table(results)
    beside = beside_references(results)
    overlapping = [overlap.sentence for overlap in overlaps(results)]
    return {
        "overlapping": overlapping,
        "sorted_by": f"{rank.metric.label}, {PART_NAMES[rank.part]}" if rank else None,
        # Only worth saying where it is not the order that a reader expects.
        "fell_back": rank is not None and rank.metric.name != PERCEPTUAL,
        "across": table(across),
        "across_notes": across.notes,
        "beside": table(beside) if beside else None,
        "matched": any(record.takedown for record in results.records),
    }


def _crossing(results: Results) -> dict[str, Any]:
    content = crossing_table(results)
    return {
        "crossing": folded("The same as a table", table(content)) if content else None,
        "crossing_findings": crossing_findings(results),
    }


def _costs(results: Results) -> dict[str, Any]:
    content = cost_table(results)
    return {
        "costs": table(content) if content else None,
        "cost_notes": content.notes if content else (),
        "timing": timing_protocol(results),
    }


def _protocol(results: Results) -> dict[str, Any]:
    return {
        "latent_notes": latent_notes(results),
        "training": training(results),
        "unequal_terms": unequal_terms(results),
        "tuning": tuning(results),
        "least_seeds": LEAST_SEEDS,
        "least_shots": LEAST_SHOTS,
        "metrics_table": _metrics_table(results),
        "codecs": numbers.listed(_codecs(results)),
        "by_the_clock": results.budget[-1:] == "s" and results.budget[-2:-1].isdigit(),
        "foreign": any(record.trained_on != record.watched for record in results.records),
    }


def _films_table(results: Results) -> Markdown:
    rows = []
    for film in results.films:
        seconds = film.frames / film.fps if film.fps else None
        neither = film.frames - film.seen_frames - film.held_out_frames
        rows.append(
            [
                one_line(film.name, 60),
                one_line(film.title, 120),
                one_line(film.size, 20),
                f"{numbers.whole(film.frames)} ({numbers.duration(seconds)} "
                f"at {numbers.rate(film.fps)} frames/s)",
                numbers.whole(film.shots),
                f"{film.seen_frames:,} / {film.held_out_frames:,} / {neither:,}",
                one_line(film.licence or "none stated", 120),
            ]
        )
    return grid(
        ["film", "title", "size", "frames", "shots", "seen / held out / neither", "licence"], rows
    )


def _rows_table(results: Results) -> Markdown:
    rows: dict[tuple[str, str], list[str]] = {}
    for row in in_order(standings(results), ranking(results), len(results.films)):
        record = (*row.records, *row.failed)[0]
        rows.setdefault(
            (row.role, row.model),
            [
                one_line(row.model, 60),
                row.role,
                one_line(record.summary, 300) or numbers.NOT_APPLICABLE,
                record.origin,
            ],
        )
    return grid(["name", "role", "what it is", "package"], list(rows.values()))


def _options_table(results: Results) -> Markdown:
    rows = dict.fromkeys(
        (
            one_line(record.model, 60),
            ", ".join(f"{name}={value}" for name, value in sorted(record.options.items())) or "–",
        )
        for record in results.records
    )
    return grid(["name", "options"], [[name, one_line(options, 600)] for name, options in rows])


def _metrics_table(results: Results) -> Markdown:
    return grid(
        ["metric", "unit", "better", "source"],
        [
            [
                one_line(metric.label, 60),
                metric.unit or numbers.NOT_APPLICABLE,
                {"one": "nearer to 1"}.get(metric.better, metric.better),
                one_line(metric.source, 300),
            ]
            for metric in results.metrics
        ],
    )


def _codecs(results: Results) -> list[str]:
    """The codecs that coded at least one film."""
    return list(
        dict.fromkeys(
            one_line(record.model, 60)
            for record in results.records
            if record.kind == "codec" and record.status == "ok"
        )
    )


def _failures(results: Results) -> list[str]:
    return [
        f"{one_line(record.model, 60)} {_cell(record)}, seed {record.seed}: "
        f"{one_line(record.reason or 'no reason was recorded', 1000)}"
        for record in results.records
        if record.status == "failed"
    ]


def _cell(record: Record) -> str:
    """Where in the matrix of films a record stands."""
    own = one_line(record.trained_on, 60)
    if record.trained_on == record.watched:
        return f"on {own}"
    return f"trained on {own}, evaluated on {one_line(record.watched, 60)}"


def _environments_table(results: Results) -> Markdown:
    letters = machines(results)
    headings = [
        "machine", "device", "threads", "precision", "compiled", "python", "torch", "CUDA", "PyAV",
        "FFmpeg", "film-zoo", "commit", "records",
    ]  # fmt: skip
    kept: list[tuple[Environment, int]] = []
    for record in results.records:
        for index, (environment, count) in enumerate(kept):
            if environment == record.environment:
                kept[index] = (environment, count + 1)
                break
        else:
            kept.append((record.environment, 1))
    return grid(
        headings,
        [
            [
                letters[machine_key(environment)],
                one_line(f"{environment.device_name} ({environment.device})", 100),
                str(environment.threads),
                environment.precision,
                one_line(environment.compile, 40),
                environment.python,
                environment.torch,
                environment.cuda or numbers.NOT_APPLICABLE,
                environment.pyav,
                environment.ffmpeg,
                environment.film_zoo,
                one_line(environment.commit or "not known", 40),
                str(count),
            ]
            for environment, count in kept
        ],
    )
