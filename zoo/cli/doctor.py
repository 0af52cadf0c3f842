"""`zoo doctor`: check whether this machine has what film-zoo needs."""

from __future__ import annotations

import typer

from zoo.cli import options as opt


def doctor(
    as_json: opt.JsonOption = False,
) -> None:
    """Check the environment, devices, codecs, weights, plugins, disks and this workspace.

    Downloads nothing and changes nothing. Exits with 1 if there is a problem.
    """
    from dataclasses import asdict

    from rich.text import Text

    from zoo.base.json_output import print_json
    from zoo.base.numbers import counted
    from zoo.base.safe_text import one_line
    from zoo.base.workspace import Workspace
    from zoo.cli.console import Console
    from zoo.doctor import run_checks

    found = list(run_checks(Workspace.here()))
    problems = sum(finding.state == "problem" for finding in found)
    warnings = sum(finding.state == "warning" for finding in found)
    if as_json:
        print_json(
            problems=problems,
            warnings=warnings,
            findings=[asdict(finding) for finding in found],
        )
    else:
        console = Console(highlight=False)
        styles = {"good": "green", "warning": "yellow", "problem": "bold red"}
        for finding in found:
            step = f"; next: {finding.step}" if finding.step else ""
            line = Text(f"{finding.state:<8}", style=styles[finding.state])
            line.append(f" {finding.topic:<12} ", style="")
            line.append(one_line(f"{finding.said}{step}", 1000), style="")
            console.print(line, soft_wrap=True)
        parts = ((problems, "problem"), (warnings, "warning"), (len(found), "line"))
        counts = ", ".join(counted(number, noun) for number, noun in parts) + " in all"
        console.print(counts, style="bold", soft_wrap=True)
    if problems:
        raise typer.Exit(1)
