"""JSON for programs: one strict document on standard output, and nothing else."""

from __future__ import annotations

import itertools
import json
import math
import os
import sys
from collections.abc import Sequence
from typing import Any, TextIO

_document: TextIO | None = None


def reserve_stdout(words: Sequence[str]) -> None:
    """Reserve standard output for `print_json` if --json is among a command's words.

    Until the process ends, all other output goes to standard error, including that of plugins,
    threads, C libraries and child processes.
    """
    global _document
    options = set(itertools.takewhile(lambda word: word != "--", words))
    if "--json" not in options or options & {"-h", "--help"} or not (sys.stdout and sys.stderr):
        return
    sys.stdout.flush()
    _document = os.fdopen(os.dup(1), "w", encoding="ascii")
    os.dup2(2, 1)
    sys.stdout = sys.stderr


def print_json(**fields: Any) -> None:
    """Print strict JSON with `schema_version` first; numbers that are not finite become null."""
    finite = _finite({"schema_version": 1, **fields})
    file = _document or sys.stdout
    file.write(json.dumps(finite, indent=1, allow_nan=False) + "\n")
    file.flush()


def output_descriptor() -> int:
    """The file descriptor of a command's actual output."""
    return _document.fileno() if _document else 1


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: _finite(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(each) for each in value]
    return value
