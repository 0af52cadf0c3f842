"""Decoded sound onto a time line of its own, and coded as AAC."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
import numpy.typing as npt
from av.audio.frame import AudioFrame
from av.audio.layout import AudioLayout
from av.audio.resampler import AudioResampler
from av.audio.stream import AudioStream
from av.codec.codec import Codec
from av.container import OutputContainer
from av.packet import Packet

BIT_RATE_A_CHANNEL = 96_000
LAYOUTS = ("mono", "stereo", "3.0", "4.0", "5.0", "5.1", "7.1")
"""Those that AAC has a name for, so that every decoder knows which channel is which."""
# What FFmpeg takes channels for whose places nobody states, by their number.
_USUAL = {1: "mono", 2: "stereo", 3: "2.1", 4: "4.0", 5: "5.0", 6: "5.1", 7: "6.1", 8: "7.1"}
_USUAL_RATE = 48_000
# Times that containers state for sound waver, in old WebM files by 20 ms to and fro; what is off by
# about a frame of film was cut or is missing.
_JITTER_SECONDS = 0.04
_SAMPLES_AT_ONCE = 48_000


@dataclass(frozen=True)
class Form:
    """What decoded sound is like: its channels and its rate."""

    layout: str
    """As FFmpeg names it."""
    channels: tuple[str, ...]
    """Where each channel belongs: FL, FR, LFE and so on."""
    rate: int
    """Samples a second."""

    @classmethod
    def of(cls, frame: AudioFrame) -> Form:
        """The form of a decoded frame."""
        names = tuple(channel.name for channel in frame.layout.channels)
        if len(names) in _USUAL and set(names) == {"NONE"}:
            usual = AudioLayout(_USUAL[len(names)])
            return cls(usual.name, tuple(c.name for c in usual.channels), frame.sample_rate)
        return cls(frame.layout.name, names, frame.sample_rate)

    @property
    def placed(self) -> bool:
        """Whether its channels have places; FFmpeg cannot mix those that have none."""
        return not any(name == "NONE" or name.startswith(("AMBI", "USR")) for name in self.channels)


@dataclass(frozen=True)
class Target:
    """The form in which sound is coded as AAC, and what that does to its channels."""

    layout: str
    rate: int
    lost: str
    """What becomes of channels that are not kept, in words; empty where all are."""


def target_for(forms: Collection[Form]) -> Target:
    """The form that keeps most of these: the widest layout and the highest rate among them."""
    known = Codec("aac", "w").audio_rates or []
    rates = [form.rate for form in forms if form.rate in known]
    layouts = {form: _layout_for(form) for form in forms}
    widest = max((layout for layout, _ in layouts.values()), key=LAYOUTS.index)
    lost = "; ".join(sorted({lost for _, lost in layouts.values() if lost}))
    return Target(widest, max(rates, default=_USUAL_RATE), lost)


def _layout_for(form: Form) -> tuple[str, str]:
    count = len(form.channels)
    if not form.placed:
        return "stereo", f"the first two of {count} channels, whose places are not stated"
    for layout in LAYOUTS:
        has = {channel.name for channel in AudioLayout(layout).channels}
        # A pair at the sides is the pair at the back where there is no other.
        pairs = {"SL": "BL", "SR": "BR"} if has.isdisjoint({"SL", "SR"}) else {}
        wanted = [pairs.get(name, name) for name in form.channels]
        if len(set(wanted)) == count and has.issuperset(wanted):
            return layout, ""
    mixed = "7.1" if count > 6 else "5.1" if count > 2 else "stereo"
    return mixed, f"{count} channels, {form.layout}, mixed into {mixed}"


class Recoder:
    """Takes decoded sound with its time, fills gaps with silence, and codes it as AAC.

    Nothing is written after `length` seconds, where there is a length.
    """

    def __init__(
        self, container: OutputContainer, layout: str, rate: int, length: float | None
    ) -> None:
        self._rate, self._layout = rate, layout
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
        self._lost = False

    def lose(self) -> None:
        """Take note that sound is missing here, however short: what follows keeps its time."""
        self._lost = True

    def feed(self, frame: AudioFrame, begin: float) -> Iterator[Packet[Any]]:
        """Take decoded sound that is heard from `begin` on, in seconds; yield what is ready."""
        assert frame.pts is not None and frame.time_base is not None
        source = (frame.format.name, frame.layout.name, frame.sample_rate)
        if source != self._source:
            yield from self._resampled(None)
            self._source = source
            # Channels without places stay as they are here; `_as_coded` takes the first of them.
            layout = self._layout if Form.of(frame).placed else frame.layout
            # Interleaved: PyAV has no planes for more than eight channels.
            self._resampler = AudioResampler("flt", layout, self._rate)
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
            samples = np.asarray(one.to_ndarray(), np.float32).reshape(one.samples, -1)
            yield from self._placed(self._as_coded(samples), begin)

    def _as_coded(self, samples: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Samples (n, any channels) with as many channels as are coded: the first two, or all."""
        if samples.shape[1] == self._channels:
            return samples
        coded = np.zeros((len(samples), self._channels), np.float32)
        kept = min(2, self._channels, samples.shape[1])
        coded[:, :kept] = samples[:, :kept]
        return coded

    def _placed(self, samples: npt.NDArray[np.float32], begin: float) -> Iterator[Packet[Any]]:
        """Write samples (n, channels) at their time: after silence, or without their beginning."""
        missing = round(begin * self._rate) - self._written
        if abs(missing) <= _JITTER_SECONDS * self._rate and self._written and not self._lost:
            missing = 0
        self._lost = False
        while missing > 0:
            silent = min(missing, _SAMPLES_AT_ONCE)
            yield from self._written_out(np.zeros((silent, self._channels), np.float32))
            missing -= silent
        yield from self._written_out(samples[-missing:] if missing else samples)

    def _written_out(self, samples: npt.NDArray[np.float32]) -> Iterator[Packet[Any]]:
        if self._length is not None:
            samples = samples[: max(0, self._length - self._written)]
        if not len(samples):
            return
        interleaved = np.ascontiguousarray(samples).reshape(1, -1)
        frame = AudioFrame.from_ndarray(interleaved, "flt", self._layout)
        frame.sample_rate = self._rate
        frame.pts, frame.time_base = self._written, Fraction(1, self._rate)
        self._written += len(samples)
        yield from self._stream.encode(frame)
