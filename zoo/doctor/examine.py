"""The whole examination: every check in turn, whatever becomes of the one before."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from zoo.base.text import error_line
from zoo.base.workspace import Workspace
from zoo.doctor.finding import Finding, problem
from zoo.doctor.machine import devices, disk, environment, threads, workspace_is_writable
from zoo.doctor.outside import plugins, pretrained_weights
from zoo.doctor.video import codecs

Check = Callable[[Workspace], Iterator[Finding]]

CHECKS: dict[str, Check] = {
    "environment": environment,
    "device": devices,
    "threads": threads,
    "codec": codecs,
    "weights": pretrained_weights,
    "plugin": plugins,
    "disk": disk,
    "workspace": workspace_is_writable,
}


def examine(workspace: Workspace) -> Iterator[Finding]:
    """Look at everything; a check that fails itself is a problem and costs no other."""
    for topic, check in CHECKS.items():
        try:
            yield from check(workspace)
        except Exception as error:
            yield problem(topic, f"could not be looked at: {error_line(error)}", "mend that first")
