"""A model at one frame size: latent, parameters, multiply-adds and the size of its decoder.

They are counted on an instance without storage (torch's meta device), which takes seconds even if
a network is too large for this machine, or on the CPU if a model cannot be built or run there.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor
from torch.func import functional_call
from torch.nn import functional
from torch.overrides import TorchFunctionMode
from torch.utils.flop_counter import FlopCounterMode

from zoo.api.autoencoder import Autoencoder, Optimizer, Options, PlayerParameters
from zoo.api.recipe_and_events import FULL
from zoo.api.samples_and_latents import LatentSpec, Sampling
from zoo.base.frame_size import FrameSize
from zoo.plugins.model_building import add_training_modules, fits_directly, instantiate, latent_spec
from zoo.training.weight_rounding import is_matrix, stored_bytes, trained_matrices


class _Decoding(torch.nn.Module):
    """A model's decoder as a module of its own."""

    def __init__(self, model: Autoencoder) -> None:
        super().__init__()
        self.model = model

    def forward(self, latent: Tensor) -> Tensor:
        return self.model.decode(latent)


class _PlainBatchNorm(TorchFunctionMode):
    """Computes batch norm in evaluation so that autograd tracks its running statistics."""

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        if func is functional.batch_norm:
            return _batch_norm_by_hand(*args, **(kwargs or {}))
        return func(*args, **(kwargs or {}))


def _batch_norm_by_hand(
    values: Tensor,
    mean: Tensor | None,
    variance: Tensor | None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    if training or mean is None or variance is None:
        return torch.batch_norm(values, weight, bias, None, None, True, momentum, eps, False)
    shape = (1, -1) + (1,) * (values.dim() - 2)
    normalised = (values - mean.view(shape)) * (variance.view(shape) + eps).rsqrt()
    normalised = normalised if weight is None else normalised * weight.view(shape)
    return normalised if bias is None else normalised + bias.view(shape)


CODER = "coder."
"""Name prefix of the tensors that a model's own `decompress` uses."""


def has_coder(model: Autoencoder) -> bool:
    """Whether a model codes its latents itself."""
    return type(model).compress is not Autoencoder.compress


def decoder_bytes(
    model: Autoencoder,
    latent: Tensor,
    weight_bits: int = FULL,
    rounded: Container[str] | None = None,
) -> int:
    """Bytes of the parameters and buffers that decoding uses.

    Tensors in `rounded`, by default the trained matrices, take `weight_bits` bits per weight, and
    others their own precision. The tensors of the model's own entropy model are included.
    """
    rounded = trained_matrices(model) if rounded is None else rounded
    reached = decoder_tensors(model, latent)
    if has_coder(model):
        reached |= {n: t for n, t in model.state_dict().items() if n.startswith(CODER)}
    return sum(
        stored_bytes(tensor, weight_bits if name in rounded else FULL)
        for name, tensor in reached.items()
    )


def decoder_matrices(model: Autoencoder, latent: Tensor) -> set[str]:
    """The names of the matrices and kernels that `decode` uses and that a model's file holds."""
    stored = model.state_dict().keys()
    return {n for n, t in decoder_tensors(model, latent).items() if n in stored and is_matrix(t)}


def decoder_tensors(model: Autoencoder, latent: Tensor) -> dict[str, Tensor]:
    """The parameters and buffers that `decode` uses, by their names in the model.

    Autograd shows which of them the reconstruction of `latent`, (1, ...), depends on, so that no
    model has to declare it. If autograd cannot follow `decode`, the whole model counts: too much
    rather than too little.
    """
    decoding = _Decoding(model.eval())
    tensors = {**dict(decoding.named_parameters()), **dict(decoding.named_buffers())}
    tracked = {
        name: tensor.detach().requires_grad_()
        for name, tensor in tensors.items()
        if tensor.is_floating_point()
    }
    with torch.enable_grad(), _PlainBatchNorm():
        frames = functional_call(decoding, tracked, (latent,))
        if not frames.requires_grad:
            return {name.removeprefix("model."): tensor for name, tensor in tensors.items()}
        reached = torch.autograd.grad(
            frames.sum(), list(tracked.values()), allow_unused=True, materialize_grads=False
        )
    return {
        name.removeprefix("model."): tensor
        for (name, tensor), gradient in zip(tracked.items(), reached, strict=True)
        if gradient is not None
    }


@dataclass(frozen=True)
class ModelSummary:
    """The shapes and costs of a model at one frame size."""

    latent: LatentSpec
    """Of one sample."""
    window: int
    """Frames per latent."""
    parameters: int
    """Trained parameters of the saved model, without what only training needs."""
    players: dict[str, int]
    """Parameters of each player; empty for a model that fits directly."""
    optimizers: dict[str, Optimizer]
    """The optimizer of each player."""
    decoder_bytes: int
    """Bytes that a reconstruction needs, at 32 bits per number."""
    encode: int
    """Multiply-adds to encode a frame, in convolutions, matrix products and attention."""
    decode: int
    """Multiply-adds to decode a frame, counted alike."""
    device: Literal["meta", "cpu"]
    """The device on which multiply-adds were counted."""


def summarise_model(
    architecture: type[Autoencoder], size: FrameSize, options: Options
) -> ModelSummary:
    """Summarise a new instance, in 32 bits; raises what the model raises on the CPU."""
    try:
        return _count_on(architecture, size, options, "meta")
    except Exception:
        # Without storage no value can be read, but a model may need one. A real error recurs on the
        # CPU.
        return _count_on(architecture, size, options, "cpu")


def _count_on(
    architecture: type[Autoencoder],
    size: FrameSize,
    options: Options,
    device: Literal["meta", "cpu"],
) -> ModelSummary:
    with torch.device(device), warnings.catch_warnings():
        if device == "meta":
            # Pretrained weights are not loaded, and torch warns about each of their tensors.
            warnings.simplefilter("ignore", UserWarning)
        model = instantiate(architecture, size, options)
        parameters = sum(p.numel() for p in model.parameters() if p.requires_grad)
        add_training_modules(model)
        sampling = Sampling.of(model)
        sample = sampling.shaped(torch.zeros(sampling.frames, 3, size.height, size.width))
    players = {} if fits_directly(architecture) else dict(PlayerParameters.of(model))
    counts = {player: sum(p.numel() for p in group) for player, group in players.items()}
    model = model.float().eval()
    with torch.no_grad(), FlopCounterMode(display=False) as encoding:
        latent = model.encode(sample)
    with torch.no_grad(), FlopCounterMode(display=False) as decoding:
        model.decode(latent)
    return ModelSummary(
        latent=latent_spec(model),
        window=sampling.window,
        parameters=parameters,
        players=counts,
        optimizers={player: model.optimizer(player) for player in players},
        decoder_bytes=decoder_bytes(model, latent),
        # The counter counts a multiply-add as two operations.
        encode=encoding.get_total_flops() // 2 // sampling.window,
        decode=decoding.get_total_flops() // 2 // sampling.window,
        device=device,
    )
