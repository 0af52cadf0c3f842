"""`zoo report`: write the report again, only from the records in results folders."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from rich.console import RenderableType

    from zoo.base.records import Results
    from zoo.cli.console import Console


def report(
    folders: Annotated[
        list[Path] | None,
        typer.Argument(
            help="Results folders; default: results/ of this workspace.", show_default=False
        ),
    ] = None,
    into: Annotated[
        Path | None,
        typer.Option(
            help="Merge the folders into this one, which is new, empty or an earlier merge.",
            show_default=False,
        ),
    ] = None,
    opened: Annotated[
        bool, typer.Option("--open", help="Open the page in a browser on this machine.")
    ] = False,
) -> None:
    """Write report.md, results.csv and the figures again from results.json and the files it names.

    With --into, several folders, for example from several machines, are merged into one report:
    each machine has its own rows, marked with its letter, and the folders are left unchanged. They
    must agree in preset, budget and batch, and films with the same name must be the same.

    Needs no torch, no film and no run.
    """
    import webbrowser

    from zoo.base.errors import BadInput
    from zoo.base.workspace import Workspace
    from zoo.cli.console import Console, check_report_folder, escaped
    from zoo.report.merge import merge
    from zoo.report.plugin_sections import section_registry

    chosen = folders or [Workspace.here().results]
    if into is not None:
        check_report_folder(into)
        results, written = merge(chosen, into)
    elif len(chosen) == 1:
        results, written = _again(chosen[0])
    else:
        raise BadInput("several folders must be merged into another: add --into FOLDER")
    console = Console()
    page = print_report(console, results, written)
    if opened and not webbrowser.open(page.absolute().as_uri()):
        console.print_line("no browser could be opened on this machine: open that file yourself")
    for failure in section_registry().failures():
        console.print(escaped(failure), soft_wrap=True)


def print_report(console: Console, results: Results, written: Path) -> Path:
    """Print the main tables, the findings and the report's path; return the path of the page."""
    page = written.with_suffix(".html")
    console.print(summary(results))
    console.print(f"report: {written}", markup=False, soft_wrap=True)
    console.print(f"to look at: {page}", markup=False, soft_wrap=True)
    return page


def summary(results: Results) -> RenderableType:
    """Lay out every film, the means over films and the findings, for `Console.print`."""
    from dataclasses import replace

    from rich.console import Group
    from rich.text import Text

    from zoo.report.aggregate import at_main_latent_size, film_label, over_films
    from zoo.report.findings import who_is_ahead
    from zoo.report.score_tables import across_films_table, film_table
    from zoo.report.table import FittingTable

    results = at_main_latent_size(results)
    parts: list[RenderableType] = []
    if len(results.films) > 1:
        for film in results.films:
            parts.append(Text(film_label(results, film), style="bold"))
            # Notes about all films are printed below the last table.
            parts.append(FittingTable(replace(film_table(results, film), notes=())))
    title = over_films(results)
    parts.append(Text(title[:1].upper() + title[1:], style="bold"))
    parts.append(FittingTable(across_films_table(results)))
    findings = Text("\n".join(who_is_ahead(results)))
    # No padding, which would fill each line to the width: 1000 characters in a file.
    return Group(*parts, Text(), findings, Text())


def _again(folder: Path) -> tuple[Results, Path]:
    from zoo.base.atomic_files import sweep_below
    from zoo.base.locks import folder_lock
    from zoo.report.results_folder import read_results
    from zoo.report.write import write_report

    read_results(folder)  # first, so that no lock is created in a folder without results
    with folder_lock(folder):
        sweep_below(folder)
        results = read_results(folder)
        return results, write_report(results, folder)
