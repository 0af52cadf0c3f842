"""Decoded sound onto a time line of its own, and coded as AAC."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from typing import Any

import numpy as np
import numpy.typing as npt
from av.audio.frame import AudioFrame
from av.audio.resampler import AudioResampler
from av.audio.stream import AudioStream
from av.codec.codec import Codec
from av.container import OutputContainer
from av.packet import Packet

BIT_RATE_A_CHANNEL = 96_000
_LAYOUTS = {1: "mono", 2: "stereo", 6: "5.1"}
_USUAL_RATE = 48_000
# Times that containers state for sound waver, in old WebM files by 20 ms to and fro; what is off by
# about a frame of film was cut or is missing.
_JITTER_SECONDS = 0.04
_SAMPLES_AT_ONCE = 48_000


class Recoder:
    """Takes decoded sound with its time, fills gaps with silence, and codes it as AAC.

    `rate` and `channels` are those of the source, kept where AAC has them; else there are 48,000
    samples a second, and two channels.
    """

    def __init__(
        self, container: OutputContainer, rate: int, channels: int, length: float | None
    ) -> None:
        known = Codec("aac", "w").audio_rates or []
        self._rate = rate if rate in known else _USUAL_RATE
        self._layout = _LAYOUTS.get(channels, "stereo")
        self._length = None if length is None else round(length * self._rate)
        stream = container.add_stream("aac", rate=self._rate, layout=self._layout)
        assert isinstance(stream, AudioStream)
        self._channels = len(stream.codec_context.layout.channels)
        stream.bit_rate = BIT_RATE_A_CHANNEL * self._channels
        self._stream = stream
        self._resampler: AudioResampler | None = None
        self._source: tuple[str, str, int] | None = None
        self._shift = 0.0
        self._written = 0

    def feed(self, frame: AudioFrame, begin: float) -> Iterator[Packet[Any]]:
        """Take decoded sound that is heard from `begin` on, in seconds; yield what is ready."""
        assert frame.pts is not None and frame.time_base is not None
        source = (frame.format.name, frame.layout.name, frame.sample_rate)
        if source != self._source:
            yield from self._resampled(None)
            self._source = source
            self._resampler = AudioResampler("fltp", self._layout, self._rate)
        self._shift = begin - float(frame.pts * frame.time_base)
        yield from self._resampled(frame)

    def finish(self) -> Iterator[Packet[Any]]:
        """Yield the rest."""
        yield from self._resampled(None)
        yield from self._stream.encode(None)

    def _resampled(self, frame: AudioFrame | None) -> Iterator[Packet[Any]]:
        if self._resampler is None:
            return
        for one in self._resampler.resample(frame):
            assert one.pts is not None and one.time_base is not None
            begin = float(one.pts * one.time_base) + self._shift
            yield from self._placed(np.asarray(one.to_ndarray(), np.float32), begin)

    def _placed(self, samples: npt.NDArray[np.float32], begin: float) -> Iterator[Packet[Any]]:
        """Write samples (channels, n) at their time: after silence, or without their beginning."""
        missing = round(begin * self._rate) - self._written
        if abs(missing) <= _JITTER_SECONDS * self._rate and self._written:
            missing = 0
        while missing > 0:
            silent = min(missing, _SAMPLES_AT_ONCE)
            yield from self._written_out(np.zeros((self._channels, silent), np.float32))
            missing -= silent
        yield from self._written_out(samples[:, -missing:] if missing else samples)

    def _written_out(self, samples: npt.NDArray[np.float32]) -> Iterator[Packet[Any]]:
        if self._length is not None:
            samples = samples[:, : max(0, self._length - self._written)]
        if not samples.shape[1]:
            return
        frame = AudioFrame.from_ndarray(np.ascontiguousarray(samples), "fltp", self._layout)
        frame.sample_rate = self._rate
        frame.pts, frame.time_base = self._written, Fraction(1, self._rate)
        self._written += samples.shape[1]
        yield from self._stream.encode(frame)
