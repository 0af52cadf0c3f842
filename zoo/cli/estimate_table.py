"""`zoo compare --dry-run`: the plan and what it would take, in the terminal."""

from __future__ import annotations

import shutil

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from zoo.compare.comparison import Comparison
from zoo.compare.estimate import Estimate, Share, estimate
from zoo.compare.places.place import Place
from zoo.report.numbers import duration, scaled
from zoo.training.watching import StopRequest


def show_estimate(
    console: Console, comparison: Comparison, place: Place, stop: StopRequest
) -> None:
    """Try what is missing for a moment each, and print what all of it would take."""
    with console.status("looking for what is there already") as status:

        def watch(name: str, number: int, count: int) -> None:
            status.update(escape(f"trying {name}, {number} of {count}"))

        found = estimate(comparison, place, watch, stop)
    console.print(_table(found))
    for line in _lines(found, comparison):
        console.print(line, markup=False, soft_wrap=True, highlight=False)


def _table(found: Estimate) -> Table:
    table = Table(*("", "cells", "training", "evaluating", "costs", "memory", "disk"), box=None)
    for column in table.columns[1:]:
        column.justify = "right"
    for share in found.shares:
        table.add_row(escape(share.name), str(share.cells), *_figures(share))
    return table


def _figures(share: Share) -> tuple[str, ...]:
    if share.problem:
        return ("fails",)
    return (
        *(duration(seconds) for seconds in (share.training, share.evaluating, share.costs)),
        "n/a" if share.memory is None else scaled(share.memory, "B"),
        scaled(share.disk, "B"),
    )


def _lines(found: Estimate, comparison: Comparison) -> list[str]:
    missing = found.cells - found.found
    lines = [
        f"{found.cells} cells: {found.found} are there already, {missing} would be run, "
        f"{found.at_once} at a time"
    ]
    lines += [
        f"{share.name} cannot be tried: {share.problem}" for share in found.shares if share.problem
    ]
    if not missing:
        return lines
    known = [share.memory for share in found.shares if share.memory is not None]
    disk = sum(share.disk for share in found.shares)
    free = shutil.disk_usage(comparison.workspace.root).free
    lines.append(f"time: about {duration(found.seconds)}, without drawing the report")
    if known:
        device = comparison.sweep[0].device.type
        held = "device" if device == "cuda" else "main"
        lines.append(f"{held} memory of one cell: up to {scaled(max(known), 'B')}")
    lines.append(f"disk: about {scaled(disk, 'B')} of {scaled(free, 'B')} that are free")
    return lines
