from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import pytest

from tests.films.making import encode, film_of, opened, planar, rgb, texture

PATCHES = [(255, 255, 255), (128, 128, 128), (0, 0, 0), (200, 60, 40), (40, 180, 70), (50, 80, 210)]
# Kr and Kb of each matrix, with the code that H.273 gives it.
MATRICES = {"bt601": (0.299, 0.114, 5), "bt709": (0.2126, 0.0722, 1), "bt2020": (0.2627, 0.0593, 9)}


def yuv(colours: list[tuple[int, int, int]], matrix: str, full: bool, bits: int) -> av.VideoFrame:
    """Upright stripes of RGB colours, 32 pixels wide each, as 4:4:4 by the definition."""
    kr, kb, _ = MATRICES[matrix]
    r, g, b = (np.array(colours).T / 255.0).reshape(3, -1)
    luma = kr * r + (1 - kr - kb) * g + kb * b
    planes = [luma, (b - luma) / (2 - 2 * kb), (r - luma) / (2 - 2 * kr)]
    step = 1 << (bits - 8)
    most = (1 << bits) - 1
    scaled = [
        planes[0] * (most if full else 219 * step) + (0 if full else 16 * step),
        *(p * (most if full else 224 * step) + 128 * step for p in planes[1:]),
    ]
    kind = np.uint8 if bits == 8 else np.uint16
    wide = [np.kron(np.clip(np.round(p), 0, most), np.ones((48, 32))).astype(kind) for p in scaled]
    name = "yuv444p" if bits == 8 else f"yuv444p{bits}le"
    return planar(wide, name)


def stripes(film_frame: np.ndarray, count: int) -> list[list[int]]:
    """The colours in the middle of each of the upright stripes of a (3, H, W) frame."""
    _, height, width = film_frame.shape
    at = ((np.arange(count) + 0.5) * width / count).astype(int)
    return film_frame[:, height // 2, at].T.tolist()


@pytest.mark.parametrize("bits", [8, 10])
@pytest.mark.parametrize("full", [False, True], ids=["limited", "full"])
@pytest.mark.parametrize("matrix", MATRICES)
def test_matrix_and_range_give_back_the_colours(
    tmp_path: Path, matrix: str, full: bool, bits: int
) -> None:
    frame_format = "yuv444p" if bits == 8 else f"yuv444p{bits}le"
    clip = encode(
        tmp_path / "clip.mkv",
        [yuv(PATCHES, matrix, full, bits) for _ in range(3)],
        codec="ffv1",
        pix_fmt=frame_format,
        colorspace=MATRICES[matrix][2],
        color_range=2 if full else 1,
    )
    film = opened(clip, tmp_path, "192x48", crop="none")
    found = np.array(stripes(film.frames[1], len(PATCHES)), dtype=int)
    assert np.abs(found - np.array(PATCHES)).max() <= 2


def test_unstated_matrix_is_bt709_from_720_lines_on(tmp_path: Path) -> None:
    small = encode(
        tmp_path / "sd.mkv", [yuv(PATCHES, "bt601", False, 8)] * 2, codec="ffv1", pix_fmt="yuv444p"
    )
    tall = av.VideoFrame.from_ndarray(
        np.repeat(yuv(PATCHES, "bt709", False, 8).to_ndarray(), 15, axis=1), format="yuv444p"
    )
    large = encode(tmp_path / "hd.mkv", [tall] * 2, codec="ffv1", pix_fmt="yuv444p")
    for clip, size in ((small, "192x48"), (large, "96x360")):
        film = opened(clip, tmp_path / clip.stem, size, crop="none")
        found = np.array(stripes(film.frames[0], len(PATCHES)), dtype=int)
        assert np.abs(found - np.array(PATCHES)).max() <= 2


def test_grey_is_exact_after_shrinking_subsampled_video(tmp_path: Path) -> None:
    # libswscale's direct way from 4:2:0 to RGB gives 253 for white and 126 for mid-grey.
    white, grey = rgb(320, 180, (255, 255, 255)), rgb(320, 180, (128, 128, 128))
    clip = encode(tmp_path / "clip.mkv", [white, grey, white], codec="ffv1")
    film = opened(clip, tmp_path, "64x36")
    assert film.frames[0].min() == 255
    assert film.frames[1].min() == film.frames[1].max() == 128


def test_shrinking_keeps_all_of_the_colour_s_resolution(tmp_path: Path) -> None:
    # Every sample of 4:2:0 counts, averaged over the area that becomes a pixel.
    luma, blue, red = (
        np.random.default_rng(seed).integers(low, high, shape).astype(np.uint8)
        for seed, (low, high, shape) in enumerate(
            [(100, 160, (176, 320)), (110, 146, (88, 160)), (110, 146, (88, 160))]
        )
    )
    frame = planar([luma, blue, red], "yuv420p")
    clip = encode(tmp_path / "clip.mkv", [frame] * 2, codec="ffv1", colorspace=1, color_range=1)
    film = opened(clip, tmp_path, "80x44", crop="none")
    y = luma.reshape(44, 4, 80, 4).mean(axis=(1, 3)) / 219 - 16 / 219
    pb, pr = (p.reshape(44, 2, 80, 2).mean(axis=(1, 3)) / 224 - 128 / 224 for p in (blue, red))
    kr, kb, _ = MATRICES["bt709"]
    r, b = y + 2 * (1 - kr) * pr, y + 2 * (1 - kb) * pb
    wanted = 255 * np.stack([r, (y - kr * r - kb * b) / (1 - kr - kb), b])
    assert np.abs(film.frames[0] - wanted).max() <= 0.6


def test_crop_by_hand(tmp_path: Path) -> None:
    frame = rgb(320, 180, (255, 0, 0))
    frame[40:140, 60:260] = (0, 0, 255)
    clip = encode(tmp_path / "clip.mkv", [frame] * 3, codec="ffv1")
    film = opened(clip, tmp_path, "64x32", crop="200x100+60+40")
    assert film.frames[0][2].min() > 220 and film.frames[0][0].max() < 40


def test_anamorphic_pixels_are_made_square(tmp_path: Path) -> None:
    # 160x180 with pixels twice as wide as high is shown as 320x180: a 16:9 picture.
    clip = encode(
        tmp_path / "clip.mp4",
        [texture(160, 180, seed=s) for s in range(3)],
        sample_aspect_ratio=2,
    )
    film = opened(clip, tmp_path, "64x36", fit="pad", crop="none")
    assert film.store.manifest.parts[0].pixel_aspect == "2:1"
    # Nothing had to be padded: the outermost columns and rows are picture.
    assert min(film.frames[0][:, :, 0].mean(), film.frames[0][:, 0].mean()) > 40


@pytest.mark.parametrize(
    ("degrees", "red_at"), [(90, "bottom left"), (180, "bottom right"), (-90, "top right")]
)
def test_rotation_metadata_turns_the_picture(tmp_path: Path, degrees: int, red_at: str) -> None:
    frame = rgb(320, 180, (0, 0, 255))
    frame[:90, :160] = (255, 0, 0)
    clip = encode(tmp_path / "clip.mp4", [frame] * 3, rotate=degrees)
    size = "64x36" if degrees == 180 else "36x64"
    red = opened(clip, tmp_path, size, crop="none").frames[0][0]
    height, width = red.shape
    corners = {
        "top left": red[height // 4, width // 4],
        "top right": red[height // 4, width * 3 // 4],
        "bottom left": red[height * 3 // 4, width // 4],
        "bottom right": red[height * 3 // 4, width * 3 // 4],
    }
    assert [name for name, value in corners.items() if value > 128] == [red_at]


def test_padding_keeps_the_whole_picture(tmp_path: Path) -> None:
    clip = encode(tmp_path / "clip.mkv", [rgb(320, 80, (255, 255, 255))] * 3, codec="ffv1")
    frame = opened(clip, tmp_path, "64x36", fit="pad").frames[0]
    assert frame[:, 10:26].min() > 250
    assert frame[:, :10].max() == 0 and frame[:, 26:].max() == 0


def test_cropping_keeps_the_middle(tmp_path: Path) -> None:
    frame = rgb(320, 80, (255, 0, 0))
    frame[:, 86:234] = (0, 0, 255)
    clip = encode(tmp_path / "clip.mkv", [frame] * 3, codec="ffv1")
    found = opened(clip, tmp_path, "64x36").frames[0]
    assert found[2].min() > 230 and found[0].max() < 30


def combing(frame: np.ndarray) -> float:
    """How much a row differs from both its neighbours together, in levels."""
    grey = frame.astype(float).mean(axis=0)
    return float(np.abs(grey[1:-1] - (grey[:-2] + grey[2:]) / 2).mean())


def test_interlaced_film_is_deinterlaced(tmp_path: Path) -> None:
    # Every second row is half a frame later, as a camera of the time saw it.
    wide = texture(320 + 400, 180)
    frames = []
    for number in range(12):
        frame = wide[:, number * 16 : number * 16 + 320].copy()
        frame[1::2] = wide[1::2, number * 16 + 8 : number * 16 + 8 + 320]
        frames.append(frame)
    flagged = encode(
        tmp_path / "flagged.mp4", frames, options={"x264-params": "tff=1", "flags": "+ildct+ilme"}
    )
    plain = encode(tmp_path / "plain.mp4", frames)
    film = opened(flagged, tmp_path / "a", "320x180", crop="none")
    left = opened(plain, tmp_path / "b", "320x180", crop="none")
    assert film.store.manifest.parts[0].interlaced
    assert len(film) == len(left) == 12
    assert np.diff(film.frame_seconds) == pytest.approx(0.04)
    assert combing(film.frames[6]) < combing(left.frames[6]) / 3


def code_of_pq(nits: float) -> float:
    """SMPTE ST 2084: the signal, 0 to 1, of a luminance in cd/m2."""
    y = (nits / 10000) ** (2610 / 16384)
    return float(((3424 / 4096 + 2413 / 128 * y) / (1 + 2392 / 128 * y)) ** (2523 / 32))


def code_of_hlg(light: float) -> float:
    """BT.2100: the signal, 0 to 1, of relative scene light."""
    if light <= 1 / 12:
        return float(np.sqrt(3 * light))
    return float(0.17883277 * np.log(12 * light - 0.28466892) + 0.55991073)


@pytest.mark.parametrize(
    ("transfer", "codes"),
    [
        (16, [code_of_pq(n) for n in (0, 1, 20, 203, 1000, 4000)]),
        (18, [code_of_hlg(n) for n in (0, 0.002, 0.03, 0.265, 0.6, 1.0)]),
    ],
    ids=["PQ", "HLG"],
)
def test_hdr_is_tone_mapped(tmp_path: Path, transfer: int, codes: list[float]) -> None:
    luma = np.kron(np.array([codes]) * 876 + 64, np.ones((48, 32))).round().astype(np.uint16)
    neutral = np.full_like(luma, 512)
    frame = planar([luma, neutral, neutral], "yuv444p10le")
    film = film_of(tmp_path, frame, (9, 9, transfer))
    found = np.array(stripes(film.frames[1], len(codes)), dtype=int)
    grey = found.mean(axis=1)
    assert np.abs(found - grey[:, None]).max() <= 2, "greys stay grey"
    assert grey[0] <= 1, "black stays black"
    assert grey[1] < 127 * codes[1], "shadows are shadows: shown as it is, the film is washed out"
    assert np.all(np.diff(grey) > 5), "order and highlights are kept"
    assert 110 <= grey[3] <= 225, "diffuse white is bright and leaves room above"


def test_wide_gamut_is_brought_to_the_display(tmp_path: Path) -> None:
    def patch(primaries: int) -> np.ndarray:
        green = yuv([(60, 200, 60)] * 2, "bt709", False, 8)
        film = film_of(tmp_path, green, (1, primaries, 1), size="64x48")
        return film.frames[0][:, 24, 32].astype(int)

    ordinary, p3 = patch(1), patch(12)
    assert np.abs(ordinary - (60, 200, 60)).max() <= 2
    # A green of P3 lies further out: on an ordinary display it has less red and blue.
    assert p3[0] < ordinary[0] - 20


@pytest.mark.parametrize("size", ["96x64", "48x32", "192x128"])
@pytest.mark.parametrize(("pix_fmt", "shifts"), [("rgb555le", (10, 5)), ("rgb565le", (11, 5))])
def test_colours_of_few_bits_reach_from_black_to_white(
    tmp_path: Path, pix_fmt: str, shifts: tuple[int, int], size: str
) -> None:
    red, green, blue = 31, 0, 31
    words = np.zeros((64, 96), np.uint16)
    words[:, :48] = red << shifts[0] | green << shifts[1] | blue
    frames = [av.VideoFrame(96, 64, pix_fmt) for _ in range(3)]
    for frame in frames:
        frame.planes[0].update(words.tobytes())
    clip = encode(tmp_path / "clip.nut", frames, codec="rawvideo", pix_fmt=pix_fmt)
    film = opened(clip, tmp_path, size, crop="none")
    assert film.store.manifest.parts[0].pixel_format == pix_fmt
    width = film.size.width
    left, right = (film.store.array[1][4, at] for at in (width // 4, width * 3 // 4))
    assert left.tolist() == [255, 0, 255] and right.tolist() == [0, 0, 0]
