"""Report sections on the GPU measurements of `make gpu`, one per device."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from zoo.base import numbers
from zoo.base.errors import BadInput
from zoo.base.gpu_records import (
    FilmResult,
    GpuSummary,
    Item,
    MachineResult,
    MediaResult,
    R,
    SmokeResult,
    Stage,
    ThroughputResult,
    WorkloadResult,
    summaries,
)
from zoo.base.markdown import Markdown, bullets, escape, folded, image
from zoo.base.safe_text import one_line
from zoo.base.untrusted_files import read_json
from zoo.report.results_folder import path_in_folder
from zoo.report.table import Cell, Row, Table, to_markdown

NO_LICENCE = "No licence is stated for this film: do not publish its pictures."
MOST_ERRORS = 12
"""Maximum failures of a stage that are listed unfolded."""


@dataclass(frozen=True)
class GpuSection:
    """The measurements on one device."""

    heading: str
    blocks: tuple[Markdown, ...]


def gpu_sections(folder: Path) -> list[GpuSection]:
    """Build a section for each device in `gpu/` below a results folder; none without `gpu/`.

    A summary that cannot be read gives a section that states the error.
    """
    sections = []
    for path in summaries(folder):
        try:
            summary = read_json(path, GpuSummary)
        except BadInput as error:
            why = str(error).replace(str(path), path.name)
            problem = (escape(f"The measurements could not be read: {why}", 500),)
            sections.append(GpuSection(one_line(path.parent.name, 80), problem))
            continue
        blocks = [b for b in _blocks(summary, folder, path.parent) if b]
        sections.append(GpuSection(_device(summary, path.parent.name), tuple(blocks)))
    return sections


def _stages(summary: GpuSummary) -> list[Stage]:  # type: ignore[type-arg]
    every = (
        *(summary.machine, summary.smoke, summary.throughput),
        *(summary.workload, summary.media, summary.films),
    )
    return [stage for stage in every if stage is not None]


def _device(summary: GpuSummary, otherwise: str) -> str:
    names = (stage.environment.device_name for stage in _stages(summary) if stage.environment)
    return one_line(next(names, otherwise), 80)


def _blocks(summary: GpuSummary, folder: Path, device: Path) -> Iterable[Markdown | None]:
    if summary.tiny:
        yield escape("A trial run of the script at a tiny size: its numbers mean nothing.")
    yield bullets(_facts(summary))
    if summary.smoke:
        yield bullets(_smoke(summary.smoke))
    if summary.throughput:
        yield from _with(summary.throughput, _throughput(_done(summary.throughput)))
    if summary.workload:
        sentences = [_workload(result) for result in _done(summary.workload)]
        yield bullets([*sentences, *_problems(summary.workload)])
    if summary.media:
        yield from _with(summary.media, _media(_done(summary.media)))
    if summary.films:
        yield from _with(summary.films, _films(_done(summary.films)))
        for result in _done(summary.films):
            if picture := _strip(result, folder, device):
                yield picture
                if not result.licence:
                    yield escape(NO_LICENCE)


def _with(stage: Stage, content: Table) -> list[Markdown]:  # type: ignore[type-arg]
    blocks = [to_markdown(content)] if content.rows else []
    blocks += [escape(note) for note in content.notes]
    problems = _problems(stage)
    if len(problems) > MOST_ERRORS:
        count = f"{len(problems)} measurements of {stage.stage} that are missing"
        return [*blocks, folded(count, bullets(problems))]
    return [*blocks, *([bullets(problems)] if problems else [])]


def _done(stage: Stage[R]) -> list[R]:
    return [item.result for item in stage.items if item.result is not None]


def _problems(stage: Stage) -> list[str]:  # type: ignore[type-arg]
    """Sentences on why measurements of a stage are missing."""
    problems = [
        f"{one_line(item.name, 80)}: {_why(item)}."
        for item in stage.items
        if item.result is None and item.state != "done" and not item.not_reached
    ]
    if stage.left_out:
        problems.append(f"{one_line(stage.left_out, 500)}.")
    if stage.state == "failed":
        why = one_line(stage.error[-1], 300) if stage.error else "no reason was recorded"
        problems.insert(0, f"{stage.stage} failed: {why}.")
    return problems


def _why(item: Item) -> str:  # type: ignore[type-arg]
    state = "the run ended there" if item.state == "running" else item.state
    return f"{state}, {one_line(item.error[-1], 300)}" if item.error else state


def _facts(summary: GpuSummary) -> list[str]:
    """Sentences on the device, the software and the time of the measurements."""
    taken = numbers.duration(summary.seconds)
    films = numbers.listed([one_line(name, 60) for name in summary.sources])
    sentences = [
        f"Measured on {films or 'the embedded clips'}, from {one_line(summary.began, 40)}, in "
        f"{taken} of the {numbers.significant(summary.minutes)} minutes allowed."
    ]
    where = next((stage.environment for stage in _stages(summary) if stage.environment), None)
    if where:
        cuda = f", CUDA {where.cuda}" if where.cuda else ""
        sentences.append(
            f"Python {where.python}, torch {where.torch}{cuda}, film-zoo {where.film_zoo} "
            f"({one_line(where.commit or 'commit not known', 60)})."
        )
    if summary.machine:
        sentences += [_machine(result) for result in _done(summary.machine)]
        sentences += _problems(summary.machine)
    return sentences


def _machine(found: MachineResult) -> str:
    rates = [
        f"{numbers.scaled(rate, 'FLOP/s')} in {name}"
        for name, rate in found.matmul_rates.items()
        if rate is not None
    ]
    parts = [
        f"capability {found.capability}" if found.capability else "",
        f"{numbers.scaled(found.memory_bytes, 'B')} of memory" if found.memory_bytes else "",
        f"driver {one_line(found.driver, 40)}" if found.driver else "",
        f"power limit {found.power_limit_watts:,.0f} W" if found.power_limit_watts else "",
        f"large matrix products at {numbers.listed(rates)}" if rates else "",
        f"copies at {numbers.scaled(found.copy_rate, 'B/s')}" if found.copy_rate else "",
    ]
    return f"The device: {'; '.join(part for part in parts if part)}."


ENDED = ("done", "failed")
"""States of an item that ran to its end."""


def _smoke(stage: Stage[SmokeResult]) -> list[str]:
    """Sentences on how many models passed every check, and which checks the others failed."""
    results = _done(stage)
    unfinished = [item for item in stage.items if item.result and item.state not in ENDED]
    bad = {
        result.model: [
            f"{one_line(check, 40)}: {one_line(outcome, 200)}"
            for check, outcome in result.checks.items()
            if outcome != "ok"
        ]
        for result in results
    }
    tried = [item.result for item in stage.items if item.result and item.state in ENDED]
    passed = sum(not bad[result.model] for result in tried)
    sentences = [f"{passed} of {numbers.counted(len(results), 'model')} passed every check."]
    sentences += [
        f"{one_line(model, 60)}: {'; '.join(problems)}."
        for model, problems in bad.items()
        if problems
    ]
    sentences += [f"{one_line(item.name, 60)}: {_why(item)}." for item in unfinished]
    for result in results:
        resume = result.resume
        if resume and not resume.equal:
            how = "" if resume.repeatable else ", and so do two uninterrupted trainings"
            sentences.append(
                f"{one_line(result.model, 60)}: stopped and resumed, a training ends with "
                f"different weights{how}; the largest difference is "
                f"{numbers.significant(resume.difference, 1)}."
            )
    return [*sentences, *_problems(stage)]


def _throughput(results: Sequence[ThroughputResult]) -> Table:
    headings = (
        *(("training step",), ("batch",), ("compiled",), ("precision",), ("frames/s",)),
        *(("of matmul", "peak"), ("memory",), ("first step",), ("waits for", "the device")),
    )
    rows = []
    for one in results:
        half = None
        if one.upper_quartile is not None and one.lower_quartile is not None:
            half = (one.upper_quartile - one.lower_quartile) / 2
        cells = (
            str(one.batch),
            "yes" if one.compiled else "no",
            one_line(one.precision, 20),
            _rate(one.frames_per_second) + (f"\n± {_rate(half)}" if half is not None else ""),
            numbers.percent(one.share_of_peak),
            _or_dash(one.peak_memory_bytes, "B"),
            numbers.duration(one.first_step_seconds),
            one_line(one.waits, 60) if one.waits else "no",
        )
        rows.append(_row(one.model, cells))
    notes = ("± is half the interquartile range of blocks of steps.",) if rows else ()
    return Table(headings, tuple(rows), notes)


def _workload(found: WorkloadResult) -> str:
    compiled = ", compiled" if found.compiled else ""
    took, share = found.feature_seconds, found.share_of_peak
    met = took is not None and took <= found.goal_seconds
    share_met = share is not None and share >= found.goal_share_of_peak
    return (
        f"The 2016 workload: broad2016 with {numbers.scaled(found.parameters)} parameters, batches "
        f"of {found.batch} in {one_line(found.precision, 20)}{compiled}, trained at "
        f"{_rate(found.frames_per_second)} frames/s, {numbers.percent(share)} of the "
        f"peak of matrix products (goal {numbers.percent(found.goal_share_of_peak)}: "
        f"{'met' if share_met else 'missed'}). {found.frames:,} frames for {found.epochs} epochs "
        f"would take {numbers.duration(took)} (goal "
        f"{numbers.duration(found.goal_seconds)}: {'met' if met else 'missed'}), without ingest "
        "and evaluation. The loop waited for frames "
        f"{numbers.percent(found.data_stall)} of the time."
    )


def _media(results: Sequence[MediaResult]) -> Table:
    headings = (
        ("decoding and scoring",),
        ("of",),
        ("source",),
        ("size",),
        ("frames",),
        ("frames/s",),
    )
    rows = [
        _row(
            one.task,
            (
                one_line(one.subject, 60),
                one_line(one.source or numbers.NOT_APPLICABLE, 60),
                one_line(one.size, 20),
                f"{one.frames:,}",
                _rate(one.frames_per_second),
            ),
        )
        for one in results
    ]
    return Table(headings, tuple(rows))


def _films(results: Sequence[FilmResult]) -> Table:
    parts = ("seen", "held_out")
    metrics = dict.fromkeys(
        name for one in results for p in parts for name in one.scores.get(p, {})
    )
    headings = (
        *(("model",), ("film",), ("size,", "latent"), ("bytes per", "frame, coded")),
        *(("steps",), ("training",), ("frames/s",)),
        *((one_line(name, 40), "seen / held out") for name in metrics),
    )
    rows = []
    for one in results:
        cells = (
            one_line(one.film, 60),
            one_line(one.size, 20) + ("" if one.latent is None else f",\n{one.latent}"),
            numbers.significant(one.coded_bytes),
            numbers.NOT_APPLICABLE if one.steps is None else f"{one.steps:,}",
            numbers.NOT_APPLICABLE
            if one.train_seconds is None
            else numbers.duration(one.train_seconds),
            numbers.NOT_APPLICABLE if one.steps is None else _rate(one.frames_per_second),
            *(
                " / ".join(numbers.significant(one.scores.get(p, {}).get(name)) for p in parts)
                for name in metrics
            ),
        )
        rows.append(_row(one.model, cells))
    return Table(headings, tuple(rows))


def _strip(result: FilmResult, folder: Path, device: Path) -> Markdown | None:
    """The picture of a film's frame strip; None if the file is missing."""
    if not result.strip:
        return None
    try:
        path = path_in_folder(device, result.strip)
    except BadInput:
        return None
    if not path.is_file():
        return None
    name = quote(path.relative_to(folder.resolve()).as_posix())
    return image(name, f"Frames of {result.film} above their reconstructions by {result.model}.")


def _row(name: str, cells: Sequence[str]) -> Row:
    return Row(one_line(name, 60), "model", tuple(Cell(text) for text in cells))


def _rate(value: float | None) -> str:
    return numbers.scaled(value) if value and value >= 1e5 else numbers.significant(value)


def _or_dash(value: float | None, unit: str) -> str:
    return numbers.NOT_APPLICABLE if value is None else numbers.scaled(value, unit)
