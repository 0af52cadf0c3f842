"""The sound of a film as bytes in a film file, and back."""

from __future__ import annotations

import io
from collections.abc import Generator
from dataclasses import dataclass
from typing import Any

import av
import av.error
from av.audio.stream import AudioStream
from av.container import InputContainer, OutputContainer
from av.packet import Packet

from zoo.archive.container import Bytes
from zoo.errors import BadInput
from zoo.video.sound import COPIED, Sound

_FORMAT = "mp4"


def sound_bytes(sound: Sound) -> bytes:
    """Write the sound alone as an MP4, with the packets that a film would have."""
    file = io.BytesIO()
    with av.open(file, "w", format=_FORMAT) as container:
        for packet in sound.into(container):
            container.mux(packet)
    return file.getvalue()


@dataclass(frozen=True)
class KeptSound:
    """Sound from a film file: a `SoundTrack` for `video_file`."""

    data: Bytes

    def into(self, container: OutputContainer) -> Generator[Packet[Any], None, None]:
        """Add a stream to the container at once; return its packets in order, timed from 0.

        Raises BadInput if the bytes hold no sound that may be copied.
        """
        source = self._opened()
        stream = _only_stream(source)
        return self._packets(source, stream, container.add_stream_from_template(stream))

    def check(self) -> None:
        """Raise BadInput if the bytes hold no sound that may be copied."""
        with self._opened() as source:
            _only_stream(source)

    def _opened(self) -> InputContainer:
        try:
            # From memory, as one format: nothing in the bytes can name another file or address.
            file = io.BytesIO(self.data.tobytes())
            return av.open(file, "r", format=_FORMAT, metadata_errors="replace")
        except av.error.FFmpegError as error:
            raise BadInput(f"the sound in the film file is damaged: {error.strerror}") from None

    def _packets(
        self, source: InputContainer, stream: AudioStream, into: AudioStream
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
    name = "" if context is None else context.name.removesuffix("float").removeprefix("lib")
    if name not in COPIED:
        raise BadInput(f"the sound in the film file is {name or 'unknown'}, not for MP4")
    return stream
