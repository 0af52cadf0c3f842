"""The frames that a report shows: the same for every model, chosen by what all of them made of it.

Chosen when every cell is done: which frame is typical, drawn best or drawn worst is a matter of all
models together.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image

from zoo.compare.drawing import ORIGINAL, Pixels, drawn_frames, drawn_records
from zoo.evaluation.judge import SCORES
from zoo.evaluation.summary import Frames, parts_of
from zoo.films.film import Film
from zoo.plain_text import file_names
from zoo.reading import read_arrays
from zoo.records import MetricInfo, Part, Picture, Record
from zoo.report.folder import FRAMES
from zoo.training.run_folder import RunFolder
from zoo.workspace import Workspace, written_aside

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
    """Draw the chosen frames of every film into a new results folder, by the models' first seeds.

    `metric` decides what is good; without one nothing is drawn. Originals are the same for all
    models of a film and are kept once. `drawn_records` says of which records there are pictures.
    Returns the records with paths relative to the results' folder.
    """
    if metric is None:
        return list(records)
    by_name = {film.name: film for film in films}
    stems = file_names(by_name)
    names = drawn_records(records)
    shown = [records[place] for place in names]
    chosen = {film.name: choose(workspace, shown, film, metric) for film in films}
    done = list(records)
    for place, name in names.items():
        record = records[place]
        film = by_name[record.watched]
        folder = PurePosixPath(FRAMES, stems[film.name])
        drawn = _draw(workspace, record, film, chosen[film.name], folder, name, results, device)
        done[place] = record.model_copy(update={"pictures": drawn})
    return done


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
    frames: PurePosixPath,
    name: str,
    results: Path,
    device: torch.device,
) -> list[Picture]:
    drawn = dict(drawn_frames(workspace, record, film, (c.frame for c in chosen), device))
    pictures = []
    for each in chosen:
        original = frames / ORIGINAL / f"{each.frame:06d}.png"
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
