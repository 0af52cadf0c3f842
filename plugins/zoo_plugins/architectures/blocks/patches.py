"""Patches: the part of the frames that a costly loss looks at in one step.

The patch moves from step to step and covers the whole frame, its middle more often than
its corners, so that whole frames are learned from at a fraction of the work.
"""

from __future__ import annotations

import math

from torch import Tensor

from zoo import FrameSize

ACROSS, DOWN = 0.7548776662466927, 0.5698402909980532
"""Steps of a sequence of points that fills the unit square evenly (Roberts, 2018)."""


def patch_size(size: FrameSize, share: float) -> FrameSize:
    """Size of the patches of frames of a size, whose sides are a share of the frame's."""
    return FrameSize(math.ceil(share * size.width), math.ceil(share * size.height))


def patch(frames: Tensor, share: float, number: int) -> Tensor:
    """The patch of frames (B, C, H, W) in step `number`: (B, C, h, w).

    Where it lies follows from the step's number alone: frames and their reconstructions are cut
    alike, and no device is waited for.
    """
    size = FrameSize(frames.shape[-1], frames.shape[-2])
    part = patch_size(size, share)
    left = _start(number * ACROSS % 1, size.width, part.width)
    top = _start(number * DOWN % 1, size.height, part.height)
    return frames[..., top : top + part.height, left : left + part.width]


def _start(point: float, whole: int, part: int) -> int:
    """Where a part begins at a point in [0, 1): of halves a third lies at either end.

    Were parts spread evenly, hardly any would reach the edges.
    """
    return min(max(round(point * (whole + part)) - part, 0), whole - part)
