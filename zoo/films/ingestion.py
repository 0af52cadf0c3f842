"""One ingest: decode, make pictures, score, pace and write, all at the same time."""

from __future__ import annotations

import itertools
import math
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import av
import numpy as np
import numpy.typing as npt
from av.video.frame import VideoFrame

from zoo.base.errors import BadInput
from zoo.base.records import write_json
from zoo.films.decode import FilmDecoder, TimedFrame
from zoo.films.film_entry import FilmEntry
from zoo.films.frame_converter import FrameConverter
from zoo.films.frame_store import FRAMES, MANIFEST, SCORES, TIMES, Manifest, Resampled
from zoo.films.pace import PacedFrame, Pacer
from zoo.films.prefetch import prefetch
from zoo.films.probe import FileProbe, probe_files
from zoo.films.settings import IngestProgress, IngestSettings, Progress
from zoo.films.shots import DETECTOR, SceneDetector, find_shots
from zoo.films.time_code import JITTER_SECONDS

# Decoded frames that are handed over together; three times as many are held: few enough for 4K.
_TOGETHER = 4
_PROGRESS_SECONDS = 0.2
# Beside the frames: times, scores and the manifest, and something for the file system.
_SLACK_BYTES = 16 << 20
# How often the ingest itself looks for bars, in seconds of film, and how often at least.
_LOOK_SECONDS, _LEAST_LOOKS = 2.0, 20
# The second pass has seen the whole film before it begins.
_MOST_PASSES = 2


def ingest(
    entry: FilmEntry,
    settings: IngestSettings,
    fingerprint: str,
    folder: Path,
    progress: Progress | None,
    hwaccel: str | None,
    threads: int,
) -> None:
    """Write a whole store into an empty folder. Raises BadInput or ZooError, see `open_film`."""
    tell = _Teller(entry.name, progress)
    surveys = probe_files(entry, settings)
    for survey in surveys:
        for note in survey.part.notes:
            tell.message(f"{survey.part.file}: {note}")
    expected = sum(s.expected for s in surveys)
    _say_space(entry, settings, expected, folder, tell)
    for attempt in range(1, _MOST_PASSES + 1):
        one = _Pass(entry, settings, surveys, folder, tell, hwaccel, threads)
        one.run(expected)
        wrong = [one for one in surveys if one.bars_are_wrong()]
        if not wrong or attempt == _MOST_PASSES:
            break
        tell.message(f"{wrong[0].part.file}: the whole film shows other bars; beginning again")
        for each in surveys:
            if each.searched:
                each.part.bars = each.finder.bars()
    _describe(one, settings, fingerprint, folder)


class _Teller:
    """Passes progress on, not more often than a person can see."""

    def __init__(self, film: str, progress: Progress | None) -> None:
        self._film = film
        self._progress = progress
        self._told = 0.0
        self._state = (0, 0)

    def message(self, text: str) -> None:
        if self._progress:
            self._progress(IngestProgress(self._film, *self._state, text))

    def frames(self, done: int, expected: int, last: bool = False) -> None:
        now = time.monotonic()
        if self._progress and (last or now - self._told > _PROGRESS_SECONDS):
            self._told, self._state = now, (done, expected)
            self._progress(IngestProgress(self._film, done, expected))


def _say_space(
    entry: FilmEntry, settings: IngestSettings, expected: int, folder: Path, tell: _Teller
) -> None:
    if not expected:
        tell.message(f"{entry.name}: its files do not say how long they are")
        return
    store = expected * settings.size.pixels * 3
    needed = store + _SLACK_BYTES
    free = shutil.disk_usage(folder).free
    tell.message(
        f"{entry.name}: about {expected:,} frames at {settings.size}, {_bytes(store)} on disk"
    )
    if needed > free:
        # It is an estimate: whether the frames fit is for the disk to say.
        tell.message(
            f"{entry.name} may not fit: {_bytes(free)} are free in the workspace. If the disk "
            "fills up nothing is kept; make room or choose a smaller --size"
        )


def _bytes(count: int) -> str:
    for size, unit in ((1e9, "GB"), (1e6, "MB")):
        if count >= size:
            return f"{count / size:.1f} {unit}"
    return f"{count / 1e3:.0f} kB"


class _Pass:
    """One run through all files of a film."""

    def __init__(
        self,
        entry: FilmEntry,
        settings: IngestSettings,
        surveys: list[FileProbe],
        folder: Path,
        tell: _Teller,
        hwaccel: str | None,
        threads: int,
    ) -> None:
        self.entry = entry
        self.settings = settings
        self.surveys = surveys
        self.folder = folder
        self.tell = tell
        self.decoder = FilmDecoder(
            entry.files, settings.start, settings.stop, hwaccel, threads, settings.fps
        )
        self.pacer = Pacer(settings.fps) if settings.fps else None
        self.times: list[float] = []
        self.scores: list[float] = []
        self.black: list[bool] = []

    def run(self, expected: int) -> None:
        """Decode in a thread of its own; make pictures and write in this one."""
        decoded = self.decoder.frames()
        ahead = prefetch(decoded, _TOGETHER)
        try:
            with (self.folder / FRAMES).open("wb") as file:
                for frame in self._paced(self._pictures(ahead)):
                    file.write(np.ascontiguousarray(frame.pixels).data)
                    self.times.append(frame.time)
                    self.scores.append(frame.scored.score)
                    self.black.append(frame.scored.black)
                    self.tell.frames(len(self.times), expected)
        finally:
            ahead.close()
            decoded.close()
        self.tell.frames(len(self.times), expected, last=True)
        if len(self.times) < 2:
            raise BadInput(_too_short(self.entry, self.settings, len(self.times)))

    @property
    def resampled(self) -> Resampled | None:
        """What resampling did, if any was asked for."""
        if self.pacer is None:
            return None
        return Resampled(dropped=self.pacer.dropped, repeated=self.pacer.repeated)

    def _pictures(self, ahead: Iterator[TimedFrame]) -> Iterator[PacedFrame]:
        keeper: SceneDetector | None = None
        for part, timed in itertools.groupby(ahead, key=lambda t: t.part):
            survey = self.surveys[part]
            picture = survey.picture(self.settings)
            times: list[float] = []
            finished = self._through(picture, survey, timed, times)
            for number, frame in finished:
                keeper = keeper or SceneDetector(*self.settings.size)
                pixels = _seen(frame)
                yield PacedFrame(times[number], keeper.judge(frame, pixels), pixels)
            survey.part.interlaced = picture.interlaced

    @staticmethod
    def _through(
        picture: FrameConverter, survey: FileProbe, timed: Iterator[TimedFrame], times: list[float]
    ) -> Iterator[tuple[int, VideoFrame]]:
        looked = -math.inf
        interval = min(_LOOK_SECONDS, (survey.part.duration or math.inf) / _LEAST_LOOKS)
        for one in timed:
            times.append(one.time)
            if survey.searched and one.time - looked >= interval:
                looked = one.time
                survey.finder.add(one.frame)
            yield from picture.feed(one.frame)
        yield from picture.finish()

    def _paced(self, frames: Iterator[PacedFrame]) -> Iterator[PacedFrame]:
        if self.pacer is None:
            yield from frames
            return
        for frame in frames:
            yield from self.pacer.feed(frame)
        yield from self.pacer.finish()


def _seen(frame: VideoFrame) -> npt.NDArray[np.uint8]:
    """The samples of an rgb24 frame, uint8 (H, W, 3), where they lie: nothing is copied."""
    plane = frame.planes[0]
    lines = np.frombuffer(memoryview(plane), np.uint8).reshape(-1, plane.line_size)
    return lines[: frame.height, : 3 * frame.width].reshape(frame.height, frame.width, 3)


def _too_short(entry: FilmEntry, settings: IngestSettings, frames: int) -> str:
    if settings.start is not None or settings.stop is not None:
        return f"between its from and to, {entry.name} has fewer than two frames"
    if frames:
        return f"{entry.files[0].name} holds a single picture; a film has two frames or more"
    return f"no frame of {entry.files[0].name} can be decoded"


def _steps(times: npt.NDArray[np.float64], one: _Pass) -> npt.NDArray[np.float64]:
    """Seconds from frame to frame, without those from one file to the next."""
    steps = np.diff(times)
    starts = np.array([end.starts for end in one.decoder.ends])
    part = np.searchsorted(starts, times, side="right")
    within = steps[part[1:] == part[:-1]]
    return within if len(within) else steps


def _describe(one: _Pass, settings: IngestSettings, fingerprint: str, folder: Path) -> None:
    """Write all but the frames: times, scores, shots and the manifest."""
    times = np.array(one.times, dtype=np.float64)
    scores = np.array(one.scores, dtype=np.float32)
    np.save(folder / TIMES, times)
    np.save(folder / SCORES, scores)
    steps = _steps(times, one)
    fps = float(1 / steps.mean()) if settings.fps is None else float(settings.fps)
    varies = bool(np.abs(steps - np.median(steps)).max() > JITTER_SECONDS)
    for part, end in zip((s.part for s in one.surveys), one.decoder.ends, strict=False):
        part.starts, part.frames, part.joins = end.starts, end.frames, end.joins
    manifest = Manifest(
        fingerprint=fingerprint,
        size=str(settings.size),
        fit=settings.fit,
        frames=len(times),
        fps=fps,
        variable_rate=varies,
        parts=[survey.part for survey in one.surveys],
        damage=one.decoder.damage,
        resampled=one.resampled,
        detector=DETECTOR,
        # A still of minutes makes no shot of its neighbours longer.
        shots=find_shots(scores, np.array(one.black), 1 / np.median(steps) if varies else fps),
        splits={},
        pyav=av.__version__,
        ffmpeg=av.ffmpeg_version_info,
    )
    write_json(folder / MANIFEST, manifest)
