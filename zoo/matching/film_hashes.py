"""Hashes of whole films: of ingested ones, kept beside their frames, and of video files."""

from __future__ import annotations

import dataclasses
import itertools
import math
import time
from collections.abc import Generator, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from av.video.frame import VideoFrame

from zoo.base.atomic_files import kept_if_possible, written_aside
from zoo.base.errors import BadInput
from zoo.base.frame_size import LARGEST, SMALLEST, FrameSize
from zoo.base.untrusted_files import read_arrays
from zoo.films.decode import FilmDecoder, TimedFrame
from zoo.films.film import Film
from zoo.films.film_entry import FilmEntry
from zoo.films.frame_store import MANIFEST
from zoo.films.prefetch import prefetch
from zoo.films.probe import FileProbe, probe_files
from zoo.films.settings import IngestProgress, IngestSettings, Progress
from zoo.films.shots import SceneDetector, find_shots
from zoo.matching.pdq import HashBuffer, Hashes, pdq

BATCH = 64
HASHES_FILE = "pdq.npz"
"""In a film's store: `bits`, uint8 (N, 32), and `quality`, uint8 (N,)."""


@dataclass(frozen=True)
class HashedFilm:
    """The hashes of a film's frames, and when they are shown."""

    name: str
    hashes: Hashes
    times: npt.NDArray[np.float64]
    """Seconds, (N,), ascending."""
    scenes: tuple[tuple[float, float], ...]
    """Shots `[start, stop)` in seconds, in order."""

    def __len__(self) -> int:
        return len(self.hashes)


def hash_film(film: Film, device: torch.device) -> HashedFilm:
    """Hash every frame of an ingested film, or read what was hashed before.

    Hashes that are damaged are made again; where they cannot be kept, a line says so.
    """
    hashes = _read(film)
    if hashes is None:
        buffer = HashBuffer()
        for start in range(0, len(film), BATCH):
            frames = torch.from_numpy(np.array(film.store.array[start : start + BATCH]))
            buffer.add(pdq(frames.to(device).permute(0, 3, 1, 2)))
        hashes = buffer.hashes(device)
        # A film that was made in memory has no folder.
        if (film.store.folder / MANIFEST).exists():
            _write(film, hashes)
    return HashedFilm(
        film.name,
        hashes.to(device),
        film.frame_seconds,
        scene_times([(shot.start, shot.stop) for shot in film.shots], film.frame_seconds),
    )


def scene_times(
    shots: Iterable[tuple[int, int]], times: npt.NDArray[np.float64]
) -> tuple[tuple[float, float], ...]:
    """Shots in frames as shots in seconds; the last frame is shown as long as is usual."""
    usual = float(np.median(np.diff(times))) if len(times) > 1 else 0.0
    begins = [float(times[start]) for start, _ in shots]
    return tuple(itertools.pairwise([*begins, float(times[-1]) + usual]))


def _write(film: Film, hashes: Hashes) -> None:
    bits, quality = hashes.packed()
    with (
        kept_if_possible(f"the hashes of {film.name}"),
        written_aside(film.store.folder / HASHES_FILE) as aside,
        aside.open("wb") as file,
    ):
        np.savez(file, allow_pickle=False, bits=bits, quality=quality)


def _read(film: Film) -> Hashes | None:
    """The hashes that were kept; None where there are none, or they are damaged."""
    try:
        held = read_arrays(film.store.folder / HASHES_FILE, ("bits", "quality"))
        bits, quality = held["bits"], held["quality"]
    except (BadInput, KeyError, OSError):
        return None
    whole = bits.shape == (len(film), 32) and quality.shape == (len(film),)
    if not whole or bits.dtype != np.uint8 or quality.dtype != np.uint8:
        return None
    return Hashes.unpacked(bits, quality)


PIXELS = 256 * 144
"""Of the frames that are hashed, about; their shape is the picture's own."""
_LOOK_SECONDS, _LEAST_LOOKS = 2.0, 20
"""How often bars are looked for while a film is decoded: in seconds of it, and at least."""
_TOGETHER = 4
_PROGRESS_SECONDS = 0.2

Pixels = npt.NDArray[np.uint8]


def hash_files(
    entry: FilmEntry, device: torch.device, progress: Progress | None = None
) -> HashedFilm:
    """Decode a film and hash every frame, whole but for its bars.

    `from`, `to` and `crop` are the entry's. Memory holds a batch of frames, whatever the film's
    length. Raises BadInput where a file cannot be read or holds less than two frames.
    """
    placeholder = FrameSize(256, 144)
    settings = IngestSettings(placeholder, "crop", entry.crop, entry.start, entry.stop, None)
    surveys = probe_files(entry, settings)
    for last in (False, True):
        sized = dataclasses.replace(settings, size=_whole_picture(surveys[0]))
        one = _Hashing(entry, sized, surveys, device, progress)
        if not last:
            for survey in surveys:
                for note in survey.part.notes:
                    one.say(f"{survey.part.file}: {note}")
        hashed = one.run()
        wrong = [survey for survey in surveys if survey.bars_are_wrong()]
        if last or not wrong:
            return hashed
        one.say(f"{wrong[0].part.file}: the whole film shows other bars; beginning again")
        for survey in surveys:
            if survey.searched:
                survey.part.bars = survey.finder.bars()
    raise AssertionError("the second pass is the last")


def _whole_picture(survey: FileProbe) -> FrameSize:
    """A size of about `PIXELS` in the shape of what lies between the bars."""
    part, bars = survey.part, survey.part.bars
    width = (part.width - bars.left - bars.right) * survey.pixel_aspect
    height = part.height - bars.top - bars.bottom
    shape = float(height / width) if part.rotation % 180 else float(width / height)
    across, down = math.sqrt(PIXELS * shape), math.sqrt(PIXELS / shape)
    return FrameSize(*(min(LARGEST, max(SMALLEST, 2 * round(side / 2))) for side in (across, down)))


class _Hashing:
    """One run through all files of a film."""

    def __init__(
        self,
        entry: FilmEntry,
        settings: IngestSettings,
        surveys: list[FileProbe],
        device: torch.device,
        progress: Progress | None,
    ) -> None:
        self.entry = entry
        self.settings = settings
        self.surveys = surveys
        self.device = device
        self.progress = progress
        self.decoder = FilmDecoder(entry.files, settings.start, settings.stop, None, 0)
        self.times: list[float] = []
        self.scores: list[float] = []
        self.black: list[bool] = []

    def run(self) -> HashedFilm:
        """Hash the film."""
        buffer = HashBuffer()
        with closing(self._pixels()) as pixels:
            for batch in _batched(pixels):
                frames = torch.from_numpy(np.stack(batch)).to(self.device)
                buffer.add(pdq(frames.permute(0, 3, 1, 2)))
        if len(self.times) < 2:
            raise BadInput(
                f"{self.entry.files[0].name} gives {len(self.times)} frames; "
                "a film has two frames or more"
            )
        if self.decoder.damage.summary:
            self.say(f"{self.entry.name}: damaged: {self.decoder.damage.summary}")
        times = np.array(self.times)
        fps = float(1 / np.diff(times).mean())
        shots = find_shots(np.array(self.scores, np.float32), np.array(self.black), fps)
        return HashedFilm(
            self.entry.name,
            buffer.hashes(self.device),
            times,
            scene_times(shots, times),
        )

    def say(self, message: str) -> None:
        """Tell something that is to be shown and kept."""
        if self.progress:
            self.progress(IngestProgress(self.entry.name, len(self.times), 0, message))

    def _pixels(self) -> Generator[Pixels, None, None]:
        """Every frame, uint8 (H, W, 3); times, scores and black frames are noted on the way."""
        keeper = SceneDetector(*self.settings.size)
        expected = sum(survey.expected for survey in self.surveys)
        told = 0.0
        decoded = self.decoder.frames()
        with closing(decoded), closing(prefetch(decoded, _TOGETHER)) as ahead:
            for part, timed in itertools.groupby(ahead, key=lambda one: one.part):
                survey = self.surveys[part]
                times: list[float] = []
                for number, frame in self._through(survey, timed, times, self.settings):
                    pixels = np.asarray(frame.to_ndarray(), dtype=np.uint8)
                    judged = keeper.judge(frame, pixels)
                    self.times.append(times[number])
                    self.scores.append(judged.score)
                    self.black.append(judged.black)
                    if self.progress and time.monotonic() - told > _PROGRESS_SECONDS:
                        told = time.monotonic()
                        self.progress(IngestProgress(self.entry.name, len(self.times), expected))
                    yield pixels

    @staticmethod
    def _through(
        survey: FileProbe, timed: Iterator[TimedFrame], times: list[float], settings: IngestSettings
    ) -> Iterator[tuple[int, VideoFrame]]:
        """Finished frames of one file, each with its number in it; bars are looked for again."""
        picture = survey.picture(settings)
        interval = min(_LOOK_SECONDS, (survey.part.duration or math.inf) / _LEAST_LOOKS)
        looked = -math.inf
        for one in timed:
            times.append(one.time)
            if survey.searched and one.time - looked >= interval:
                looked = one.time
                survey.finder.add(one.frame)
            yield from picture.feed(one.frame)
        yield from picture.finish()


def _batched(frames: Iterable[Pixels]) -> Iterator[list[Pixels]]:
    frames = iter(frames)
    while batch := list(itertools.islice(frames, BATCH)):
        yield batch
