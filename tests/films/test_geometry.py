from __future__ import annotations

import math
import re
import struct
from fractions import Fraction
from pathlib import Path

import av.logging
import numpy as np
import pytest

from tests.films.making import Pixels, drifting, encode, opened, rgb
from zoo.films.frame_store import Bars
from zoo.films.geometry import ContainerGeometry
from zoo.films.ingested_film import Film
from zoo.films.video_file import VideoFile

ONE = 1 << 16


def marked() -> list[Pixels]:
    """Blue frames, red in the top left quarter."""
    frame = rgb(96, 64, (0, 0, 255))
    frame[:32, :48] = (255, 0, 0)
    return [frame] * 3


def corner(film: Film) -> tuple[int, int]:
    """The quarter that is red: -1 or 1 from left to right and from top to bottom."""
    red = film.frames[1][0]
    height, width = red.shape
    found = [
        (x, y)
        for x in (-1, 1)
        for y in (-1, 1)
        if red[height // 2 + y * height // 4, width // 2 + x * width // 4] > 128
    ]
    assert len(found) == 1
    return found[0]


def matrix_of(degrees: float, mirrored: bool) -> list[int]:
    """A display matrix that mirrors, left for right, and then turns clockwise."""
    cos, sin = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    across = -1 if mirrored else 1
    a, b, c, d = (round(v * ONE) for v in (across * cos, across * sin, -sin, cos))
    return [a, b, 0, c, d, 0, 0, 0, 1 << 30]


@pytest.mark.parametrize("mirrored", [False, True], ids=["plain", "mirrored"])
@pytest.mark.parametrize("degrees", [0, 90, 180, 270, 3, -2, 89.9, 176, 266.5])
def test_mirrors_and_turns_are_followed_to_the_nearest_quarter(
    tmp_path: Path, degrees: float, mirrored: bool
) -> None:
    quarter = round(degrees / 90) * 90 % 360
    a, b, _, c, d, *_ = matrix_of(quarter, mirrored)
    clip = encode(tmp_path / "clip.mp4", marked(), matrix=matrix_of(degrees, mirrored))
    film = opened(clip, tmp_path, "64x96" if quarter % 180 else "96x64", crop="none")
    # Where the matrix takes the top left corner, as seen from the middle.
    assert corner(film) == ((-a - c) // ONE, (-b - d) // ONE)
    part = film.store.manifest.parts[0]
    assert (part.rotation, part.mirrored) == (quarter, mirrored)
    assert bool(part.notes) == (abs(degrees - round(degrees / 90) * 90) > 0.5)


@pytest.mark.parametrize("matrix", [[0] * 9, [ONE, ONE, 0, ONE, ONE, 0, 0, 0, 1 << 30]])
def test_a_matrix_that_leaves_nothing_to_see_is_not_followed(
    tmp_path: Path, matrix: list[int]
) -> None:
    clip = encode(tmp_path / "clip.mp4", marked(), matrix=matrix)
    assert corner(opened(clip, tmp_path, "96x64", crop="none")) == (-1, -1)


def disc() -> Pixels:
    """A white disc on grey, in coded pixels as wide as high."""
    down, across = np.mgrid[:144, :176]
    white = (across - 88) ** 2 + (down - 72) ** 2 < 50**2
    return np.where(white[..., None], 255, 60).astype(np.uint8).repeat(3, axis=2)


@pytest.mark.parametrize("codec", ["mpeg2video", "mpeg4", "libx264"])
def test_a_pixel_aspect_that_changes_in_the_middle_is_followed(tmp_path: Path, codec: str) -> None:
    parts = [
        encode(
            tmp_path / f"{number}.ts",
            [disc()] * 20,
            codec=codec,
            options={"bf": "2", "g": "20"},
            sample_aspect_ratio=aspect,
        ).read_bytes()
        for number, aspect in enumerate([Fraction(12, 11), Fraction(16, 11), Fraction(12, 11)])
    ]
    both = tmp_path / "both.ts"
    both.write_bytes(b"".join(parts))
    film = opened(both, tmp_path, "176x144", fit="pad", crop="none")
    white = film.store.array[..., 0] > 160
    shapes = white.any(axis=1).sum(axis=1) / white.any(axis=2).sum(axis=1)
    wanted = np.repeat([12 / 11, 16 / 11, 12 / 11], 20)
    assert np.abs(shapes / wanted - 1).max() < 0.05


# Tracks (not where the index points to it), TrackEntry with its number, Video with its width.
ELEMENTS = [
    rb"(?<!\x53\xab\x84)(\x16\x54\xae\x6b)",
    rb"(\xae).{1,8}\xd7\x81",
    rb"(\xe0).{1,8}\xb0\x81\x60",
]


def grown(data: bytes, elements: list[bytes], extra: bytes) -> bytes:
    """Matroska with something appended to the innermost of elements that lie in one another."""
    if not elements:
        return data + extra
    found = re.search(elements[0], data, re.DOTALL)
    assert found
    at = found.end(1)
    length = 9 - data[at].bit_length()
    ends = at + length + int.from_bytes(data[at : at + length]) - (1 << 7 * length)
    inner = grown(data[at + length : ends], elements[1:], extra)
    return data[:at] + (1 << 56 | len(inner)).to_bytes(8) + inner + data[ends:]


def with_pixel_crop(path: Path, cut: Bars) -> None:
    """Write PixelCrop into the video track of a Matroska file that says nothing of its size."""
    sides = {
        b"\x54\xaa": cut.bottom,
        b"\x54\xbb": cut.top,
        b"\x54\xcc": cut.left,
        b"\x54\xdd": cut.right,
    }
    extra = b"".join(name + bytes([0x81, value]) for name, value in sides.items())
    path.write_bytes(grown(path.read_bytes(), ELEMENTS, extra))


def with_clean_aperture(path: Path, cut: Bars, width: int, height: int) -> None:
    """Write a `clap` box into the video track of an MP4 file whose index comes last."""
    data = bytearray(path.read_bytes())
    numbers = [width - cut.left - cut.right, 1, height - cut.top - cut.bottom, 1]
    numbers += [cut.left - cut.right, 2, cut.top - cut.bottom, 2]
    box = struct.pack(">I4s4Iiiii", 40, b"clap", *numbers)
    at, starts = 0, []
    for name in (b"moov", b"trak", b"mdia", b"minf", b"stbl", b"stsd", b"avc1"):
        at = data.index(name, at) + 4
        starts.append(at - 8)
    end = starts[-1] + int.from_bytes(data[starts[-1] : starts[-1] + 4])
    for start in starts:
        size = int.from_bytes(data[start : start + 4]) + len(box)
        data[start : start + 4] = size.to_bytes(4)
    data[end:end] = box
    path.write_bytes(data)


@pytest.mark.parametrize("cut", [Bars(top=8, bottom=12), Bars(left=6, right=20, top=2)])
@pytest.mark.parametrize("kind", ["mkv", "mp4"])
def test_what_the_header_cuts_off_is_not_shown(tmp_path: Path, kind: str, cut: Bars) -> None:
    width, height = 96, 64
    frames = drifting(width, height, 10)
    right, bottom = width - cut.right, height - cut.bottom
    for frame in frames:
        inner = frame[cut.top : bottom, cut.left : right] // 3
        frame[:] = 255
        frame[cut.top : bottom, cut.left : right] = inner
    live = {"live": "1"} if kind == "mkv" else {}
    clip = encode(tmp_path / f"clip.{kind}", frames, container_options=live)
    if kind == "mkv":
        with_pixel_crop(clip, cut)
    else:
        with_clean_aperture(clip, cut, width, height)
    size = f"{right - cut.left}x{bottom - cut.top}"
    film = opened(clip, tmp_path, size)
    part = film.store.manifest.parts[0]
    assert part.cropping == cut
    assert f"{part.width}x{part.height}" == size
    assert film.frames[:].max() < 180
    assert film.frame_seconds[:] == pytest.approx(np.arange(10) / 25, abs=0.002)
    # A crop by hand counts from what is left.
    film = opened(clip, tmp_path / "hand", "40x40", crop="40x40+0+0")
    whole = film.frames[0].transpose(1, 2, 0).astype(int)
    coded = frames[0][cut.top : cut.top + 40, cut.left : cut.left + 40]
    assert np.abs(whole - coded).mean() < 12


def test_an_ordinary_file_is_not_cropped(tmp_path: Path) -> None:
    clip = encode(tmp_path / "clip.mp4", marked())
    with VideoFile.open(clip) as source:
        frame = next(source.container.decode(source.stream))
        assert ContainerGeometry(source).apply(frame) is frame


def test_nobody_listens_to_the_log_while_a_file_is_decoded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A decoder's thread that logs into Python while the decoder is freed waits for ever."""
    clip = encode(tmp_path / "clip.mp4", marked())
    changed: list[object] = []
    with VideoFile.open(clip) as source:
        assert av.logging.get_level() is None
        monkeypatch.setattr(av.logging, "set_level", changed.append)
        next(source.container.decode(source.stream))
        ContainerGeometry(source)
    assert not changed
    opened(clip, tmp_path / "again", "96x64")
    assert {*changed[::2]} == {av.logging.INFO} and {*changed[1::2]} == {None}, (
        "every level is set back at once"
    )
