"""Judging a film that was drawn, by a model or by a codec, against the film itself: one pass."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from zoo.base.records import BatchDependence, FailureAnalysis, Part, PlainFrame, Summary
from zoo.base.workspace import written_aside
from zoo.evaluation.observers import Hasher, ShotSpread, observed
from zoo.evaluation.summary import Values, parts_of, summarise
from zoo.evaluation.traits import slices, traits_of
from zoo.evaluation.watch import Judges, score_drawn
from zoo.films.film import Film
from zoo.matching.pdq import Hashes

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
