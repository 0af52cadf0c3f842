"""Other processes that hold a lock, or run other code, until their input ends."""

from __future__ import annotations

import subprocess
import sys

HOLD_LOCK = """
import sys
from pathlib import Path
from zoo.base.locks import exclusive_lock
with exclusive_lock(Path(sys.argv[1]), "the thing", waiting=None):
    print("held", flush=True)
    sys.stdin.readline()
"""


def start(code: str, *arguments: object) -> subprocess.Popen[str]:
    """Run Python code in another process, and return once it has printed its first line."""
    process = subprocess.Popen(
        [sys.executable, "-c", code, *map(str, arguments)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout and process.stdout.readline()
    return process
