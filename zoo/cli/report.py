"""`zoo report`: the report again, from the records of a results folder alone."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def report(
    folder: Annotated[
        Path | None, typer.Argument(help="A results folder; results/ here.", show_default=False)
    ] = None,
) -> None:
    """Write report.md, results.csv and the figures again from results.json and what it names.

    Needs no torch, no film and no run.
    """
    from rich.console import Console

    from zoo.aside import sweep_below
    from zoo.locks import alone_in
    from zoo.records import Results, read_json
    from zoo.report.terminal import summary
    from zoo.report.write import write_report
    from zoo.workspace import Workspace

    chosen = folder or Workspace.here().results
    read_json(chosen / "results.json", Results)  # before a lock is laid where no results are
    with alone_in(chosen):
        sweep_below(chosen)
        results = read_json(chosen / "results.json", Results)
        written = write_report(results, chosen)
    console = Console()
    console.print(summary(results))
    console.print(f"report: {written}", markup=False, soft_wrap=True)
    page = written.with_suffix(".html")
    console.print(f"to look at: {page}", markup=False, soft_wrap=True)
