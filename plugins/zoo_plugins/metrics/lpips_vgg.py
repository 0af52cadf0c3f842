"""LPIPS as VGG16 sees: a second judge, for whoever trained on the first one's features."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import Tensor

from zoo import Metric, hookimpl
from zoo.pretrained import vgg16_features_state
from zoo_plugins.metrics.lpips import LearnedDistance


class LpipsVgg(LearnedDistance):
    """LPIPS through VGG16: slow, and no fair judge of a model that was trained on VGG16."""

    name = "lpips_vgg"
    label = "LPIPS (VGG16)"
    source = "Zhang et al., CVPR 2018; package lpips, version 0.1, VGG16 trained on ImageNet"
    default = False
    network = "vgg"
    heads_sha256 = "a78928a0af1e5f0fcb1f3b9e8f8c3a2a5a3de244d830ad5c1feddc79b8432868"
    frames_at_once = 8

    def features(self) -> Mapping[str, Tensor]:
        """VGG16's convolutions."""
        return vgg16_features_state()


@hookimpl
def zoo_metrics() -> Sequence[type[Metric]]:
    """Offer LPIPS through VGG16."""
    return [LpipsVgg]
