"""VMAF: quality as a model fitted to viewers' scores of compressed films predicts it."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from zoo import Metric, TemporalMetric, Unavailable, hookimpl
from zoo.base.extras import missing_extra
from zoo_plugins.metrics.luma import full_precision, luma


class Vmaf(TemporalMetric):
    """Video multimethod assessment fusion, 0 to 100: about 100 for equal frames.

    Netflix's model v0.6.1 from the package `vmaf-torch`, which is held to libvmaf by its authors.
    It sees BT.709 luma alone, here as video holds it, 16 to 235 and rounded to whole levels, and
    was fitted to 1080p seen from three screen heights, compressed and scaled: frames of 256x144
    are out of its range, and so are reconstructions. Compare its values with each other only.

    The motion of a frame is the lesser of its changes from the frame before and to the one after,
    as in libvmaf, within its shot: the last frame of a shot has the first of the two alone.
    """

    name = "vmaf"
    label = "VMAF"
    better = "higher"
    digits = 1
    source = "Netflix VMAF v0.6.1 as in package vmaf-torch, on BT.709 luma 16 to 235, by shot"
    default = False
    frame_shape = (6,)

    def __init__(self, device: torch.device) -> None:
        super().__init__(device)
        try:
            import vmaf_torch
        except ImportError:
            raise Unavailable(missing_extra("vmaf", "vmaf")) from None
        self._vmaf = vmaf_torch.VMAF(clip_score=True).to(device).eval()

    def __call__(  # type: ignore[override]
        self,
        originals: Tensor,
        reconstructions: Tensor,
        earlier_originals: Tensor,
        earlier_reconstructions: Tensor,
    ) -> Tensor:
        """Features of four float (B, 3, H, W) in [0, 1], at least 32x32; float32 (B, 6)."""
        x, y, earlier = map(_as_video, (originals, reconstructions, earlier_originals))
        with full_precision(originals.device):
            # Pairs in turn, of which every second frame has its own predecessor before it.
            in_turn = torch.stack([earlier, x], dim=1).flatten(0, 1)
            motion = self._vmaf.compute_motion(in_turn)[1::2]
            detail = self._vmaf.compute_adm_score(x, y)
            return torch.cat([detail, motion, self._vmaf.compute_vif_features(x, y)], dim=1)

    def over_film(self, values: Tensor) -> Tensor:
        """Scores of all frames, (N,), of their features (N, 6)."""
        detail, motion, fidelity = values[:, :1], values[:, 1:2], values[:, 2:]
        after = torch.cat([motion[1:], motion.new_full((1, 1), torch.nan)])
        # Of a number and NaN, which stands where a shot begins, the number.
        lesser = torch.where(motion.isnan(), motion, torch.fmin(motion, after))
        with full_precision(values.device):
            score: Tensor = self._vmaf.predict(detail, lesser, fidelity)
        return score.flatten()


def _as_video(frames: Tensor) -> Tensor:
    """Luma as 8-bit video holds it: (B, 1, H, W), whole levels from 16 to 235."""
    return (16 + luma(frames) * (219 / 255)).round().unsqueeze(1)


@hookimpl
def zoo_metrics() -> Sequence[type[Metric]]:
    """Offer VMAF, where its package is installed."""
    return [Vmaf]
