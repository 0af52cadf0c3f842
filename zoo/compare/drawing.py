"""Frames of a film as a finished run draws them, from what its evaluation kept."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice

import numpy as np
import numpy.typing as npt
import torch

from zoo.base.errors import ZooError
from zoo.base.records import Record
from zoo.base.text import new_name
from zoo.base.workspace import Workspace
from zoo.evaluation import latents as latents_file
from zoo.evaluation.coding import codec_of, stream_path
from zoo.evaluation.evaluate import LATENTS
from zoo.evaluation.watch import BATCH, as_pixels, draw_frames, samples_of
from zoo.films.film import Film
from zoo.training.jobs import load_model
from zoo.training.run_folder import RunFolder

Pixels = npt.NDArray[np.uint8]


ORIGINAL = "original"
"""What stands for the film itself among the names of models."""


def drawn_records(records: Sequence[Record]) -> dict[int, str]:
    """Which records have pictures and videos: their places in `records`, each with a file's name.

    Of every film, model and options it is the lowest seed that worked. Names are distinct on one
    film, also where letters have no case, and none is that of the original.
    """
    lowest: dict[tuple[str, str, str], int] = {}
    for place, record in enumerate(records):
        if record.status == "ok" and record.evaluated_on == record.trained_on:
            options = json.dumps(record.options, sort_keys=True, default=str)
            key = record.evaluated_on, record.model, options
            if key not in lowest or record.seed < records[lowest[key]].seed:
                lowest[key] = place
    taken: dict[str, set[str]] = {}
    return {
        place: new_name(
            records[place].model, taken.setdefault(records[place].evaluated_on, {ORIGINAL})
        )
        for place in sorted(lowest.values())
    }


def drawn_frames(
    workspace: Workspace, record: Record, film: Film, frames: Iterable[int], device: torch.device
) -> Iterator[tuple[int, Pixels]]:
    """Frames of the film that the record is of, by rising number: uint8 (H, W, 3), RGB.

    A model draws them from the latents that were scored, a codec from its stream. Raises ZooError
    where these are gone.
    """
    assert record.run is not None, "a good record has a run"
    folder = RunFolder(workspace.root / record.run)
    wanted = sorted(set(frames))
    if record.kind == "codec":
        yield from _decoded(folder, record, film, wanted)
        return
    run = folder.read()
    if run is None:
        raise ZooError(f"{folder.path} holds no run any more")
    model = load_model(folder, run.config, device)
    kept = folder.evaluation(film.name) / LATENTS
    latents = latents_file.load_latents(kept, film.fingerprint, device)
    samples = samples_of(film, model)
    for start in range(0, len(wanted), BATCH):
        numbers = wanted[start : start + BATCH]
        shown = draw_frames(model, samples, np.array(numbers), latents)
        yield from zip(numbers, as_pixels(shown), strict=True)


def _decoded(
    folder: RunFolder, record: Record, film: Film, wanted: list[int]
) -> Iterator[tuple[int, Pixels]]:
    codec = codec_of(record.model, record.options, film.size)
    chosen = frozenset(wanted)
    stream = stream_path(folder, codec).read_bytes()
    # Nothing is decoded after the last frame that is wanted.
    frames = islice(codec.decode(stream), max(wanted, default=-1) + 1)
    for number, frame in enumerate(frames):
        if number in chosen:
            yield number, frame
