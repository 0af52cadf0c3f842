"""The pictures and videos of a comparison: each film, and its reconstruction by every model.

Frames are chosen when every cell is done, the same for every model: which frame is typical, best or
worst depends on all models together. Each frame is reconstructed once for both pictures and videos,
and the stream of a codec is decoded once.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from fractions import Fraction
from itertools import islice
from pathlib import Path, PurePosixPath
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image

from zoo.api.film_entry import FilmEntry
from zoo.api.samples_and_latents import BATCH
from zoo.base.atomic_files import atomic_write
from zoo.base.errors import ZooError
from zoo.base.frame_size import FrameSize
from zoo.base.records import FilmInfo, MetricInfo, Part, Picture, Record, SideBySide
from zoo.base.safe_text import safe_file_names, unused_name
from zoo.base.untrusted_files import read_arrays
from zoo.base.workspace import Workspace
from zoo.compare.side_by_side import (
    LimitedCoding,
    frames_beside,
    records_beside,
    side_by_side_file,
    video_start,
    why_silent,
    write_sheet,
)
from zoo.evaluation import latents as latents_file
from zoo.evaluation.codec_runs import build_codec, stream_path
from zoo.evaluation.film_scores import LATENTS, SCORES
from zoo.evaluation.inference import Pixels, reconstruct_frames, samples_of, to_pixels
from zoo.evaluation.metrics import Frames, parts_of
from zoo.films.ingested_film import Film
from zoo.reconstruct.video_writers import video_file
from zoo.report.results_folder import FIGURES, FRAMES, VIDEOS
from zoo.training.run_folder import RunFolder
from zoo.training.trained_models import load_model

ORIGINAL, SIDE_BY_SIDE = "original", "side-by-side"
"""Names, in place of a model's, of the film itself and of the side-by-side video."""
KINDS: dict[Part, tuple[Literal["typical", "best", "worst"], ...]] = {
    "seen": ("typical", "best", "worst"),
    "held_out": ("typical", "worst"),
}
SHOWS_SOMETHING = 8.0
"""The best frame has at least this standard deviation of brightness, of 255, if any has it."""
VIDEO_SECONDS = 120.0
"""Seconds of a film in its videos; all of it is scored."""
_BITS_PER_SECOND, _PIXELS = 180_000, 256 * 144
"""The most bits per second of a video of at most so many pixels per frame."""


def shown_records(records: Sequence[Record]) -> dict[int, str]:
    """The records that have pictures and videos: their indices in `records`, with file names.

    For every film, model and options it is the lowest seed that did not fail. Names are distinct
    within a film, even if a file system ignores case, and none is `original` or `side-by-side`.
    """
    lowest: dict[tuple[str, str, str], int] = {}
    for index, record in enumerate(records):
        if record.status == "ok" and record.evaluated_on == record.trained_on:
            options = json.dumps(record.options, sort_keys=True, default=str)
            key = record.evaluated_on, record.model, options
            if key not in lowest or record.seed < records[lowest[key]].seed:
                lowest[key] = index
    taken: dict[str, set[str]] = {}
    return {
        index: unused_name(
            records[index].model,
            taken.setdefault(records[index].evaluated_on, {ORIGINAL, SIDE_BY_SIDE}),
        )
        for index in sorted(lowest.values())
    }


def reconstructed_frames(
    workspace: Workspace, record: Record, film: Film, frames: Iterable[int], device: torch.device
) -> Iterator[tuple[int, Pixels]]:
    """Reconstructed frames of a record's film, in ascending order: uint8 (H, W, 3), RGB.

    A model decodes the latents that were scored, a codec its stream. Raises ZooError if these are
    gone.
    """
    assert record.run is not None, "a good record has a run"
    folder = RunFolder(workspace.root / record.run)
    wanted = sorted(set(frames))
    if record.kind == "codec":
        yield from _codec_frames(folder, record, film, wanted)
        return
    run = folder.read()
    if run is None:
        raise ZooError(f"{folder.path} no longer holds a run")
    model = load_model(folder, run.config, device)
    path = folder.evaluation(film.name) / LATENTS
    latents = latents_file.load_latents(path, film.fingerprint, device)
    samples = samples_of(film, model)
    for start in range(0, len(wanted), BATCH):
        numbers = wanted[start : start + BATCH]
        shown = reconstruct_frames(model, samples, np.array(numbers), latents)
        yield from zip(numbers, to_pixels(shown), strict=True)


def _codec_frames(
    folder: RunFolder, record: Record, film: Film, wanted: list[int]
) -> Iterator[tuple[int, Pixels]]:
    codec = build_codec(record.model, record.options, film.size)
    chosen = set(wanted)
    path = stream_path(folder, codec)
    try:
        stream = path.read_bytes()
    except OSError as error:
        raise ZooError(f"{path} cannot be read: {error.strerror}") from None
    # Stop decoding after the last wanted frame.
    frames = islice(codec.decode(stream), max(wanted, default=-1) + 1)
    for number, frame in enumerate(frames):
        if number in chosen:
            chosen.remove(number)
            yield number, frame
    if chosen:
        raise ZooError(
            f"{path} has changed since it was scored: it has no frame {min(chosen):,}; "
            "--overwrite-runs makes it again"
        )


@dataclass(frozen=True)
class ChosenFrame:
    """One frame of a film."""

    frame: int
    part: Part
    kind: Literal["typical", "best", "worst"]


def choose_all_frames(
    workspace: Workspace,
    records: Sequence[Record],
    films: Sequence[Film],
    metric: MetricInfo | None,
) -> dict[str, list[ChosenFrame]]:
    """The frames to show of every film, by its name; `metric` decides which is best.

    Only the records of `shown_records` count. Without a metric no frame is chosen.
    """
    if metric is None:
        return {film.name: [] for film in films}
    shown = [records[index] for index in shown_records(records)]
    return {film.name: choose_frames(workspace, shown, film, metric) for film in films}


def choose_frames(
    workspace: Workspace, records: Sequence[Record], film: Film, metric: MetricInfo
) -> list[ChosenFrame]:
    """Choose frames by the median score over models, or over all rows if all models failed.

    The typical, best and worst frame of each part of the film; no frame twice. The best is one that
    shows something, if any does: every model reconstructs a black frame well.
    """
    own = [record for record in records if record.evaluated_on == film.name]
    rows = [record for record in own if record.role == "model"] or own
    scores = [frame_scores(workspace, record, metric.name) for record in rows]
    known = [values for values in scores if values is not None]
    if not known:
        return []
    # The median of a frame is over the models that have a value for it.
    values = np.array(known)
    valued = ~np.isnan(values).all(axis=0)
    middle = np.full(len(film), np.nan)
    middle[valued] = np.nanmedian(values[:, valued], axis=0)
    chosen: list[ChosenFrame] = []
    for part, frames in parts_of(film, film.name).items():
        ordered = _from_best(middle, frames, metric)
        if not len(ordered):
            continue
        best = next((each for each in ordered if _shows_something(film, each)), ordered[0])
        found = {"typical": ordered[len(ordered) // 2], "best": best, "worst": ordered[-1]}
        for kind in KINDS[part]:
            frame = int(found[kind])
            if all(frame != other.frame for other in chosen):
                chosen.append(ChosenFrame(frame, part, kind))
    return chosen


def _shows_something(film: Film, frame: int) -> bool:
    return bool(film.store.array[frame].mean(axis=-1).std() >= SHOWS_SOMETHING)


def frame_scores(
    workspace: Workspace, record: Record, metric: str
) -> npt.NDArray[np.float64] | None:
    """A metric of every frame, (N,), from the run of a good record; None if it was not measured."""
    assert record.run is not None, "a good record has a run"
    path = RunFolder(workspace.root / record.run).evaluation(record.evaluated_on) / SCORES
    return read_arrays(path, [metric]).get(metric)


def _from_best(values: npt.NDArray[np.float64], frames: Frames, metric: MetricInfo) -> Frames:
    frames = frames[np.isfinite(values[frames])]
    if metric.better == "one":
        key = np.abs(np.log(np.maximum(values[frames], 1e-12)))
    else:
        key = values[frames] * (1 if metric.better == "lower" else -1)
    return frames[np.argsort(key, kind="stable")]


@dataclass(frozen=True)
class SeekableCoding(LimitedCoding):
    """H.264 in which players seek quickly and exactly, forwards and backwards."""

    @property
    def options(self) -> dict[str, str]:
        """A key frame every half second."""
        return {**super().options, "g": "12"}


def most_bits(size: FrameSize) -> int:
    """Return the most bits per second of one model's video, whatever the film's frame rate.

    Videos of a film and two models take less than 1.5 MB for 20 seconds at 256x144, and small films
    keep their quality.
    """
    return round(_BITS_PER_SECOND * max(1.0, size.pixels / _PIXELS))


def with_pictures_and_videos(
    workspace: Workspace,
    entries: Sequence[FilmEntry],
    films: Sequence[Film],
    described: Sequence[FilmInfo],
    records: Sequence[Record],
    chosen: Mapping[str, Sequence[ChosenFrame]],
    results: Path,
    device: torch.device,
    longest: float = VIDEO_SECONDS,
) -> tuple[list[FilmInfo], list[Record]]:
    """Write pictures of chosen frames, and videos of `longest` seconds, into a new results folder.

    The film itself is written as `original`, in addition to the records that `shown_records`
    selects. These videos begin at `video_start`, and frame n is shown from n / fps on, even if the
    rate of the source varies. One more video, of `frames_beside` whatever `longest` is, has the
    film and the records of `records_beside` in a row, with the film's sound. Every film gets a
    contact sheet. `entries` and `described` have one item per film; `chosen` is by film name. With
    a `longest` of 0 there are no videos. Returns the films and the records with paths relative to
    the results folder. Raises ZooError if a run's latents or stream are gone.
    """
    stems = safe_file_names(film.name for film in films)
    names = shown_records(records)
    shown_films, shown = [], list(records)
    for entry, film, info in zip(entries, films, described, strict=True):
        plan = _FilmPictures(film, chosen[film.name], _range(film, longest), stems[film.name])
        own = [index for index in names if records[index].evaluated_on == film.name]
        beside = records_beside(records, names, film.name)
        frames = {
            index: plan.written(
                results,
                names[index],
                reconstructed_frames(
                    *(workspace, records[index], film, plan.numbers(index in beside), device)
                ),
            )
            for index in own
        }
        original = ((number, film.store.array[number]) for number in plan.numbers(True))
        shown_films.append(
            info.model_copy(
                update={
                    "video": plan.video(ORIGINAL),
                    "video_start": plan.frames.start,
                    "sheet": plan.write_sheet(results),
                    "side_by_side": plan.write_side_by_side(
                        results,
                        entry,
                        [ORIGINAL, *(records[index].model for index in beside)],
                        [
                            plan.written(results, ORIGINAL, original),
                            *(frames.pop(index) for index in beside),
                        ],
                    ),
                }
            )
        )
        for rest in frames.values():
            deque(rest, maxlen=0)
        for index in own:
            update = {"pictures": plan.pictures(names[index]), "video": plan.video(names[index])}
            shown[index] = records[index].model_copy(update=update)
    return shown_films, shown


@dataclass(frozen=True)
class _FilmPictures:
    """The pictures and videos of one film, the same for every model."""

    film: Film
    chosen: Sequence[ChosenFrame]
    """Frames that become pictures."""
    frames: range
    """Frames of the videos; none for no videos."""
    stem: str
    """The film's name in file names."""

    @property
    def frames_beside(self) -> range:
        """Frames of the video of the film beside its models."""
        return frames_beside(self.film) if self.frames else range(0)

    def numbers(self, beside: bool) -> list[int]:
        """Return the frames to reconstruct, ascending; with `beside`, also `frames_beside`."""
        more = self.frames_beside if beside else ()
        return sorted({*self.frames, *more, *(each.frame for each in self.chosen)})

    def written(
        self, results: Path, name: str, frames: Iterable[tuple[int, Pixels]]
    ) -> Generator[tuple[int, Pixels], None, None]:
        """Yield the reconstructed frames of one model, and write them as pictures and a video."""
        wanted = {each.frame for each in self.chosen}
        path = self.video(name)
        settings = SeekableCoding(crf=16, most_bits=most_bits(self.film.size))
        with ExitStack() as stack:
            rate = Fraction(self.film.fps)
            video = path and stack.enter_context(
                video_file(results / path, self.film.size, rate, settings=settings)
            )
            for number, pixels in frames:
                if video and number in self.frames:
                    video.write(pixels)
                if number in wanted:
                    picture = Image.fromarray(np.ascontiguousarray(pixels))
                    with atomic_write(results / self._picture(name, number)) as temporary:
                        # Without loss, and in seven tenths of the bytes of a PNG.
                        picture.save(temporary, format="WEBP", lossless=True, method=4)
                yield number, pixels

    def write_sheet(self, results: Path) -> str:
        """Write the contact sheet; return its path."""
        path = PurePosixPath(FIGURES, f"sheet-{self.stem}.webp")
        write_sheet(self.film, results / path)
        return str(path)

    def write_side_by_side(
        self,
        results: Path,
        entry: FilmEntry,
        names: Sequence[str],
        frames: Sequence[Generator[tuple[int, Pixels], None, None]],
    ) -> SideBySide | None:
        """Consume the frames of some models, and write some of them as one side-by-side video.

        `names` and `frames` are those of the film itself and of the reconstructions beside it.
        Returns None if there are no videos or no reconstructions.
        """
        path = PurePosixPath(VIDEOS, self.stem, f"{SIDE_BY_SIDE}.mp4")
        shown = self.frames_beside
        found = None
        with ExitStack() as stack:
            for each in frames:
                stack.enter_context(closing(each))
            if shown and len(names) > 1:
                write, sound = stack.enter_context(
                    side_by_side_file(results / path, entry, self.film, names, shown)
                )
                found = SideBySide(
                    video=str(path),
                    panels=list(names),
                    sound=sound.track is not None,
                    why_silent=why_silent(sound),
                    time_code=self.film.time_code(shown.start) if shown.start else None,
                )
            for passed in zip(*frames, strict=True):
                if found and passed[0][0] in shown:
                    write([pixels for _, pixels in passed])
        return found

    def video(self, name: str) -> str | None:
        """The path of a model's video; None for no videos."""
        return str(PurePosixPath(VIDEOS, self.stem, f"{name}.mp4")) if self.frames else None

    def pictures(self, name: str) -> list[Picture]:
        """The pictures of a model, in the order of choice."""
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
        return str(PurePosixPath(FRAMES, self.stem, name, f"{frame:06d}.webp"))


def _range(film: Film, longest: float) -> range:
    if longest <= 0:
        return range(0)
    length = max(1, min(len(film), round(longest * film.fps)))
    start = video_start(film, length)
    return range(start, start + length)
