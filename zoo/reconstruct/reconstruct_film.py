"""Reconstruct a film as a video with the source's sound; several models side by side."""

from __future__ import annotations

import math
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import av.error
import numpy as np
from PIL import Image, ImageDraw

from zoo.api.film_entry import FilmEntry
from zoo.base.atomic_files import temporary_folder
from zoo.base.errors import BadInput, CannotWrite, write_error
from zoo.base.frame_size import FrameSize
from zoo.base.picture_style import GROUND, TEXT, fit_letters, font
from zoo.base.prefetch import prefetch
from zoo.base.time_code import format_time_code, in_file_name
from zoo.evaluation.inference import batch_slices, sample_batch, samples_of
from zoo.films.ingested_film import Film
from zoo.reconstruct.frame_conversion import Pixels, Scaler
from zoo.reconstruct.model_loader import TrainedModel
from zoo.reconstruct.source_sound import FilmPart
from zoo.reconstruct.tags_and_chapters import reconstruction_tags, source_chapters, source_tags
from zoo.reconstruct.video_writers import (
    WEBP,
    EncoderSettings,
    VideoWriter,
    WebpWriter,
    video_file,
    webp_file,
)
from zoo.reconstruct.write_sound import Sound, write_sound

_GAP = 4
_IN_A_ROW = 3
"""Maximum panels that are laid out in a single row."""
# Height of a caption: share of the panel's height, and limits; text fills two thirds of it.
_CAPTION_SHARE, _SMALLEST_CAPTION, _LARGEST_CAPTION = 0.1, 14, 64


class Panel(Protocol):
    """A source of one film's frames at one size: `read` in one thread, `decode` in another."""

    name: str
    film: Film

    def read(self, span: slice) -> Any:
        """Read the data that `decode` needs for these frames."""

    def decode(self, data: Any) -> Pixels:
        """Turn the data into frames: uint8 (B, H, W, 3), RGB."""


@dataclass
class Original:
    """A panel of the film itself."""

    film: Film
    name: str = "original"

    def read(self, span: slice) -> Pixels:
        """Read frames from the frame store."""
        return np.array(self.film.store.array[span])

    def decode(self, data: Pixels) -> Pixels:
        """Return the frames unchanged."""
        return data


@dataclass
class Reconstruction:
    """A panel of a model's reconstruction, from the latents that were scored, if saved."""

    film: Film
    name: str
    trained: TrainedModel

    def __post_init__(self) -> None:
        self._saved = self.trained.saved_latents(self.film)
        self._samples = samples_of(self.film, self.trained.model)

    def read(self, span: slice) -> Any:
        """Read samples in small batches for `encode`; only the span if latents are saved."""
        if self._saved is not None:
            return span
        return [
            (sample_batch(self.film, self._samples, which, self.trained.device), wanted)
            for which, wanted in self._samples.decoding_batches(span)
        ]

    def decode(self, data: Any) -> Pixels:
        """Decode frames; encode them first if no latents are saved."""
        if self._saved is not None:
            return self.trained.decode_frames(self._samples, data, self._saved)
        parts = []
        for samples, wanted in data:
            frames = self.trained.decode(self.trained.encode(samples))
            parts.append(frames if len(frames) == len(wanted) else frames[wanted])
        return parts[0] if len(parts) == 1 else np.concatenate(parts)


def stream_frames(
    panels: Sequence[Panel], start: int, stop: int
) -> Generator[list[Pixels], None, None]:
    """Yield each panel's frame, for the frames `[start, stop)`.

    Reading and decoding have a thread each, and continue while the caller uses a frame. At most
    seven batches of a panel are in memory. Models get the same batches as in evaluation, because
    the last bit of a frame can depend on other frames in its batch.
    """
    spans = [s for s in batch_slices(panels[0].film) if s.start < stop and s.stop > start]
    reading = ([panel.read(span) for panel in panels] for span in spans)
    with (
        closing(reading),
        closing(prefetch(reading, 1)) as read,
        closing(
            [panel.decode(data) for panel, data in zip(panels, batch, strict=True)]
            for batch in read
        ) as decoding,
        closing(prefetch(decoding, 1)) as decoded,
    ):
        for span, batch in zip(spans, decoded, strict=True):
            for frame in range(max(start, span.start), min(stop, span.stop)):
                yield [panel[frame - span.start] for panel in batch]


class FrameGrid:
    """A grid of panels of one size, each below its name; names that do not fit are shortened.

    By default, up to three panels are in one row; more form a square, or a grid with one column
    more than it has rows.
    """

    def __init__(self, names: Sequence[str], panel: FrameSize, columns: int | None = None) -> None:
        self.names = tuple(names)
        self.panel = panel
        count = len(names)
        columns = columns or (count if count <= _IN_A_ROW else math.ceil(math.sqrt(count)))
        rows = math.ceil(len(names) / columns)
        caption = _even(
            min(max(panel.height * _CAPTION_SHARE, _SMALLEST_CAPTION), _LARGEST_CAPTION)
        )
        # Even sizes, because codecs store one colour for 2x2 pixels.
        width, height = _even(panel.width) + _GAP, _even(panel.height) + caption + _GAP
        self.size = FrameSize(columns * width - _GAP, rows * height - _GAP)
        self.places = [
            (number % columns * width, number // columns * height + caption)
            for number in range(len(names))
        ]
        self._background = self._with_names(caption)

    def _with_names(self, caption: int) -> Pixels:
        picture = Image.new("RGB", self.size, GROUND)
        draw = ImageDraw.Draw(picture)
        letters = round(caption * 2 / 3)
        for name, (left, top) in zip(self.names, self.places, strict=True):
            text, size = fit_letters(name, self.panel.width, letters)
            place = (left + self.panel.width / 2, top - caption / 2)
            draw.text(place, text, fill=TEXT, font=font(size), anchor="mm")
        return np.array(picture)

    def __call__(self, frames: Sequence[Pixels]) -> Pixels:
        """Compose frames, uint8 (H, W, 3) of the panels' size."""
        composed = self._background.copy()
        for frame, (left, top) in zip(frames, self.places, strict=True):
            composed[top : top + self.panel.height, left : left + self.panel.width] = frame
        return composed


def _even(length: float) -> int:
    return 2 * math.ceil(length / 2)


@dataclass(frozen=True)
class FilmRange:
    """Frames `[start, stop)` of a film, and their time range in seconds of the film."""

    start: int
    stop: int
    start_seconds: float
    """The time that becomes 0 in the video."""
    stop_seconds: float | None
    """The end of the range; None if the sound continues to its own end."""


def film_range(
    entry: FilmEntry, film: Film, begin: float | None = None, end: float | None = None
) -> FilmRange:
    """The frames of a film from `begin` up to but not including `end`, in seconds of the film.

    For a whole film, sound before its first frame is kept. Raises BadInput if the range has no
    frame.
    """
    times = film.frame_seconds
    start = 0 if begin is None else int(np.searchsorted(times, begin - 1e-6))
    stop = len(film) if end is None else int(np.searchsorted(times, end - 1e-6))
    if start >= stop:
        raise BadInput(
            f"no frame of {film.name} lies between --from and --to; its frames are from "
            f"{format_time_code(times[0])} to {format_time_code(times[-1])}"
        )
    cut_before = start > 0 or entry.start is not None
    cut_after = stop < len(film) or entry.stop is not None
    return FilmRange(
        start,
        stop,
        start_seconds=float(times[start]) if cut_before else min(0.0, float(times[0])),
        stop_seconds=_end_of_frame(film, stop, end) if cut_after else None,
    )


def _end_of_frame(film: Film, stop: int, end: float | None = None) -> float:
    """The end of the frame before `stop`: the start of the next frame, or `end`."""
    next_begins = float(film.times.at(stop))
    return next_begins if end is None else min(next_begins, end)


@dataclass(frozen=True)
class WrittenVideo:
    """The result of writing a video."""

    path: Path
    size: FrameSize
    frames: int
    seconds: float
    sound: Sound


@contextmanager
def film_sound(
    entry: FilmEntry, film: Film, span: FilmRange, path: Path, *, small: bool = False
) -> Iterator[Sound]:
    """Write the sound of a film's range to a temporary file next to `path`, for the block.

    `small` is as in `write_sound`. Raises BadInput if a source file cannot be opened, and
    CannotWrite if the disk is full.
    """
    starts = [part.starts for part in film.store.manifest.parts]
    ends = [*starts[1:], film.times.ends]
    joins = [part.joins for part in film.store.manifest.parts]
    parts = [FilmPart(*one) for one in zip(entry.files, starts, ends, joins, strict=True)]
    with temporary_folder(path) as folder:
        try:
            sound = write_sound(
                parts,
                folder / "sound.mp4",
                span.start_seconds,
                span.stop_seconds,
                small=small,
            )
        except av.error.FFmpegError as error:
            why = write_error(error.errno, error.strerror)
            raise CannotWrite(f"the sound of {path} cannot be written: {why}") from error
        yield sound


def reconstruct(
    entry: FilmEntry,
    panels: Sequence[Panel],
    span: FilmRange,
    path: Path,
    *,
    size: FrameSize | None = None,
    scale_by: str = "lanczos",
    settings: EncoderSettings | None = None,
    progress: Callable[[int], None] | None = None,
) -> WrittenVideo:
    """Write the panels' frames of a film as an MP4, with the source's sound in sync.

    If `path` ends in `.webp`, the file is an animated WebP without sound, tags and chapters, and
    `settings` are not used. Several panels are laid out in a grid with their names. `size` is the
    size of a panel in the video; None means that of the first panel's film. Frames of other sizes
    are scaled after rounding to 8 bits. `progress` is called with the number of frames done so far.
    Sound is written first, next to `path`, and read back. Raises ZooError if the file cannot be
    written, and the errors of the panels; no file remains after an error.
    """
    film = panels[0].film
    shown = size or film.size
    scalers = [Scaler(panel.film.size, shown, scale_by) for panel in panels]
    grid = FrameGrid([panel.name for panel in panels], shown) if len(panels) > 1 else None
    files, starts = entry.files, [part.starts for part in film.store.manifest.parts]
    times = film.frame_seconds
    models = [panel.trained for panel in panels if isinstance(panel, Reconstruction)]
    until = span.stop_seconds or _end_of_frame(film, span.stop)

    def composed(frames: Sequence[Pixels]) -> Pixels:
        scaled = [scale(frame) for scale, frame in zip(scalers, frames, strict=True)]
        return grid(scaled) if grid else scaled[0]

    with ExitStack() as stack:
        size = grid.size if grid else shown
        video: VideoWriter | WebpWriter
        if path.suffix.lower() == WEBP:
            sound = Sound(None, "", "none: a WebP is silent")
            video = stack.enter_context(webp_file(path, size, film.fps))
        else:
            sound = stack.enter_context(film_sound(entry, film, span, path))
            video = stack.enter_context(
                video_file(
                    path,
                    size,
                    film.fps,
                    settings=settings,
                    tags=reconstruction_tags(film, entry, models, source_tags(files[0])),
                    chapters=source_chapters(files, starts, span.start_seconds, until),
                    sound=sound.track,
                    ends=until - span.start_seconds,
                )
            )
        stream = stack.enter_context(closing(stream_frames(panels, span.start, span.stop)))
        for number, frames in enumerate(stream, span.start):
            video.write(composed(frames), float(times[number]) - span.start_seconds)
            if progress:
                progress(number + 1 - span.start)
    return WrittenVideo(path, video.size, video.frames, video.seconds, sound)


def default_name(
    film: str,
    models: Sequence[str],
    trained_on: str | None,
    *,
    beside: bool = False,
    begin: float | None = None,
    end: float | None = None,
) -> str:
    """The default file name, `<film>-<model>.mp4`, with additions that distinguish videos.

    These are the training film if it is another film, `beside`, and the range, with dots in place
    of colons.
    """
    words = [film, *models]
    if trained_on and trained_on != film:
        words.append(trained_on)
    if beside:
        words.append("beside")
    for word, seconds in (("from", begin), ("to", end)):
        if seconds is not None:
            words += [word, in_file_name(seconds)]
    return "-".join(words) + ".mp4"
