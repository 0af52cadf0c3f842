"""The pictures and videos of a comparison: each film, and its reconstruction by every model.

Frames are chosen when every cell is done, the same for every model: which frame is typical, best or
worst depends on all models together. Each frame is reconstructed once for both pictures and videos,
and the stream of a codec is decoded once.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from fractions import Fraction
from itertools import islice
from pathlib import Path, PurePosixPath
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image

from zoo.api.sampling import BATCH
from zoo.base.errors import ZooError
from zoo.base.records import FilmInfo, MetricInfo, Part, Picture, Record
from zoo.base.text import file_names, new_name
from zoo.base.untrusted_files import read_arrays
from zoo.base.workspace import Workspace, written_aside
from zoo.evaluation import latents as latents_file
from zoo.evaluation.codec_runs import codec_of, stream_path
from zoo.evaluation.film_scores import LATENTS, SCORES
from zoo.evaluation.inference import Pixels, as_pixels, draw_frames, samples_of
from zoo.evaluation.metrics import Frames, parts_of
from zoo.films.film import Film
from zoo.reconstruct.video.mp4_writer import EncoderSettings, video_file
from zoo.report.results_folder import FRAMES, VIDEOS
from zoo.training.jobs import load_model
from zoo.training.run_folder import RunFolder

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


LONGEST = 120.0
"""Seconds of a film that are kept as a video; all of it is scored all the same."""


class Stepping(EncoderSettings):
    """H.264 that a player steps through quickly, forwards and backwards, to the very frame."""

    @property
    def options(self) -> dict[str, str]:
        """Half a second from one key frame to the next, and no frame that waits for a later one."""
        return {**super().options, "g": "12", "bf": "0"}


def with_pictures_and_videos(
    workspace: Workspace,
    films: Sequence[Film],
    described: Sequence[FilmInfo],
    records: Sequence[Record],
    chosen: Mapping[str, Sequence[Chosen]],
    results: Path,
    device: torch.device,
    longest: float = LONGEST,
) -> tuple[list[FilmInfo], list[Record]]:
    """Draw every film's chosen frames, and its first `longest` seconds, into a new results folder.

    The film itself is `original`; beside it lies what the records that `drawn_records` names made
    of the film that they were trained on. Frame n of a video is shown from n / fps on, also where
    the rate of the source varies. `chosen` is by the films' names. With a `longest` of 0 there are
    no videos. Returns the films and the records with paths relative to the results' folder. Raises
    ZooError where a run's latents or stream are gone.
    """
    stems = file_names(film.name for film in films)
    sheets = {
        film.name: _Sheet(film, chosen[film.name], _length(film, longest), stems[film.name])
        for film in films
    }
    shown_films = []
    for film, info in zip(films, described, strict=True):
        sheet = sheets[film.name]
        frames = ((number, film.store.array[number]) for number in sheet.numbers)
        sheet.write(results, ORIGINAL, frames)
        shown_films.append(info.model_copy(update={"video": sheet.video(ORIGINAL)}))
    shown = list(records)
    for place, name in drawn_records(records).items():
        record = records[place]
        sheet = sheets[record.evaluated_on]
        drawn = drawn_frames(workspace, record, sheet.film, sheet.numbers, device)
        sheet.write(results, name, drawn)
        update = {"pictures": sheet.pictures(name), "video": sheet.video(name)}
        shown[place] = record.model_copy(update=update)
    return shown_films, shown


@dataclass(frozen=True)
class _Sheet:
    """What is drawn of one film, by every model alike."""

    film: Film
    chosen: Sequence[Chosen]
    """Frames that become pictures."""
    length: int
    """Frames of the videos, from the first on; 0 where there are none."""
    stem: str
    """What stands for the film in names of files."""

    @property
    def numbers(self) -> list[int]:
        """The frames that have to be drawn, in rising order."""
        return sorted({*range(self.length), *(each.frame for each in self.chosen)})

    def write(self, results: Path, name: str, drawn: Iterable[tuple[int, Pixels]]) -> None:
        """Write the pictures and the video of one model from the frames that it drew."""
        wanted = {each.frame for each in self.chosen}
        path, settings = self.video(name), Stepping(crf=16)
        with ExitStack() as stack:
            rate = Fraction(self.film.fps)
            video = path and stack.enter_context(
                video_file(results / path, self.film.size, rate, settings=settings)
            )
            for number, pixels in drawn:
                if video and number < self.length:
                    video.write(pixels)
                if number in wanted:
                    with written_aside(results / self._picture(name, number)) as aside:
                        Image.fromarray(np.ascontiguousarray(pixels)).save(aside, format="PNG")

    def video(self, name: str) -> str | None:
        """Where the video of a model lies; None where there are none."""
        return str(PurePosixPath(VIDEOS, self.stem, f"{name}.mp4")) if self.length else None

    def pictures(self, name: str) -> list[Picture]:
        """The pictures of a model, in the order in which they were chosen."""
        return [
            Picture(
                frame=each.frame,
                time_code=self.film.time_code(each.frame),
                part=each.part,
                kind=each.kind,
                original=self._picture(ORIGINAL, each.frame),
                reconstruction=self._picture(name, each.frame),
            )
            for each in self.chosen
        ]

    def _picture(self, name: str, frame: int) -> str:
        return str(PurePosixPath(FRAMES, self.stem, name, f"{frame:06d}.png"))


def _length(film: Film, longest: float) -> int:
    return max(1, min(len(film), round(longest * film.fps))) if longest > 0 else 0
