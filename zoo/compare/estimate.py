"""What a comparison would take: the missing cells, times what a short trial of each took."""

from __future__ import annotations

import heapq
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from zoo.codec import FilmCodec
from zoo.compare.comparison import Comparison
from zoo.compare.known import config_of
from zoo.compare.places.place import Place, carried_out
from zoo.compare.plan import Cell
from zoo.compare.probe import Probe, ProbeWork
from zoo.evaluation.timing import BLOCK, MOST_REPEATS, WARM_UP
from zoo.training.budget import Budget
from zoo.training.watching import Interrupted, StopRequest

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


@dataclass(frozen=True)
class Estimate:
    """What a comparison would take on the place that it was asked for."""

    cells: int
    found: int
    shares: Sequence[Share]
    at_once: int
    """Cells that are run beside one another."""
    seconds: float
    """Of the clock, with what is found left out."""


def estimate(comparison: Comparison, place: Place, watch: Watch, stop: StopRequest) -> Estimate:
    """Try every model of which a cell is missing. Films are opened already; nothing is trained.

    What is not counted: starting processes, and drawing the report. Raises Interrupted when `stop`
    was asked.
    """
    missing: dict[str, list[Cell]] = {}
    found = 0
    for cell in comparison.cells:
        if comparison.found(cell):
            found += 1
        else:
            missing.setdefault(_kind(cell), []).append(cell)
    shares, lasting = [], []
    for number, cells in enumerate(missing.values(), start=1):
        first = next((cell for cell in cells if cell.own), cells[0])
        watch(_name(first, missing), number, len(missing))
        work = ProbeWork(comparison.work(first, measure_peak=False))
        end = carried_out(place, work, lambda _: None, stop)
        if end.interrupted or stop.asked:
            raise Interrupted("stopped; nothing was changed")
        if end.lost is not None:
            shares.append(
                Share(_name(first, missing), len(cells), 0, 0, 0, 0, None, problem=end.lost)
            )
            continue
        probe: Probe = end.result
        shares.append(_share(_name(first, missing), cells, probe))
        lasting += [_seconds(cell, probe) for cell in cells]
    at_once = min(place.capacity, max(1, len(lasting)))
    return Estimate(
        cells=len(comparison.cells),
        found=found,
        shares=shares,
        at_once=at_once,
        seconds=_beside(lasting, at_once) + sum(share.costs for share in shares),
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


def _share(name: str, cells: Sequence[Cell], probe: Probe) -> Share:
    own = [cell for cell in cells if cell.own]
    training = sum(_training(cell, probe) for cell in own)
    return Share(
        name=name,
        cells=len(cells),
        training=training,
        evaluating=sum(_seconds(cell, probe) for cell in cells) - training,
        costs=_costs(own[0], probe) if own else 0.0,
        disk=sum(probe.disk.at(len(cell.film)) for cell in own),
        memory=probe.memory,
    )


def _training(cell: Cell, probe: Probe) -> float:
    """Seconds of training, fitting or coding."""
    start = probe.start.at(len(cell.film))
    if not probe.step:
        return start
    config = config_of(cell)
    budget = Budget.parse(config.budget)
    steps = budget.steps(len(cell.film.split.seen), config.batch)
    return start + (budget.amount if steps is None else steps * config.batch * probe.step)


def _seconds(cell: Cell, probe: Probe) -> float:
    if cell.own:
        return _training(cell, probe) + probe.own.at(len(cell.film))
    line = probe.other or probe.own
    return line.at(len(cell.watched))


def _costs(cell: Cell, probe: Probe) -> float:
    """Seconds in the pass that measures costs, by the number of its repeats and their length."""
    if issubclass(cell.architecture, FilmCodec):
        return 0.0
    calls = WARM_UP + MOST_REPEATS
    return calls * (TIMINGS * BLOCK + max(BLOCK, cell.settings.batch * probe.step))


def _beside(seconds: Sequence[float], at_once: int) -> float:
    """How long cells last that are begun in order, `at_once` beside one another."""
    ends = [0.0] * at_once
    for each in seconds:
        heapq.heappush(ends, heapq.heappop(ends) + each)
    return max(ends)
