"""LPIPS: how different two frames look to a network fitted to human judgements."""

from __future__ import annotations

import hashlib
import importlib.util
import io
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import ClassVar

import torch
from torch import Tensor, nn

from zoo import Metric, Unavailable, hookimpl
from zoo.base.extras import package_command
from zoo.pretrained import WeightsUnavailable, alexnet_features_state, vgg16_features_state
from zoo_plugins.metrics.luma import full_precision

HEADS = "weights/v0.1"
"""Folder of the heads in the package, one file per network."""


class LearnedDistance(Metric):
    """Learned perceptual distance of two frames: 0 for equal ones, about 1 for unlike ones.

    Zhang, Isola, Efros, Shechtman and Wang, "The Unreasonable Effectiveness of Deep Features as
    a Perceptual Metric", CVPR 2018: version 0.1, from the authors' own package. The features are
    from a network trained on ImageNet. Without its weights the metric is unavailable.
    """

    better = "lower"
    digits = 3
    network: ClassVar[str]
    """Name of the network in the package `lpips`."""
    heads_sha256: ClassVar[str]
    frames_at_once: ClassVar[int] = 2**31
    """Maximum frames that are compared at once, to limit memory for their features."""

    def __init__(self, device: torch.device) -> None:
        super().__init__(device)
        try:
            features = self.features()
        except WeightsUnavailable as error:
            raise Unavailable(str(error)) from error
        heads = lpips_heads(self.network, self.heads_sha256)
        self._network = lpips_network(self.network, features, heads).to(device)

    def features(self) -> Mapping[str, Tensor]:
        """Load the weights of the convolutional layers; raises WeightsUnavailable."""
        raise TypeError(f"{type(self).__name__} defines no features()")

    def __call__(self, originals: Tensor, reconstructions: Tensor) -> Tensor:
        """Compare two float (B, 3, H, W) in [0, 1], at least 32x32; float32 (B,) from 0 up."""
        pieces = (frames.split(self.frames_at_once) for frames in (originals, reconstructions))
        with full_precision(originals.device):
            distances = [
                self._network(x.float() * 2 - 1, y.float() * 2 - 1).flatten()
                for x, y in zip(*pieces, strict=True)
            ]
        return torch.cat(distances)


class Lpips(LearnedDistance):
    """LPIPS with AlexNet, which the authors recommend for comparisons."""

    name = "lpips"
    label = "LPIPS (AlexNet)"
    source = "Zhang et al., CVPR 2018; package lpips, version 0.1, AlexNet trained on ImageNet"
    network = "alex"
    heads_sha256 = "df73285e35b22355a2df87cdb6b70b343713b667eddbda73e1977e0c860835c0"

    def features(self) -> Mapping[str, Tensor]:
        """Load AlexNet's convolutions."""
        return alexnet_features_state()


def lpips_network(
    name: str, features: Mapping[str, Tensor], heads: Mapping[str, Tensor]
) -> nn.Module:
    """Build the authors' network with these weights, frozen; raises KeyError if one is missing."""
    with warnings.catch_warnings():
        # `lpips` uses deprecated arguments of torchvision.
        warnings.simplefilter("ignore")
        import lpips

        # On the meta device weights have no values until they are loaded, so no random weight can
        # remain, and the random number generator is not used.
        with torch.device("meta"):
            network: nn.Module = lpips.LPIPS(
                net=name, pretrained=False, pnet_rand=True, eval_mode=True, verbose=False
            )
    state: dict[str, Tensor] = {}
    for key, value in network.state_dict().items():
        part, _, rest = key.partition(".")
        if part == "net":
            state[key] = features[rest.partition(".")[2]]
        elif part == "lins":
            # The package registers the same five layers twice: `lin0` is `lins.0`.
            state[key] = heads[f"lin{rest}"]
        elif part == "scaling_layer":
            state[key] = value  # Mean and spread of channels: constants in the package.
        else:
            state[key] = heads[key]
    network.load_state_dict(state, strict=True, assign=True)
    return network.requires_grad_(False).eval()


def lpips_heads(name: str, sha256: str) -> dict[str, Tensor]:
    """Load the linear layers that weight the features from the package; raises Unavailable."""
    spec = importlib.util.find_spec("lpips")
    for folder in (spec.submodule_search_locations or []) if spec else []:
        path = Path(folder) / HEADS / f"{name}.pth"
        content = path.read_bytes()
        if hashlib.sha256(content).hexdigest() != sha256:
            raise Unavailable(f"the package lpips has another {path.name} than version 0.1")
        # The package can load them itself, but not always with `weights_only`.
        heads: dict[str, Tensor] = torch.load(
            io.BytesIO(content), map_location="cpu", weights_only=True
        )
        return heads
    raise Unavailable(f"the package lpips is not installed; {package_command('lpips')} brings it")


class LpipsVgg(LearnedDistance):
    """LPIPS with VGG16: slow, and biased in favour of models that were trained on VGG16."""

    name = "lpips_vgg"
    label = "LPIPS (VGG16)"
    source = "Zhang et al., CVPR 2018; package lpips, version 0.1, VGG16 trained on ImageNet"
    default = False
    network = "vgg"
    heads_sha256 = "a78928a0af1e5f0fcb1f3b9e8f8c3a2a5a3de244d830ad5c1feddc79b8432868"
    frames_at_once = 8

    def features(self) -> Mapping[str, Tensor]:
        """Load VGG16's convolutions."""
        return vgg16_features_state()


@hookimpl
def zoo_metrics() -> Sequence[type[Metric]]:
    """Offer LPIPS with AlexNet and with VGG16."""
    return [Lpips, LpipsVgg]
