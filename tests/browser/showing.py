"""A results folder with videos whose every frame says its number in black and white."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from tests.report.synthetic_results import comparison, put_pictures, series
from zoo.base.atomic_files import write_json
from zoo.base.frame_size import FrameSize
from zoo.base.records import Results, SideBySide
from zoo.compare.pictures_and_videos import SeekableCoding
from zoo.reconstruct.video_writers import video_file

SIZE = FrameSize(96, 54)
RATE = 10
BITS = 7
START, STOP = 4, 94
"""The first frame of the videos, and the one after their last: the film has ten more."""


def numbered(frame: int, shade: int) -> npt.NDArray[np.uint8]:
    """A picture, uint8 (54, 96, 3): seven bars for the bits of a number, the rest in one shade."""
    picture = np.full((SIZE.height, SIZE.width, 3), shade, dtype=np.uint8)
    for bit in range(BITS):
        picture[:24, 12 * bit : 12 * bit + 12] = 255 * (frame >> bit & 1)
    return picture


def number_in(screenshot: Image.Image) -> int:
    """The number that a picture of a video says."""
    grey = screenshot.convert("L")
    step, height = grey.width / 8, grey.height * 12 // 54
    values = [grey.getpixel((int(step * (bit + 0.5)), height)) for bit in range(BITS)]
    assert all(isinstance(value, int) and (value < 70 or value > 185) for value in values), values
    return sum(1 << bit for bit, value in enumerate(values) if value > 128)


def shown_results(folder: Path) -> Results:
    """Fill a folder: the first film has videos of 90 of its 100 frames, the second has none."""
    results = comparison()
    put_pictures(results, folder)
    film = results.films[0]
    film.fps, film.video, film.video_start = RATE, "videos/alpha/original.mp4", START
    scores = series(results, film)
    scores.seconds = [frame / RATE for frame in scores.frames]
    write_json(folder / str(film.series), scores)
    whole = results.films[1]
    whole.sheet, name = f"figures/sheet-{whole.name}.webp", "videos/beta/side-by-side #1.mp4"
    whole.side_by_side = SideBySide(video=name, panels=["original", "sharp"], sound=True)
    (folder / whole.sheet).parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (SIZE.width, SIZE.height)).save(folder / whole.sheet)
    write_film(folder / name, (numbered(frame, 200) for frame in range(10)))
    write_film(folder / film.video, (numbered(n, 200) for n in range(START, STOP)))
    for index, record in enumerate(results.records):
        if record.evaluated_on == record.trained_on == film.name:
            # What a name may be elsewhere is no address here.
            record.video = f"videos/alpha/row {index}#?%.mp4"
            shade = 190 - 10 * index
            write_film(folder / record.video, (numbered(n, shade) for n in range(START, STOP)))
    return results


def write_film(path: Path, frames: Iterable[npt.NDArray[np.uint8]]) -> None:
    with video_file(path, SIZE, RATE, settings=SeekableCoding(crf=16, preset="ultrafast")) as video:
        for frame in frames:
            video.write(frame)
