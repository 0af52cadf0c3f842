"""Weights that others trained: found by name, checked by sha256, never replaced by a stand-in.

`weights` says which there are and what they must be, `resolution` finds them (our cache, the torch
hub cache, a fetch), `fetch` brings them, `array_pickle` reads one foreign format safely,
`efficientnet` reads those that an installed package carries, and `backbone` makes feature
extractors of timm's networks. `docs/pretrained.md` has the whole.
"""

from zoo.pretrained.lookup import alexnet_features_state, resolve, vgg16_features_state
from zoo.pretrained.networks import efficientnet_lite0_state, feature_network
from zoo.pretrained.weights import ALEXNET, VGG16, PretrainedWeights, WeightsUnavailable

__all__ = [
    "ALEXNET",
    "VGG16",
    "PretrainedWeights",
    "WeightsUnavailable",
    "alexnet_features_state",
    "efficientnet_lite0_state",
    "feature_network",
    "resolve",
    "vgg16_features_state",
]
