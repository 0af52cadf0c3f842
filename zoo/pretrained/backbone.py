"""timm's networks as pretrained feature extractors, with weights from wherever they can be had."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from zoo.errors import BadInput
from zoo.pretrained.efficientnet import NETWORK, efficientnet_lite0_state
from zoo.pretrained.resolution import vgg16_features_state
from zoo.pretrained.weights import State, WeightsUnavailable


def feature_network(name: str, stages: int) -> Any:
    """Return timm's network `name`, cut off after `stages` stages, with ImageNet weights.

    Called with frames (B, 3, H, W), normalised as its `default_cfg` says, it returns a list of
    features (B, C, h, w), finest first. `vgg16` and `tf_efficientnet_lite0` have weights that are
    found as `docs/pretrained.md` says; all others come through timm from the hub that it knows.
    Raises BadInput if timm has no such network or too few stages, WeightsUnavailable if there are
    no weights.
    """
    # Imported where it is used: it takes longer to load than everything else together.
    import timm

    if name not in timm.list_models():
        raise BadInput(f"timm has no network called {name!r}")
    stated = _STATED.get(name)
    if stated is None and os.environ.get("ZOO_OFFLINE", "") not in ("", "0"):
        raise WeightsUnavailable(
            f"weights of {name} lie on a hub, and ZOO_OFFLINE forbids to fetch"
        )
    try:
        # The getter cuts the network off after the last stage that is asked for.
        network = timm.create_model(
            name,
            pretrained=stated is None,
            features_only=True,
            feature_cls="getter",
            out_indices=tuple(range(stages)),
        )
    except (AssertionError, IndexError, KeyError):
        raise BadInput(f"{name} cannot be cut after {stages} stages; it has fewer") from None
    except (OSError, RuntimeError, ValueError) as error:
        reason = " ".join(str(error).split())[:200]
        raise WeightsUnavailable(f"no weights for {name}: {reason}") from None
    if stated is not None:
        trunk = network.model
        state = stated()
        trunk.load_state_dict({key: state[key] for key in trunk.state_dict()})
    return network


def _vgg16() -> State:
    return {f"features.{key}": tensor for key, tensor in vgg16_features_state().items()}


_STATED: dict[str, Callable[[], State]] = {NETWORK: efficientnet_lite0_state, "vgg16": _vgg16}
