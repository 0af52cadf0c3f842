"""Scores of a reconstructed film: measured in one pass, written, and reused if still valid.

A metric is identified by the digest of its source. Where that changed, or where the metric was not
measured yet, only that metric is measured again; the scores of the others stay. `metrics.json` in
the evaluation's folder has the digest of each.
"""

from __future__ import annotations

import importlib.metadata
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, Protocol

import av
import numpy as np
import pydantic
import torch
from torch import Tensor

from zoo.base.errors import BadInput
from zoo.base.records import (
    BatchDependence,
    Environment,
    FailureAnalysis,
    Part,
    PlainFrame,
    Record,
    Summary,
    write_json,
)
from zoo.base.untrusted_files import read_json
from zoo.base.workspace import written_aside
from zoo.evaluation.failure_slices import ShotSpread, slices, traits_of
from zoo.evaluation.inference import batches
from zoo.evaluation.metrics import Judges, Values, parts_of, score_drawn, summarise
from zoo.films.film import Film
from zoo.matching.pdq import HashBuffer, Hashes, pdq
from zoo.plugins.registry import registry
from zoo.plugins.source_digest import source_digest

SCORES, HASHES = "scores.npz", "pdq.npz"


@dataclass(frozen=True)
class Judged:
    """What one pass over a drawn film found."""

    scores: dict[str, Values]
    """Every metric of every frame, (N,)."""
    ratios: frozenset[str]
    """The metrics that are ratios."""
    summaries: dict[str, dict[Part, Summary]]
    spread: ShotSpread
    hashes: Hashes
    """Of every frame as it was drawn."""

    def failure_analysis(
        self,
        film: Film,
        trained_on: str,
        plain: list[PlainFrame] | None = None,
        batch_dependence: BatchDependence | None = None,
    ) -> FailureAnalysis:
        """Where the drawing fails, with what else was asked of the one who drew."""
        traits = traits_of(film)
        return FailureAnalysis(
            slices={
                part: slices(traits, self.scores, frames, self.ratios)
                for part, frames in parts_of(film, trained_on).items()
            },
            plain=plain or [],
            still_shots=self.spread.collapse(only_still=True),
            all_shots=self.spread.collapse(only_still=False),
            batch_dependence=batch_dependence,
        )


def judge(
    film: Film,
    batches_drawn: Iterable[Tensor],
    trained_on: str,
    judges: Judges,
    device: torch.device,
) -> Judged:
    """Measure everything that needs the drawn frames, while they go by once.

    `batches_drawn` are the film's batches in order, as they would be shown: (B, 3, H, W).
    """
    spread, hasher = ShotSpread(film, device), Hasher(device)
    drawn = observed(film, batches_drawn, [spread, hasher])
    scores = score_drawn(film, drawn, judges.metrics, device)
    parts = parts_of(film, trained_on)
    ratios = frozenset(metric.name for metric in judges.metrics if metric.better == "one")
    summaries: dict[str, dict[Part, Summary]] = {}
    for name, values in scores.items():
        found = {
            part: summarise(values, frames, film, name in ratios) for part, frames in parts.items()
        }
        summaries[name] = {part: summary for part, summary in found.items() if summary}
    return Judged(scores, ratios, summaries, spread, hasher.hashes)


def write_frames(out: Path, judged: Judged) -> None:
    """Keep what is known of every frame.

    `scores.npz` has float64 (N,) a metric, NaN where it has no value; `pdq.npz` the hashes of the
    drawn frames, `bits`, uint8 (N, 32), and `quality`, uint8 (N,).
    """
    bits, quality = judged.hashes.packed()
    for name, arrays in (
        (SCORES, judged.scores),
        (HASHES, {"bits": bits, "quality": quality}),
    ):
        with written_aside(out / name) as aside, aside.open("wb") as file:
            np.savez_compressed(file, allow_pickle=False, **arrays)


LATENTS = "latents.safetensors"
RECORD, SOURCES = "record.json", "metrics.json"


class MetricSources(pydantic.BaseModel):
    """`metrics.json`: by what source each metric beside it was measured."""

    model_config = pydantic.ConfigDict(extra="forbid")

    schema_version: Literal[1] = 1
    sources: dict[str, str]
    """`zoo.plugins.source_digest.source_digest` by the metric's name."""


def earlier_record(out: Path, film: Film) -> Record | None:
    """The record in an evaluation's folder, where it holds for these frames and this film-zoo.

    Of its metrics some may be stale: `stale_metrics`.
    """
    try:
        record = read_json(out / RECORD, Record)
    except BadInput:
        # Written by another version: the evaluation is made again, the training is kept.
        return None
    holds = (
        record.evaluation_fingerprint == film.fingerprint
        and record.environment.film_zoo == importlib.metadata.version("film-zoo")
        and _same_codec(record)
        and (out / HASHES).is_file()
        and (record.kind == "codec" or (out / LATENTS).is_file())
    )
    return record if holds else None


def _same_codec(record: Record) -> bool:
    """Whether what a codec made would come out the same: other libraries code otherwise."""
    here = (av.__version__, av.ffmpeg_version_info)
    return record.kind != "codec" or here == (record.environment.pyav, record.environment.ffmpeg)


def stale_metrics(out: Path, record: Record) -> set[str]:
    """Metrics of a record whose source is not what it was when they were measured."""
    try:
        then = read_json(out / SOURCES, MetricSources).sources
    except BadInput:
        then = {}
    now = registry().metrics
    return {
        name for name in record.scores if name in now and then.get(name) != source_digest(now[name])
    }


def without_metrics(record: Record, names: Collection[str]) -> Record:
    """A record without what it says of some metrics."""
    if not names:
        return record
    return Record.model_validate(_left_out(record.model_dump(), names))


@dataclass(frozen=True)
class Kept:
    """What an earlier evaluation measured by metrics that are the same today."""

    record: Record | None = None
    """With these metrics only; None where nothing is kept."""
    scores: Mapping[str, Values] = field(default_factory=dict)
    """Of every frame, (N,), by metric."""

    @classmethod
    def of(cls, out: Path, film: Film, here: Environment) -> Kept:
        """Look into an evaluation's folder; nothing is kept of what another machine measured."""
        record = earlier_record(out, film)
        if record is None or _machine(record.environment) != _machine(here):
            return cls()
        record = without_metrics(record, stale_metrics(out, record))
        try:
            with np.load(out / SCORES, allow_pickle=False) as file:
                scores = {name: file[name] for name in record.scores}
        except (OSError, ValueError, KeyError):
            return cls()
        return cls(record, scores) if scores else cls()

    def still_to_measure(self, judges: Judges) -> Judges:
        """The metrics that are not kept."""
        rest = [metric for metric in judges.metrics if metric.name not in self.scores]
        return replace(judges, metrics=rest)

    def write(self, out: Path, judged: Judged, record: Record) -> Record:
        """Write what was measured now and what is kept; return the record of both.

        Leaves `scores.npz`, `pdq.npz`, `metrics.json` and, last, `record.json`.
        """
        write_frames(out, replace(judged, scores={**self.scores, **judged.scores}))
        if self.record is not None:
            record = _joined(record, self.record)
        now = registry().metrics
        sources = {name: source_digest(now[name]) for name in record.scores if name in now}
        write_json(out / SOURCES, MetricSources(sources=sources))
        write_json(out / RECORD, record)
        return record


def _machine(environment: Environment) -> tuple[object, ...]:
    """What has to be the same for numbers to be equal to the bit."""
    return (
        environment.device,
        environment.device_name,
        environment.torch,
        environment.threads,
        environment.precision,
    )


def _joined(new: Record, old: Record) -> Record:
    """A record with the scores of both; what is of no metric is the new one's."""
    order = [*registry().metrics]
    return Record.model_validate(_added(new.model_dump(), old.model_dump(), order))


def _added(new: Any, old: Any, order: Sequence[str]) -> Any:
    """Dumped records, joined: wherever scores by metric stand, those of `old` come to the others'.

    Frames, rates and slices of one film come in the same order whenever they are looked at.
    """
    if isinstance(new, dict) and isinstance(old, dict):
        joined = {}
        for key, value in new.items():
            if key == "scores":
                both = {**old.get(key, {}), **value}
                # Metrics that are no more come last.
                names = [name for name in order if name in both]
                joined[key] = {name: both[name] for name in dict.fromkeys([*names, *both])}
            else:
                joined[key] = _added(value, old.get(key), order)
        return joined
    if isinstance(new, list) and isinstance(old, list) and len(new) == len(old):
        return [_added(one, other, order) for one, other in zip(new, old, strict=True)]
    return new


def _left_out(value: Any, names: Collection[str]) -> Any:
    """A dumped record without the scores by some metrics, wherever they stand."""
    if isinstance(value, dict):
        return {
            key: {name: one for name, one in each.items() if name not in names}
            if key == "scores"
            else _left_out(each, names)
            for key, each in value.items()
        }
    return [_left_out(each, names) for each in value] if isinstance(value, list) else value


class Observer(Protocol):
    """Something that looks at every batch of a film as it was drawn."""

    def see(self, indices: slice, drawn: Tensor) -> None:
        """Look at frames `indices`, as they would be shown: (B, 3, H, W) in [0, 1]."""


def observed(
    film: Film, batches_drawn: Iterable[Tensor], observers: Sequence[Observer]
) -> Iterator[Tensor]:
    """Hand on a film's batches while the observers look at them."""
    for indices, drawn in zip(batches(film), batches_drawn, strict=True):
        for observer in observers:
            observer.see(indices, drawn)
        yield drawn


class Hasher:
    """Hashes every frame as a content-matching system would."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._gathered = HashBuffer()

    def see(self, indices: slice, drawn: Tensor) -> None:
        """Hash a batch."""
        self._gathered.add(pdq(drawn))

    @property
    def hashes(self) -> Hashes:
        """The hashes of all frames that went by."""
        return self._gathered.hashes(self._device)
