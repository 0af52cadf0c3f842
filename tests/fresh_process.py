"""Code run in a process of its own, to see what it imports."""

from __future__ import annotations

import subprocess
import sys


def imports_none_of(modules: set[str], code: str) -> str:
    """Run code in a new process and return what it printed; fail if it imported such a module."""
    check = f"import sys\nheavy = {modules!r} & set(sys.modules)\nassert not heavy, heavy\n"
    done = subprocess.run(
        [sys.executable, "-c", f"{code}\n{check}"], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    return done.stdout
