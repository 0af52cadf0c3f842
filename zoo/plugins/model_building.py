"""Build models from their options, with or without training-only modules."""

from __future__ import annotations

import copy
import inspect
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import pydantic
import torch
from torch import Tensor, nn

from zoo.api.autoencoder import ANY, Autoencoder, Options
from zoo.api.samples_and_latents import LatentSpec, Sampling
from zoo.base.errors import BadInput, BrokenContract
from zoo.base.frame_size import FrameSize
from zoo.base.option_validation import validated
from zoo.base.safe_text import describe_value, one_line


class DoesNotFit(BadInput):
    """A model does not support a frame size or a latent size."""


def fits_directly(architecture: type[Autoencoder]) -> bool:
    """Whether an architecture is fitted by `fit` instead of gradient descent."""
    return architecture.fit is not Autoencoder.fit


def option_class(architecture: type[Autoencoder]) -> type[Options]:
    """The nested `Options` of an architecture, or the base class if it has none of its own."""
    return getattr(architecture, "Options", Options)


def parse_options(architecture: type[Autoencoder], settings: Mapping[str, Any]) -> Options:
    """Parse settings as options; raises BadInput naming the first invalid one."""
    return validated(architecture.name, option_class(architecture), settings)


def build(
    architecture: type[Autoencoder], size: FrameSize, settings: Mapping[str, Any] | None = None
) -> Autoencoder:
    """Make a model from a user's settings, without training-only modules.

    Raises BadInput on an invalid setting, frame size or latent size.
    """
    options = parse_options(architecture, settings or {})
    check_fit(architecture, size, options)
    return instantiate(architecture, size, options)


def instantiate(architecture: type[Autoencoder], size: FrameSize, options: Options) -> Autoencoder:
    """Make an instance; raises BadInput naming the architecture if its constructor fails."""
    name, begin = architecture.name, "it must begin with super().__init__(size, options)"
    try:
        inspect.signature(architecture).bind(size, options)
    except TypeError as error:
        raise BadInput(f"{name}: __init__ must take the size and the options: {error}") from None
    try:
        model = architecture(size, options)
    except (ValueError, pydantic.ValidationError) as error:
        # Only the constructor can check some sizes and options; either error is a refusal.
        raise BadInput(f"{name} refuses {size} with {options!r}: {one_line(str(error))}") from error
    except AttributeError as error:
        if ".__init__() call" not in str(error):
            raise
        raise BadInput(f"{name}: __init__ sets modules too early; {begin}") from error
    # A model without modules that never calls super().__init__ is noticed only here.
    if "_parameters" not in vars(model) or "options" not in vars(model):
        raise BadInput(f"{name}: __init__ does not call its base's; {begin}")
    return model


@contextmanager
def on_meta_device() -> Iterator[None]:
    """Make models in the block on the meta device, so that their tensors take no memory."""
    with torch.device("meta"), warnings.catch_warnings():
        # torch warns about each pretrained tensor, which cannot be copied to the meta device.
        warnings.simplefilter("ignore", UserWarning)
        yield


def without_memory(make: Callable[[], Autoencoder]) -> Autoencoder:
    """Make a model to inspect its shapes, on the meta device if possible."""
    try:
        with on_meta_device():
            return make()
    except (RuntimeError, NotImplementedError):
        # Some networks read the values of their tensors while they are made.
        return make()


def build_to_train(
    architecture: type[Autoencoder], size: FrameSize, settings: Mapping[str, Any] | None = None
) -> Autoencoder:
    """Make a model as `build` does, with its training-only modules."""
    model = build(architecture, size, settings)
    add_training_modules(model)
    return model


def check_fit(architecture: type[Autoencoder], size: FrameSize, options: Options) -> None:
    """Raise DoesNotFit if a model does not support a frame size or the options' latent size."""
    Sampling.of(architecture)
    multiple = architecture.side_multiple
    if size.width % multiple or size.height % multiple:
        near = FrameSize(*(max(1, round(side / multiple)) * multiple for side in size))
        raise DoesNotFit(
            f"{architecture.name} takes frames whose sides are multiples of {multiple}; not "
            f"{size}: try --size {near}"
        )
    sizes = architecture.latent_sizes(size)
    if options.latent not in sizes:
        raise DoesNotFit(
            f"{architecture.name} takes latents of {_said(sizes)} numbers at {size}; not "
            f"{options.latent}"
        )


def _said(sizes: range) -> str:
    if sizes.stop < ANY and len(sizes) <= 4:
        return ", ".join(map(str, sizes))
    first = ", ".join(map(str, sizes[:3])) + ", ..." if sizes.step > 1 else f"{sizes.start}"
    last = f" up to {sizes[-1]}" if sizes.stop < ANY else ""
    return first + (last or ("" if sizes.step > 1 else " or more"))


def placed(model: Autoencoder, device: torch.device | None = None) -> Autoencoder:
    """Move a model to a device, and its image kernels to channels_last, as in training and use.

    Kernels with other numbers of dimensions, such as those over time, are left as they are;
    `model.to(memory_format=...)` would raise an error on them.
    """
    model = model.to(device)
    for tensor in (*model.parameters(), *model.buffers()):
        if tensor.dim() == 4:
            # Not `contiguous`, which skips 1x1 kernels: torch would then use other algorithms.
            tensor.data = tensor.data.to(memory_format=torch.channels_last)
    return model


def add_training_modules(model: Autoencoder) -> None:
    """Add its `training_modules` to a model; raises BrokenContract if one is invalid."""
    made = dict(model.training_modules())
    for name, module in made.items():
        if hasattr(model, name):
            raise BrokenContract(
                f"{model.name}: training_modules has {name!r}, which the model already has"
            )
        if not isinstance(module, nn.Module):
            raise BrokenContract(
                f"{model.name}: training_modules has {name!r}, which is a {type(module).__name__} "
                "and not an nn.Module"
            )
        model.add_module(name, module)
    model.__dict__["_zoo_training_only"] = tuple(made)


def training_only(model: Autoencoder) -> tuple[str, ...]:
    """The names of a model's training-only modules; empty if they were not added."""
    names: tuple[str, ...] = model.__dict__.get("_zoo_training_only", ())
    return names


def inference_state(model: Autoencoder) -> dict[str, Tensor]:
    """The parameters and buffers of a model without those of training-only modules."""
    prefixes = tuple(f"{name}." for name in training_only(model))
    return {
        name: tensor
        for name, tensor in model.state_dict().items()
        if not (prefixes and name.startswith(prefixes))
    }


def inference_copy(model: Autoencoder) -> Autoencoder:
    """A copy of a model without its training-only modules."""
    apart = {name: model._modules.pop(name) for name in training_only(model)}
    try:
        kept = copy.deepcopy(model)
    finally:
        model._modules.update(apart)
    kept.__dict__.pop("_zoo_training_only", None)
    return kept


def latent_spec(model: Autoencoder) -> LatentSpec:
    """The spec that a model declares; raises BrokenContract if it is not a `LatentSpec`."""
    spec = model.latent_spec()
    if not isinstance(spec, LatentSpec):
        raise BrokenContract(
            f"{model.name}: latent_spec gave {describe_value(spec)}; it must give a "
            "zoo.LatentSpec, one for all parts of a latent"
        )
    return spec
