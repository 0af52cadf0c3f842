"""`summary.json` and `summary.md`, from the files of the stages."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from benchmarks.gpu.stages import STAGES, Setup, read_stage, stage_file
from zoo.base.atomic_files import atomic_write, write_json
from zoo.base.gpu_records import (
    SUMMARY,
    GpuSummary,
    Item,
    MachineResult,
    SmokeResult,
    Stage,
    WorkloadResult,
)

CHECKS = ("step", "no waiting", "train", "resume", "evaluate", "reconstruct")


def write_summary(setup: Setup, began: str, minutes: float, seconds: float) -> GpuSummary:
    """Write a summary of the stages' results so far."""
    summary = GpuSummary(
        tiny=setup.tiny,
        began=began,
        minutes=minutes,
        seconds=seconds,
        sources=[path.name for path in setup.films],
    )
    for name in STAGES:
        if stage_file(setup.out, name).exists():
            setattr(summary, name, read_stage(setup.out, name))
    write_json(setup.out / SUMMARY, summary)
    with atomic_write(setup.out / "summary.md") as temporary:
        temporary.write_text(as_markdown(summary), encoding="utf-8")
    return summary


def as_markdown(summary: GpuSummary) -> str:
    """Format a summary as Markdown: the machine, then a table per stage."""
    parts = [_head(summary)]
    if summary.smoke:
        parts.append(_section("Smoke", summary.smoke, _smoke(summary.smoke)))
    if summary.throughput:
        rows = [
            [
                r.model,
                str(r.batch),
                "yes" if r.compiled else "",
                _number(r.frames_per_second),
                _percent(r.share_of_peak),
                _gigabytes(r.peak_memory_bytes),
                _number(r.first_step_seconds, 1),
                "yes" if r.waits else "",
            ]
            for r in _results(summary.throughput)
        ]
        head = ["model", "batch", "compiled", "frames/s", "of peak", "memory, GB", "first step, s"]
        parts.append(_section("Training step", summary.throughput, _table([*head, "waits"], rows)))
    if summary.workload:
        rows = [
            [
                str(r.batch),
                "yes" if r.compiled else "",
                _number(r.frames_per_second),
                _percent(r.share_of_peak),
                _percent(r.data_stall),
                _number(r.feature_seconds),
            ]
            for r in _results(summary.workload)
        ]
        head = ["batch", "compiled", "frames/s", "of peak", "data stall", "168,000 x 6 frames, s"]
        parts.append(
            _section(
                f"The 2016 workload{_parameters(summary.workload)}: goal 300 s, 40 % of peak",
                summary.workload,
                "\n\n".join([_table(head, rows), *_kernels(summary.workload)]),
            )
        )
    if summary.media:
        rows = [
            [r.task, r.subject, r.size, str(r.frames), _number(r.frames_per_second)]
            for r in _results(summary.media)
        ]
        head = ["task", "of", "size", "frames", "frames/s"]
        parts.append(_section("Film and metrics", summary.media, _table(head, rows)))
    if summary.films:
        parts.append(_section("Films", summary.films, _films(summary.films)))
    return "\n\n".join(parts) + "\n"


def _kernels(stage: Stage[WorkloadResult]) -> Iterator[str]:
    """Yield where the device's time went, as a list for each training that was profiled."""
    for found in _results(stage):
        if found.kernels:
            how = "compiled, " if found.compiled else ""
            lines = [f"- {_percent(share)} `{name}`" for name, share in found.kernels.items()]
            yield f"The device's time, {how}batches of {found.batch}:"
            yield "\n".join(lines)


def _head(summary: GpuSummary) -> str:
    lines = [f"# {_device(summary)}"]
    if summary.tiny:
        lines.append("A trial of the script at a tiny size: its numbers mean nothing.")
    machine: MachineResult | None = None
    if summary.machine and summary.machine.items:
        machine = summary.machine.items[0].result
    environment = summary.machine.environment if summary.machine else None
    if environment:
        lines.append(
            f"torch {environment.torch}, CUDA {environment.cuda or 'none'}, "
            f"Python {environment.python}, film-zoo {environment.film_zoo} "
            f"({environment.commit or 'no commit'}), precision {environment.precision}"
        )
    if machine:
        rates = ", ".join(
            f"{kind} {(rate or 0) / 1e12:.3g}" for kind, rate in machine.matmul_rates.items()
        )
        facts = [
            f"driver {machine.driver}" if machine.driver else "",
            f"power limit {_number(machine.power_limit_watts)} W"
            if machine.power_limit_watts
            else "",
            f"{_gigabytes(machine.memory_bytes)} GB" if machine.memory_bytes else "",
            f"large matrix products, TFLOP/s: {rates}",
            f"copies within memory, TB/s: {(machine.copy_rate or 0) / 1e12:.2g}",
        ]
        lines.append("; ".join(fact for fact in facts if fact))
    sources = ", ".join(summary.sources) or "the embedded clips"
    lines.append(
        f"{summary.began}, {summary.seconds:.0f} of {60 * summary.minutes:.0f} s, on {sources}"
    )
    return "\n\n".join(lines)


def _device(summary: GpuSummary) -> str:
    for name in STAGES:
        stage = getattr(summary, name)
        if stage and stage.environment:
            return stage.environment.device_name
    return "unknown device"


def _section(title: str, stage: Stage[Any], table: str) -> str:
    """A heading, how far the stage came, its table, and why results are missing."""
    took = "" if stage.seconds is None else f", {stage.seconds:.0f} s"
    lines = [f"## {title}", f"{stage.state}{took}"]
    if table:
        lines.append(table)
    missing = [
        _missing(item) for item in stage.items if item.state != "done" and not item.not_reached
    ]
    missing += [f"- {_cell(stage.left_out)}"] if stage.left_out else []
    missing += [f"- {stage.error[-1]}"] if stage.error else []
    if missing:
        lines.append("\n".join(missing))
    return "\n\n".join(lines)


def _missing(item: Item[Any]) -> str:
    return f"- {item.name}: {item.state}" + (f" ({_cell(item.error[-1])})" if item.error else "")


def _parameters(stage: Stage[WorkloadResult]) -> str:
    """The number of the model's parameters in brackets, once a training was measured."""
    counts = [result.parameters for result in _results(stage)]
    return f" ({counts[0] / 1e6:.1f} M parameters)" if counts else ""


def _smoke(stage: Stage[SmokeResult]) -> str:
    rows = []
    for result in _results(stage):
        marks = [{"ok": "yes", None: ""}.get(result.checks.get(check), "no") for check in CHECKS]
        if result.resume and result.resume.repeatable is False:
            marks[CHECKS.index("resume")] = "not repeatable"
        rows.append([result.model, *marks])
    return _table(["model", *CHECKS], rows)


def _films(stage: Stage[Any]) -> str:
    metrics = list(
        dict.fromkeys(m for r in _results(stage) for part in r.scores.values() for m in part)
    )
    rows = [
        [
            r.model,
            r.film,
            "" if r.steps is None else f"{r.steps:,}",
            _number(r.train_seconds),
            _number(r.coded_bytes),
            part.replace("_", " "),
            *(_number(scores.get(metric), 3) for metric in metrics),
        ]
        for r in _results(stage)
        for part, scores in r.scores.items()
    ]
    lines = [
        _table(["model", "film", "steps", "training, s", "bytes per frame", "part", *metrics], rows)
    ]
    for r in _results(stage):
        if r.strip:
            lines.append(f"![{r.model}: frames over reconstructions]({r.strip})")
        if r.video:
            lines.append(f"[{r.model}: {r.film} beside its reconstruction]({r.video})")
    return "\n\n".join(line for line in lines if line)


def _results(stage: Stage[Any]) -> list[Any]:
    return [item.result for item in stage.items if item.result is not None]


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    if not rows:
        return ""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(_cell(cell) for cell in line) + " |" for line in lines)


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


def _number(value: float | None, digits: int = 0) -> str:
    return "" if value is None else f"{value:,.{digits}f}"


def _percent(value: float | None) -> str:
    return "" if value is None else f"{100 * value:.1f} %"


def _gigabytes(value: int | None) -> str:
    return "" if value is None else f"{value / 1e9:.2f}"
