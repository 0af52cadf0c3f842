"""Scores of a reconstructed film: measured in one pass, written, and reused if still valid.

A metric is identified by the digest of its source. If that changed, or if the metric was not
measured yet, only that metric is measured, and the scores of the others stay. `metrics.json` in the
evaluation's folder has the digest of each.
"""

from __future__ import annotations

import importlib.metadata
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import av
import numpy as np
import pydantic
import torch
from torch import Tensor

from zoo.base.atomic_files import atomic_write, write_json
from zoo.base.errors import BadInput
from zoo.base.records import (
    BatchDependence,
    Environment,
    FailureAnalysis,
    Part,
    PlainFrame,
    Record,
    Summary,
)
from zoo.base.untrusted_files import read_json
from zoo.evaluation.failure_slices import ShotSpread, frame_properties, slice_scores
from zoo.evaluation.inference import batch_slices
from zoo.evaluation.metrics import MetricSet, Values, parts_of, score_reconstruction, summarise
from zoo.films.ingested_film import Film
from zoo.matching.pdq_hashes import HashBuffer, Hashes, pdq
from zoo.plugins.registry import registry
from zoo.plugins.source_digest import source_digest

SCORES, HASHES = "scores.npz", "pdq.npz"
LATENTS = "latents.safetensors"
RECORD, SOURCES = "record.json", "metrics.json"


@dataclass(frozen=True)
class FilmScores:
    """The scores of a reconstructed film, and the statistics gathered in the same pass."""

    scores: dict[str, Values]
    """Each metric of every frame, (N,)."""
    ratios: frozenset[str]
    """The metrics that are ratios."""
    summaries: dict[str, dict[Part, Summary]]
    spread: ShotSpread
    hashes: Hashes
    """Of every reconstructed frame."""

    def failure_analysis(
        self,
        film: Film,
        trained_on: str,
        plain: list[PlainFrame] | None = None,
        batch_dependence: BatchDependence | None = None,
    ) -> FailureAnalysis:
        """Where the reconstruction fails, with the results of separate tests of the model."""
        properties = frame_properties(film)
        return FailureAnalysis(
            slices={
                part: slice_scores(properties, self.scores, frames, self.ratios)
                for part, frames in parts_of(film, trained_on).items()
            },
            plain=plain or [],
            still_shots=self.spread.collapse(only_still=True),
            all_shots=self.spread.collapse(only_still=False),
            batch_dependence=batch_dependence,
        )


def score_film(
    film: Film,
    reconstructed_batches: Iterable[Tensor],
    trained_on: str,
    metric_set: MetricSet,
    device: torch.device,
) -> FilmScores:
    """Measure everything that needs the reconstructed frames, in one pass.

    `reconstructed_batches` are one per slice of `batch_slices`, rounded to 8 bits: (B, 3, H, W).
    """
    spread, hashes = ShotSpread(film, device), HashBuffer()

    def added_up() -> Iterator[Tensor]:
        for indices, frames in zip(batch_slices(film), reconstructed_batches, strict=True):
            spread.add(indices, frames)
            hashes.add(pdq(frames))
            yield frames

    scores = score_reconstruction(film, added_up(), metric_set.metrics, device)
    parts = parts_of(film, trained_on)
    ratios = frozenset(metric.name for metric in metric_set.metrics if metric.better == "one")
    summaries: dict[str, dict[Part, Summary]] = {}
    for name, values in scores.items():
        found = {
            part: summarise(values, frames, film, name in ratios) for part, frames in parts.items()
        }
        summaries[name] = {part: summary for part, summary in found.items() if summary}
    return FilmScores(scores, ratios, summaries, spread, hashes.hashes(device))


def write_frame_scores(out: Path, film_scores: FilmScores) -> None:
    """Write the scores and hashes of every frame.

    `scores.npz` has float64 (N,) per metric, NaN where it has no value; `pdq.npz` the hashes of the
    reconstructed frames, `bits`, uint8 (N, 32), and `quality`, uint8 (N,).
    """
    bits, quality = film_scores.hashes.packed()
    for name, arrays in (
        (SCORES, film_scores.scores),
        (HASHES, {"bits": bits, "quality": quality}),
    ):
        with atomic_write(out / name) as temporary, temporary.open("wb") as file:
            np.savez_compressed(file, allow_pickle=False, **arrays)


class MetricSources(pydantic.BaseModel):
    """`metrics.json`: the source of each metric in the scores beside it."""

    model_config = pydantic.ConfigDict(extra="forbid")

    schema_version: Literal[1] = 1
    sources: dict[str, str]
    """`zoo.plugins.source_digest.source_digest` by the metric's name."""


def valid_record(out: Path, film: Film) -> Record | None:
    """The record in an evaluation's folder, if it is valid for these frames and this film-zoo.

    Some of its metrics may be stale: `stale_metrics`.
    """
    try:
        record = read_json(out / RECORD, Record)
    except BadInput:
        # Written by another version: the evaluation is repeated, the training is kept.
        return None
    valid = (
        record.evaluation_fingerprint == film.fingerprint
        and record.environment.film_zoo == importlib.metadata.version("film-zoo")
        and _same_codec(record)
        and (out / HASHES).is_file()
        and (record.kind == "codec" or (out / LATENTS).is_file())
    )
    return record if valid else None


def _same_codec(record: Record) -> bool:
    """Whether a codec would give the same stream: other libraries encode differently."""
    here = (av.__version__, av.ffmpeg_version_info)
    return record.kind != "codec" or here == (record.environment.pyav, record.environment.ffmpeg)


def stale_metrics(out: Path, record: Record) -> set[str]:
    """Metrics of a record whose source has changed since they were measured."""
    try:
        then = read_json(out / SOURCES, MetricSources).sources
    except BadInput:
        then = {}
    now = registry().metrics
    return {
        name for name in record.scores if name in now and then.get(name) != source_digest(now[name])
    }


def without_metrics(record: Record, names: Collection[str]) -> Record:
    """A record without some metrics."""
    if not names:
        return record
    return Record.model_validate(_without_scores(record.model_dump(), names))


@dataclass(frozen=True)
class ScoreCache:
    """The scores of an earlier evaluation by metrics that have not changed."""

    record: Record | None = None
    """The earlier record with only these metrics; None without a valid one."""
    scores: Mapping[str, Values] = field(default_factory=dict)
    """Of every frame, (N,), by metric."""

    @classmethod
    def load(cls, out: Path, film: Film, here: Environment) -> ScoreCache:
        """Load the scores in an evaluation's folder; empty if they are of another machine."""
        record = valid_record(out, film)
        if record is None or _machine(record.environment) != _machine(here):
            return cls()
        record = without_metrics(record, stale_metrics(out, record))
        try:
            with np.load(out / SCORES, allow_pickle=False) as file:
                scores = {name: file[name] for name in record.scores}
        except (OSError, ValueError, KeyError):
            return cls()
        return cls(record, scores) if scores else cls()

    def missing(self, metric_set: MetricSet) -> MetricSet:
        """The metrics that have to be measured."""
        rest = [metric for metric in metric_set.metrics if metric.name not in self.scores]
        return replace(metric_set, metrics=rest)

    def write(self, out: Path, film_scores: FilmScores, record: Record) -> Record:
        """Write new and cached scores together; return the record with both.

        Writes `scores.npz`, `pdq.npz`, `metrics.json` and, last, `record.json`.
        """
        write_frame_scores(out, replace(film_scores, scores={**self.scores, **film_scores.scores}))
        if self.record is not None:
            record = _merged(record, self.record)
        now = registry().metrics
        sources = {name: source_digest(now[name]) for name in record.scores if name in now}
        write_json(out / SOURCES, MetricSources(sources=sources))
        write_json(out / RECORD, record)
        return record


def _machine(environment: Environment) -> tuple[object, ...]:
    """The fields that must match for numbers to be equal to the bit."""
    return (
        environment.device,
        environment.device_name,
        environment.torch,
        environment.threads,
        environment.precision,
    )


def _merged(new: Record, old: Record) -> Record:
    """Return a record with the scores of both and everything else from the new one."""
    order = [*registry().metrics]
    return Record.model_validate(_merged_scores(new.model_dump(), old.model_dump(), order))


def _merged_scores(new: Any, old: Any, order: Sequence[str]) -> Any:
    """Merge dumped records: wherever there are scores by metric, add those of `old`.

    Lists of frames, rates and slices of a film always have the same order.
    """
    if isinstance(new, dict) and isinstance(old, dict):
        merged = {}
        for key, value in new.items():
            if key == "scores":
                both = {**old.get(key, {}), **value}
                # Metrics that are not installed come last.
                names = [name for name in order if name in both]
                merged[key] = {name: both[name] for name in dict.fromkeys([*names, *both])}
            else:
                merged[key] = _merged_scores(value, old.get(key), order)
        return merged
    if isinstance(new, list) and isinstance(old, list) and len(new) == len(old):
        return [_merged_scores(one, other, order) for one, other in zip(new, old, strict=True)]
    return new


def _without_scores(value: Any, names: Collection[str]) -> Any:
    """A dumped record without the scores of some metrics, at any depth."""
    if isinstance(value, dict):
        return {
            key: {name: one for name, one in each.items() if name not in names}
            if key == "scores"
            else _without_scores(each, names)
            for key, each in value.items()
        }
    return [_without_scores(each, names) for each in value] if isinstance(value, list) else value
