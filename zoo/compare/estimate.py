"""What a comparison would take: the missing cells, times what a short trial of each took.

Trials share `LIMIT` seconds, with no fewer than `LEAST` for every model. What none of them came to
is guessed, and the estimate says so.
"""

from __future__ import annotations

import heapq
import json
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace

from zoo.api.codec import FilmCodec
from zoo.api.sampling import Sampling
from zoo.compare.cells import Cell, config_of
from zoo.compare.comparison import Comparison
from zoo.compare.executors import Place, carried_out
from zoo.compare.trial import Figure, Line, Probe, ProbeWork
from zoo.evaluation.profiling import BLOCK, MOST_REPEATS, WARM_UP
from zoo.evaluation.rate_distortion import DEPTHS, MOST_FRAMES
from zoo.training.budget import Budget
from zoo.training.watching import Interrupted

LIMIT = 35.0
"""Seconds of processor time that trials share, after the process for them has started."""
LEAST = 2.5
"""Seconds that one trial of every model has, whatever the number of models."""
TIMINGS = 7
"""Speeds that are timed of every model where costs are measured, beside that of training."""

Watch = Callable[[str, int, int], None]
"""Told of each model before it is tried, with its number from 1 up and how many there are."""


@dataclass(frozen=True)
class Share:
    """What the missing cells of one model, at one setting, would take."""

    name: str
    cells: int
    training: float
    """Seconds, one cell after another."""
    evaluating: float
    costs: float
    """Seconds in the pass that measures costs."""
    disk: float
    """Bytes."""
    memory: int | None
    """Bytes of one cell at its worst; None where the system does not tell."""
    problem: str | None = None
    """Why it could not be tried; its cells would fail, or cannot be told."""
    guessed: frozenset[Figure] = frozenset()
    """What was not measured: the trial was cut short, or it is another model's."""


@dataclass(frozen=True)
class Estimate:
    """What a comparison would take on the place that it was asked for."""

    cells: int
    found: int
    shares: Sequence[Share]
    at_once: int
    """Cells that are run beside one another; 0 where there is room for none."""
    seconds: float
    """Of the clock, with what is found left out."""
    tried: int
    """Models of which there was a trial, cut short or not."""

    @property
    def unknown(self) -> int:
        """Cells of which nothing is known, which `seconds` leaves out."""
        return sum(share.cells for share in self.shares if share.problem)


def estimate(comparison: Comparison, place: Place, watch: Watch) -> Estimate:
    """Try models of which cells are missing. Films are opened already; nothing is trained.

    What is not counted: starting processes, and drawing the report.
    """
    missing: dict[str, list[Cell]] = {}
    found = 0
    for cell in comparison.cells:
        if comparison.found(cell, look_only=True):
            found += 1
        else:
            missing.setdefault(_kind(cell), []).append(cell)
    probes, problems = _tried(comparison, place, missing, watch)
    shares, lasting = [], list[tuple[bool, float]]()
    for kind, cells in missing.items():
        name = _name(cells[0], missing)
        problem = problems.get(kind)
        probe = None if problem else probes.get(kind) or _like(cells[0], missing, probes)
        if probe is None:
            problem = problem or "its trial took too long to say anything"
            shares.append(Share(name, len(cells), 0, 0, 0, 0, None, problem=problem))
            continue
        probe = _completed(probe, probes)
        trained = {cell for cell in cells if comparison.is_trained(cell)}
        shares.append(_share(name, cells, probe, trained))
        lasting += [(cell.gpu, _seconds(cell, probe, trained)) for cell in cells]
    at_once = min(place.at_once(), len(lasting))
    return Estimate(
        cells=len(comparison.cells),
        found=found,
        shares=shares,
        at_once=at_once,
        seconds=_clock(lasting, place) + sum(share.costs for share in shares),
        tried=len(probes),
    )


def _tried(
    comparison: Comparison, place: Place, missing: Mapping[str, Sequence[Cell]], watch: Watch
) -> tuple[dict[str, Probe], dict[str, str]]:
    """Trials by kind, and why there is none; what there was no time for is in neither."""
    probes: dict[str, Probe] = {}
    problems: dict[str, str] = {}
    left = LIMIT
    order = _in_order(missing)
    seen = set()
    for number, kind in enumerate(order, start=1):
        cells = missing[kind]
        architecture = cells[0].architecture
        if architecture in seen and left < LEAST:
            continue  # taken to be as the others of that model
        seen.add(architecture)
        seconds = max(LEAST, left / (len(order) - number + 1))
        first = next((cell for cell in cells if cell.own), cells[0])
        watch(_name(first, missing), number, len(order))
        work = ProbeWork(comparison.work(first, measure_peak=False), seconds)
        end = carried_out(place, work, lambda _: None)
        if end.interrupted:
            raise Interrupted("stopped; nothing was changed")
        if end.lost is not None:
            problems[kind] = end.lost
            left -= seconds
        elif end.result is None:
            left -= seconds
        else:
            probes[kind] = end.result
            left -= probes[kind].took
    return probes, problems


def _in_order(missing: Mapping[str, Sequence[Cell]]) -> list[str]:
    """References first, whose trials are short and tell what metrics take; of every model one."""
    seen: dict[str, int] = {}

    def rank(kind: str) -> tuple[int, bool]:
        architecture = missing[kind][0].architecture
        turn = seen[architecture.name] = seen.get(architecture.name, -1) + 1
        return turn, architecture.role != "reference"

    return sorted(missing, key=rank)


def _like(
    cell: Cell, missing: Mapping[str, Sequence[Cell]], probes: Mapping[str, Probe]
) -> Probe | None:
    """A trial of the same model at other settings, or else the slowest of another like it."""
    alike = {
        kind: missing[kind][0].architecture
        for kind in probes
        if issubclass(missing[kind][0].architecture, FilmCodec)
        == issubclass(cell.architecture, FilmCodec)
        and missing[kind][0].architecture.role == cell.architecture.role
    }
    same = [probes[kind] for kind, each in alike.items() if each is cell.architecture]
    candidates = same or [probes[kind] for kind in alike]
    if not candidates:
        return None
    slowest = max(candidates, key=lambda probe: (probe.step, probe.start.at(MOST_FRAMES)))
    return replace(slowest, guessed=frozenset({"training", "evaluating", "disk"}), memory=None)


def _completed(probe: Probe, probes: Mapping[str, Probe]) -> Probe:
    """A trial with a guess for evaluations that it did not come to.

    Metrics take as long whatever the model, as they took of others; drawing is the model's own.
    """
    if probe.own and (probe.other or probe.drawing == 0):
        return probe
    owns = [each.own for each in probes.values() if each.own and not each.drawing]
    others = [each.other for each in probes.values() if each.other and not each.drawing]
    base = min(owns, key=lambda line: line.at(MOST_FRAMES), default=Line(0.0, 0.0))
    foreign = min(others, key=lambda line: line.at(MOST_FRAMES), default=base)
    drawn = probe.drawing
    return replace(
        probe,
        own=probe.own or Line(base.fixed + len(DEPTHS) * MOST_FRAMES * drawn, base.a_frame + drawn),
        other=probe.other or Line(foreign.fixed, foreign.a_frame + drawn),
        guessed=probe.guessed | {"evaluating"},
    )


def _kind(cell: Cell) -> str:
    """What cells have in common that take as long: a model and its settings, but no seed."""
    chosen = cell.settings
    options = dict(chosen.options)
    return json.dumps([cell.architecture.name, chosen.latent, options], default=str)


def _name(cell: Cell, kinds: Mapping[str, Sequence[Cell]]) -> str:
    """A name that sets a kind apart from others of the same model."""
    name = cell.architecture.name
    rivals = [cells[0] for cells in kinds.values() if cells[0].architecture is cell.architecture]
    told = {"latent": cell.settings.latent, **cell.settings.options}
    for option, value in told.items():
        if (
            len({{"latent": r.settings.latent, **r.settings.options}.get(option) for r in rivals})
            > 1
        ):
            name += f", {option} {value}"
    return name


def _share(name: str, cells: Sequence[Cell], probe: Probe, trained: Collection[Cell]) -> Share:
    own = [cell for cell in cells if cell.own]
    training = sum(_training(cell, probe) for cell in own if cell not in trained)
    return Share(
        name=name,
        cells=len(cells),
        training=training,
        evaluating=sum(_seconds(cell, probe, trained) for cell in cells) - training,
        costs=_costs(own[0], probe) if own else 0.0,
        disk=sum(probe.disk.at(len(cell.film)) for cell in own),
        memory=probe.memory,
        guessed=probe.guessed,
    )


def _training(cell: Cell, probe: Probe) -> float:
    """Seconds of training, fitting or coding."""
    start = probe.start.at(len(cell.film))
    if not probe.step:
        return start
    config = config_of(cell)
    budget = Budget.parse(config.budget)
    assert not issubclass(cell.architecture, FilmCodec)
    in_step = Sampling.of(cell.architecture).frames_in(config.batch)
    steps = budget.steps(len(cell.film.split.seen), in_step)
    return start + (budget.amount if steps is None else steps * in_step * probe.step)


def _seconds(cell: Cell, probe: Probe, trained: Collection[Cell]) -> float:
    nothing = Line(0.0, 0.0)
    if cell.own:
        training = 0.0 if cell in trained else _training(cell, probe)
        return training + (probe.own or nothing).at(len(cell.film))
    return (probe.other or probe.own or nothing).at(len(cell.evaluated_on))


def _costs(cell: Cell, probe: Probe) -> float:
    """Seconds in the pass that measures costs, by the number of its repeats and their length."""
    if issubclass(cell.architecture, FilmCodec):
        return 0.0
    calls = WARM_UP + MOST_REPEATS
    return calls * (TIMINGS * BLOCK + max(BLOCK, cell.settings.batch * probe.step))


def _clock(lasting: Sequence[tuple[bool, float]], place: Place) -> float:
    """Seconds of the clock of cells, each with whether it is on a GPU: whatever lasts longest."""
    kinds: dict[bool | None, list[float]] = {None: [seconds for _, seconds in lasting]}
    for gpu in (False, True):
        kinds[gpu] = [seconds for on_gpu, seconds in lasting if on_gpu == gpu]
    return max(_beside(each, max(1, place.at_once(gpu))) for gpu, each in kinds.items())


def _beside(seconds: Sequence[float], at_once: int) -> float:
    """How long cells last that are begun in order, `at_once` beside one another."""
    ends = [0.0] * at_once
    for each in seconds:
        heapq.heappush(ends, heapq.heappop(ends) + each)
    return max(ends)
