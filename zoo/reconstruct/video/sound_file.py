"""An MP4 that holds one track of sound: beside a film that is being made, or in a film file."""

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
"""What MP4 takes and players know there; anything else is coded again, as AAC."""
FORMAT = "mp4"


@dataclass(frozen=True)
class SoundFile:
    """One track of sound in an MP4: a `SoundTrack` for `video_file`. Nothing of it is trusted."""

    content: Path | bytes = field(repr=False)

    def into(self, container: OutputContainer) -> Generator[Packet[Any], None, None]:
        """Add a stream to the container at once; return its packets in order, timed from 0.

        Raises BadInput if there is no sound that may be copied.
        """
        source = self.opened()
        stream = _only_stream(source)
        return _packets(source, stream, container.add_stream_from_template(stream))

    def check(self) -> None:
        """Raise BadInput unless every packet can be read and is taken by an MP4."""
        try:
            with av.open(_Nowhere(), "w", format=FORMAT) as container:
                for packet in self.into(container):
                    container.mux(packet)
        except (av.error.FFmpegError, ValueError) as error:
            raise BadInput(f"the sound in the film file is damaged: {error}") from None

    def opened(self) -> InputContainer:
        """Open the file for reading; raises BadInput if it is no MP4."""
        try:
            # As one format: nothing in the content can name another file or address.
            file = (
                io.BytesIO(self.content)
                if isinstance(self.content, bytes)
                else f"file:{self.content.absolute()}"
            )
            return av.open(file, "r", format=FORMAT, metadata_errors="replace")
        except av.error.FFmpegError as error:
            raise BadInput(f"the sound in the film file is damaged: {error.strerror}") from None


class _Nowhere(io.RawIOBase):
    """A file that forgets what is written to it."""

    def __init__(self) -> None:
        super().__init__()
        self._place = self._size = 0

    def writable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self._place += len(data)
        self._size = max(self._size, self._place)
        return len(data)

    def tell(self) -> int:
        return self._place

    def seek(self, place: int, whence: int = io.SEEK_SET) -> int:
        starts = {io.SEEK_SET: 0, io.SEEK_CUR: self._place, io.SEEK_END: self._size}
        self._place = starts[whence] + place
        return self._place


def codec_family(decoder: str) -> str:
    """A codec by the name of its decoder: `mp3float` is mp3, `libopus` is opus."""
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
    # A track without a codec context is one that nothing here can decode.
    context = stream.codec_context
    name = "" if context is None else codec_family(context.name)
    if name not in COPIED:
        raise BadInput(f"the sound in the film file is {name or 'unknown'}, not for MP4")
    if not context.sample_rate or not context.channels:
        raise BadInput("the sound in the film file is empty")
    return stream
