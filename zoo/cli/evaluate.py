"""`zoo evaluate`: the scores of a run on every frame of a film, without a comparison."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from zoo.cli import options as opt

if TYPE_CHECKING:
    import torch

    from zoo.api.metric import Metric
    from zoo.base.records import Record, Summary
    from zoo.base.workspace import Workspace
    from zoo.cli.console import Console, Table
    from zoo.evaluation.metrics import MetricSet
    from zoo.films.ingested_film import Film
    from zoo.reconstruct.find_run import FoundRun
    from zoo.training.runs import Run


def evaluate(
    word: Annotated[
        str,
        typer.Argument(metavar="RUN|MODEL", help="A run, as named by `zoo runs`, or a model."),
    ],
    film: Annotated[
        str | None,
        typer.Option(
            "--film", help="The film to evaluate on; default: the film it was trained on."
        ),
    ] = None,
    trained_on: opt.TrainedOnOption = None,
    metrics: Annotated[
        str, typer.Option("--metrics", help="Metrics to measure: default, all, or names: a,b.")
    ] = "default",
    holdout: opt.HoldoutOption = 0.1,
    threads: opt.ThreadsOption = None,
    device: opt.DeviceOption = "auto",
    as_json: opt.JsonOption = False,
) -> None:
    """Score a finished run on every frame of a film, after quantisation, as in a comparison.

    If a model has several runs on a film, uses the one trained on the most frames, then the newest.
    Scores are kept in the run's folder and shared with `zoo compare`: neither command measures
    again what either has scored before.
    """
    from zoo.base.devices import choose_device, cores
    from zoo.base.errors import ZooError
    from zoo.base.json_output import print_json
    from zoo.base.workspace import Workspace
    from zoo.cli.console import Console
    from zoo.evaluation.metrics import MetricSet

    chosen = choose_device(device)
    workspace = Workspace.here()
    errors = Console(stderr=True)
    request = _find(workspace, word, film, trained_on)
    run = request.run
    assert run.description is not None, "a finished run has a description"
    usual = min(run.description.environment.threads, cores())
    opt.set_threads(usual if threads is None else threads)
    metric_set = MetricSet.load(chosen, metrics)
    if not metric_set.metrics:
        reasons = "; ".join(f"{name}: {why}" for name, why in metric_set.unavailable.items())
        raise ZooError(f"no metric can be measured: {reasons}")
    errors.print_line(f"run: {run.name}")
    record, found, gaps = _evaluated(errors, workspace, request, metric_set, holdout, chosen)
    names = {metric.name for metric in metric_set.requested}
    scores = {name: parts for name, parts in record.scores.items() if name in names}
    unavailable = {n: why for n, why in metric_set.unavailable.items() if n not in scores}
    if as_json:
        shown = record.model_copy(update={"scores": scores}).model_dump(mode="json")
        fields = ("trained_on", "evaluated_on", "scores", "latent", "training", "environment")
        print_json(
            run=run.name,
            found=found,
            **{name: shown[name] for name in fields},
            unavailable=unavailable,
        )
        return
    console = Console()
    console.print(_table(metric_set.requested, scores))
    for line in _lines(record, unavailable, found, gaps):
        console.print_line(line)


def _find(workspace: Workspace, word: str, film: str | None, trained_on: str | None) -> FoundRun:
    """Find the run that a word names, by model or run name, and the film to evaluate it on."""
    from zoo.base.errors import BadInput
    from zoo.plugins.registry import registry
    from zoo.reconstruct.find_run import find_run
    from zoo.reconstruct.hub import install
    from zoo.training.runs import find_runs

    known = registry()
    if word in known.codecs:
        raise BadInput(
            f"{word} is a film codec: `zoo compare --films all --models {word}` codes and scores "
            "films"
        )
    if word not in known.models and word not in known.references:
        run = _run_named(workspace, word)
        if run.bundled and run.description:
            # Scores are kept in the run's folder, and a bundled run must not change.
            copied = install(run.folder.path, run.description, workspace)
            run = _run_named(workspace, copied.path.name)
        return find_run(workspace, None, film or run.film, trained_on=trained_on, run=run.name)
    if trained_on is not None:
        return find_run(workspace, word, film or trained_on, trained_on=trained_on)
    try:
        return find_run(workspace, word, film)
    except BadInput:
        runs = [r for r in find_runs(workspace) if (r.model, r.status) == (word, "finished")]
        films = list(dict.fromkeys(run.film for run in runs))
        # If the model was trained on only one other film, it is clear which run is meant.
        if film is None or len(films) != 1 or film == films[0]:
            raise
        return find_run(workspace, word, film, trained_on=films[0])


def _run_named(workspace: Workspace, word: str) -> Run:
    from zoo.base.errors import BadInput
    from zoo.plugins.registry import registry
    from zoo.training.runs import choose_run, find_runs

    try:
        run = choose_run(find_runs(workspace), word, workspace)
    except BadInput as error:
        known = registry()
        names = ", ".join([*known.models, *known.references])
        raise BadInput(f"{error}. Models are: {names}") from None
    if run.status != "finished":
        raise BadInput(f"{run.name} is {run.status}; only a finished run is evaluated")
    if run.model in registry().codecs:
        raise BadInput(
            f"{run.name} is a run of a film codec: `zoo compare --films all --models {run.model}` "
            "codes and scores"
        )
    return run


def _evaluated(
    console: Console,
    workspace: Workspace,
    request: FoundRun,
    metric_set: MetricSet,
    holdout: float,
    device: torch.device,
) -> tuple[Record, bool, int]:
    """The record of a run on a film, whether it existed already, and how many frames it omits.

    The omitted frames are in the gaps between seen and held-out frames.
    """
    from dataclasses import replace

    from zoo.base.errors import BadInput
    from zoo.cli.progress import ingest_with_progress
    from zoo.evaluation.film_scores import LATENTS
    from zoo.reconstruct.model_loader import run_size, training_film

    run = request.run
    assert run.description is not None, "a finished run has a description"
    config = run.description.config
    size = run_size(run)
    other = request.other_film is not None
    own_entry = request.trained_on if other else request.entry

    def own_film() -> Film:
        if own_entry is None:
            raise BadInput(
                f"{run.name} must be evaluated on {config.film} first, but no film here is called "
                "that: --trained-on also takes a path"
            )
        now = ingest_with_progress(console, own_entry, size, workspace, holdout)
        film = training_film(own_entry, config, workspace, now)
        if film is None:
            raise BadInput(
                f"{own_entry.name} is not what {run.name} was trained on: its files, range, crop, "
                "fit or rate have changed, or another share is held out; set --holdout to the "
                "share held out in training"
            )
        # The film may have been renamed since.
        return replace(film, name=config.film)

    if not other:
        film = own_film()
        scored = _on_film(console, run, film, metric_set, workspace, device)
        return *scored, film.split.in_gaps
    film = ingest_with_progress(console, request.entry, size, workspace, holdout)
    if film.name == config.film:
        raise BadInput(
            f"{film.name} does not have the frames it had when {run.name} was trained; give it "
            "another name to evaluate on it"
        )
    # The quantisation scale comes from the film that the model was trained on.
    evaluated = (run.folder.evaluation(config.film) / LATENTS).exists()
    if not evaluated and not run.folder.scale.exists():
        _on_film(console, run, own_film(), metric_set, workspace, device)
    return *_on_film(console, run, film, metric_set, workspace, device), 0


def _on_film(
    console: Console,
    run: Run,
    film: Film,
    metric_set: MetricSet,
    workspace: Workspace,
    device: torch.device,
) -> tuple[Record, bool]:
    from zoo.base.numbers import counted
    from zoo.compare.comparison import reusable_record
    from zoo.evaluation.evaluate import evaluate as evaluate_run

    assert run.description is not None, "a finished run has a description"
    record = reusable_record(run.folder, film, metric_set)
    if record is not None:
        return record, True
    with console.status(f"evaluating on {counted(len(film), 'frame')}"):
        config = run.description.config
        return evaluate_run(workspace, run.folder, config, film, metric_set, device), False


def _table(metrics: list[type[Metric]], scores: dict[str, Any]) -> Table:
    """Lay out a row for each metric with a score, and a column for each part of the film."""
    from rich.box import SIMPLE_HEAD

    from zoo.cli.console import Table, escaped
    from zoo.report.ranking import PART_NAMES

    parts = [part for part in PART_NAMES if any(part in each for each in scores.values())]
    table = Table("metric", box=SIMPLE_HEAD, padding=(0, 2, 0, 0), pad_edge=False)
    for part in parts:
        table.add_column(PART_NAMES[part], justify="right")
    arrows = {"higher": "↑", "lower": "↓", "one": "→1"}
    for metric in metrics:
        if metric.name in scores:
            unit = f", {metric.unit}" if metric.unit else ""
            found = [scores[metric.name].get(part) for part in parts]
            table.add_row(
                escaped(f"{metric.label}{unit} {arrows[metric.better]}"),
                *(_cell(summary, metric.digits) for summary in found),
            )
    return table


def _cell(summary: Summary | None, digits: int) -> str:
    """Format a mean, with its interval if there are enough shots for one."""
    from zoo.base.numbers import NOT_AVAILABLE, fixed

    if summary is None:
        return NOT_AVAILABLE
    text = fixed(summary.mean, digits)
    if interval := summary.sound_interval:
        low, high = (fixed(each, digits) for each in interval)
        text += f" ({low} to {high})"
    return text


def _lines(record: Record, unavailable: dict[str, str], found: bool, gaps: int) -> list[str]:
    from zoo.base.numbers import counted, scaled, significant
    from zoo.report.ranking import PART_NAMES

    # The maximum over metrics, since some have no value for some frames.
    frames = {
        part: max(parts[part].frames for parts in record.scores.values() if part in parts)
        for part in dict.fromkeys(part for parts in record.scores.values() for part in parts)
    }
    amounts = ", ".join(
        f"{counted(count, 'frame')} ({PART_NAMES[part]})" for part, count in frames.items()
    )
    amounts += f"; {counted(gaps, 'frame')} in gaps between are in neither" if gaps else ""
    summaries = [summary for parts in record.scores.values() for summary in parts.values()]
    bracketed = any(summary.sound_interval for summary in summaries)
    lines = [f"means over {amounts}" + ("; in brackets their 95% intervals" if bracketed else "")]
    if latent := record.latent:
        lines.append(
            f"latent: {latent.numbers:g} numbers per frame, which take "
            f"{significant(latent.coded_bytes)} bytes per frame once quantised and coded; "
            f"decoder {scaled(latent.decoder_bytes, 'B')}"
        )
    lines += [f"{name} is not measured: {reason}" for name, reason in unavailable.items()]
    if found:
        lines.append("found: these scores were measured before")
    return [*lines, f"record: {record.run}/evaluation/{record.evaluated_on}/record.json"]
