"""Import one module in a separate process, and report what the import does.

    python -m zoo.conformance.import_probe REPORT MODULE FILE [LIBRARY ...]

The libraries are imported before monitoring starts, so what they do is not reported.
"""

from __future__ import annotations

import importlib
import json
import os
import random
import sys
import threading
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

import av
import numpy as np
import torch
from torch.overrides import TorchFunctionMode

import zoo

NUMBERS = 1_000_000
"""Limit of numbers in results of torch: enough for a table of constants, not for a network."""
MEGABYTES = 1.0
"""Largest file that may be read: enough for a list of names, not for a film."""
HOOKS = ("zoo_models", "zoo_references")
NETWORK = ("socket.connect", "socket.getaddrinfo", "socket.gethostbyname", "socket.bind")
PROCESSES = ("subprocess.Popen", "os.system", "os.fork", "os.posix_spawn", "os.exec")
FOLDERS = ("os.mkdir", "os.remove", "os.rename", "os.rmdir")
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND


class Monitor(TorchFunctionMode):
    """Record what the monitored code does."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[str] = []
        self.numbers = 0
        self.on = False

    def note(self, what: str) -> None:
        """Record a finding once."""
        if what not in self.seen:
            self.seen.append(what)

    def audit(self, event: str, arguments: tuple[Any, ...]) -> None:
        """Handle one audit event of the interpreter; refuse network access and child processes."""
        if not self.on:
            return
        if event in NETWORK:
            self.note("uses the network")
            raise PermissionError("a module uses no network when it is imported")
        if event in PROCESSES:
            self.note("starts another process")
            raise PermissionError("a module starts no process when it is imported")
        if event in FOLDERS:
            self.note("changes folders")
        if event == "open" and isinstance(arguments[0], str | bytes | os.PathLike):
            self._opened(Path(os.fsdecode(arguments[0])), arguments[2] or 0)

    def _opened(self, path: Path, flags: int) -> None:
        if flags & WRITING and str(path) != os.devnull:
            self.note(f"writes {path.name}")
        elif path.is_file() and path.stat().st_size > MEGABYTES * 1e6:
            self.note(f"reads {path.name} of {path.stat().st_size / 1e6:.1f} MB")

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Iterable[type],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        """Run a torch function, and count the numbers in its result."""
        if getattr(func, "__name__", "") in ("backward", "grad"):
            self.note("takes gradients")
        result = func(*args, **(kwargs or {}))
        for value in result if isinstance(result, tuple | list) else (result,):
            if isinstance(value, torch.Tensor) and value.device.type != "meta":
                self.numbers += value.numel()
        return result


def main() -> None:
    """Import the module named on the command line and write the report."""
    report, name, file, *libraries = sys.argv[1:]
    for export in zoo.__all__:  # these are imported lazily
        getattr(zoo, export)
    for library in libraries:
        # If a library cannot be imported here, the module imports it itself or does not need it.
        with suppress(ImportError):
            importlib.import_module(library)
    monitor = Monitor()
    open_film = av.open

    def monitored_open(*arguments: Any, **settings: Any) -> Any:
        if monitor.on:
            monitor.note("opens a film")
        return open_film(*arguments, **settings)

    av.open = monitored_open
    sys.addaudithook(monitor.audit)
    found, error, before, threads = True, None, _random_states(), threading.active_count()
    started = time.process_time()
    try:
        with monitor:
            monitor.on = True
            module = importlib.import_module(name)
            for hook in HOOKS:
                list(getattr(module, hook, list)())
    except BaseException as raised:  # raised by the plugin's own code, and reported
        found = not (
            isinstance(raised, ModuleNotFoundError) and f"{name}.".startswith(f"{raised.name}.")
        )
        error = " ".join(f"{type(raised).__name__}: {raised}".split())
    finally:
        monitor.on = False
    seconds = time.process_time() - started
    if found and not error:
        found = Path(module.__file__ or "").resolve() == Path(file).resolve()
    if monitor.numbers > NUMBERS:
        monitor.note(f"has torch handle {monitor.numbers:,} numbers")
    for generator, state in _random_states().items():
        if state != before[generator]:
            monitor.note(f"draws from {generator}'s random numbers or seeds them")
    if threading.active_count() > threads:
        monitor.note("leaves threads behind")
    if torch.cuda.is_initialized():
        monitor.note("starts CUDA")
    described = {"found": found, "error": error, "seen": monitor.seen, "seconds": seconds}
    Path(report).write_text(json.dumps(described), encoding="utf-8")


def _random_states() -> dict[str, Any]:
    """The states of the process's global random number generators."""
    kind, keys, *position = np.random.get_state()
    return {
        "torch": torch.get_rng_state().numpy().tobytes(),
        "numpy": (kind, np.asarray(keys).tobytes(), *position),
        "Python": random.getstate(),
    }


if __name__ == "__main__":
    main()
