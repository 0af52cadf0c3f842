"""Probe a film's files before they are decoded: colour, shape, black bars and length."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path

from av.audio.codeccontext import AudioCodecContext
from av.audio.stream import AudioStream
from av.video.frame import VideoFrame

from zoo.api.film_entry import FilmEntry, Rect, parse_crop
from zoo.base.errors import BadInput
from zoo.base.numbers import counted
from zoo.base.safe_text import one_line
from zoo.films.colour import Colour, has_alpha
from zoo.films.decode import decode_frames
from zoo.films.frame_converter import FrameConverter
from zoo.films.frame_store import Bars, Damage, IngestSettings, Part
from zoo.films.geometry import Rotation, side_data
from zoo.films.letterbox import BarFinder, search_bars
from zoo.films.video_file import VideoFile

# Bars found later may differ by this many pixels from those that were cut.
_BAR_TOLERANCE = 2
# An estimate this many times smaller than the stated number of frames is used instead.
_FAR_FEWER = 3


@dataclass
class FileProbe:
    """What is known of one file before it is decoded."""

    part: Part
    pixel_aspect: Fraction
    finder: BarFinder
    """Collects bars; shared by all files of the film with frames of the same size."""
    searched: bool
    """Whether bars are searched for."""
    expected: int
    """Estimated number of frames that it yields; 0 if unknown."""
    counted: bool = False
    """Whether `expected` is exact: pictures were counted, or the header states the number."""

    def converter(self, settings: IngestSettings) -> FrameConverter:
        """Make the converter from this file's frames to those of the store."""
        return FrameConverter(
            self.part.file,
            settings.size,
            settings.fit,
            (self.part.width, self.part.height),
            self.part.bars,
            self.part.interlaced,
        )

    def bars_are_wrong(self) -> bool:
        """Whether the frames seen since show other bars than those that were cut."""
        if not self.searched:
            return False
        cut, found = self.part.bars, self.finder.bars()
        return any(
            abs(getattr(cut, side) - getattr(found, side)) > _BAR_TOLERANCE
            for side in ("left", "top", "right", "bottom")
        )


def probe_files(entry: FilmEntry, settings: IngestSettings) -> list[FileProbe]:
    """Probe every file of a film. Raises BadInput if one of them is not a video."""
    probes: list[FileProbe] = []
    finders: dict[tuple[int, int], BarFinder] = {}
    starts = 0.0
    for path in entry.files:
        # One thread: with several, the decoder needs as many frames before it returns the first.
        with VideoFile.open(path, threads=1, image_rate=settings.fps) as source:
            if source.pictures:
                source.pictures.check_sizes()
            one = _probe(source, settings, starts, finders) or _continued_probe(
                probes, entry.files, source
            )
        probes.append(one)
        starts += one.part.duration or 0.0
    for one in probes:
        if one.searched:
            one.part.bars = one.finder.bars()
    return probes


def frames_in_words(probes: Sequence[FileProbe], known: int | None = None) -> str:
    """Describe how many frames a film has: `about` so many if estimated, empty if not known.

    `known` is the number that decoding it at another size found.
    """
    if known is not None:
        return counted(known, "frame")
    expected = sum(one.expected for one in probes)
    if not all(one.expected for one in probes):
        return ""
    return f"{'' if all(one.counted for one in probes) else 'about '}{counted(expected, 'frame')}"


def sound_tracks(path: Path) -> list[str]:
    """Each audio stream of a file in words: codec, channels, rate, language and title."""
    with VideoFile.open(path, threads=1) as source:
        return [_track(stream) for stream in source.container.streams.audio]


def _track(stream: AudioStream) -> str:
    context: AudioCodecContext | None = stream.codec_context
    if context is None:  # without a decoder for it
        return "an unknown codec"
    rate = f"{context.sample_rate:,} Hz" if context.sample_rate else ""
    stated = (stream.metadata.get(key, "") for key in ("language", "title"))
    words = (context.name, context.layout.name, rate, *stated)
    return ", ".join(word for word in words if word and word != "und")


def _continued_probe(
    probes: list[FileProbe], files: Sequence[Path], source: VideoFile
) -> FileProbe:
    """Probe a file without a key frame as a continuation of the file before it.

    Raises BadInput if it continues no file.
    """
    if probes:
        with VideoFile.open(files[len(probes) - 1], threads=1) as before:
            if before.is_continued_by(source.path):
                file, last = one_line(source.path.name), probes[-1]
                frames, seconds, exact = _length(source)
                part = last.part.model_copy(
                    update={"file": file, "duration": seconds, "bars": Bars(), "joins": []}
                )
                return replace(last, part=part, expected=frames, counted=exact)
    raise BadInput(f"no frame of {source.path.name} can be decoded{_why(source)}")


def _why(source: VideoFile) -> str:
    if source.pictures:
        return ""
    with source.path.open("rb") as file:
        begins = file.read(64)
    if begins[8:12] == b"WEBP" and b"ANIM" in begins:
        return ": FFmpeg does not decode animated WebP; convert it to GIF, APNG or a video"
    return ""


def _probe(
    source: VideoFile,
    settings: IngestSettings,
    starts: float,
    finders: dict[tuple[int, int], BarFinder],
) -> FileProbe | None:
    """Probe one file; None if none of its frames can be decoded."""
    first = next(decode_frames(source, Damage()), None)
    if first is None:
        return None
    part = _part(source, first, starts)
    finder = finders.setdefault((first.width, first.height), BarFinder(first.width, first.height))
    duration = part.duration or 0.0
    start, stop = _wanted(settings, starts, duration)
    searched = settings.crop == "auto"
    if searched and (stop > start or not duration):
        search_bars(source, finder, start, stop)
    crop = parse_crop(settings.crop)
    if crop is not None:
        part.bars = _bars_around(crop, source.path, first.width, first.height)
    frames, part.duration, exact = _length(source)
    expected = _between(settings, starts, part.duration, frames)
    whole = settings.start is None and settings.stop is None and settings.fps is None
    return FileProbe(
        part=part,
        pixel_aspect=source.pixel_aspect,
        finder=finder,
        searched=searched,
        expected=expected,
        counted=exact and whole,
    )


def _length(source: VideoFile) -> tuple[int, float | None, bool]:
    """Return how many frames a file has, 0 if unknown, its seconds, and if the number is exact.

    A transport stream counts jumps of its clock as length, and a still of several minutes has one
    frame. So if the first part of the file indicates far fewer frames, that number is used.
    """
    if source.pictures:
        count = len(source.pictures.files)
        return count, count / float(source.rate), True
    if source.is_image:
        return 1, float(1 / source.rate), True
    seconds = source.duration
    frames = source.frames
    if frames is None:
        frames = round(seconds * source.rate) if seconds else 0
        found = source.frames_by_size()
        if found and (not frames or found * _FAR_FEWER < frames):
            if source.clock_may_jump or not frames:
                seconds = float(found / source.rate)
            frames = found
    # A file may state any length, but each of its frames takes at least a byte.
    believed = min(frames, source.path.stat().st_size)
    return believed, seconds, source.frames == believed


def _between(settings: IngestSettings, starts: float, seconds: float | None, frames: int) -> int:
    """Estimate how many frames lie between `from` and `to`, at the wanted frame rate."""
    if not seconds:
        return frames
    start, stop = _wanted(settings, starts, seconds)
    length = max(0.0, stop - start)
    return round(length * (frames / seconds if settings.fps is None else settings.fps))


def _wanted(settings: IngestSettings, starts: float, seconds: float) -> tuple[float, float]:
    """Return `from` and `to` in seconds of a file that begins at `starts` and lasts `seconds`."""
    start = min(max(0.0, (settings.start or 0.0) - starts), seconds)
    stop = seconds if settings.stop is None else min(seconds, max(0.0, settings.stop - starts))
    return start, stop


def _bars_around(crop: Rect, path: Path, width: int, height: int) -> Bars:
    right, bottom = width - crop.left - crop.width, height - crop.top - crop.height
    if right < 0 or bottom < 0:
        raise BadInput(f"the crop {crop} reaches beyond {path.name}, which is {width}x{height}")
    return Bars(left=crop.left, top=crop.top, right=right, bottom=bottom)


def _part(source: VideoFile, frame: VideoFrame, starts: float) -> Part:
    colour = Colour.of(frame)
    turn = Rotation.of(frame)
    return Part(
        file=one_line(source.path.name),
        codec=source.stream.codec_context.name,
        width=frame.width,
        height=frame.height,
        pixel_format=frame.format.name,
        pixel_aspect=f"{source.pixel_aspect.numerator}:{source.pixel_aspect.denominator}",
        rate=float(source.rate),
        duration=source.duration,
        matrix=colour.matrix,
        range="full" if colour.full_range(frame.format) else "limited",
        transfer=colour.transfer,
        primaries=colour.primaries,
        rotation=turn.degrees,
        mirrored=turn.mirrored,
        interlaced=frame.interlaced_frame,
        bars=Bars(),
        cropping=source.cropping,
        notes=list(_notes(source, frame)),
        starts=starts,
        frames=0,
    )


def _notes(source: VideoFile, frame: VideoFrame) -> Iterator[str]:
    """Yield a line for each property of the file that is not followed, or not exactly."""
    colour, turn = Colour.of(frame), Rotation.of(frame)
    if turn.stated is not None:
        yield (
            f"its header rotates the picture by {turn.stated:.1f} degrees clockwise; it is "
            f"rotated by {turn.degrees}, the nearest quarter turn"
        )
    if source.stream.metadata.get("alpha_mode") == "1" and not has_alpha(frame.format):
        yield (
            "it has transparency, which FFmpeg's decoder ignores; transparent areas show the "
            "colour stored there"
        )
    if colour.logarithmic:
        yield (
            f"its brightness is logarithmic ({colour.transfer}) and shown as stored; for another "
            "look, apply a lookup table (LUT) to the film first"
        )
    # The first field is the kind; 0 means an ordinary picture.
    if any((side_data(frame, "STEREO3D") or b"")[:4]):
        yield "it is stereoscopic; both eyes are shown as stored in the frame"
    if side_data(frame, "SPHERICAL") is not None:
        yield "it is spherical (360 degrees) and shown flat, as stored"
