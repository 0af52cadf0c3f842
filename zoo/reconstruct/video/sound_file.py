"""An MP4 with one track of sound: beside a video that is being written, or in a `.zoo` file."""

from __future__ import annotations

import io
from collections.abc import Generator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import av
import av.error
from av.audio.stream import AudioStream
from av.container import InputContainer, OutputContainer
from av.packet import Packet

from zoo.base.errors import BadInput

COPIED = ("aac", "mp3", "ac3", "eac3", "opus", "flac", "alac")
"""Codecs that MP4 takes and players support in it; others are encoded again as AAC."""
FORMAT = "mp4"


@dataclass(frozen=True)
class SoundFile:
    """One track of sound in an MP4: a `SoundTrack` for `video_file`. It is untrusted input."""

    content: Path | bytes = field(repr=False)

    def into(self, container: OutputContainer) -> Generator[Packet[Any], None, None]:
        """Add a stream to the container at once; return its packets in order, timed from 0.

        Raises BadInput if there is no sound that can be copied.
        """
        source = self.opened()
        stream = _only_stream(source)
        return _packets(source, stream, container.add_stream_from_template(stream))

    def check(self) -> None:
        """Raise BadInput unless every packet can be read and written to an MP4."""
        try:
            with av.open(_NullFile(), "w", format=FORMAT) as container:
                for packet in self.into(container):
                    container.mux(packet)
        except (av.error.FFmpegError, ValueError) as error:
            raise BadInput(f"the sound in the film file is damaged: {error}") from None

    def opened(self) -> InputContainer:
        """Open the file for reading; raises BadInput if it is not an MP4."""
        try:
            # The format is fixed, so nothing in the content can refer to another file or address.
            file = (
                io.BytesIO(self.content)
                if isinstance(self.content, bytes)
                else f"file:{self.content.absolute()}"
            )
            return av.open(file, "r", format=FORMAT, metadata_errors="replace")
        except av.error.FFmpegError as error:
            raise BadInput(f"the sound in the film file is damaged: {error.strerror}") from None


class _NullFile(io.RawIOBase):
    """A seekable file that discards what is written to it."""

    def __init__(self) -> None:
        super().__init__()
        self._position = self._size = 0

    def writable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self._position += len(data)
        self._size = max(self._size, self._position)
        return len(data)

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        starts = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._size}
        self._position = starts[whence] + offset
        return self._position


def codec_family(decoder: str) -> str:
    """The codec of a decoder: `mp3float` is mp3, `libopus` is opus."""
    return decoder.removesuffix("float").removeprefix("lib")


def _packets(
    source: InputContainer, stream: AudioStream, into: AudioStream
) -> Generator[Packet[Any], None, None]:
    with source:
        for packet in source.demux(stream):
            if packet.pts is None or packet.dts is None or not packet.size:
                continue
            packet.stream = into
            yield packet


def _only_stream(source: InputContainer) -> AudioStream:
    streams = source.streams
    if len(streams) != 1 or not isinstance(streams[0], AudioStream):
        raise BadInput("the sound in the film file is not one track of sound")
    stream = streams[0]
    # Without a codec context there is no decoder for a stream.
    context = stream.codec_context
    name = "" if context is None else codec_family(context.name)
    if name not in COPIED:
        raise BadInput(f"the sound in the film file is {name or 'unknown'}, not for MP4")
    if not context.sample_rate or not context.channels:
        raise BadInput("the sound in the film file is empty")
    return stream
