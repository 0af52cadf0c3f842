"""Measure how far picture and sound of a reconstruction are from the source's, by correlation.

    python -m benchmarks.audio_sync SOURCE RECONSTRUCTION [--begins SECONDS] [--panel L,T,R,B]

At start, middle and end it prints the lag at which changes of the picture agree best, in steps of
5 ms, and the lag at which the sound agrees best, to the sample. `--begins` is the time in the
source at which the reconstruction begins. `--panel` and `--picture` are the parts of reconstruction
and source to compare, as shares of width and height: one panel, the picture without bars.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np
import numpy.typing as npt

RATE = 8000
"""Samples per second at which sound is compared."""
HALF = 3.0
"""Seconds on either side of a moment that are compared."""
FARTHEST, STEP = 0.5, 0.005
# In old WebM files the stated times of sound jitter, although samples follow one another.
JITTER = 0.04

Numbers = npt.NDArray[np.float64]
Box = tuple[float, float, float, float]


@dataclass
class Clip:
    """The frames and the sound of a file, as they are compared."""

    times: Numbers
    """Times of the frames, in seconds: (N,)."""
    frames: Numbers
    """The frames, small and grey: (N, values)."""
    sound: Numbers | None
    """Samples from time 0 on."""

    def shown(self, moments: Numbers) -> Numbers:
        """Return the frames on screen at these moments, less their mean: (moments, values)."""
        at = np.searchsorted(self.times, moments + 1e-6, side="right") - 1
        frames = self.frames[np.clip(at, 0, len(self.times) - 1)]
        return frames - frames.mean(axis=0)


def read(path: Path, begins: float, box: Box) -> Clip:
    """Read a file; its time `begins` becomes 0."""
    times, frames, blocks = [], [], []
    with av.open(str(path)) as container:
        zero = (container.start_time or 0) / 1e6 + begins
        for frame in container.decode(video=0):
            grey = frame.to_ndarray(format="gray")
            left, top, right, bottom = (
                round(share * side)
                for share, side in zip(box, (*grey.shape[::-1], *grey.shape[::-1]), strict=True)
            )
            grey = grey[top:bottom, left:right]
            down, across = grey.shape[0] // 6, grey.shape[1] // 8
            small = grey[: 6 * down, : 8 * across].reshape(6, down, 8, across).mean(axis=(1, 3))
            times.append((frame.time or 0.0) - zero)
            frames.append(small.ravel())
    with av.open(str(path)) as container:
        if container.streams.audio:
            resampler = av.AudioResampler("fltp", "mono", RATE)
            for heard in container.decode(audio=0):
                for block in resampler.resample(heard):
                    blocks.append(((block.time or 0.0) - zero, block.to_ndarray()[0]))
    return Clip(np.array(times), np.array(frames), _joined(blocks) if blocks else None)


def _joined(blocks: list[tuple[float, npt.NDArray[np.float32]]]) -> Numbers:
    length = round(blocks[-1][0] * RATE) + len(blocks[-1][1]) + RATE
    sound = np.zeros(length)
    end: int | None = None
    for time, samples in blocks:
        at = round(time * RATE)
        if end is not None and abs(at - end) < JITTER * RATE:
            at = end
        end = at + len(samples)
        if end > 0:
            kept = samples[max(0, -at) :]
            sound[max(0, at) : end] = kept[: length - max(0, at)]
    return sound


def picture_lag(source: Clip, other: Clip, centre: float) -> tuple[float, float]:
    """Return by how many seconds the source's picture is later, and the correlation there."""
    moments = np.arange(centre - HALF, centre + HALF, STEP)
    wanted = other.shown(moments)
    lags = np.arange(-FARTHEST, FARTHEST + STEP / 2, STEP)
    found = np.array([_correlation(source.shown(moments + lag), wanted) for lag in lags])
    # Between two frames, every lag gives the same correlation.
    best = lags[found > found.max() - 1e-9]
    return float(best.mean()), float(found.max())


def sound_lag(source: Numbers, other: Numbers, centre: float) -> tuple[float, float]:
    """Return by how many seconds the source's sound is later, and the correlation there."""
    begin, far = round((centre - HALF) * RATE), round(FARTHEST * RATE)
    piece = other[begin : begin + round(2 * HALF * RATE)]
    first = max(0, begin - far)
    around = source[first : begin + len(piece) + far]
    length = 1 << (len(around) + len(piece)).bit_length()
    product = np.fft.rfft(around, length) * np.conj(np.fft.rfft(piece, length))
    best = int(np.fft.irfft(product, length)[: len(around) - len(piece) + 1].argmax())
    lag = (first + best - begin) / RATE
    return lag, _correlation(around[best : best + len(piece)], piece)


def _correlation(one: Numbers, other: Numbers) -> float:
    energy = np.square(one).sum() * np.square(other).sum()
    return float((one * other).sum() / np.sqrt(energy)) if energy else 0.0


def main() -> None:
    """Print the lags at start, middle and end."""
    parser = argparse.ArgumentParser(description="How far a reconstruction is out of step.")
    parser.add_argument("source", type=Path)
    parser.add_argument("reconstruction", type=Path)
    parser.add_argument("--begins", type=float, default=0.0)
    parser.add_argument("--picture", type=_box, default=(0.0, 0.0, 1.0, 1.0))
    parser.add_argument("--panel", type=_box, default=(0.0, 0.0, 1.0, 1.0))
    chosen = parser.parse_args()
    source = read(chosen.source, chosen.begins, chosen.picture)
    other = read(chosen.reconstruction, 0.0, chosen.panel)
    first = int(np.searchsorted(source.times, -1e-6))
    both = min(len(source.times) - first, len(other.times))
    apart = np.abs(source.times[first : first + both] - other.times[:both]).max()
    said = [
        f"{len(other.times)} frames, {np.median(np.diff(other.times)) * 1000:.1f} ms each; "
        f"their times are within {apart * 1000:.2f} ms of the source's"
    ]
    end = other.times[-1] - HALF
    for name, centre in (("start", HALF), ("middle", (HALF + end) / 2), ("end", end)):
        lag, agree = picture_lag(source, other, centre)
        line = f"{name} ({centre:.1f} s): picture {lag * 1000:+.1f} ms, correlation {agree:.3f}"
        if source.sound is not None and other.sound is not None:
            lag, agree = sound_lag(source.sound, other.sound, centre)
            line += f"; sound {lag * 1000:+.2f} ms, correlation {agree:.4f}"
        said.append(line)
    print("\n".join(said))  # noqa: T201 - what it is run for


def _box(text: str) -> Box:
    left, top, right, bottom = (float(word) for word in text.split(","))
    return left, top, right, bottom


if __name__ == "__main__":
    main()
