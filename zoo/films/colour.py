"""Colour of decoded frames: matrix, range, transfer and primaries; decoding of rare matrices."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from av.video.format import VideoFormat
from av.video.frame import VideoFrame

from zoo.films.filters import UNSTATED

# Names are FFmpeg's; codes are those of ITU-T H.273. All other codes are unused.
_MATRICES = {0: "gbr", 1: "bt709", 4: "fcc", 5: "bt470bg", 6: "smpte170m", 7: "smpte240m",
             8: "ycgco", 9: "bt2020nc", 10: "bt2020c", 11: "smpte2085", 12: "chroma-derived-nc",
             13: "chroma-derived-c", 14: "ictcp", 15: "ipt-c2", 16: "ycgco-re",
             17: "ycgco-ro"}  # fmt: skip
_PRIMARIES = {1: "bt709", 4: "bt470m", 5: "bt470bg", 6: "smpte170m", 7: "smpte240m", 8: "film",
              9: "bt2020", 10: "smpte428", 11: "smpte431", 12: "smpte432",
              22: "ebu3213"}  # fmt: skip
_TRANSFERS = {1: "bt709", 4: "bt470m", 5: "bt470bg", 6: "smpte170m", 7: "smpte240m", 8: "linear",
              9: "log100", 10: "log316", 11: "iec61966-2-4", 12: "bt1361e", 13: "iec61966-2-1",
              14: "bt2020-10", 15: "bt2020-12", 16: "smpte2084", 17: "smpte428",
              18: "arib-std-b67"}  # fmt: skip
# Matrices that libswscale decodes, as it names them.
_SCALED = {1: "bt709", 4: "fcc", 5: "bt601", 6: "bt601", 7: "smpte240m", 9: "bt2020"}
# BT.2020, DCI-P3 and Display P3.
_WIDE_PRIMARIES = {9, 11, 12}
_NO_NAME = "unstated"
HD_WIDTH, SD_HEIGHT = 1280, 576
"""A file that states no matrix is read as BT.709 if its frames are at least this wide or have more
lines than this, else as BT.601. Players do the same. This holds with cropped black bars, too."""


class Colour(NamedTuple):
    """A frame's colour as codes of H.273; 2 (and 0 for the range) means unstated."""

    matrix_code: int
    range_code: int
    transfer_code: int
    primaries_code: int

    @classmethod
    def of(cls, frame: VideoFrame) -> Colour:
        """Read the colour that a frame states; codes without a meaning count as unstated."""
        matrix, transfer = int(frame.colorspace), int(frame.color_trc)
        primaries = int(frame.color_primaries)
        return cls(
            matrix if matrix in _MATRICES else UNSTATED,
            int(frame.color_range),
            transfer if transfer in _TRANSFERS else UNSTATED,
            primaries if primaries in _PRIMARIES else UNSTATED,
        )

    @property
    def matrix(self) -> str:
        """The matrix's name, or `unstated`."""
        return _MATRICES.get(self.matrix_code, _NO_NAME)

    @property
    def transfer(self) -> str:
        """The transfer function's name, or `unstated`."""
        return _TRANSFERS.get(self.transfer_code, _NO_NAME)

    @property
    def primaries(self) -> str:
        """The primaries' name, or `unstated`."""
        return _PRIMARIES.get(self.primaries_code, _NO_NAME)

    @property
    def hdr(self) -> str | None:
        """`PQ` or `HLG` if the film is of high dynamic range."""
        return {16: "PQ", 18: "HLG"}.get(self.transfer_code)

    @property
    def logarithmic(self) -> bool:
        """Whether the samples are logarithms of light, which are shown as they are."""
        return self.transfer_code in (9, 10)

    @property
    def wide(self) -> bool:
        """Whether the film has a wider range or gamut than a standard display."""
        return self.hdr is not None or self.primaries_code in _WIDE_PRIMARIES

    @property
    def primaries_to_read(self) -> str:
        """The primaries to convert from; HDR that states none is read as BT.2020."""
        return _PRIMARIES.get(self.primaries_code, "bt2020" if self.hdr else "bt709")

    @property
    def transfer_to_read(self) -> str:
        """The transfer function to convert from.

        Everything but HDR is read as sRGB, as displays show it, so that only gamuts change.
        """
        return _TRANSFERS[self.transfer_code] if self.hdr else "iec61966-2-1"

    def matrix_for(self, width: int, height: int) -> str | None:
        """The matrix that decodes frames of this size, as libswscale names it.

        None if libswscale does not support it. If no matrix is stated, BT.2020 primaries or HDR
        imply BT.2020. The code of an RGB matrix counts as unstated: these samples are YUV.
        """
        if self.matrix_code not in (0, UNSTATED):
            return _SCALED.get(self.matrix_code)
        if self.primaries_to_read == "bt2020":
            return "bt2020"
        return "bt709" if width >= HD_WIDTH or height > SD_HEIGHT else "bt601"

    def full_range(self, pixel_format: VideoFormat) -> bool:
        """Whether the range is full: as stated, else as the pixel format implies."""
        if self.range_code:
            return self.range_code == 2
        full = ("yuvj", "gray", "ya8", "ya16", "yaf", "mono")
        return is_rgb(pixel_format) or pixel_format.name.startswith(full)


def is_rgb(pixel_format: VideoFormat) -> bool:
    """Whether samples are red, green and blue, or indices into a palette."""
    return pixel_format.is_rgb or pixel_format.has_palette or pixel_format.name.startswith("xyz")


def has_alpha(pixel_format: VideoFormat) -> bool:
    """Whether pixels can be transparent."""
    return pixel_format.has_palette or any(c.is_alpha for c in pixel_format.components)


@contextmanager
def without_colour_tags(frame: VideoFrame) -> Iterator[VideoFrame]:
    """Hide a frame's colour tags: libswscale refuses those that it does not know."""
    codes = frame.colorspace, frame.color_trc, frame.color_primaries
    frame.colorspace = frame.color_trc = frame.color_primaries = UNSTATED
    try:
        yield frame
    finally:
        frame.colorspace, frame.color_trc, frame.color_primaries = codes


Samples = npt.NDArray[np.float64]

# Chromaticities (x, y) of red, green, blue and white for a code of primaries.
_D65, _C, _DCI = (0.3127, 0.329), (0.31, 0.316), (0.314, 0.351)
_BT601 = ((0.63, 0.34), (0.31, 0.595), (0.155, 0.07), _D65)
_CHROMATICITIES = {
    "bt709": ((0.64, 0.33), (0.3, 0.6), (0.15, 0.06), _D65),
    "bt470m": ((0.67, 0.33), (0.21, 0.71), (0.14, 0.08), _C),
    "bt470bg": ((0.64, 0.33), (0.29, 0.6), (0.15, 0.06), _D65),
    "smpte170m": _BT601,
    "smpte240m": _BT601,
    "film": ((0.681, 0.319), (0.243, 0.692), (0.145, 0.049), _C),
    "bt2020": ((0.708, 0.292), (0.17, 0.797), (0.131, 0.046), _D65),
    "smpte431": ((0.68, 0.32), (0.265, 0.69), (0.15, 0.06), _DCI),
    "smpte432": ((0.68, 0.32), (0.265, 0.69), (0.15, 0.06), _D65),
    "ebu3213": ((0.63, 0.34), (0.295, 0.605), (0.155, 0.077), _D65),
}
# BT.2100: LMS of I, Ct and Cp, for PQ and for HLG, and RGB of BT.2020 from LMS.
_PQ_LMS = np.linalg.inv(
    np.array([[2048, 2048, 0], [6610, -13613, 7003], [17933, -17390, -543]]) / 4096
)
_HLG_LMS = np.linalg.inv(
    np.array([[2048, 2048, 0], [3625, -7465, 3840], [9500, -9212, -288]]) / 4096
)
_RGB_OF_LMS = np.linalg.inv(np.array([[1688, 2146, 262], [683, 2951, 462], [99, 309, 3688]]) / 4096)
_DECODED = (8, 10, 12, 13, 14)
_MOST = 65535


def can_decode_matrix(colour: Colour) -> bool:
    """Whether `matrix_to_rgb` can decode frames of this colour."""
    weighted = colour.matrix_code in (12, 13)
    return colour.matrix_code in _DECODED and (
        not weighted or colour.primaries_to_read in _CHROMATICITIES
    )


def matrix_to_rgb(frame: VideoFrame, colour: Colour, full_range: bool) -> VideoFrame:
    """Decode a frame in yuv444p16le to full-range gbrp16le, with the film's own transfer."""
    planes = [_samples(frame, number) for number in range(3)]
    if full_range:
        luma, blue, red = planes[0] / _MOST, *((p - 32768) / _MOST for p in planes[1:])
    else:
        luma = (planes[0] / 256 - 16) / 219
        blue, red = ((p / 256 - 128) / 224 for p in planes[1:])
    rgb = np.clip(_decode(luma, blue, red, colour), 0, 1)
    decoded = VideoFrame(frame.width, frame.height, "gbrp16le")
    for plane, values in zip(decoded.planes, rgb[[1, 2, 0]], strict=True):
        lines = np.zeros((plane.height, plane.line_size // 2), np.uint16)
        lines[:, : frame.width] = np.round(values * _MOST)
        plane.update(lines.tobytes())
    decoded.color_range = 2
    return decoded


def _samples(frame: VideoFrame, number: int) -> Samples:
    plane = frame.planes[number]
    lines = np.frombuffer(memoryview(plane), np.uint16).reshape(-1, plane.line_size // 2)
    return lines[: frame.height, : frame.width].astype(np.float64)


def _decode(luma: Samples, blue: Samples, red: Samples, colour: Colour) -> Samples:
    """Return R, G, B (3, H, W) of brightness from 0 to 1, colour differences from -0.5 to 0.5."""
    code = colour.matrix_code
    if code == 8:
        # Of YCgCo, where the difference of green stands in the place of blue's.
        rest = luma - blue
        return np.stack([rest + red, luma + blue, rest - red])
    if code == 14:
        return _ictcp(np.stack([luma, blue, red]), colour.hdr == "HLG")
    kr, kb = (0.2627, 0.0593) if code == 10 else _weights(colour.primaries_to_read)
    if code == 12:
        r, b = luma + 2 * (1 - kr) * red, luma + 2 * (1 - kb) * blue
        return np.stack([r, (luma - kr * r - kb * b) / (1 - kr - kb), b])
    return _constant_luminance(luma, blue, red, kr, kb)


def _weights(primaries: str) -> tuple[float, float]:
    """Return the shares of red and blue in the luminance of white, 0 to 1."""
    *colours, white = (np.array([x / y, 1, (1 - x - y) / y]) for x, y in _CHROMATICITIES[primaries])
    red, _, blue = np.linalg.solve(np.stack(colours, axis=1), white)
    return float(red), float(blue)


def _constant_luminance(
    luma: Samples, blue: Samples, red: Samples, kr: float, kb: float
) -> Samples:
    """Luma is that of linear light; a difference is scaled by its sign, to fill the range."""

    def side(difference: Samples, weight: float) -> Samples:
        below, above = _bt2020(np.array(1 - weight)), 1 - _bt2020(np.array(weight))
        return 2 * difference * np.where(difference <= 0, below, above)

    b, r = luma + side(blue, kb), luma + side(red, kr)
    light = [_bt2020_light(np.clip(one, 0, 1)) for one in (luma, r, b)]
    green = (light[0] - kr * light[1] - kb * light[2]) / (1 - kr - kb)
    return np.stack([r, _bt2020(np.clip(green, 0, 1)), b])


def _ictcp(planes: Samples, hlg: bool) -> Samples:
    matrix = _HLG_LMS if hlg else _PQ_LMS
    to_light, to_signal = (_hlg_light, _hlg) if hlg else (_pq_light, _pq)
    lms = to_light(np.clip(np.einsum("ij,jhw->ihw", matrix, planes), 0, 1))
    return to_signal(np.clip(np.einsum("ij,jhw->ihw", _RGB_OF_LMS, lms), 0, 1))


_ALPHA, _BETA = 1.09929682680944, 0.018053968510807


def _bt2020(light: Samples) -> Samples:
    return np.where(light < _BETA, 4.5 * light, _ALPHA * light**0.45 - (_ALPHA - 1))


def _bt2020_light(signal: Samples) -> Samples:
    low = signal < 4.5 * _BETA
    return np.where(low, signal / 4.5, ((signal + _ALPHA - 1) / _ALPHA) ** (1 / 0.45))


_M1, _M2 = 2610 / 16384, 2523 / 32
_C1, _C2, _C3 = 3424 / 4096, 2413 / 128, 2392 / 128


def _pq(light: Samples) -> Samples:
    power = light**_M1
    return ((_C1 + _C2 * power) / (1 + _C3 * power)) ** _M2


def _pq_light(signal: Samples) -> Samples:
    power = signal ** (1 / _M2)
    return (np.maximum(power - _C1, 0) / (_C2 - _C3 * power)) ** (1 / _M1)


_A, _B, _HLG_C = 0.17883277, 0.28466892, 0.55991073


def _hlg(light: Samples) -> Samples:
    high = _A * np.log(np.maximum(12 * light - _B, 1e-9)) + _HLG_C
    return np.where(light <= 1 / 12, np.sqrt(3 * light), high)


def _hlg_light(signal: Samples) -> Samples:
    return np.where(signal <= 0.5, signal**2 / 3, (np.exp((signal - _HLG_C) / _A) + _B) / 12)
