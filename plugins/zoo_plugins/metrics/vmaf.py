"""VMAF: quality predicted by a model that was fitted to viewers' scores of compressed films."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from zoo import Metric, TemporalMetric, Unavailable, hookimpl
from zoo.base.extras import missing_extra
from zoo_plugins.metrics.luma import full_precision, luma


class Vmaf(TemporalMetric):
    """Video multimethod assessment fusion, 0 to 100: about 100 for equal frames.

    Netflix's model v0.6.1 from the package `vmaf-torch`, whose authors test it against libvmaf. It
    uses only BT.709 luma, here in video range (16 to 235), rounded to whole levels. It was fitted
    to compressed and scaled 1080p video seen from three screen heights. Neither frames of 256x144
    nor reconstructions are in that range, so compare its values only with each other.

    As in libvmaf, the motion of a frame is the smaller of its changes from the previous frame and
    to the next one in its shot. The last frame of a shot only has the change from the previous.
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
        """Compute features of four float (B, 3, H, W) in [0, 1], at least 32x32: float32 (B, 6)."""
        x, y, earlier = map(_as_video, (originals, reconstructions, earlier_originals))
        with full_precision(originals.device):
            # Interleaved, so that every second frame follows its own predecessor.
            in_turn = torch.stack([earlier, x], dim=1).flatten(0, 1)
            motion = self._vmaf.compute_motion(in_turn)[1::2]
            detail = self._vmaf.compute_adm_score(x, y)
            return torch.cat([detail, motion, self._vmaf.compute_vif_features(x, y)], dim=1)

    def over_film(self, values: Tensor) -> Tensor:
        """Compute the scores (N,) of all frames from their features (N, 6)."""
        detail, motion, fidelity = values[:, :1], values[:, 1:2], values[:, 2:]
        after = torch.cat([motion[1:], motion.new_full((1, 1), torch.nan)])
        # `fmin` ignores NaN, which marks the first frame of a shot.
        lesser = torch.where(motion.isnan(), motion, torch.fmin(motion, after))
        with full_precision(values.device):
            score: Tensor = self._vmaf.predict(detail, lesser, fidelity)
        return score.flatten()


def _as_video(frames: Tensor) -> Tensor:
    """Luma in the range of 8-bit video: (B, 1, H, W), whole levels from 16 to 235."""
    return (16 + luma(frames) * (219 / 255)).round().unsqueeze(1)


@hookimpl
def zoo_metrics() -> Sequence[type[Metric]]:
    """Offer VMAF."""
    return [Vmaf]
