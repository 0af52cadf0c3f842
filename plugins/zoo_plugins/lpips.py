"""LPIPS: how different two frames look to a network that was fitted to people's judgements."""

from __future__ import annotations

import hashlib
import importlib.util
import io
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import Tensor, nn

from zoo import Metric, Unavailable, hookimpl
from zoo.pretrained import WeightsUnavailable, alexnet_features_state

HEADS = "weights/v0.1/alex.pth"
HEADS_SHA256 = "df73285e35b22355a2df87cdb6b70b343713b667eddbda73e1977e0c860835c0"


class Lpips(Metric):
    """Learned perceptual distance of two frames: 0 for equal ones, about 1 for unlike ones.

    Zhang, Isola, Efros, Shechtman and Wang, "The Unreasonable Effectiveness of Deep Features as
    a Perceptual Metric", CVPR 2018: version 0.1, AlexNet, from the authors' own package. The
    features are AlexNet's from ImageNet, or the metric is not available: never random ones.
    """

    name = "lpips"
    label = "LPIPS (AlexNet)"
    better = "lower"
    digits = 3
    source = "Zhang et al., CVPR 2018; package lpips, version 0.1, AlexNet trained on ImageNet"

    def __init__(self, device: torch.device) -> None:
        super().__init__(device)
        try:
            features = alexnet_features_state()
        except WeightsUnavailable as error:
            raise Unavailable(str(error)) from error
        self._network = _network(features, _heads()).to(device)

    @torch.no_grad()
    def __call__(self, originals: Tensor, reconstructions: Tensor) -> Tensor:
        """Compare two float (B, 3, H, W) in [0, 1], at least 32x32; float32 (B,) from 0 up."""
        if originals.shape != reconstructions.shape:
            raise ValueError(f"{tuple(originals.shape)} against {tuple(reconstructions.shape)}")
        with _full_precision(originals.device):
            distance: Tensor = self._network(
                originals.float() * 2 - 1, reconstructions.float() * 2 - 1
            )
        return distance.flatten()


@contextmanager
def _full_precision(device: torch.device) -> Iterator[None]:
    """Convolve with all 32 bits, whatever precision the caller works in."""
    conv = getattr(torch.backends.cudnn, "conv", None)
    with torch.autocast(device.type, enabled=False):
        if conv is None:  # torch before 2.9 has one switch for all of cuDNN.
            with torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
                yield
            return
        before = conv.fp32_precision
        conv.fp32_precision = "ieee"
        try:
            yield
        finally:
            conv.fp32_precision = before


def _network(features: Mapping[str, Tensor], heads: Mapping[str, Tensor]) -> nn.Module:
    """The authors' network with every weight given and frozen; raises ValueError if one is not."""
    with warnings.catch_warnings():
        # `lpips` speaks to an older torchvision than the one installed.
        warnings.simplefilter("ignore")
        import lpips

        # On the meta device no weight exists until it is loaded: a random one cannot be left
        # behind, and the caller's random numbers stay as they were.
        with torch.device("meta"):
            network: nn.Module = lpips.LPIPS(
                net="alex", pretrained=False, pnet_rand=True, eval_mode=True, verbose=False
            )
    state: dict[str, Tensor] = {}
    for key, value in network.state_dict().items():
        part, _, rest = key.partition(".")
        if part == "net":
            state[key] = features[rest.partition(".")[2]]
        elif part == "lins":
            # The package names the same five layers twice: `lin0` is `lins.0`.
            state[key] = heads[f"lin{rest}"]
        elif part == "scaling_layer":
            state[key] = value  # The channels' means and spreads, constants in the package.
        else:
            state[key] = heads[key]
    network.load_state_dict(state, strict=True, assign=True)
    return network.requires_grad_(False).eval()


def _heads() -> dict[str, Tensor]:
    """The five linear layers that weigh the features, as the package carries them."""
    spec = importlib.util.find_spec("lpips")
    for folder in (spec.submodule_search_locations or []) if spec else []:
        content = (Path(folder) / HEADS).read_bytes()
        if hashlib.sha256(content).hexdigest() != HEADS_SHA256:
            raise Unavailable(f"the package lpips has other weights in {HEADS} than version 0.1")
        # The package would load them itself, but not everywhere with `weights_only`.
        heads: dict[str, Tensor] = torch.load(
            io.BytesIO(content), map_location="cpu", weights_only=True
        )
        return heads
    raise Unavailable("the package lpips is not installed; `pip install lpips` brings it")


@hookimpl
def zoo_metrics() -> Sequence[type[Metric]]:
    """Offer LPIPS."""
    return [Lpips]
