"""Patches: the part of the frames on which an expensive loss is computed in one step.

The patch moves from step to step. Over time it covers the whole frame, the middle more often than
the corners, so that a model learns from whole frames at a fraction of the cost.
"""

from __future__ import annotations

import math

from torch import Tensor

from zoo import FrameSize

ACROSS, DOWN = 0.7548776662466927, 0.5698402909980532
"""Steps of the R2 sequence, which fills the unit square evenly (Roberts, 2018)."""


def patch_size(size: FrameSize, share: float) -> FrameSize:
    """The size of a patch whose sides are `share` of the frame's sides, rounded up."""
    return FrameSize(math.ceil(share * size.width), math.ceil(share * size.height))


def patch(frames: Tensor, share: float, number: int) -> Tensor:
    """Cut out the patch (B, C, h, w) of frames (B, C, H, W) for step `number`.

    Its position depends only on the step's number, so frames and their reconstructions are cut in
    the same place, without synchronising a device.
    """
    size = FrameSize(frames.shape[-1], frames.shape[-2])
    part = patch_size(size, share)
    left = _start(number * ACROSS % 1, size.width, part.width)
    top = _start(number * DOWN % 1, size.height, part.height)
    return frames[..., top : top + part.height, left : left + part.width]


def _start(point: float, whole: int, part: int) -> int:
    """Where a part begins, given a point in [0, 1).

    A third of half-size parts is at each end; evenly spread ones would rarely reach the edges.
    """
    return min(max(round(point * (whole + part)) - part, 0), whole - part)
