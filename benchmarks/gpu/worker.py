"""The process that does the work of stages: `python -m benchmarks.gpu.worker`.

It reads one `Order` per line from standard input and writes the stage's file after every item. If
its input ends, its supervisor is gone, and the process exits at once.
"""

from __future__ import annotations

import importlib
import os
import queue
import sys
import threading
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

from benchmarks.gpu.stages import (
    Order,
    Setup,
    close,
    read_stage,
    stage_file,
    time_is_over,
    without_folders,
)
from zoo.api.metric import Unavailable
from zoo.base import devices
from zoo.base.atomic_files import write_json
from zoo.base.errors import ZooError
from zoo.base.gpu_records import Item
from zoo.evaluation.profiling import release_memory

LINES = 12
"""Lines of a traceback that a result keeps."""
DEVICE_LOST = 3
"""Exit code if the device no longer works: the rest needs a new process."""


@dataclass
class Here:
    """The context of a stage: its settings, device and time."""

    setup: Setup
    device: torch.device
    deadline: float
    save: Callable[[], None]
    """Write the stage's file with what its items hold now."""

    @property
    def seconds_left(self) -> float:
        """Seconds left for the stage."""
        return self.deadline - time.time()

    @property
    def tiny(self) -> bool:
        """Whether this only tries the script."""
        return self.setup.tiny

    @property
    def work(self) -> Path:
        """A folder for frames and runs."""
        return self.setup.work

    def say(self, line: str) -> None:
        """Print what is being done."""
        print(line, flush=True)  # noqa: T201


Work = Callable[[Item[Any]], None]
"""Makes one measurement: sets `item.result`, or raises the reason why there is none."""


def main() -> None:
    """Do stage after stage, until the input ends."""
    orders: queue.Queue[str] = queue.Queue()

    def listen() -> None:
        for line in sys.stdin:
            orders.put(line)
        os._exit(1)

    threading.Thread(target=listen, daemon=True).start()
    while True:
        order = Order.model_validate_json(orders.get())
        run_stage(order)


def run_stage(order: Order) -> None:
    """Do the untried items of a stage; none is begun when its time is over."""
    stage = read_stage(order.setup.out, order.stage)
    path = stage_file(order.setup.out, order.stage)

    def save() -> None:
        write_json(path, stage)

    device = devices.choose_device(order.setup.device)
    began = time.monotonic() - (stage.seconds or 0.0)
    try:
        # Importing takes seconds, and belongs to no stage: its time runs from the next `save`.
        module = importlib.import_module(f"benchmarks.gpu.{order.stage}")
        stage.environment = devices.describe(device, devices.default_precision(device))
        stage.began = stage.began or datetime.now(UTC).isoformat(timespec="seconds")
        stage.state = "running"
        save()
        here = Here(order.setup, device, min(order.deadline, time.time() + order.seconds), save)
        works: dict[str, Work] = module.works(here)
        known = {item.name: item for item in stage.items}
        stage.items = [known.get(name) or Item(name=name) for name in works]
        save()
        for item in stage.items:
            if item.state == "waiting" and here.seconds_left > 0:
                stage.seconds = time.monotonic() - began
                _do(item, works[item.name], here)
        if any(item.state == "waiting" for item in stage.items):
            close(stage, "cut off", time_is_over(stage.allowed_seconds))
        else:
            stage.state = "done"
    except (Exception, SystemExit) as error:
        stage.state, stage.error = "failed", traceback_lines(error)
    stage.seconds = time.monotonic() - began
    save()


def _do(item: Item[Any], work: Work, here: Here) -> None:
    """Make one measurement and write what came of it, good or bad."""
    item.state = "running"
    here.save()
    here.say(f"  {item.name}")
    began = time.monotonic()
    try:
        work(item)
        item.state = "failed" if item.error else "done"
    # A plugin is third-party code: a call of sys.exit counts as a failure of its own.
    except (Exception, SystemExit) as error:
        item.state, item.error = "failed", traceback_lines(error)
        # The traceback would keep the tensors of the failed work alive.
        error.__traceback__ = None
    item.seconds = time.monotonic() - began
    here.save()
    if item.error:
        here.say(f"    failed: {item.error[-1]}")
        if not _answers(here.device):
            os._exit(DEVICE_LOST)
    release_memory(here.device)


def traceback_lines(error: BaseException) -> list[str]:
    """The last lines of an error's traceback; one line of what is not a defect."""
    if isinstance(error, ZooError | Unavailable):
        return [without_folders(" ".join(str(error).split()))]
    lines = "".join(traceback.format_exception(error)).rstrip().splitlines()
    return [without_folders(line)[:300] for line in lines[-LINES:]]


def _answers(device: torch.device) -> bool:
    """Whether a device still works: after some faults every call of CUDA fails."""
    try:
        if device.type == "cuda":
            torch.cuda.synchronize(device)
    except RuntimeError:
        return False
    return True


if __name__ == "__main__":
    main()
