"""How many bytes a decoder takes: every tensor that a reconstruction depends on."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.func import functional_call
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from zoo.api.autoencoder import Autoencoder


class _Decoding(torch.nn.Module):
    """A model seen as its decoder alone."""

    def __init__(self, model: Autoencoder) -> None:
        super().__init__()
        self.model = model

    def forward(self, latent: Tensor) -> Tensor:
        return self.model.decode(latent)


class _BatchNormByHand(TorchFunctionMode):
    """Batch norm in evaluation as plain arithmetic: autograd refuses its running statistics."""

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        if func is functional.batch_norm:
            return _normalised(*args, **(kwargs or {}))
        return func(*args, **(kwargs or {}))


def _normalised(
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
    drawn = (values - mean.view(shape)) * (variance.view(shape) + eps).rsqrt()
    drawn = drawn if weight is None else drawn * weight.view(shape)
    return drawn if bias is None else drawn + bias.view(shape)


def decoder_bytes(model: Autoencoder, latent: Tensor) -> int:
    """Bytes, at the precision held, of the parameters and buffers that `decode` draws from."""
    reached = decoder_tensors(model, latent)
    return sum(tensor.numel() * tensor.element_size() for tensor in reached.values())


def decoder_tensors(model: Autoencoder, latent: Tensor) -> dict[str, Tensor]:
    """The parameters and buffers that `decode` draws from, by their names in the model.

    Found by asking autograd which of them the reconstruction of `latent`, (1, ...), depends on,
    so that no model has to declare it. Where autograd cannot follow `decode`, all of the model
    counts: too much rather than too little.
    """
    decoding = _Decoding(model.eval())
    held = {**dict(decoding.named_parameters()), **dict(decoding.named_buffers())}
    tracked = {
        name: tensor.detach().requires_grad_()
        for name, tensor in held.items()
        if tensor.is_floating_point()
    }
    with torch.enable_grad(), _BatchNormByHand():
        drawn = functional_call(decoding, tracked, (latent,))
        if not drawn.requires_grad:
            return {name.removeprefix("model."): tensor for name, tensor in held.items()}
        reached = torch.autograd.grad(
            drawn.sum(), list(tracked.values()), allow_unused=True, materialize_grads=False
        )
    return {
        name.removeprefix("model."): tensor
        for (name, tensor), gradient in zip(tracked.items(), reached, strict=True)
        if gradient is not None
    }
