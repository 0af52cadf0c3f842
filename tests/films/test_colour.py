from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from tests.films.making import encode, film_of, opened, planar, rgb, texture
from zoo.api.film_entry import Rect
from zoo.base.errors import BadInput, ZooError
from zoo.films.colour import Colour, matrix_to_rgb
from zoo.films.frame_converter import FrameConverter
from zoo.films.frame_store import Part
from zoo.films.geometry import Placement
from zoo.films.ingested_film import Film

COLOURS = [(255, 255, 255), (128, 128, 128), (0, 0, 0), (200, 60, 40), (40, 180, 70), (50, 80, 210)]
SIGNALS = np.array(COLOURS).T / 255.0
Signals = npt.NDArray[np.float64]


def part_of(film: Film) -> Part:
    return film.store.manifest.parts[0]


def stripes(planes: Signals, bits: int = 10, full: bool = False) -> av.VideoFrame:
    """Upright stripes, 32 pixels wide, of Y (0 to 1), Cb and Cr (-0.5 to 0.5): (3, N)."""
    step, most = 1 << (bits - 8), (1 << bits) - 1
    luma = planes[:1] * (most if full else 219 * step) + (0 if full else 16 * step)
    chroma = planes[1:] * (most if full else 224 * step) + 128 * step
    coded = np.clip(np.round(np.concatenate([luma, chroma])), 0, most)
    kind = np.uint8 if bits == 8 else np.uint16
    return planar(
        [np.kron(plane[None], np.ones((48, 32))).astype(kind) for plane in coded],
        "yuv444p" if bits == 8 else f"yuv444p{bits}le",
    )


def found(film: Film) -> npt.NDArray[np.int64]:
    """The colours in the middle of the stripes of `stripes`: (6, 3)."""
    return film.frames[1][:, 24, 16::32].T.astype(int)


def weighted(kr: float, kb: float) -> Signals:
    """Y, Cb and Cr of the colours by a matrix of these weights."""
    r, g, b = SIGNALS
    luma = kr * r + (1 - kr - kb) * g + kb * b
    return np.stack([luma, (b - luma) / (2 - 2 * kb), (r - luma) / (2 - 2 * kr)])


def ycgco() -> Signals:
    r, g, b = SIGNALS
    return np.stack([(r + 2 * g + b) / 4, (2 * g - r - b) / 4, (r - b) / 2])


def oetf(light: Signals | float) -> Signals:
    light = np.asarray(light, dtype=float)
    return np.where(light < 0.0181, 4.5 * light, 1.0993 * light**0.45 - 0.0993)


def constant_luminance(kr: float, kb: float) -> Signals:
    r, g, b = (
        np.where(s < 0.0181 * 4.5, s / 4.5, ((s + 0.0993) / 1.0993) ** (1 / 0.45)) for s in SIGNALS
    )
    luma = oetf(kr * r + (1 - kr - kb) * g + kb * b)
    blue, red = SIGNALS[2] - luma, SIGNALS[0] - luma

    def scaled(difference: Signals, k: float) -> Signals:
        return difference / 2 / np.where(difference <= 0, oetf(1 - k), 1 - oetf(k))

    return np.stack([luma, scaled(blue, kb), scaled(red, kr)])


MATRICES = {
    "fcc": ((4, 1, 1), weighted(0.30, 0.11)),
    "SMPTE 240M": ((7, 1, 1), weighted(0.212, 0.087)),
    "YCgCo": ((8, 2, 2), ycgco()),
    "BT.2020 c": ((10, 1, 14), constant_luminance(0.2627, 0.0593)),
    "derived from BT.709": ((12, 1, 1), weighted(0.2126, 0.0722)),
    "derived from EBU": ((12, 5, 1), weighted(0.2220, 0.0713)),
    "derived from nothing": ((12, 2, 2), weighted(0.2126, 0.0722)),
    "derived c from BT.709": ((13, 1, 1), constant_luminance(0.2126, 0.0722)),
}


@pytest.mark.parametrize("full", [False, True], ids=["limited", "full"])
@pytest.mark.parametrize("name", MATRICES)
def test_rarer_matrices_are_decoded(tmp_path: Path, name: str, full: bool) -> None:
    codes, planes = MATRICES[name]
    film = film_of(tmp_path, stripes(planes, full=full), codes, full)
    assert np.abs(found(film) - COLOURS).max() <= 3


@pytest.mark.parametrize("transfer", [16, 18], ids=["PQ", "HLG"])
def test_ictcp_is_decoded(transfer: int) -> None:
    signals = SIGNALS * 0.6 + 0.05
    # BT.2100, table 7: from R, G and B to L, M and S, and from those to I, Ct and Cp.
    lms = np.array([[1688, 2146, 262], [683, 2951, 462], [99, 309, 3688]]) / 4096
    if transfer == 16:
        m, n = 2610 / 16384, 2523 / 32
        power = signals ** (1 / n)
        light = np.maximum(power - 3424 / 4096, 0) / (2413 / 128 - 2392 / 128 * power)
        power = (lms @ light ** (1 / m)) ** m
        coded = ((3424 / 4096 + 2413 / 128 * power) / (1 + 2392 / 128 * power)) ** n
        ictcp = np.array([[2048, 2048, 0], [6610, -13613, 7003], [17933, -17390, -543]]) / 4096
    else:
        a, b, c = 0.17883277, 0.28466892, 0.55991073
        light = np.where(signals < 0.5, signals**2 / 3, (np.exp((signals - c) / a) + b) / 12)
        mixed = lms @ light
        upper = a * np.log(np.maximum(12 * mixed - b, 1e-9)) + c
        coded = np.where(mixed <= 1 / 12, np.sqrt(3 * mixed), upper)
        ictcp = np.array([[2048, 2048, 0], [3625, -7465, 3840], [9500, -9212, -288]]) / 4096
    frame = stripes(ictcp @ coded, bits=16)
    frame.colorspace, frame.color_primaries, frame.color_trc = 14, 9, transfer
    decoded = matrix_to_rgb(frame, Colour.of(frame), full_range=False)
    assert decoded.format.name == "gbrp16le"
    rgb16 = decoded.to_ndarray()[24, 16::32].T / 65535
    assert np.abs(rgb16 - signals).max() < 0.005


@pytest.mark.parametrize(
    ("code", "name"), [(11, "smpte2085"), (15, "ipt-c2"), (16, "ycgco-re"), (17, "ycgco-ro")]
)
def test_a_matrix_that_is_not_decoded_is_named_with_film_and_remedy(
    tmp_path: Path, code: int, name: str
) -> None:
    with pytest.raises(BadInput) as caught:
        film_of(tmp_path, stripes(ycgco()), (code, 9, 16))
    said = str(caught.value)
    assert f"{code}-9-16.mkv" in said and name in said and "convert" in said
    assert "FFmpeg" not in said and "\n" not in said


@pytest.mark.parametrize(
    "codes", [(1, 0, 0), (1, 3, 3), (3, 2, 2), (0, 0, 3), (1, 1, 9), (1, 1, 10)]
)
@pytest.mark.parametrize("pix_fmt", ["yuv420p", "yuv422p10le", "bgr0", "bgra", "gray"])
def test_codes_without_a_meaning_and_log_change_nothing(
    tmp_path: Path, codes: tuple[int, int, int], pix_fmt: str
) -> None:
    frame = av.VideoFrame.from_ndarray(texture(192, 48), format="rgb24").reformat(format=pix_fmt)
    matrix = 1 if codes[0] == 1 else 2
    odd = film_of(tmp_path, frame, codes)
    plain = film_of(tmp_path, frame, (matrix, 2, 2))
    assert np.array_equal(odd.store.array, plain.store.array)
    assert [("log" in note) for note in part_of(odd).notes] == [True] * (codes[2] in (9, 10))


@pytest.mark.parametrize(
    ("width", "height", "hd"),
    [(1280, 544, True), (1280, 692, True), (960, 720, True), (720, 576, False), (854, 480, False)],
)
def test_the_matrix_of_a_film_that_states_none_goes_by_width_and_height(
    tmp_path: Path, width: int, height: int, hd: bool
) -> None:
    planes = weighted(0.2126, 0.0722) if hd else weighted(0.299, 0.114)
    small = stripes(planes, bits=8).to_ndarray()
    rows, columns = np.arange(height) * 48 // height, np.arange(width) * 192 // width
    large = planar([np.ascontiguousarray(plane[rows][:, columns]) for plane in small], "yuv444p")
    assert np.abs(found(film_of(tmp_path, large, (2, 2, 2))) - COLOURS).max() <= 3


@pytest.mark.parametrize("codes", [(2, 2, 16), (2, 9, 18), (2, 9, 14)])
def test_hdr_and_bt2020_without_a_matrix_are_bt2020(codes: tuple[int, int, int]) -> None:
    frame = stripes(weighted(0.2627, 0.0593) * 0.6)
    _, frame.color_primaries, frame.color_trc = codes
    for frame.colorspace in (codes[0], 9):
        assert Colour.of(frame).matrix_for(192, 48) == "bt2020"


OPAQUE, HIDDEN = (200, 40, 40, 255), (0, 255, 0, 0)
RAW = [
    "argb",
    "rgba",
    "abgr",
    "bgra",
    "rgba64le",
    "bgra64be",
    "gbrap",
    "gbrap10le",
    "gbrap12le",
    "gbrap16le",
    "ya8",
    "yuva420p",
    "yuva422p",
    "yuva444p",
    "yuva420p10le",
    "yuva422p12le",
    "yuva444p16le",
]


def half_hidden(pix_fmt: str, half: int = 0) -> av.VideoFrame:
    """Left opaque red, right transparent green; below that red of alpha `half`, if any."""
    pixels = np.zeros((48, 192, 4), np.uint8)
    pixels[:, :96], pixels[:, 96:] = OPAQUE, HIDDEN
    if half:
        pixels[24:] = (200, 40, 40, half)
    return av.VideoFrame.from_ndarray(pixels, format="rgba").reformat(format=pix_fmt)


def check_hidden(film: Film, tolerance: int = 3) -> None:
    left, right = film.frames[1][:, 4:20, 8:88], film.frames[1][:, 4:20, 104:184]
    assert right.max() <= 1
    red = left.reshape(3, -1).astype(int)
    wanted = np.array(OPAQUE[:3])[:, None]
    grey = bool((red[0] == red[1]).all())
    assert grey or np.abs(red - wanted).max() <= tolerance
    assert red.min() > 20


@pytest.mark.parametrize("pix_fmt", RAW)
def test_what_is_transparent_is_black(tmp_path: Path, pix_fmt: str) -> None:
    frames = [half_hidden(pix_fmt)] * 3
    clip = encode(tmp_path / "clip.nut", frames, codec="rawvideo", pix_fmt=pix_fmt)
    check_hidden(opened(clip, tmp_path, "192x48"))


@pytest.mark.parametrize(
    ("kind", "codec", "pix_fmt"),
    [
        ("mov", "qtrle", "argb"),
        ("mov", "png", "rgba"),
        ("mov", "prores_ks", "yuva444p10le"),
        ("mkv", "ffv1", "yuva444p"),
        ("avi", "utvideo", "gbrap"),
    ],
)
def test_codecs_with_alpha_are_laid_over_black(
    tmp_path: Path, kind: str, codec: str, pix_fmt: str
) -> None:
    frames = [half_hidden(pix_fmt)] * 3
    clip = encode(tmp_path / f"clip.{kind}", frames, codec=codec, pix_fmt=pix_fmt)
    check_hidden(opened(clip, tmp_path, "192x48"), tolerance=8)


def test_what_is_half_transparent_is_half_as_bright(tmp_path: Path) -> None:
    frames = [half_hidden("rgba", half=128)] * 3
    clip = encode(tmp_path / "clip.mov", frames, codec="png", pix_fmt="rgba")
    found = opened(clip, tmp_path, "192x48").frames[1][:, 40, 20].astype(int)
    assert np.abs(found - np.array([100, 20, 20])).max() <= 1


def test_hidden_colour_does_not_bleed_into_what_is_shown(tmp_path: Path) -> None:
    clip = encode(tmp_path / "clip.mov", [half_hidden("rgba")] * 3, codec="png", pix_fmt="rgba")
    # 192 pixels to 38: the edge lies within a pixel.
    assert opened(clip, tmp_path, "38x32", fit="pad").frames[1][1].max() <= 41


def test_a_palette_with_transparency_is_laid_over_black(tmp_path: Path) -> None:
    indices = np.zeros((48, 192), np.uint8)
    indices[:, 96:] = 1
    # Alpha comes first in a palette.
    palette = np.zeros((256, 4), np.uint8)
    palette[0], palette[1] = (255, *OPAQUE[:3]), (0, *HIDDEN[:3])
    frames = [av.VideoFrame.from_ndarray((indices, palette), format="pal8") for _ in range(3)]  # type: ignore[arg-type]
    clip = encode(tmp_path / "clip.mov", frames, codec="png", pix_fmt="pal8")
    film = opened(clip, tmp_path, "192x48")
    assert part_of(film).pixel_format == "pal8"
    check_hidden(film)


def test_a_gif_with_transparency_is_laid_over_black(tmp_path: Path) -> None:
    pictures = []
    for number in range(3):
        indices = np.full((48, 192), 1, np.uint8)
        indices[:, :96] = 0
        indices[40:, 8 * number : 8 * number + 8] = 2
        picture = Image.fromarray(indices, mode="P")
        picture.putpalette([*OPAQUE[:3], *HIDDEN[:3], 250, 250, 250])
        pictures.append(picture)
    clip = tmp_path / "clip.gif"
    pictures[0].save(
        clip, save_all=True, append_images=pictures[1:], duration=40, transparency=1, disposal=2
    )
    check_hidden(opened(clip, tmp_path, "192x48"))


def test_alpha_that_the_decoder_leaves_out_is_said(tmp_path: Path) -> None:
    clip = encode(
        tmp_path / "clip.webm",
        [half_hidden("yuva420p")] * 3,
        codec="libvpx-vp9",
        pix_fmt="yuva420p",
    )
    said: list[str] = []
    film = opened(clip, tmp_path, progress=lambda one: said.append(one.message or ""))
    assert any("clip.webm" in line and "transparency" in line for line in said)
    assert len(part_of(film).notes) == 1


def joined(folder: Path, *clips: Callable[[Path], Path]) -> Path:
    both = folder / "both.ts"
    parts = [make(folder / f"{number}.ts") for number, make in enumerate(clips)]
    both.write_bytes(b"".join(part.read_bytes() for part in parts))
    return both


@pytest.mark.parametrize(
    "other",
    [
        {"pix_fmt": "yuv444p"},
        {"pix_fmt": "yuv420p10le"},
        {"pix_fmt": "gray"},
        {"color_primaries": 9, "color_trc": 16},
        {"colorspace": 8},
    ],
)
def test_a_format_or_colour_that_changes_in_the_middle_is_followed(
    tmp_path: Path, other: dict[str, object]
) -> None:
    white = [rgb(128, 72, (255, 255, 255))] * 10
    both = joined(
        tmp_path, lambda path: encode(path, white), lambda path: encode(path, white, **other)
    )
    film = opened(both, tmp_path, crop="none")
    assert len(film) == 20
    assert film.frames[0].min() > 230 and film.frames[19].min() > 180


def test_a_colour_in_the_middle_that_cannot_be_decoded_is_named(tmp_path: Path) -> None:
    white = [rgb(128, 72, (255, 255, 255))] * 10
    both = joined(
        tmp_path, lambda path: encode(path, white), lambda path: encode(path, white, colorspace=11)
    )
    with pytest.raises(BadInput, match=r"both\.ts.*smpte2085.*convert"):
        opened(both, tmp_path)
    assert not list((tmp_path / "workspace").rglob("frames.rgb"))


def test_what_libavfilter_refuses_is_reported_with_the_file_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clip = encode(tmp_path / "clip.mkv", [rgb(64, 36, (9, 9, 9))] * 3, codec="ffv1")
    whole = Placement(Rect(0, 0, 9999, 9999), (64, 36), 0, 0)
    monkeypatch.setattr(FrameConverter, "placement", lambda self, layout: whole)
    with pytest.raises(BadInput, match=r"clip\.mkv: frames in the format yuv420p at 64x36"):
        opened(clip, tmp_path)


def test_a_frame_of_another_size_is_never_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clip = encode(tmp_path / "clip.mkv", [rgb(64, 36, (9, 9, 9))] * 3, codec="ffv1")
    monkeypatch.setattr(FrameConverter, "_placed", lambda self, layout, placement: [])
    with pytest.raises(ZooError, match=r"clip\.mkv: a converted frame is 64x18"):
        opened(clip, tmp_path, "64x64", fit="pad", crop="64x18+0+0")
    assert not list((tmp_path / "workspace").rglob("frames.rgb"))
