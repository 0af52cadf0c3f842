"""A process that has torch and zoo imported, and forks a child for each command.

A command then starts in milliseconds instead of seconds, so that tests can run and kill dozens of
them. Each child leads its own process group; it can be made to kill the group at its n-th step:
right before it creates, opens for writing, renames or removes something in its folder.
"""

from __future__ import annotations

import contextlib
import importlib
import itertools
import json
import os
import resource
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
WARMED = (
    *(
        "zoo.cli.progress",
        "zoo.films.ingest",
        "zoo.training.trained_models",
        "zoo.compare.comparison",
    ),
    *("zoo.compare.results", "zoo.compare.costs", "zoo.report.write", "zoo.reconstruct.loading"),
    *("zoo.reconstruct.reconstruct_film", "zoo.reconstruct.encode_film_file"),
    "zoo.cli.comparison_display",
)
STEPS = {"os.mkdir", "os.rmdir", "os.remove", "os.rename", "os.chmod", "os.truncate"}


@dataclass(frozen=True)
class Ended:
    """A command's exit code, output, duration and number of steps."""

    code: int
    """Negative where a signal ended it."""
    out: str
    err: str
    seconds: float
    steps: int | None
    """How often it changed something in its folder; None if it was killed."""


class WarmProcess:
    """The warm process, as a test uses it. All its children end with it."""

    def __init__(self, outputs: Path) -> None:
        self.outputs = outputs
        self.count = itertools.count()
        self.children: dict[int, Path] = {}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.reliability.warm_process"],
            cwd=ROOT,
            env={**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._ask({})  # answered when everything is imported

    def start(
        self,
        cwd: Path,
        *words: object,
        kill_at_step: int | None = None,
        file_size: int | None = None,
        torn_at: int | None = None,
        settings: dict[str, Any] | None = None,
    ) -> int:
        """Start `zoo` with the given words and return its process id.

        Files may not grow beyond `file_size` bytes; with `torn_at` the process is killed by SIGXFSZ
        within the first write that goes beyond so many bytes.
        `settings` are values for module attributes, such as `zoo.training.run_writer.SECONDS_…`.
        """
        base = self.outputs / f"{next(self.count):04d}"
        for suffix in (".out", ".err", ".steps"):
            base.with_suffix(suffix).touch()  # a process killed at once creates none
        pid = self._ask(
            {
                "words": [str(word) for word in words],
                "cwd": str(cwd),
                "outputs": str(base),
                "kill_at_step": kill_at_step,
                "file_size": file_size,
                "torn_at": torn_at,
                "settings": settings or {},
            }
        )
        self.children[pid] = base
        return pid

    def wait(self, pid: int, kill_after: float | None = None) -> Ended:
        """Wait for a command to end; kill its group `kill_after` seconds after its start."""
        base = self.children.pop(pid)
        code, took = self._ask({"wait": pid, "until": kill_after})
        steps = base.with_suffix(".steps")
        return Ended(
            code,
            base.with_suffix(".out").read_text(errors="replace"),
            base.with_suffix(".err").read_text(errors="replace"),
            took,
            int(steps.read_text() or 0) or None,
        )

    def output(self, pid: int) -> str:
        """The output of a command so far."""
        base = self.children[pid]
        files = (base.with_suffix(".out"), base.with_suffix(".err"))
        return "".join(file.read_text(errors="replace") for file in files if file.exists())

    def run(self, cwd: Path, *words: object, kill_after: float | None = None, **how: Any) -> Ended:
        """Run `zoo` with the given words; see `start` and `wait`."""
        return self.wait(self.start(cwd, *words, **how), kill_after)

    def close(self) -> None:
        """End the warm process."""
        assert self.process.stdin
        self.process.stdin.close()
        self.process.wait(timeout=30)

    def _ask(self, request: dict[str, Any]) -> Any:
        assert self.process.stdin and self.process.stdout
        self.process.stdin.write(json.dumps(request) + "\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline()
        assert answer, "the warm process is gone"
        return json.loads(answer)


def serve() -> None:
    """Answer requests, a line of JSON each, until there are no more."""
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    for name in WARMED:
        importlib.import_module(name)
    importlib.import_module("zoo.plugins.registry").registry()
    importlib.import_module("torch").set_num_threads(1)
    began: dict[int, float] = {}
    for line in sys.stdin:
        request = json.loads(line)
        answer: Any = None
        if "wait" in request:
            answer = _waited(request["wait"], began.pop(request["wait"]), request["until"])
        elif request:
            answer = os.fork()
            if not answer:
                answers.close()
                _command(request)
            began[answer] = time.monotonic()
        answers.write(json.dumps(answer) + "\n")


def _waited(pid: int, began: float, until: float | None) -> tuple[int, float]:
    while True:
        ended, status = os.waitpid(pid, os.WNOHANG)
        took = time.monotonic() - began
        if ended:
            return os.waitstatus_to_exitcode(status), took
        if until is not None and took >= until:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(pid, signal.SIGKILL)
            until = None
        time.sleep(0.001)


def _command(request: dict[str, Any]) -> None:
    """Run the command in this child; never returns."""
    code = 70
    try:
        os.setsid()
        base = Path(request["outputs"])
        for number, suffix in ((0, None), (1, ".out"), (2, ".err")):
            path = base.with_suffix(suffix) if suffix else Path(os.devnull)
            os.dup2(os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o666), number)
        steps = os.open(base.with_suffix(".steps"), os.O_WRONLY | os.O_CREAT, 0o666)
        for name, value in request["settings"].items():
            module, _, what = name.rpartition(".")
            setattr(importlib.import_module(module), what, value)
        os.chdir(request["cwd"])
        if request["file_size"] is not None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (request["file_size"],) * 2)
        if request["torn_at"] is not None:
            signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
            resource.setrlimit(resource.RLIMIT_FSIZE, (request["torn_at"],) * 2)
            resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        counted = _count_steps(request["cwd"], request["kill_at_step"])
        sys.argv = ["zoo", *request["words"]]
        code = _main()
        os.write(steps, str(counted[0]).encode())
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _main() -> int:
    from zoo.cli import main

    try:
        main()
    except SystemExit as end:
        return int(end.code or 0)
    return 0


def _count_steps(cwd: str, kill_at: int | None) -> list[int]:
    """Count changes in a folder from now on, and kill the process group at one of them."""
    counted = [0]

    def hook(event: str, given: Sequence[Any]) -> None:
        if event == "open":
            path, _, flags = given
            if not isinstance(flags, int) or not flags & (os.O_WRONLY | os.O_RDWR):
                return
        elif event in STEPS:
            path = given[0]
        else:
            return
        if isinstance(path, str) and (not path.startswith("/") or path.startswith(cwd)):
            counted[0] += 1
            if counted[0] == kill_at:
                os.killpg(0, signal.SIGKILL)

    sys.addaudithook(hook)
    return counted


if __name__ == "__main__":
    serve()
