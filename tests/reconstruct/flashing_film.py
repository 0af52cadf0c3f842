"""Films that flash when their sound clicks, and how far apart the two are in a file."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import numpy.typing as npt

from tests.films.making import texture

SAMPLES = 48_000
LOUD, BRIGHT = 0.1, 128


def flashing_film(
    path: Path,
    flashes: Sequence[float],
    *,
    times: Sequence[float],
    size: tuple[int, int] = (64, 48),
    audio: str | None = "aac",
    layout: str = "stereo",
    sound_rate: int = SAMPLES,
    sound_begins: float = 0.0,
    sound_ends: float | None = None,
    tags: dict[str, str] | None = None,
    chapters: Sequence[tuple[float, float, str]] = (),
    clock_begins: float = 0.0,
    programme: int | None = None,
) -> Path:
    """Write a film of dark pictures at `times` (seconds); white ones are shown when it clicks.

    Flashes, on the file's own clock, are each on a frame's time. Sound lasts from `sound_begins`
    on, to the end of the last frame where `sound_ends` says nothing; where it ends as it begins,
    there is a track and nothing in it. All channels click. `clock_begins` is added to all times in
    the file, where its container keeps that; `programme` numbers one of several that a transport
    stream is to have.
    """
    clock = Fraction(1, 120_000)
    ends = times[-1] + 0.04 if sound_ends is None else sound_ends
    options = {"output_ts_offset": str(clock_begins)}
    if programme is not None:
        # Identifiers that no other programme has.
        options |= {
            "mpegts_service_id": str(programme),
            "mpegts_pmt_start_pid": str(0x1000 + 16 * programme),
            "mpegts_start_pid": str(256 * programme),
        }
    with av.open(str(path), "w", container_options=options) as container:
        container.metadata.update(tags or {})
        container.set_chapters(
            [
                {
                    "id": number,
                    "start": round(begin * 1000),
                    "end": round(end * 1000),
                    "time_base": Fraction(1, 1000),
                    "metadata": {"title": title},
                }
                for number, (begin, end, title) in enumerate(chapters)
            ]
        )
        quick = {"preset": "ultrafast", "crf": "10"}
        stream = container.add_stream("libx264", rate=25, options=quick)
        stream.width, stream.height = size
        stream.pix_fmt = "yuv420p"
        stream.time_base = stream.codec_context.time_base = clock
        track = container.add_stream(audio, rate=sound_rate, layout=layout) if audio else None
        packets = []
        for number, time in enumerate(times):
            white = any(abs(time - flash) < 0.005 for flash in flashes)
            moving = np.roll(texture(*size) // 3, 2 * number, axis=1)
            picture = np.full_like(moving, 255) if white else moving
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24").reformat(format="yuv420p")
            frame.pts, frame.time_base = round(time / clock), clock
            packets += stream.encode(frame)
        packets += stream.encode(None)
        if track is not None and ends > sound_begins:
            packets += _clicks(track, flashes, sound_begins, ends, sound_rate)
        for packet in sorted(packets, key=lambda p: p.dts * p.time_base):
            container.mux(packet)
    return path


def _clicks(
    track: av.AudioStream, flashes: Sequence[float], begin: float, end: float, rate: int
) -> list:
    """Packets of silence in which every flash is a short burst at 1 kHz."""
    count = round((end - begin) * rate)
    wave = np.zeros(count, np.float32)
    burst = 0.8 * np.sin(2 * np.pi * 1000 * np.arange(round(0.03 * rate)) / rate)
    for flash in flashes:
        place = round((flash - begin) * rate)
        if 0 <= place < count - len(burst):
            wave[place : place + len(burst)] = burst
    context = track.codec_context
    context.format = {"flac": "s16", "libopus": "flt"}.get(context.name, context.format.name)
    layout = context.layout.name
    resampler = av.AudioResampler(context.format.name, layout, rate)
    packets = []
    for start in range(0, count, 4800):
        piece = np.repeat(wave[None, start : start + 4800], len(context.layout.channels), axis=0)
        interleaved = np.ascontiguousarray(piece.T).reshape(1, -1)
        frame = av.AudioFrame.from_ndarray(interleaved, "flt", layout)
        frame.sample_rate = rate
        frame.pts, frame.time_base = start + round(begin * rate), Fraction(1, rate)
        for one in resampler.resample(frame):
            packets += track.encode(one)
    return packets + track.encode(None)


def seen_and_heard(path: Path) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """When a file's picture turns white, and when its sound breaks out, in seconds."""
    seen, was_bright = [], False
    heard, last_loud = [], -1.0
    with av.open(str(path)) as container:
        for frame in container.decode(video=0):
            bright = frame.to_ndarray(format="gray")[frame.height // 2 :].mean() > BRIGHT
            if bright and not was_bright:
                seen.append(frame.time)
            was_bright = bright
    with av.open(str(path)) as container:
        if container.streams.audio:
            for frame in container.decode(audio=0):
                resampler = av.AudioResampler("flt", frame.layout, frame.sample_rate)
                for one in resampler.resample(frame):
                    samples = one.to_ndarray().reshape(one.samples, -1)
                    loud = np.abs(samples).max(axis=1) > LOUD
                    for place in np.flatnonzero(loud):
                        at = one.time + place / frame.sample_rate
                        if at - last_loud > 0.05:
                            heard.append(at)
                        last_loud = at
    return np.array(seen), np.array(heard)
