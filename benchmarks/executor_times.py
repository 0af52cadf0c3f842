"""One comparison three ways: as `--dry-run` foresees it, cell after cell, and by two Ray workers.

`python -m benchmarks.executor_times --work DIR` on a machine with nothing beside it. The executors
are warmed up first, which is timed apart; the report is not included.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from benchmarks.trials import publish, table
from zoo.base.records import Record
from zoo.base.workspace import Workspace
from zoo.cli.compare import choose_executor
from zoo.compare.comparison import CompareProgress, Comparison
from zoo.compare.estimate import estimate
from zoo.compare.executors import Executor, Message, Notify, ProcessExecutor, TaskEnd
from zoo.evaluation.metrics import MetricSet
from zoo.films.catalogue import Catalogue
from zoo.films.ingest import open_film
from zoo.plugins.registry import registry
from zoo.training.settings import Settings

WORKERS = 2
ELSEWHERE = {"cost", "training", "environment"}
"""Fields of a record that may differ between executors."""


@dataclass(frozen=True)
class Warm:
    """A task that loads what others need and lasts long enough for every worker to get one."""

    gpu: ClassVar[bool] = False

    def __call__(self, notify: Notify) -> Any:
        """Import, and wait."""
        import zoo.compare.tasks  # noqa: F401 - what it is called for

        registry()
        time.sleep(2)

    def taints_process(self, result: Any) -> bool:
        """Return False."""
        return False


def warmed(executor: Executor, workers: int) -> float:
    """Start so many workers; return the seconds that it took."""
    began = time.perf_counter()
    ended = []

    def on_event(event: Message | TaskEnd) -> None:
        if isinstance(event, TaskEnd):
            ended.append(event)

    for number in range(workers):
        executor.submit(number, Warm())
    while len(ended) < workers:
        executor.poll(on_event)
    return time.perf_counter() - began


def run(executor: Executor, comparison: Comparison) -> tuple[list[Record], float, float]:
    """Return the records, the seconds of all cells, and the seconds of measuring costs."""
    began = time.perf_counter()
    records = comparison.run(executor, CompareProgress())
    cells = time.perf_counter() - began
    records = comparison.with_costs(records, executor, lambda _: None)
    return records, cells, time.perf_counter() - began - cells


def comparison_in(folder: Path, asked: argparse.Namespace) -> Comparison:
    """The comparison that was asked for, in a workspace of its own."""
    workspace = Workspace(folder)
    folder.mkdir(parents=True)
    settings = Settings.choose("quick", budget=asked.budget, device="cpu")
    settings.pin_threads()
    entries = Catalogue.open(workspace).choose(asked.films)
    films = [open_film(entry, settings.size, workspace) for entry in entries]
    models = registry().choose_models(asked.models)
    metric_set = MetricSet.load(settings.device)
    return Comparison(workspace, entries, films, models, [settings], metric_set, "default", 0.1)


def alike(one: Sequence[Record], other: Sequence[Record]) -> bool:
    """Whether the records of two runs agree, except codecs, whose bytes vary at some sizes."""
    first, second = (
        [r.model_dump(exclude=ELSEWHERE) for r in each if r.kind != "codec"]
        for each in (one, other)
    )
    return first == second


def main() -> None:
    """Run it and write the table."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--films", default="all")
    arguments.add_argument("--models", default="ae,vae,vaegan,perceptual")
    arguments.add_argument("--budget", default="4000frames")
    arguments.add_argument("--work", type=Path, required=True, help="an empty folder")
    arguments.add_argument("--out", type=Path)
    asked = arguments.parse_args()

    with ProcessExecutor(1) as executor:
        began = warmed(executor, 1)
        here = comparison_in(asked.work / "here", asked)
        tried = time.perf_counter()
        foreseen = estimate(here, executor, lambda *_: None)
        tried = time.perf_counter() - tried
        one, cells, costs = run(executor, here)
    rows = [
        ["foreseen, all together", f"{foreseen.seconds:.0f} s", f"tried for {tried:.0f} s"],
        ["one process: cells", f"{cells:.0f} s", f"started in {began:.0f} s"],
        ["one process: costs", f"{costs:.0f} s", ""],
        ["as foreseen", f"{(cells + costs) / foreseen.seconds:.2f}", "of the time foreseen"],
    ]
    where = choose_executor("ray", WORKERS, None, "cpu", 1)
    with where.executor as executor:
        began = warmed(executor, WORKERS)
        two, beside, _ = run(executor, comparison_in(asked.work / "ray", asked))
    rows += [
        [f"Ray, {WORKERS} workers: cells", f"{beside:.0f} s", f"started in {began:.0f} s"],
        ["Ray over one process", f"{beside / cells:.2f}", "of the time of all cells"],
        ["the same records", "yes" if alike(one, two) else "NO", f"{len(one)} of them"],
    ]
    publish(table(["", "", ""], rows), asked.out)


if __name__ == "__main__":
    main()
