"""A whole film reconstructed, written as a video with the source's sound."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import av.error
import numpy as np
import torch

from zoo.base.atomic_files import check_writable, temporary_folder
from zoo.base.errors import BadInput, CannotWrite, reason
from zoo.base.frame_size import FrameSize
from zoo.evaluation.latents import Latents
from zoo.evaluation.watch import batches, sample_batch, samples_of
from zoo.films.catalogue import FilmEntry
from zoo.films.film import Film
from zoo.films.overlap import made_ahead
from zoo.films.time_code import format_time_code
from zoo.reconstruct.tags_and_chapters import source_chapters, source_tags, tags_of
from zoo.reconstruct.trained_model import Eyes
from zoo.reconstruct.video.frame_conversion import Pixels, Scaler
from zoo.reconstruct.video.frame_grid import Grid
from zoo.reconstruct.video.mp4_writer import Coding, video_file
from zoo.reconstruct.video.sound import FilePart, Sound, write_sound


class Panel(Protocol):
    """Pictures of one film at one size, a batch at a time, made in two steps."""

    name: str
    film: Film

    def read(self, indices: slice) -> Any:
        """What is needed to draw these frames; asked for in a thread of its own."""

    def draw(self, read: Any) -> Pixels:
        """The frames of which this was read: uint8 (B, H, W, 3), RGB."""


@dataclass
class Original:
    """The film as it is."""

    film: Film
    name: str = "original"

    def read(self, indices: slice) -> Pixels:
        """Frames of the store."""
        return np.array(self.film.store.array[indices])

    def draw(self, read: Pixels) -> Pixels:
        """The same."""
        return read


@dataclass
class Redrawn:
    """The film as eyes draw it, from the latents that were scored where there are some."""

    film: Film
    name: str
    eyes: Eyes

    def __post_init__(self) -> None:
        self._kept = self.eyes.kept(self.film)
        self._samples = samples_of(self.film, self.eyes.model)

    def read(self, indices: slice) -> Any:
        """Latents where they are known, else samples as the network takes them, few at a time."""
        parts = []
        for which, wanted in self._samples.drawing(indices):
            if self._kept is not None:
                of: Any = replace(self._kept, levels=self._kept.levels[torch.from_numpy(which)])
            else:
                of = sample_batch(self.film, self._samples, which, self.eyes.device)
            parts.append((of, wanted))
        return parts

    def draw(self, read: Any) -> Pixels:
        """Decode, after encoding where that was not done before."""
        drawn = []
        for of, wanted in read:
            some = self.eyes.draw(of if isinstance(of, Latents) else self.eyes.see(of))
            drawn.append(some if len(some) == len(wanted) else some[wanted])
        return drawn[0] if len(drawn) == 1 else np.concatenate(drawn)


def pictures(panels: Sequence[Panel], start: int, stop: int) -> Generator[list[Pixels], None, None]:
    """The panels' pictures of each frame from `start` up to and without `stop`, in order.

    Reading and the networks have a thread each, so that both go on while the caller uses a
    picture; no more than seven batches of a panel are held at once. Networks see the film in the
    batches in which it is scored: a frame's last bit can depend on the frames beside it.
    """
    spans = [s for s in batches(panels[0].film) if s.start < stop and s.stop > start]
    reading = _batches_read(panels, spans)
    with (
        closing(reading),
        closing(made_ahead(reading, 1)) as read,
        closing(_batches_drawn(panels, read)) as drawing,
        closing(made_ahead(drawing, 1)) as drawn,
    ):
        for span, batch in zip(spans, drawn, strict=True):
            for frame in range(max(start, span.start), min(stop, span.stop)):
                yield [panel[frame - span.start] for panel in batch]


def _batches_read(
    panels: Sequence[Panel], spans: Sequence[slice]
) -> Generator[list[Any], None, None]:
    for span in spans:
        yield [panel.read(span) for panel in panels]


def _batches_drawn(
    panels: Sequence[Panel], read: Iterator[list[Any]]
) -> Generator[list[Pixels], None, None]:
    for one in read:
        yield [panel.draw(of) for panel, of in zip(panels, one, strict=True)]


@dataclass(frozen=True)
class Stretch:
    """Frames `[start, stop)` of a film, and the time they take on its time line, in seconds."""

    start: int
    stop: int
    begins: float
    """What becomes 0 in the new file."""
    ends: float | None
    """None where the sound goes on to its own end."""


def stretch_of(
    entry: FilmEntry, film: Film, begin: float | None = None, end: float | None = None
) -> Stretch:
    """The frames of a film from `begin` up to and without `end`, in seconds of its time line.

    Of a whole film, what comes before the first picture is kept: where the source begins with
    sound alone, so does the new file. Raises BadInput if no frame lies between the two.
    """
    times = film.time_codes
    start = 0 if begin is None else int(np.searchsorted(times, begin - 1e-6))
    stop = len(film) if end is None else int(np.searchsorted(times, end - 1e-6))
    if start >= stop:
        raise BadInput(
            f"no frame of {film.name} lies between --from and --to; its frames are from "
            f"{format_time_code(times[0])} to {format_time_code(times[-1])}"
        )
    cut_before = start > 0 or entry.start is not None
    cut_after = stop < len(film) or entry.stop is not None
    return Stretch(
        start,
        stop,
        begins=float(times[start]) if cut_before else min(0.0, float(times[0])),
        ends=_end(film, stop, end) if cut_after else None,
    )


def _end(film: Film, stop: int, end: float | None = None) -> float:
    """When the frame before `stop` is over: when the next one is shown, or at `end`."""
    shown = float(film.times.at(stop))
    return shown if end is None else min(shown, end)


@dataclass(frozen=True)
class Written:
    """What became of it."""

    path: Path
    size: FrameSize
    frames: int
    seconds: float
    sound: Sound


@contextmanager
def film_sound(entry: FilmEntry, film: Film, stretch: Stretch, path: Path) -> Iterator[Sound]:
    """The sound of a stretch of a film, in a temporary file beside `path`.

    Raises BadInput if a source file cannot be opened, and CannotWrite where the disk is full.
    """
    starts = [part.starts for part in film.store.manifest.parts]
    ends = [*starts[1:], film.times.ends]
    joins = [part.joins for part in film.store.manifest.parts]
    parts = [FilePart(*one) for one in zip(entry.files, starts, ends, joins, strict=True)]
    with temporary_folder(path) as folder:
        try:
            sound = write_sound(parts, folder / "sound.mp4", stretch.begins, stretch.ends)
        except av.error.FFmpegError as error:
            why = reason(error.errno, error.strerror)
            raise CannotWrite(f"the sound of {path} cannot be written: {why}") from error
        yield sound


def reconstruct(
    entry: FilmEntry,
    panels: Sequence[Panel],
    stretch: Stretch,
    path: Path,
    *,
    size: FrameSize | None = None,
    scale_by: str = "lanczos",
    coding: Coding | None = None,
    progress: Callable[[int], None] | None = None,
) -> Written:
    """Write the panels' pictures of a film as an MP4, with the source's sound in step.

    Several panels stand in a grid under their names. `size` is that of a panel in the video, None
    for that of the first one's film; pictures of another are scaled, after they were rounded to 8
    bits. `progress` is called with the number of frames written so far. The sound is written first,
    beside `path`, and read back. Raises ZooError where the file cannot be written, and what the
    panels raise; nothing is left then.
    """
    film = panels[0].film
    shown = size or film.size
    scalers = [Scaler(panel.film.size, shown, scale_by) for panel in panels]
    grid = Grid([panel.name for panel in panels], shown) if len(panels) > 1 else None
    files, starts = entry.files, [part.starts for part in film.store.manifest.parts]
    times = film.time_codes
    networks = [panel.eyes for panel in panels if isinstance(panel, Redrawn)]
    until = stretch.ends or _end(film, stretch.stop)

    def composed(of: Sequence[Pixels]) -> Pixels:
        scaled = [scale(picture) for scale, picture in zip(scalers, of, strict=True)]
        return grid(scaled) if grid else scaled[0]

    with (
        film_sound(entry, film, stretch, path) as sound,
        video_file(
            path,
            grid.size if grid else shown,
            film.fps,
            coding=coding,
            tags=tags_of(film, entry, networks, source_tags(files[0])),
            chapters=source_chapters(files, starts, stretch.begins, until),
            sound=sound.track,
            ends=until - stretch.begins,
        ) as video,
        closing(pictures(panels, stretch.start, stretch.stop)) as drawn,
    ):
        for number, of in enumerate(drawn, stretch.start):
            video.write(composed(of), float(times[number]) - stretch.begins)
            if progress:
                progress(video.frames)
    return Written(path, video.size, video.frames, video.seconds, sound)


def default_name(film: str, models: Sequence[str], trained_on: str | None) -> str:
    """`<film>-<model>.mp4`, with the film that the network knows where it is another."""
    other = [trained_on] if trained_on and trained_on != film else []
    return "-".join([film, *models, *other]) + ".mp4"


def check_place(path: Path, entry: FilmEntry, overwrite: bool) -> None:
    """Raise BadInput unless a video may be written here; a source file is never written over."""
    if path.suffix.lower() != ".mp4":
        raise BadInput(f"a film is written as MP4: a name that ends in .mp4; not {path.name!r}")
    if path.exists():
        _check_replaceable(path, entry, overwrite)
    check_writable(path.parent, path)


def _check_replaceable(path: Path, entry: FilmEntry, overwrite: bool) -> None:
    if any(source.exists() and path.samefile(source) for source in entry.files):
        raise BadInput(f"{path} is a file of {entry.name} itself; choose another name with -o")
    if not path.is_file():
        raise BadInput(f"{path} is no file that could be replaced")
    if not overwrite:
        raise BadInput(f"{path} is there already; --overwrite replaces it, -o names another")
