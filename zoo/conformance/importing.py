"""A promise about the module that a model comes from: importing it does no work.

The module is imported by a fresh process in an empty folder, after the libraries it uses, under
a watch (`import_probe`). Whatever that sees is the module's own doing.
"""

from __future__ import annotations

import functools
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from types import ModuleType
from typing import Any

from zoo.conformance.subject import Subject
from zoo.conformance.verdict import CannotTell, expect

SECONDS = 2.0
"""Processor time that a module of one's own may take; classes and options take hundredths."""
PATIENCE = 300.0
"""Seconds after which the import is given up."""


def importing_does_no_work(subject: Subject) -> None:
    """The module is imported at once: no training, files, network, processes or random numbers."""
    name = subject.architecture.__module__
    module = sys.modules.get(name)
    origin = getattr(module, "__file__", None)
    if name == "__main__" or module is None or origin is None:
        raise CannotTell(f"{name} is no module that another process could import")
    report = _imported_elsewhere(name, origin)
    if not report["found"]:
        raise CannotTell(f"another process finds no module {name}")
    seen = list(report["seen"])
    if report["seconds"] > SECONDS:
        seen.append(f"computes for {report['seconds']:.1f} s")
    expect(not seen, f"importing {name} {', '.join(seen)}")
    expect(report["error"] is None, f"importing {name} alone fails: {report['error']}")


@functools.cache
def _imported_elsewhere(name: str, origin: str) -> dict[str, Any]:
    """What the probe reports; kept, as several models may come from one module."""
    path = os.pathsep.join(str(Path(entry).resolve()) for entry in sys.path)
    surroundings = {**os.environ, "PYTHONPATH": path, "PYTHONDONTWRITEBYTECODE": "1"}
    libraries = sorted(_libraries(sys.modules[name]))
    with tempfile.TemporaryDirectory() as folder:
        written = Path(folder) / "report.json"
        (empty := Path(folder) / "empty").mkdir()
        words = ["-m", "zoo.conformance.import_probe", str(written), name, origin, *libraries]
        try:
            ended = subprocess.run(
                [sys.executable, *words],
                cwd=empty,
                env=surroundings,
                capture_output=True,
                text=True,
                timeout=PATIENCE,
            )
        except subprocess.TimeoutExpired:
            return _unfinished(f"does not end within {PATIENCE:.0f} s")
        if not written.exists():
            said = (ended.stderr.strip() or "nothing").splitlines()[-1]
            return _unfinished(f"ended its process with {ended.returncode}, saying: {said}")
        return json.loads(written.read_text())


def _unfinished(seen: str) -> dict[str, Any]:
    return {"found": True, "seen": [seen], "seconds": 0.0, "error": None}


def _libraries(module: ModuleType) -> set[str]:
    """Modules of other packages that a module, or those of its own package it uses, refers to."""
    own = module.__name__.partition(".")[0]
    found: set[str] = set()
    waiting, known = [module], {module.__name__}
    while waiting:
        for value in vars(waiting.pop()).values():
            name = value.__name__ if isinstance(value, ModuleType) else _home(value)
            if name in known or name not in sys.modules:
                continue
            known.add(name)
            if name.partition(".")[0] == own:
                waiting.append(sys.modules[name])
            elif name != "__main__":
                found.add(name)
    return found


def _home(value: object) -> str:
    """The name of the module that a class or a function says it comes from, or nothing."""
    name = getattr(value, "__module__", None)
    return name if isinstance(name, str) else ""
