"""Training events and the callbacks that receive them, TensorBoard among them.

Nothing here imports torch until TensorBoard is asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from zoo.base.errors import BadInput, ZooError
from zoo.base.extras import missing_extra

PART_LABELS = {"held_out": "held out", "seen": "seen", "mean_frame": "mean frame"}
"""Labels of the frames that are scored while a model trains."""
METRIC_FORMATS = {"psnr": ("PSNR", ".2f", " dB"), "lpips": ("LPIPS", ".3f", "")}
"""Label, number format and unit of the metrics they are scored by."""
SECONDS_BETWEEN_WRITES = 10

Values = Mapping[str, float]
"""Mean over some frames, by metric."""


class Interrupted(ZooError):
    """Training was asked to stop, and saved its progress."""

    exit_code = 130


@dataclass(frozen=True)
class Score:
    """How well a few fixed frames were reconstructed at one step."""

    step: int
    values: Mapping[str, Values]
    """By part of the film: `seen`, and `held_out` if frames are held out."""


def format_scores(values: Values) -> str:
    """Scores as text: `PSNR 27.31 dB, LPIPS 0.213`."""
    texts = []
    for metric, value in values.items():
        label, form, unit = METRIC_FORMATS.get(metric, (metric, ".4g", ""))
        texts.append(f"{label} {value:{form}}{unit}")
    return ", ".join(texts)


@dataclass(frozen=True)
class TrainingEvent:
    """One report of a training."""

    step: int
    steps: int | None
    """None if the budget is in seconds."""
    progress: float
    """Share of the budget used, in [0, 1]."""
    frames: int
    """Frames trained on; a frame counts each time it is used."""
    seconds: float
    frames_per_second: float
    data_stall: float
    """Share of the time since the last event spent waiting for frames, in [0, 1]."""
    share_of_peak: float | None
    """Throughput as a share of what the measured matrix product rate would allow; None if it was
    not measured."""
    losses: Mapping[str, Mapping[str, float]]
    """Means since the last event, by player and term."""
    logged: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    """Means of what the model logs beside its losses, by player and name."""
    score: Score | None = None
    """The latest score since the last event, if any."""
    notes: tuple[str, ...] = ()
    """Messages that are given once, such as that held-out frames are getting worse."""


Callback = Callable[[TrainingEvent], None]


def ignore_event(_: TrainingEvent) -> None:
    """A callback that does nothing."""


def call_all(*callbacks: Callback) -> Callback:
    """One callback that calls several in order."""

    def call(event: TrainingEvent) -> None:
        for callback in callbacks:
            callback(event)

    return call


def require_tensorboard() -> type[Any]:
    """Return TensorBoard's writer; raises BadInput if the package is not installed."""
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        raise BadInput(missing_extra("tensorboard", "--tensorboard")) from None
    return SummaryWriter


@contextmanager
def tensorboard_callback(folder: Path) -> Iterator[Callback]:
    """Yield a callback that writes losses, logged values, scores, frames/s and data stall.

    Steps that an earlier training wrote again are hidden, so that a run that was killed and resumed
    has one curve. Raises BadInput as `require_tensorboard`.
    """
    writer_class = require_tensorboard()
    writer: Any = None

    def write(event: TrainingEvent) -> None:
        nonlocal writer
        if writer is None:
            # Opened at the first event: only then is the run's folder cleared, and the first step
            # known that an earlier training may have written already.
            writer = writer_class(
                str(folder), purge_step=event.step, flush_secs=SECONDS_BETWEEN_WRITES
            )
        for player, terms in event.losses.items():
            for term, value in terms.items():
                writer.add_scalar(f"loss/{player}/{term}", value, event.step)
        for player, terms in event.logged.items():
            for name, value in terms.items():
                writer.add_scalar(f"logged/{player}/{name}", value, event.step)
        if event.score:
            for part, values in event.score.values.items():
                for metric, value in values.items():
                    writer.add_scalar(f"score/{metric}/{part}", value, event.step)
        writer.add_scalar("frames per second", event.frames_per_second, event.step)
        writer.add_scalar("data stall", event.data_stall, event.step)

    try:
        yield write
    finally:
        if writer is not None:
            writer.close()
