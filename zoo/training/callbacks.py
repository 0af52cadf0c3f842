"""Training events and the callbacks that receive them, those of plugins among them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial

from zoo.api.training_callback import FollowedRun, TrainingCallback
from zoo.base.errors import ZooError
from zoo.base.text import error_line

PART_LABELS = {"held_out": "held out", "seen": "seen", "mean_frame": "mean frame"}
"""Labels of the frames that are scored while a model trains."""
METRIC_FORMATS = {"psnr": ("PSNR", ".2f", " dB"), "lpips": ("LPIPS", ".3f", "")}
"""Label, number format and unit of the metrics they are scored by."""

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

    def scalars(self) -> dict[str, float]:
        """Its numbers by name: `loss/PLAYER/TERM`, `logged/PLAYER/NAME`, `score/METRIC/PART`,
        `frames per second` and `data stall`."""
        found = {
            f"{kind}/{player}/{name}": value
            for kind, players in (("loss", self.losses), ("logged", self.logged))
            for player, values in players.items()
            for name, value in values.items()
        }
        if self.score:
            for part, values in self.score.values.items():
                found |= {f"score/{metric}/{part}": value for metric, value in values.items()}
        speeds = {"frames per second": self.frames_per_second, "data stall": self.data_stall}
        return {**found, **speeds}


Callback = Callable[[TrainingEvent], None]


def ignore_event(_: TrainingEvent) -> None:
    """A callback that does nothing."""


def call_all(*callbacks: Callback) -> Callback:
    """One callback that calls several in order."""

    def call(event: TrainingEvent) -> None:
        for callback in callbacks:
            callback(event)

    return call


@contextmanager
def following(
    kinds: Sequence[type[TrainingCallback]],
    run: FollowedRun,
    notify: Callable[[str], None],
) -> Iterator[Callback]:
    """Yield a callback that passes events on to callbacks of plugins, made for this run.

    One that fails is reported to `notify` and gets no more events: a training does not end because
    another program does. Raises BadInput if one cannot be used.
    """
    active = [kind(run) for kind in kinds]

    def guarded(callback: TrainingCallback, act: Callable[[], None]) -> None:
        try:
            act()
        except (Exception, SystemExit) as error:
            notify(f"{callback.name} failed, and gets no more reports: {error_line(error)}")
            if callback in active:
                active.remove(callback)

    def pass_on(event: TrainingEvent) -> None:
        for callback in list(active):
            guarded(callback, partial(callback, event))

    everyone = list(active)
    try:
        yield pass_on
    finally:
        for callback in everyone:
            guarded(callback, callback.close)
