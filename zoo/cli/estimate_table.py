"""`zoo compare --dry-run`: the plan and what it would take, in the terminal."""

from __future__ import annotations

import shutil

from rich.markup import escape
from rich.table import Table

from zoo.cli.output import Console
from zoo.compare.comparison import Comparison
from zoo.compare.estimate import LEAST, LIMIT, Estimate, Share, estimate
from zoo.compare.places.place import Place
from zoo.compare.probe import CEILING, LONG, SHORT, Figure
from zoo.report.numbers import counted, duration, scaled, verb


def show_estimate(console: Console, comparison: Comparison, place: Place) -> None:
    """Try what is missing for a moment each, and print what all of it would take."""
    with console.status("looking for what is there already") as status:

        def watch(name: str, number: int, count: int) -> None:
            if number == 1:
                seconds = max(LIMIT, count * LEAST)
                console.print(
                    f"trying {counted(count, 'model')}, for about {duration(seconds)}; on a busy "
                    f"machine for up to {duration(CEILING * seconds)}"
                )
            status.update(escape(f"trying {name}, {number} of {count}"))

        found = estimate(comparison, place, watch)
    if found.shares:
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
        return ("n/a",)

    def shown(figure: Figure, amount: float, text: str) -> str:
        if figure not in share.guessed:
            return text
        return f"~{text}" if amount else "n/a"

    return (
        shown("training", share.training, duration(share.training)),
        shown("evaluating", share.evaluating, duration(share.evaluating)),
        shown("training", share.costs, duration(share.costs)),
        "n/a" if share.memory is None else scaled(share.memory, "B"),
        shown("disk", share.disk, scaled(share.disk, "B")),
    )


def _lines(found: Estimate, comparison: Comparison) -> list[str]:
    missing = found.cells - found.found
    if not missing:
        cells = "the only cell is" if found.cells == 1 else f"all {found.cells} cells are"
        return [f"{cells} there already: nothing would be trained, and the report drawn anew"]
    lines = [
        f"{counted(found.cells, 'cell')}: {found.found} {verb(found.found, 'is', 'are')} there "
        f"already, {missing} would be run, {found.at_once} at a time"
    ]
    lines += [
        f"{share.name}: nothing is known, {share.problem}"
        for share in found.shares
        if share.problem
    ]
    if not found.at_once:
        lines.append("no machine has room for a cell as it is now: cells would wait for one")
    guessed = sum(bool(share.guessed) for share in found.shares)
    whole = f"measured on {SHORT} and {LONG} frames"
    lines.append(
        f"{found.tried} of {len(found.shares)} models were tried; figures are {whole}"
        + (f", but those with ~ are guesses, for {guessed} models" if guessed else "")
    )
    known = [share.memory for share in found.shares if share.memory is not None]
    disk = sum(share.disk for share in found.shares)
    free = shutil.disk_usage(comparison.workspace.root).free
    if found.unknown < missing:
        # What nothing is known of is not in the sum.
        short = any(s.problem or (s.guessed and not s.evaluating) for s in found.shares)
        told = f"{'at least' if short else 'about'} {duration(found.seconds)}"
        lines.append(f"time: {told}, without drawing the report")
    if known:
        device = comparison.sweep[0].device.type
        held = "device" if device == "cuda" else "main"
        lines.append(f"{held} memory of one cell: up to {scaled(max(known), 'B')}")
    lines.append(f"disk: about {scaled(disk, 'B')} of {scaled(free, 'B')} that are free")
    return lines
