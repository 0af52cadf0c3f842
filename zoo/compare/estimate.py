"""Estimate what a comparison would take, from short trials of the models of its missing cells.

Trials share `TRIAL_SECONDS` of CPU time, with at least `FEWEST_SECONDS` for every model. On a busy
machine, after `CLOCK_FACTOR` times as many seconds, a model is tried at one setting only. What no
trial got to is guessed, and the estimate says so.
"""

from __future__ import annotations

import heapq
import json
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace

from zoo.api.codec import FilmCodec
from zoo.api.samples_and_latents import Sampling
from zoo.base.interrupts import Interrupted
from zoo.base.presets_and_budgets import Budget
from zoo.compare.cells import Cell, config_of
from zoo.compare.comparison import Comparison, run_task
from zoo.compare.executors import Executor
from zoo.compare.timing_trial import CLOCK_FACTOR, Figure, LinearCost, TrialResult, TrialTask
from zoo.evaluation.evaluate import BIT_DEPTHS, MOST_FRAMES
from zoo.evaluation.profiling import BLOCK_SECONDS, MOST_REPEATS, WARM_UP

TRIAL_SECONDS = 35.0
"""Seconds of CPU time for all trials together, not counting the start of their process."""
FEWEST_SECONDS = 2.5
"""Seconds for the first trial of every model, however many models there are."""
TIMINGS = 7
"""Speeds measured for every model in the cost pass, in addition to that of training."""

OnTrial = Callable[[str, int, int, float], None]
"""Called with each model before its trial, its number from 1 up, how many there are, and the
seconds of CPU time that all trials may take together."""


@dataclass(frozen=True)
class ModelEstimate:
    """What the missing cells of one model at one setting would take."""

    name: str
    cells: int
    training: float
    """Seconds, one cell after another."""
    evaluating: float
    costs: float
    """Seconds in the cost pass."""
    disk: float
    """Bytes."""
    memory: int | None
    """Peak bytes of one cell; None if the system does not report it."""
    problem: str | None = None
    """Why there is no trial; its cells would fail, or nothing is known of them."""
    guessed: frozenset[Figure] = frozenset()
    """What was not measured: the trial was cut short, or is of another model."""


@dataclass(frozen=True)
class Estimate:
    """What a comparison would take on an executor."""

    cells: int
    found: int
    models: Sequence[ModelEstimate]
    parallelism: int
    """Cells that run in parallel; 0 if there is room for none."""
    seconds: float
    """Wall-clock time of the missing cells."""
    tried: int
    """Models that had a trial, cut short or not."""

    @property
    def unknown(self) -> int:
        """Cells of which nothing is known, not included in `seconds`."""
        return sum(each.cells for each in self.models if each.problem)


def estimate(comparison: Comparison, executor: Executor, on_trial: OnTrial) -> Estimate:
    """Run trials of models with missing cells, and estimate. Nothing is trained.

    Not included: starting processes, and writing the report.
    """
    missing: dict[str, list[Cell]] = {}
    found = 0
    for cell in comparison.cells:
        if comparison.find_record(cell, download=False):
            found += 1
        else:
            missing.setdefault(_kind(cell), []).append(cell)
    varied = _varied_settings(missing)
    trials, problems = _run_trials(comparison, executor, missing, varied, on_trial)
    models, durations = [], list[tuple[bool, float]]()
    for kind, cells in missing.items():
        name = _name(cells[0], varied)
        problem = problems.get(kind)
        trial = None if problem else trials.get(kind) or _similar_trial(cells[0], missing, trials)
        if trial is None:
            problem = problem or "its trial took too long to say anything"
            models.append(ModelEstimate(name, len(cells), 0, 0, 0, 0, None, problem=problem))
            continue
        trial = _with_guesses(trial, trials)
        trained = {cell for cell in cells if comparison.is_trained(cell)}
        models.append(_model_estimate(name, cells, trial, trained))
        durations += [(cell.gpu, _seconds(cell, trial, trained)) for cell in cells]
    return Estimate(
        cells=len(comparison.cells),
        found=found,
        models=models,
        parallelism=min(executor.parallelism(), len(durations)),
        seconds=_wall_clock(durations, executor) + sum(each.costs for each in models),
        tried=len(trials),
    )


def _run_trials(
    comparison: Comparison,
    executor: Executor,
    missing: Mapping[str, Sequence[Cell]],
    varied: Mapping[str, Sequence[str]],
    on_trial: OnTrial,
) -> tuple[dict[str, TrialResult], dict[str, str]]:
    """Trials by kind, and reasons why there is none; kinds without time left are in neither."""
    trials: dict[str, TrialResult] = {}
    problems: dict[str, str] = {}
    left = TRIAL_SECONDS
    order = _in_order(missing)
    models = len({cells[0].architecture for cells in missing.values()})
    together = max(TRIAL_SECONDS, models * FEWEST_SECONDS)
    latest = time.monotonic() + CLOCK_FACTOR * together
    seen = set()
    for number, kind in enumerate(order, start=1):
        cells = missing[kind]
        architecture = cells[0].architecture
        if architecture in seen and (left < FEWEST_SECONDS or time.monotonic() > latest):
            continue  # assumed to be like the others of that model
        seen.add(architecture)
        seconds = max(FEWEST_SECONDS, left / (len(order) - number + 1))
        first = next((cell for cell in cells if cell.own), cells[0])
        on_trial(_name(first, varied), number, len(order), together)
        task = TrialTask(comparison.task(first, measure_peak=False), seconds)
        end = run_task(executor, task, lambda _: None)
        if end.interrupted:
            raise Interrupted("stopped; nothing was changed")
        if end.lost is not None:
            problems[kind] = end.lost
            left -= seconds
        elif end.result is None:
            left -= seconds
        else:
            trials[kind] = end.result
            left -= trials[kind].took
    return trials, problems


def _in_order(missing: Mapping[str, Sequence[Cell]]) -> list[str]:
    """Order trials: references first (they are short and time the metrics), then models in turn."""
    seen: dict[str, int] = {}

    def rank(kind: str) -> tuple[int, bool]:
        architecture = missing[kind][0].architecture
        turn = seen[architecture.name] = seen.get(architecture.name, -1) + 1
        return turn, architecture.role != "reference"

    return sorted(missing, key=rank)


def _similar_trial(
    cell: Cell, missing: Mapping[str, Sequence[Cell]], trials: Mapping[str, TrialResult]
) -> TrialResult | None:
    """A trial of the same model at other settings, or else the slowest of a similar model."""
    alike = {
        kind: missing[kind][0].architecture
        for kind in trials
        if issubclass(missing[kind][0].architecture, FilmCodec)
        == issubclass(cell.architecture, FilmCodec)
        and missing[kind][0].architecture.role == cell.architecture.role
    }
    same = [trials[kind] for kind, each in alike.items() if each is cell.architecture]
    candidates = same or [trials[kind] for kind in alike]
    if not candidates:
        return None
    slowest = max(candidates, key=lambda trial: (trial.step, trial.start.at(MOST_FRAMES)))
    return replace(slowest, guessed=frozenset({"training", "evaluating", "disk"}), memory=None)


def _with_guesses(trial: TrialResult, trials: Mapping[str, TrialResult]) -> TrialResult:
    """A trial with guesses for evaluations that it did not get to.

    Metrics take as long as in the trials of other models; reconstruction is the model's own.
    """
    if trial.own and (trial.other or trial.reconstruction == 0):
        return trial
    owns = [each.own for each in trials.values() if each.own and not each.reconstruction]
    others = [each.other for each in trials.values() if each.other and not each.reconstruction]
    base = min(owns, key=lambda line: line.at(MOST_FRAMES), default=LinearCost(0.0, 0.0))
    foreign = min(others, key=lambda line: line.at(MOST_FRAMES), default=base)
    frame_seconds = trial.reconstruction
    return replace(
        trial,
        own=trial.own
        or LinearCost(
            base.fixed + len(BIT_DEPTHS) * MOST_FRAMES * frame_seconds,
            base.per_frame + frame_seconds,
        ),
        other=trial.other or LinearCost(foreign.fixed, foreign.per_frame + frame_seconds),
        guessed=trial.guessed | {"evaluating"},
    )


def _kind(cell: Cell) -> str:
    """The key of cells that take equally long: a model and its settings without the seed."""
    chosen = cell.settings
    options = dict(chosen.options)
    return json.dumps([cell.architecture.name, chosen.latent, options], default=str)


def _varied_settings(kinds: Mapping[str, Sequence[Cell]]) -> dict[str, list[str]]:
    """The settings in which a model's kinds differ, by model."""
    settings: dict[str, list[dict[str, object]]] = {}
    for first, *_ in kinds.values():
        settings.setdefault(first.architecture.name, []).append(_settings(first))
    return {
        model: [
            option
            for option in dict.fromkeys(name for each in several for name in each)
            if len({each.get(option) for each in several}) > 1
        ]
        for model, several in settings.items()
    }


def _settings(cell: Cell) -> dict[str, object]:
    return {"latent": cell.settings.latent, **cell.settings.options}


def _name(cell: Cell, varied: Mapping[str, Sequence[str]]) -> str:
    """A name that distinguishes a kind from others of the same model."""
    settings = _settings(cell)
    options = varied[cell.architecture.name]
    return ", ".join(
        [
            cell.architecture.name,
            *(f"{option} {settings[option]}" for option in options if option in settings),
        ]
    )


def _model_estimate(
    name: str, cells: Sequence[Cell], trial: TrialResult, trained: Collection[Cell]
) -> ModelEstimate:
    own = [cell for cell in cells if cell.own]
    training = sum(_training(cell, trial) for cell in own if cell not in trained)
    return ModelEstimate(
        name=name,
        cells=len(cells),
        training=training,
        evaluating=sum(_seconds(cell, trial, trained) for cell in cells) - training,
        costs=_costs(own[0], trial) if own else 0.0,
        disk=sum(trial.disk.at(len(cell.trained_on)) for cell in own),
        memory=trial.memory,
        guessed=trial.guessed,
    )


def _training(cell: Cell, trial: TrialResult) -> float:
    """Seconds of training, fitting or coding."""
    start = trial.start.at(len(cell.trained_on))
    if not trial.step:
        return start
    config = config_of(cell)
    budget = Budget.parse(config.budget)
    assert not issubclass(cell.architecture, FilmCodec)
    in_step = Sampling.of(cell.architecture).frames_in(config.batch)
    steps = budget.steps(len(cell.trained_on.split.seen), in_step)
    return start + (budget.amount if steps is None else steps * in_step * trial.step)


def _seconds(cell: Cell, trial: TrialResult, trained: Collection[Cell]) -> float:
    nothing = LinearCost(0.0, 0.0)
    if cell.own:
        training = 0.0 if cell in trained else _training(cell, trial)
        return training + (trial.own or nothing).at(len(cell.trained_on))
    return (trial.other or trial.own or nothing).at(len(cell.evaluated_on))


def _costs(cell: Cell, trial: TrialResult) -> float:
    """Seconds in the cost pass, by the number and length of its repeats."""
    if issubclass(cell.architecture, FilmCodec):
        return 0.0
    calls = WARM_UP + MOST_REPEATS
    return calls * (TIMINGS * BLOCK_SECONDS + max(BLOCK_SECONDS, cell.settings.batch * trial.step))


def _wall_clock(durations: Sequence[tuple[bool, float]], executor: Executor) -> float:
    """Wall-clock seconds of cells, each given as (on a GPU, seconds): the longest of both kinds."""
    kinds: dict[bool | None, list[float]] = {None: [seconds for _, seconds in durations]}
    for gpu in (False, True):
        kinds[gpu] = [seconds for on_gpu, seconds in durations if on_gpu == gpu]
    return max(_makespan(each, max(1, executor.parallelism(gpu))) for gpu, each in kinds.items())


def _makespan(seconds: Sequence[float], parallelism: int) -> float:
    """Return how long cells take if they start in order and `parallelism` of them run at a time."""
    ends = [0.0] * parallelism
    for each in seconds:
        heapq.heappush(ends, heapq.heappop(ends) + each)
    return max(ends)
