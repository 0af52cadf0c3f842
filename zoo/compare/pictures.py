"""The frames that a report shows: the same for every model, chosen by what all of them made of it.

Chosen when every cell is done: which frame is typical, drawn best or drawn worst is a matter of all
models together.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from zoo.base.records import MetricInfo, Part, Record
from zoo.base.untrusted_files import read_arrays
from zoo.base.workspace import Workspace
from zoo.compare.drawing import drawn_records
from zoo.evaluation.judge import SCORES
from zoo.evaluation.summary import Frames, parts_of
from zoo.films.film import Film
from zoo.training.run_folder import RunFolder

KINDS: dict[Part, tuple[Literal["typical", "best", "worst"], ...]] = {
    "seen": ("typical", "best", "worst"),
    "held_out": ("typical", "worst"),
}


@dataclass(frozen=True)
class Chosen:
    """One frame of a film."""

    frame: int
    part: Part
    kind: Literal["typical", "best", "worst"]


def chosen_frames(
    workspace: Workspace,
    records: Sequence[Record],
    films: Sequence[Film],
    metric: MetricInfo | None,
) -> dict[str, list[Chosen]]:
    """The frames of every film that are shown, by its name; `metric` decides what is good.

    The records that `drawn_records` names are asked. Without a metric no frame is chosen.
    """
    if metric is None:
        return {film.name: [] for film in films}
    shown = [records[place] for place in drawn_records(records)]
    return {film.name: choose(workspace, shown, film, metric) for film in films}


def choose(
    workspace: Workspace, records: Sequence[Record], film: Film, metric: MetricInfo
) -> list[Chosen]:
    """Frames of a film by the median over its models, or over all rows where no model got through.

    Of each part the frame at the median, the best and the worst; no frame twice.
    """
    own = [record for record in records if record.evaluated_on == film.name]
    judges = [record for record in own if record.role == "model"] or own
    scores = [frame_scores(workspace, record, metric.name) for record in judges]
    known = [values for values in scores if values is not None]
    if not known:
        return []
    middle = np.median(known, axis=0)
    chosen: list[Chosen] = []
    for part, frames in parts_of(film, film.name).items():
        ordered = _from_best(middle, frames, metric)
        places = {"typical": len(ordered) // 2, "best": 0, "worst": len(ordered) - 1}
        for kind in KINDS[part]:
            if len(ordered):
                frame = int(ordered[places[kind]])
                if all(frame != other.frame for other in chosen):
                    chosen.append(Chosen(frame, part, kind))
    return chosen


def frame_scores(
    workspace: Workspace, record: Record, metric: str
) -> npt.NDArray[np.float64] | None:
    """A metric of every frame, (N,), as a good record's run keeps it; None if it has it not."""
    assert record.run is not None, "a good record has a run"
    place = RunFolder(workspace.root / record.run).evaluation(record.evaluated_on) / SCORES
    return read_arrays(place, [metric]).get(metric)


def _from_best(values: npt.NDArray[np.float64], frames: Frames, metric: MetricInfo) -> Frames:
    frames = frames[np.isfinite(values[frames])]
    if metric.better == "one":
        key = np.abs(np.log(np.maximum(values[frames], 1e-12)))
    else:
        key = values[frames] * (1 if metric.better == "lower" else -1)
    return frames[np.argsort(key, kind="stable")]
