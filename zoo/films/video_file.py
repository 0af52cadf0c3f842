"""One video file, opened safely, and what it states before it is decoded."""

from __future__ import annotations

import bisect
import functools
import io
import itertools
import os
import re
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import BinaryIO, Self

import av
import av.error
import av.logging
from av.codec.hwaccel import HWAccel, hwdevices_available
from av.container import InputContainer
from av.stream import Disposition, Stream
from av.video.stream import VideoStream

from zoo.base.errors import BadInput
from zoo.films.frame_store import Bars
from zoo.films.source_files import PictureSequence, check_regular_file, is_sequence

# Formats that FFmpeg opens but that are no films: lists that name other files or URLs, and text
# rendered as pictures.
_NOT_FILMS = {
    "hls",
    "dash",
    "concat",
    "concatf",
    "tty",
    "imf",
    "sdp",
    "rtsp",
    "lavfi",
    "ass",
    "srt",
}
# Formats that open other files, URLs or devices are not even tried.
_OPENS_OTHER_FILES = {
    *("hls", "dash", "concat", "concatf", "imf", "sdp", "rtsp", "rtp", "sap", "lavfi", "image2"),
    *("webm_dash_manifest", "alsa", "oss", "fbdev", "kmsgrab", "x11grab", "video4linux2,v4l2"),
}
# FFmpeg's flag of a format whose times may jump (libavformat/avformat.h).
_AVFMT_TS_DISCONT = 0x0200
# Formats that can be cut at any byte: with timestamps, and raw streams.
_CUT_WITH_CLOCK = {"mpegts", "mpeg"}
_CUT_WITHOUT_CLOCK = {"h264", "hevc", "mpegvideo", "m4v"}
# A part that begins within this many seconds of the end of the one before continues it.
_CUT_SECONDS = 1.0
# Of several video streams, one with this many times fewer frames than another is not a film.
_POSTER_SHARE = 20
_FARTHEST = 1 << 62
# Packets that are counted to estimate a stream's length.
_COUNTED = 250
MOST_PIXELS = 8192 * 4608
"""The most pixels of a coded frame, above 8K: a few bytes can claim frames of gigabytes."""


@dataclass
class VideoFile:
    """An open video file, or numbered pictures: the container and its video stream."""

    path: Path
    container: InputContainer
    stream: VideoStream
    image_rate: Fraction | None = None
    """Frames per second of a film of single images; 25 if None."""
    cropping: Bars = field(default_factory=Bars)
    """What the container's header cuts off."""
    pictures: PictureSequence | None = None
    """The pictures, if `path` is a folder or pattern."""

    @classmethod
    def open(
        cls,
        path: Path,
        hwaccel: str | None = None,
        threads: int = 0,
        followed_by: Sequence[Path] = (),
        image_rate: Fraction | None = None,
    ) -> VideoFile:
        """Open a regular file that holds a film, or numbered pictures.

        `hwaccel` is a device type such as `cuda`; `threads` is for the decoder, 0 for as many as
        fit. The files `followed_by` are appended as one stream of bytes. `image_rate` is the frame
        rate of pictures, 25 if None. Raises BadInput in one line if the path is not a readable
        regular file or holds no video.
        """
        pictures = PictureSequence.find(path) if is_sequence(path) else None
        if pictures is None:
            check_regular_file(path)
        accelerator = _accelerator(hwaccel)
        try:
            container = (
                _open_pictures(pictures, accelerator, image_rate)
                if pictures
                else _open_container(path, accelerator, followed_by)
            )
        except av.error.FFmpegError as error:
            if hwaccel is not None:
                raise BadInput(
                    f"{hwaccel} cannot decode {path.name} on this machine ({error.strerror}); "
                    "leave --hwaccel out to decode on the processor"
                ) from None
            reason = f"is not a video that can be read: {error.strerror}"
            raise BadInput(f"{path.name} {reason}") from None
        except NotImplementedError:
            raise BadInput(f"{hwaccel} cannot decode {path.name}; leave --hwaccel out") from None
        try:
            stream = _film_stream(path, container, threads)
            cropping = _header_cropping(container, stream)
            return cls(path, container, stream, image_rate, cropping, pictures)
        except BaseException:
            container.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.container.close()

    @property
    def rate(self) -> Fraction:
        """The frame rate that the file states; 25 if it states nothing usable."""
        if self.is_image and self.image_rate:
            return self.image_rate
        for rate in (self.stream.average_rate, self.stream.guessed_rate, self.stream.base_rate):
            if rate and Fraction(1, 100) <= rate <= 1000:
                return Fraction(rate)
        return Fraction(25)

    @property
    def is_image(self) -> bool:
        """Whether the file is a single image, such as a PNG, without any time."""
        return self.container.format.name.endswith("_pipe")

    @property
    def clock_start(self) -> float:
        """The timestamp, in seconds, that players show as zero."""
        start = self.container.start_time
        return start / av.time_base if start is not None and abs(start) < 1 << 60 else 0.0

    @property
    def duration(self) -> float | None:
        """The duration in seconds that the file states; None if it states nothing usable."""
        stream = self.stream
        if stream.duration and stream.duration > 0 and stream.time_base:
            return float(stream.duration * stream.time_base)
        # Matroska keeps a stream's own length as text; the container's length includes subtitles.
        stated = stream.metadata.get("DURATION", "")
        written = re.fullmatch(r"(\d{1,6}):(\d\d):(\d\d\.\d{1,20})", stated)
        if written:
            return int(written[1]) * 3600 + int(written[2]) * 60 + float(written[3])
        return self.container_seconds

    @property
    def video_duration(self) -> float | None:
        """Like `duration`, but None if it may be the length of sound or subtitles."""
        alone = len(self.container.streams) == 1
        stated = self.duration
        return stated if alone or stated != self.container_seconds else None

    @property
    def frames(self) -> int | None:
        """The number of frames that the file states; None if it states none."""
        if self.pictures:
            return len(self.pictures.files)
        stated = self.stream.frames or self.stream.metadata.get("NUMBER_OF_FRAMES", "")
        return int(stated) or None if re.fullmatch(r"\d{1,15}", str(stated)) else None

    def frames_by_size(self) -> int | None:
        """Estimate the number of frames from the first part of the file.

        None if that is impossible. Opens the file once more.
        """
        size, counted, begins, last = self.path.stat().st_size, 0, None, 0
        with _open_container(self.path) as container:
            try:
                for packet in container.demux(container.streams[self.stream.index]):
                    if packet.size:
                        counted += 1
                        last = packet.pos or 0
                        begins = last if begins is None else begins
                    if counted > _COUNTED:
                        break
                else:
                    return counted
            except av.error.FFmpegError:
                return None
        return round(size * (counted - 1) / (last - begins)) if begins and last > begins else None

    def is_continued_by(self, path: Path) -> bool:
        """Whether another file continues this one, which was cut in the middle of a stream.

        Cameras, receivers and DVDs split long recordings like this. Their clock continues; a
        stream without a clock continues if the other file does not begin with a key frame.
        """
        formats = set(self.container.format.name.split(","))
        if not formats & (_CUT_WITH_CLOCK | _CUT_WITHOUT_CLOCK) or is_sequence(path):
            return False
        check_regular_file(path)
        try:
            other = _open_container(path)
        except av.error.FFmpegError:
            return False
        with other:
            same = [s for s in other.streams.video if s.id == self.stream.id and s.codec_context]
            if other.format.name != self.container.format.name or not same:
                return False
            ours, theirs = self.stream, same[0]
            if theirs.codec_context.name != ours.codec_context.name:
                return False
            if formats & _CUT_WITHOUT_CLOCK:
                try:
                    return not next(other.demux(theirs)).is_keyframe
                except (StopIteration, av.error.FFmpegError):
                    return False
            begins, length, goes_on = ours.start_time, ours.duration, theirs.start_time
            if begins is None or length is None or goes_on is None or ours.time_base is None:
                return False
            return abs(float((goes_on - begins - length) * ours.time_base)) < _CUT_SECONDS

    def seek(self, seconds: float, stream: Stream | None = None) -> None:
        """Go to a key frame at or before a time on the file's clock. Raises FFmpegError.

        The key frame is one of `stream`, by default the film's, which must have a time base.
        """
        stream = stream or self.stream
        assert stream.time_base is not None
        # A file may state a length of any size, but FFmpeg counts in 64 bits.
        place = max(-_FARTHEST, min(round(seconds / stream.time_base), _FARTHEST))
        self.container.seek(place, stream=stream, backward=True)

    @property
    def clock_may_jump(self) -> bool:
        """Whether the clock of this kind of file may jump, according to FFmpeg."""
        return bool(self.container.format.flags & _AVFMT_TS_DISCONT)

    @property
    def container_seconds(self) -> float | None:
        """The duration of the whole container; None if it states nothing usable."""
        length = self.container.duration
        return length / av.time_base if length and length > 0 else None

    @property
    def audio_seconds(self) -> float:
        """The end of the file in seconds if it has sound; 0 without sound."""
        return (self.container_seconds or 0.0) if self.container.streams.audio else 0.0

    @property
    def pixel_aspect(self) -> Fraction:
        """The width of a pixel over its height; 1 if the file states nothing usable."""
        return usable_aspect(self.stream.sample_aspect_ratio)


def usable_aspect(stated: Fraction | None) -> Fraction:
    """Return a stated pixel aspect, or 1 if it is missing or makes no sense."""
    return Fraction(stated) if stated and Fraction(1, 20) <= stated <= 20 else Fraction(1)


def _accelerator(hwaccel: str | None) -> HWAccel | None:
    if hwaccel is None:
        return None
    known = hwdevices_available()
    if hwaccel not in known:
        raise BadInput(f"no hardware decoder is called {hwaccel!r}; there are: {', '.join(known)}")
    return HWAccel(device_type=hwaccel, allow_software_fallback=False)


class _ConcatenatedFiles(io.RawIOBase):
    def __init__(self, paths: Sequence[Path]) -> None:
        self._paths = paths
        self._ends = list(itertools.accumulate(path.stat().st_size for path in paths))
        self._at = 0
        self._open: tuple[int, BinaryIO] | None = None

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        begins = {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._ends[-1]}[whence]
        self._at = max(0, begins + offset)
        return self._at

    def read(self, size: int = -1) -> bytes:
        number = bisect.bisect_right(self._ends, self._at)
        if number == len(self._paths) or size == 0:
            return b""
        if self._open is None or self._open[0] != number:
            self._close_current()
            self._open = number, self._paths[number].open("rb")
        file = self._open[1]
        file.seek(self._at - (self._ends[number - 1] if number else 0))
        found = file.read(size)
        self._at += len(found)
        return found

    def _close_current(self) -> None:
        if self._open is not None:
            self._open[1].close()
            self._open = None

    def close(self) -> None:
        self._close_current()
        super().close()


def _open_container(
    path: Path, accelerator: HWAccel | None = None, followed_by: Sequence[Path] = ()
) -> InputContainer:
    return av.open(
        # An absolute path: a name such as `concat:x` is a file's name here, not a protocol.
        _ConcatenatedFiles([path, *followed_by]) if followed_by else f"file:{path.absolute()}",
        mode="r",
        hwaccel=accelerator,
        metadata_errors="replace",
        options={"protocol_whitelist": "file", "format_whitelist": _allowed_formats()},
    )


def _open_pictures(
    pictures: PictureSequence, accelerator: HWAccel | None, rate: Fraction | None
) -> InputContainer:
    return av.open(
        f"file:{pictures.pattern}",
        mode="r",
        format="image2",
        hwaccel=accelerator,
        options={
            "protocol_whitelist": "file",
            "format_whitelist": "image2",
            "pattern_type": "sequence",
            "start_number": str(pictures.first),
            "framerate": str(rate or 25),
        },
    )


def _film_stream(path: Path, container: InputContainer, threads: int) -> VideoStream:
    names = set(container.format.name.split(","))
    if names & _NOT_FILMS:
        raise BadInput(f"{path.name} is not a video; its format is {container.format.name}")
    pictures = [s for s in container.streams.video if _is_picture(s)]
    films = [s for s in container.streams.video if not _is_picture(s)]
    if not films:
        if pictures:
            raise BadInput(f"{path.name} has a cover picture but no video")
        kinds = ", ".join(sorted({s.type for s in container.streams})) or "nothing"
        joins = (
            "; if it was cut from a longer recording, join it to the file before it, as with `cat`"
            if names & (_CUT_WITH_CLOCK | _CUT_WITHOUT_CLOCK)
            else ""
        )
        raise BadInput(f"{path.name} has no video; it contains: {kinds}{joins}")
    films = [s for s in films if s.codec_context is not None] or films
    # As players do: the default stream; of several the one with the largest frames.
    stream = max(
        films if len(films) == 1 else _without_posters(path, films),
        key=lambda s: (bool(s.disposition & Disposition.default), _pixels(s), -s.index),
    )
    if stream.codec_context is None:
        raise BadInput(f"{path.name}: this FFmpeg has no decoder for its video")
    stream.codec_context.thread_count = threads
    stream.codec_context.thread_type = "AUTO"
    if _pixels(stream) > MOST_PIXELS:
        raise BadInput(
            f"the frames of {path.name} are {stream.codec_context.width}x"
            f"{stream.codec_context.height}; the limit is {MOST_PIXELS:,} pixels"
        )
    # Refuses frames that are larger than the file's header says.
    stream.codec_context.options = {"max_pixels": str(MOST_PIXELS)}
    return stream


def _without_posters(path: Path, films: list[VideoStream]) -> list[VideoStream]:
    """Return the streams without those that have hardly any frames, such as posters."""
    counts = {s.index: s.frames for s in films}
    if not all(counts.values()):
        counts = _count_packets(path, films)
    most = max(counts.values())
    # A stream with one frame is not the film if another one has two.
    least = max(most / _POSTER_SHARE, min(most, 2))
    return [s for s in films if counts[s.index] >= least]


def _count_packets(path: Path, films: list[VideoStream]) -> dict[int, int]:
    """Count the packets of each stream from the beginning until one has enough."""
    counts = {s.index: 0 for s in films}
    with _open_container(path) as container:
        try:
            for packet in container.demux([container.streams[index] for index in counts]):
                counts[packet.stream_index] += bool(packet.size)
                if counts[packet.stream_index] >= _COUNTED:
                    break
        except av.error.FFmpegError:
            # What was counted before a damaged place is enough.
            return counts
    return counts


def _header_cropping(container: InputContainer, stream: VideoStream) -> Bars:
    """Return what Matroska's PixelCrop or MP4's `clap` cuts off, which decoders do not apply.

    PyAV gives the side data of packets and frames but not of streams. So this parses FFmpeg's
    description of the file, which PyAV captures from FFmpeg's log. During the capture, a decoder
    thread that logs waits for the interpreter, and freeing its decoder would never end: call this
    before anything is decoded. It lets such threads go on afterwards.
    """
    level = av.logging.get_level()
    av.logging.set_level(av.logging.INFO)
    try:
        text = container.dumps_format()  # type: ignore[attr-defined]
    finally:
        av.logging.set_level(level)
        time.sleep(0.001)
    parts = re.split(r"^ +Stream #0:(\d+)", text, flags=re.MULTILINE)
    about = dict(zip(parts[1::2], parts[2::2], strict=True)).get(str(stream.index), "")
    found = re.search(r"^ +Frame Cropping: (\d+)/(\d+)/(\d+)/(\d+)$", about, re.MULTILINE)
    if not found:
        return Bars()
    left, right, top, bottom = map(int, found.groups())
    return Bars(left=left, right=right, top=top, bottom=bottom)


@functools.cache
def _allowed_formats() -> str:
    """The file formats that FFmpeg may try, in the form of its option."""
    return ",".join(sorted(av.formats_available - _OPENS_OTHER_FILES))


def _is_picture(stream: VideoStream) -> bool:
    return bool(stream.disposition & (Disposition.attached_pic | Disposition.timed_thumbnails))


def _pixels(stream: VideoStream) -> int:
    return stream.codec_context.width * stream.codec_context.height if stream.codec_context else 0
