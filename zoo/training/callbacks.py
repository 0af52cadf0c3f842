"""What training tells those who watch it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from zoo.base.errors import BadInput, ZooError


class Interrupted(ZooError):
    """Training was asked to stop, and saved where it was."""

    exit_code = 130


Values = Mapping[str, float]
"""By metric: the mean over some frames."""
PARTS = {"held_out": "held out", "seen": "seen", "mean_frame": "mean frame"}
"""What the frames are called that are scored while a model trains."""
METRICS = {"psnr": ("PSNR", ".2f", " dB"), "lpips": ("LPIPS", ".3f", "")}
"""What they are scored by: label, form and unit. Named here, since nothing here needs torch."""


def in_words(values: Values) -> str:
    """What some frames score: `PSNR 27.31 dB, LPIPS 0.213`."""
    said = []
    for metric, value in values.items():
        label, form, unit = METRICS.get(metric, (metric, ".4g", ""))
        said.append(f"{label} {value:{form}}{unit}")
    return ", ".join(said)


@dataclass(frozen=True)
class Score:
    """How well a few fixed frames were reconstructed at one step."""

    step: int
    values: Mapping[str, Values]
    """By part of the film: `held_out`, where there are such frames, and `seen`."""


@dataclass(frozen=True)
class Moment:
    """Training at one moment."""

    step: int
    steps: int | None
    """None if the clock decides."""
    progress: float
    """Share of the budget used, in [0, 1]."""
    frames: int
    """Frames trained on, counted as often as they were seen."""
    seconds: float
    frames_per_second: float
    data_stall: float
    """Share of the time since the moment before that the loop waited for frames, in [0, 1]."""
    share_of_peak: float | None
    """Speed as a share of what the device's measured rate of multiplying matrices would allow;
    None where nobody asked."""
    losses: Mapping[str, Mapping[str, float]]
    """By player and term: means since the moment before."""
    logged: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    """By player and name, what the model logs beside its losses: means as well."""
    score: Score | None = None
    """The last one since the moment before, if there is one."""
    notes: tuple[str, ...] = ()
    """What is said once, such as that held-out frames have been getting worse."""


Watcher = Callable[[Moment], None]


def nobody(_: Moment) -> None:
    """A watcher that looks away."""


SECONDS_BETWEEN_WRITES = 10


def require_tensorboard() -> type[Any]:
    """Return TensorBoard's writer; raises BadInput where the package is not installed."""
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        raise BadInput(
            "--tensorboard needs a package that is not here: pip install 'film-zoo[tensorboard]'"
        ) from None
    return SummaryWriter


@contextmanager
def scalars(folder: Path) -> Iterator[Watcher]:
    """Yield a watcher that writes losses, what is logged, scores, frames/s and data stall.

    What an earlier training wrote of the same steps is hidden, so that a run that was killed and
    resumed has one curve. Raises BadInput as `require_tensorboard`.
    """
    kind = require_tensorboard()
    writer: Any = None

    def watch(moment: Moment) -> None:
        nonlocal writer
        if writer is None:
            # Not before training tells something: `--overwrite` empties the run's folder first, and
            # the first step told is the first that an earlier training may have told already.
            writer = kind(str(folder), purge_step=moment.step, flush_secs=SECONDS_BETWEEN_WRITES)
        for player, terms in moment.losses.items():
            for term, value in terms.items():
                writer.add_scalar(f"loss/{player}/{term}", value, moment.step)
        for player, terms in moment.logged.items():
            for name, value in terms.items():
                writer.add_scalar(f"logged/{player}/{name}", value, moment.step)
        if moment.score:
            for part, values in moment.score.values.items():
                for metric, value in values.items():
                    writer.add_scalar(f"score/{metric}/{part}", value, moment.step)
        writer.add_scalar("frames per second", moment.frames_per_second, moment.step)
        writer.add_scalar("data stall", moment.data_stall, moment.step)

    try:
        yield watch
    finally:
        if writer is not None:
            writer.close()


def together(*watchers: Watcher) -> Watcher:
    """One watcher that tells several, in their order."""

    def watch(moment: Moment) -> None:
        for watcher in watchers:
            watcher(moment)

    return watch
