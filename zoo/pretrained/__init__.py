"""Pretrained weights: found by name, checked by sha256, and never substituted.

`weights` lists the known ones with their hashes and reads them from a source package. `lookup`
finds these and files that plugins name, in our cache, in the torch hub cache or by download.
`networks` builds feature extractors. See `docs/pretrained.md`.
"""

from zoo.pretrained.lookup import (
    PretrainedFile,
    alexnet_features_state,
    pretrained_state,
    resolve,
    vgg16_features_state,
)
from zoo.pretrained.networks import efficientnet_lite0_state, feature_network
from zoo.pretrained.weights import ALEXNET, VGG16, PretrainedWeights, WeightsUnavailable

__all__ = [
    "ALEXNET",
    "VGG16",
    "PretrainedFile",
    "PretrainedWeights",
    "WeightsUnavailable",
    "alexnet_features_state",
    "efficientnet_lite0_state",
    "feature_network",
    "pretrained_state",
    "resolve",
    "vgg16_features_state",
]
