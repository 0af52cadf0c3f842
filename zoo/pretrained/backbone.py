"""timm's networks as pretrained feature extractors, with weights from where they can be had."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from typing import Any

from zoo.base.errors import BadInput
from zoo.base.offline import OFFLINE, is_offline
from zoo.pretrained.efficientnet import NETWORK, efficientnet_lite0_state
from zoo.pretrained.resolution import vgg16_features_state
from zoo.pretrained.weights import State, WeightsUnavailable

TRUST_HUB = "ZOO_TRUST_HUB"


def feature_network(name: str, stages: int) -> Any:
    """Return timm's network `name`, cut off after `stages` stages, with ImageNet weights.

    Called with frames (B, 3, H, W), normalised as its `default_cfg` says, it returns a list of
    features (B, C, h, w), finest first. `vgg16` and `tf_efficientnet_lite0` have weights that are
    found as `docs/pretrained.md` says. Of no others a hash is known: they come through timm from
    the hub that it knows, and only where ZOO_TRUST_HUB says so. Raises BadInput on another network
    where it does not, and on too few stages; WeightsUnavailable if there are no weights.
    """
    # Imported where it is used: it takes longer to load than everything else together.
    import timm

    if name not in timm.list_models():
        raise BadInput(f"timm has no network called {name!r}")
    stated = _STATED.get(name)
    if stated is None:
        _refuse_unless_trusted(name)
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


def _refuse_unless_trusted(name: str) -> None:
    """Weights without a known hash are fetched for those alone who said that they want that."""
    if os.environ.get(TRUST_HUB, "") in ("", "0"):
        raise BadInput(
            f"no weights of {name} are known by their hash; with {TRUST_HUB}=1 they are fetched "
            f"from timm's hub all the same; known are: {', '.join(_STATED)}"
        )
    if is_offline():
        raise WeightsUnavailable(
            f"weights of {name} lie on a hub, and {OFFLINE} forbids to fetch; unset it"
        )
    sys.stderr.write(f"zoo: weights of {name}, without a known hash, come from timm's hub\n")


def _vgg16() -> State:
    return {f"features.{key}": tensor for key, tensor in vgg16_features_state().items()}


_STATED: dict[str, Callable[[], State]] = {NETWORK: efficientnet_lite0_state, "vgg16": _vgg16}
