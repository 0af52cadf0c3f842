"""Tasks for the tests of executors, importable from other processes."""

from __future__ import annotations

import os
import signal
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from zoo.base.interrupts import Interrupted, deferred_stop, saving
from zoo.compare.executors import STOP_SECONDS, Notify


@dataclass(frozen=True)
class SampleTask:
    """Does what its name says."""

    what: str
    path: Path | None = None
    taints: bool = False
    gpu: bool = False

    def __call__(self, notify: Notify) -> Any:
        match self.what:
            case "crash":
                os.kill(os.getpid(), signal.SIGSEGV)
            case "vanish":
                os._exit(3)
            case "exit":
                sys.exit("enough")
            case "raise":
                raise ArithmeticError("no\nnumber")
            case "wait":
                notify("waiting")
                time.sleep(600)
            case "save":
                assert self.path is not None
                with deferred_stop() as stop:
                    notify("waiting")
                    while not stop.asked:
                        time.sleep(0.01)
                    with saving():
                        time.sleep(STOP_SECONDS + 1)
                        self.path.touch()
                    raise Interrupted("saved")
            case "meet":
                assert self.path is not None
                (self.path / str(os.getpid())).touch()
                while len(list(self.path.iterdir())) < 2:
                    time.sleep(0.01)
            case "see":
                return os.environ.get("CUDA_VISIBLE_DEVICES"), os.getpid()
            case "tell":
                for number in range(3):
                    notify(number)
        return os.getpid()

    def taints_process(self, result: Any) -> bool:
        return self.taints
