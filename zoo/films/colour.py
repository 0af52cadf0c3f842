"""What a frame's numbers mean as colour: matrix, range, transfer and primaries, by name."""

from __future__ import annotations

from typing import NamedTuple

from av.video.frame import VideoFrame

# The names are libavfilter's; the codes are those of ITU-T H.273.
_MATRICES = {0: "gbr", 1: "bt709", 4: "fcc", 5: "bt470bg", 6: "smpte170m", 7: "smpte240m",
             8: "ycgco", 9: "bt2020nc", 10: "bt2020c"}  # fmt: skip
_PRIMARIES = {1: "bt709", 4: "bt470m", 5: "bt470bg", 6: "smpte170m", 7: "smpte240m", 8: "film",
              9: "bt2020", 10: "smpte428", 11: "smpte431", 12: "smpte432"}  # fmt: skip
_TRANSFERS = {1: "bt709", 4: "bt470m", 5: "bt470bg", 6: "smpte170m", 7: "smpte240m", 8: "linear",
              11: "iec61966-2-4", 13: "iec61966-2-1", 14: "bt2020-10", 15: "bt2020-12",
              16: "smpte2084", 17: "smpte428", 18: "arib-std-b67"}  # fmt: skip
# BT.2020, DCI-P3 and Display P3.
_WIDE_PRIMARIES = {9, 11, 12}
_RGB_FORMATS = ("rgb", "bgr", "gbr", "argb", "abgr", "0rgb", "0bgr", "x2rgb", "x2bgr", "pal8")
_UNSTATED = "unstated"
HD_HEIGHT = 720
"""From this many lines on, a file that states no matrix is taken to be BT.709, below BT.601."""


class Colour(NamedTuple):
    """Codes of H.273 as a frame carries them; 2 (and 0 for the range) means unstated."""

    matrix_code: int
    range_code: int
    transfer_code: int
    primaries_code: int

    @classmethod
    def of(cls, frame: VideoFrame) -> Colour:
        """The colour that a decoded frame states."""
        return cls(
            int(frame.colorspace),
            int(frame.color_range),
            int(frame.color_trc),
            int(frame.color_primaries),
        )

    @property
    def matrix(self) -> str:
        """The matrix's name, or `unstated`."""
        return _MATRICES.get(self.matrix_code, _UNSTATED)

    @property
    def transfer(self) -> str:
        """The transfer function's name, or `unstated`."""
        return _TRANSFERS.get(self.transfer_code, _UNSTATED)

    @property
    def primaries(self) -> str:
        """The primaries' name, or `unstated`."""
        return _PRIMARIES.get(self.primaries_code, _UNSTATED)

    @property
    def hdr(self) -> str | None:
        """`PQ` or `HLG` if the film is of high dynamic range."""
        return {16: "PQ", 18: "HLG"}.get(self.transfer_code)

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

    def is_rgb(self, pixel_format: str) -> bool:
        """Whether the samples are red, green and blue, or stand for such."""
        return pixel_format.startswith(_RGB_FORMATS)

    def matrix_for(self, height: int) -> str:
        """The matrix to decode with, as libavfilter's scale names it."""
        if self.matrix_code in (1, 4, 7):
            return _MATRICES[self.matrix_code]
        if self.matrix_code in (5, 6):
            return "bt601"
        if self.matrix_code in (9, 10):
            return "bt2020"
        if self.matrix_code == 2:
            return "bt709" if height >= HD_HEIGHT else "bt601"
        return "auto"

    def range_name(self, pixel_format: str) -> str:
        """`full` or `limited`: what is stated, else what the pixel format means."""
        if self.range_code:
            return "full" if self.range_code == 2 else "limited"
        full = self.is_rgb(pixel_format) or pixel_format.startswith(("yuvj", "gray", "ya8", "mono"))
        return "full" if full else "limited"
