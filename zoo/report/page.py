"""The text of the report: what the template prints, as values that it only has to place."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import groupby

import jinja2

from zoo.records import Environment, FilmInfo, Results
from zoo.report import findings, flat, numbers
from zoo.report.brought import WrittenSection
from zoo.report.markdown import Markdown, code_block, finish, grid, table
from zoo.report.standings import PERCEPTUAL, in_order, machine_key, machines, ranking, standings
from zoo.report.tables import PART_NAMES, across_table
from zoo.report.text import one_line


@dataclass(frozen=True)
class FilmSection:
    """One film's part of the report."""

    film: FilmInfo
    title: str
    table: Markdown
    notes: tuple[str, ...]
    strip: Markdown | None
    strip_note: str
    scores: Markdown | None


def render(
    results: Results,
    sections: list[FilmSection],
    trade: Markdown | None,
    brought: list[WrittenSection],
    not_brought: list[str],
) -> str:
    """Print the report: the sections of its films, `trade`, the picture across films, and what
    plugins have brought, or why they could not.
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
    across = across_table(results)
    models = {r.model for r in results.records if r.role == "model"}
    references = {r.model for r in results.records if r.role == "reference"}
    seeds = [str(seed) for seed in sorted({r.seed for r in results.records})]
    rank = ranking(results)
    return environment.get_template("report.md.j2").render(
        results=results,
        numbers=numbers,
        models=numbers.counted(len(models), "model"),
        references=numbers.counted(len(references), "reference") if references else "",
        films=numbers.counted(len(results.films), "film"),
        films_table=_films_table(results),
        rows_table=_rows_table(results),
        seeds=("seed " if len(seeds) == 1 else "seeds ") + numbers.listed(seeds),
        winners=findings.winners(results),
        order=findings.order(results),
        sorted_by=f"{rank.metric.label}, {PART_NAMES[rank.part]}" if rank else None,
        # Only worth saying where it is not the order that a reader expects.
        fell_back=rank is not None and rank.metric.name != PERCEPTUAL,
        across=table(across),
        across_notes=across.notes,
        sections=sections,
        trade=trade,
        brought=brought,
        latent_notes=findings.latent_notes(results),
        training=findings.training(results),
        metrics_table=_metrics_table(results),
        timing=_timing(results),
        codecs=numbers.listed(_codecs(results)),
        by_the_clock=results.budget[-1:] == "s" and results.budget[-2:-1].isdigit(),
        failures=[*_failures(results), *not_brought],
        environments_table=_environments_table(results),
        fingerprints_table=grid(
            ["film", "fingerprint"], [[f.name, one_line(f.fingerprint, 100)] for f in results.films]
        ),
        options_table=_options_table(results),
        columns_table=grid(
            ["column", "what it holds"], [list(pair) for pair in flat.columns(results).items()]
        ),
        command=code_block(results.command),
    )


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
                f"at {numbers.rate(film.fps)}/s)",
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
    return grid(["name", "role", "what it is, in its own words", "brought by"], list(rows.values()))


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
                metric.better,
                one_line(metric.source, 300),
            ]
            for metric in results.metrics
        ],
    )


def _timing(results: Results) -> list[str]:
    """How throughput was measured, machine by machine."""
    letters = machines(results)
    told: dict[str, set[tuple[int, int]]] = {}
    for record in results.records:
        if record.cost is None or record.cost.batch is None:
            continue
        environment = record.environment
        letter = f"{letters[machine_key(environment)]}: " if len(letters) > 1 else ""
        machine = (
            f"{letter}{one_line(environment.device_name, 80)} ({environment.device}), "
            f"{numbers.counted(environment.threads, 'thread')}, {environment.memory_format}, "
            f"training at {environment.precision}, encoding and decoding in 32 bits"
        )
        for timing in (record.cost.train, record.cost.encode, record.cost.decode):
            if timing:
                told.setdefault(machine, set()).add((record.cost.batch, timing.repeats))
    sentences = []
    for machine, settings in told.items():
        for batch, group in groupby(sorted(settings), key=lambda setting: setting[0]):
            repeats = numbers.listed([str(count) for _, count in group])
            sentences.append(f"{machine}: batches of {batch}, median of {repeats} timings.")
    if any(record.cost and record.cost.batch is None for record in results.records):
        sentences.append(
            "Codecs: timed once, coding the whole film at the quality that was found and decoding "
            "it, conversion from and to RGB included."
        )
    return sentences


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
        f"{one_line(record.model, 60)} on {one_line(record.watched, 60)}, seed {record.seed}: "
        f"{one_line(record.reason or 'no reason was recorded', 1000)}"
        for record in results.records
        if record.status == "failed"
    ]


def _environments_table(results: Results) -> Markdown:
    letters = machines(results)
    headings = [
        "machine", "device", "threads", "precision", "python", "torch", "CUDA", "PyAV", "FFmpeg",
        "film-zoo", "commit", "records",
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
