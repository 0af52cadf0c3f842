"""Measure the memory of child processes from outside, on Linux.

It counts memory that belongs to the process alone (`RssAnon`). The frames of a store are mapped
from a file: pages that were read stay resident until the system reclaims them, whether or not the
process still needs them, so they are counted separately.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

READY = "ready"
"""A measured process prints this when its imports are done, and waits for a line."""
SECONDS_BETWEEN_LOOKS = 0.01


@dataclass
class Memory:
    """The peak memory of a process, in megabytes."""

    anonymous: float = 0.0
    mapped: float = 0.0
    interpreter: float = 0.0
    """Anonymous memory after the imports."""

    @property
    def of_the_work(self) -> float:
        """Anonymous memory in addition to the interpreter and its imports."""
        return self.anonymous - self.interpreter

    def look(self, pid: int) -> None:
        """Update the peaks with a process's memory now; skip a process that has ended."""
        try:
            status = Path(f"/proc/{pid}/status").read_text()
        except OSError:
            return
        found = {key: int(kb) / 1e3 for key, kb in re.findall(r"(Rss\w+):\s+(\d+) kB", status)}
        self.anonymous = max(self.anonymous, found.get("RssAnon", 0.0))
        self.mapped = max(self.mapped, found.get("RssFile", 0.0))


@contextmanager
def watch_memory(
    arguments: Sequence[str], **environment: str
) -> Iterator[tuple[subprocess.Popen[str], Memory]]:
    """Run Python with `arguments`; yields the process, past its imports, and its memory.

    Read its output from `process.stdout`. It is killed at the end if it still runs.
    """
    memory = Memory()
    ended = threading.Event()
    process = subprocess.Popen(
        [sys.executable, *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[1],
        env=os.environ | environment,
    )
    assert process.stdin and process.stdout

    def keep_looking() -> None:
        while not ended.wait(SECONDS_BETWEEN_LOOKS):
            memory.look(process.pid)

    thread = threading.Thread(target=keep_looking)
    try:
        assert process.stdout.readline().strip() == READY, "it failed before it began"
        memory.look(process.pid)
        memory.interpreter = memory.anonymous
        thread.start()
        process.stdin.write("go\n")
        process.stdin.flush()
        yield process, memory
        if process.poll() is None:
            process.wait(timeout=60)
    finally:
        ended.set()
        if thread.ident:
            thread.join()
        process.kill()
        process.wait(timeout=60)


def begin() -> None:
    """In the measured process: say that the imports are done and wait."""
    print(READY, flush=True)  # noqa: T201 - the watching process reads it
    sys.stdin.readline()
