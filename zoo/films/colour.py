"""What a frame's numbers mean as colour: matrix, range, transfer and primaries, by name."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

from av.video.format import VideoFormat
from av.video.frame import VideoFrame

from zoo.films.filters import UNSTATED

# The names are FFmpeg's; the codes are those of ITU-T H.273, of which the rest means nothing.
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
"""A file that states no matrix is taken to be BT.709 if its frames are at least this wide or have
more lines than this, else BT.601: as players do, and also where black bars were cropped off."""


class Colour(NamedTuple):
    """Codes of H.273 as a frame carries them; 2 (and 0 for the range) means unstated."""

    matrix_code: int
    range_code: int
    transfer_code: int
    primaries_code: int

    @classmethod
    def of(cls, frame: VideoFrame) -> Colour:
        """The colour that a decoded frame states; codes without a meaning count as unstated."""
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
        """Whether the numbers are logarithms of light, which are shown as they are."""
        return self.transfer_code in (9, 10)

    @property
    def wide(self) -> bool:
        """Whether the film has a wider range or gamut than an ordinary display."""
        return self.hdr is not None or self.primaries_code in _WIDE_PRIMARIES

    @property
    def primaries_to_read(self) -> str:
        """The primaries to convert from; HDR that states none is taken to be BT.2020."""
        return _PRIMARIES.get(self.primaries_code, "bt2020" if self.hdr else "bt709")

    @property
    def transfer_to_read(self) -> str:
        """The transfer function to convert from.

        Everything that is not HDR is taken to be sRGB, as it is shown: so only gamuts change.
        """
        return _TRANSFERS[self.transfer_code] if self.hdr else "iec61966-2-1"

    def matrix_for(self, width: int, height: int) -> str | None:
        """The matrix that decodes frames of this size, as libswscale names it.

        None if libswscale has not got it. Without a matrix, BT.2020 primaries and HDR mean
        BT.2020; a matrix for RGB says nothing of what is coded as brightness and colour.
        """
        if self.matrix_code not in (0, UNSTATED):
            return _SCALED.get(self.matrix_code)
        if self.primaries_to_read == "bt2020":
            return "bt2020"
        return "bt709" if width >= HD_WIDTH or height > SD_HEIGHT else "bt601"

    def full_range(self, pixel_format: VideoFormat) -> bool:
        """Whether the range is full: as is stated, else what the pixel format means."""
        if self.range_code:
            return self.range_code == 2
        full = ("yuvj", "gray", "ya8", "ya16", "yaf", "mono")
        return is_rgb(pixel_format) or pixel_format.name.startswith(full)


def is_rgb(pixel_format: VideoFormat) -> bool:
    """Whether samples are red, green and blue, or stand for such."""
    return pixel_format.is_rgb or pixel_format.has_palette or pixel_format.name.startswith("xyz")


def has_alpha(pixel_format: VideoFormat) -> bool:
    """Whether pixels can be transparent."""
    return pixel_format.has_palette or any(c.is_alpha for c in pixel_format.components)


@contextmanager
def uncoloured(frame: VideoFrame) -> Iterator[VideoFrame]:
    """Hide what a frame states of its colour: libswscale refuses what it does not know."""
    codes = frame.colorspace, frame.color_trc, frame.color_primaries
    frame.colorspace = frame.color_trc = frame.color_primaries = UNSTATED
    try:
        yield frame
    finally:
        frame.colorspace, frame.color_trc, frame.color_primaries = codes
