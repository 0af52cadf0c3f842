"""The frames that a report shows: the same for every model, chosen by what all of them made of it.

Chosen when every cell is done: which frame is typical, drawn best or drawn worst is a matter of all
models together.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image

from zoo.compare.drawing import Pixels, drawn_frames
from zoo.evaluation.judge import SCORES
from zoo.evaluation.summary import Frames, parts_of
from zoo.films.film import Film
from zoo.reading import read_arrays
from zoo.records import MetricInfo, Part, Picture, Record
from zoo.training.run_folder import RunFolder
from zoo.workspace import Workspace, written_aside

FRAMES = Path("figures") / "frames"
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


def with_pictures(
    workspace: Workspace,
    records: Sequence[Record],
    films: Sequence[Film],
    metric: MetricInfo | None,
    results: Path,
    device: torch.device,
) -> list[Record]:
    """Draw the chosen frames of every film into the results' folder, by every model of one seed.

    `metric` decides what is good; without one nothing is drawn. Originals are the same for all
    models of a film and are kept once. Models that watched a film they were not trained on have
    no pictures. Returns the records with paths relative to the results' folder.
    """
    # What an earlier comparison of other films left would stand there without a word.
    shutil.rmtree(results / FRAMES, ignore_errors=True)
    if metric is None:
        return list(records)
    by_name = {film.name: film for film in films}
    first_seed = min((record.seed for record in records), default=0)
    shown = [
        record
        for record in records
        if record.status == "ok"
        and record.watched == record.trained_on
        and record.seed == first_seed
    ]
    chosen = {film.name: choose(workspace, shown, film, metric) for film in films}
    taken: dict[tuple[str, str], int] = {}
    moved = []
    for record in records:
        if any(record is other for other in shown):
            key = record.watched, record.model
            taken[key] = taken.get(key, 0) + 1
            name = record.model if taken[key] == 1 else f"{record.model}-{taken[key]}"
            film = by_name[record.watched]
            pictures = _draw(workspace, record, film, chosen[film.name], name, results, device)
            record = record.model_copy(update={"pictures": pictures})
        moved.append(record)
    return moved


def choose(
    workspace: Workspace, records: Sequence[Record], film: Film, metric: MetricInfo
) -> list[Chosen]:
    """Frames of a film by the median over its models, or over all rows where no model got through.

    Of each part the frame at the median, the best and the worst; no frame twice.
    """
    own = [record for record in records if record.watched == film.name]
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
    place = RunFolder(workspace.root / record.run).evaluation(record.watched) / SCORES
    return read_arrays(place, [metric]).get(metric)


def _from_best(values: npt.NDArray[np.float64], frames: Frames, metric: MetricInfo) -> Frames:
    frames = frames[np.isfinite(values[frames])]
    if metric.better == "one":
        key = np.abs(np.log(np.maximum(values[frames], 1e-12)))
    else:
        key = values[frames] * (1 if metric.better == "lower" else -1)
    return frames[np.argsort(key, kind="stable")]


def _draw(
    workspace: Workspace,
    record: Record,
    film: Film,
    chosen: Sequence[Chosen],
    name: str,
    results: Path,
    device: torch.device,
) -> list[Picture]:
    frames = FRAMES / film.name
    drawn = dict(drawn_frames(workspace, record, film, (c.frame for c in chosen), device))
    pictures = []
    for each in chosen:
        original = frames / "original" / f"{each.frame:06d}.png"
        reconstruction = frames / name / f"{each.frame:06d}.png"
        _write(results / original, np.ascontiguousarray(film.store.array[each.frame]))
        _write(results / reconstruction, drawn[each.frame])
        pictures.append(
            Picture(
                frame=each.frame,
                time_code=film.time_code(each.frame),
                part=each.part,
                kind=each.kind,
                original=original.as_posix(),
                reconstruction=reconstruction.as_posix(),
            )
        )
    return pictures


def _write(path: Path, pixels: Pixels) -> None:
    with written_aside(path) as aside:
        Image.fromarray(pixels).save(aside, format="PNG")
