"""Build models from their options, with or without what only training needs."""

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
    """A model cannot take frames of a size, or a latent of so many numbers."""


def fits_directly(architecture: type[Autoencoder]) -> bool:
    """Whether `fit` takes the place of gradient descent."""
    return architecture.fit is not Autoencoder.fit


def option_class(architecture: type[Autoencoder]) -> type[Options]:
    """The nested `Options`, or the base class where an architecture has none of its own."""
    return getattr(architecture, "Options", Options)


def parse_options(architecture: type[Autoencoder], settings: Mapping[str, Any]) -> Options:
    """Check settings against the options; raises BadInput naming the first that is wrong."""
    return validated(architecture.name, option_class(architecture), settings)


def build(
    architecture: type[Autoencoder], size: FrameSize, settings: Mapping[str, Any] | None = None
) -> Autoencoder:
    """Make a model from settings as a user gives them, without what only training needs.

    Raises BadInput on a wrong setting, and on a frame size or a latent that it cannot take.
    """
    options = parse_options(architecture, settings or {})
    check_fit(architecture, size, options)
    return instantiate(architecture, size, options)


def instantiate(architecture: type[Autoencoder], size: FrameSize, options: Options) -> Autoencoder:
    """An instance; raises BadInput, naming the architecture, where its constructor refuses."""
    name, begin = architecture.name, "it begins with super().__init__(size, options)"
    try:
        inspect.signature(architecture).bind(size, options)
    except TypeError as error:
        raise BadInput(f"{name}: __init__ is given the size and the options: {error}") from None
    try:
        model = architecture(size, options)
    except (ValueError, pydantic.ValidationError) as error:
        # What only the constructor can know of a size or of options, whichever way it says so.
        raise BadInput(f"{name} refuses {size} with {options!r}: {one_line(str(error))}") from error
    except AttributeError as error:
        if ".__init__() call" not in str(error):
            raise
        raise BadInput(f"{name}: __init__ sets modules too early; {begin}") from error
    # Without modules of its own, a model that does so nowhere is noticed here.
    if "_parameters" not in vars(model) or "options" not in vars(model):
        raise BadInput(f"{name}: __init__ leaves out its base's; {begin}")
    return model


@contextmanager
def on_meta_device() -> Iterator[None]:
    """Make models in the block on the meta device, where their tensors take no memory."""
    with torch.device("meta"), warnings.catch_warnings():
        # torch warns of each pretrained tensor, which has nowhere to go.
        warnings.simplefilter("ignore", UserWarning)
        yield


def without_memory(make: Callable[[], Autoencoder]) -> Autoencoder:
    """Make a model on the meta device if possible, for its shapes."""
    try:
        with on_meta_device():
            return make()
    except (RuntimeError, NotImplementedError):
        # Some networks read the values of their tensors while they are made.
        return make()


def build_to_train(
    architecture: type[Autoencoder], size: FrameSize, settings: Mapping[str, Any] | None = None
) -> Autoencoder:
    """Make a model as `build` does, with the modules that only training needs."""
    model = build(architecture, size, settings)
    add_training_modules(model)
    return model


def check_fit(architecture: type[Autoencoder], size: FrameSize, options: Options) -> None:
    """Raise DoesNotFit where a model cannot take frames of a size, or such a latent."""
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
    """A model on a device, laid out as it is trained and used: kernels of images channels last.

    Kernels of other dimensions, such as those over time, stay as they are, which
    `model.to(memory_format=...)` refuses.
    """
    model = model.to(device)
    for tensor in (*model.parameters(), *model.buffers()):
        if tensor.dim() == 4:
            # Not `contiguous`, which leaves kernels of 1x1 as they are: other kernels take these.
            tensor.data = tensor.data.to(memory_format=torch.channels_last)
    return model


def add_training_modules(model: Autoencoder) -> None:
    """Give a model its `training_modules`; raises BrokenContract where a name is taken."""
    made = dict(model.training_modules())
    for name, module in made.items():
        if hasattr(model, name):
            raise BrokenContract(
                f"{model.name}: training_modules has {name!r}, which the model has"
            )
        if not isinstance(module, nn.Module):
            raise BrokenContract(
                f"{model.name}: training_modules has {name!r}, which is a {type(module).__name__} "
                "and no nn.Module"
            )
        model.add_module(name, module)
    model.__dict__["_zoo_training_only"] = tuple(made)


def training_only(model: Autoencoder) -> tuple[str, ...]:
    """The names of the modules that only training needs; none where they were not added."""
    names: tuple[str, ...] = model.__dict__.get("_zoo_training_only", ())
    return names


def inference_state(model: Autoencoder) -> dict[str, Tensor]:
    """Parameters and buffers of a model without those that only training needs."""
    prefixes = tuple(f"{name}." for name in training_only(model))
    return {
        name: tensor
        for name, tensor in model.state_dict().items()
        if not (prefixes and name.startswith(prefixes))
    }


def inference_copy(model: Autoencoder) -> Autoencoder:
    """A copy of a model without what only training needs."""
    apart = {name: model._modules.pop(name) for name in training_only(model)}
    try:
        kept = copy.deepcopy(model)
    finally:
        model._modules.update(apart)
    kept.__dict__.pop("_zoo_training_only", None)
    return kept


def latent_spec(model: Autoencoder) -> LatentSpec:
    """What a model declares of its latents; raises BrokenContract if it is not a `LatentSpec`."""
    spec = model.latent_spec()
    if not isinstance(spec, LatentSpec):
        raise BrokenContract(
            f"{model.name}: latent_spec gave {describe_value(spec)}; it gives a zoo.LatentSpec, "
            "one for all parts of a latent"
        )
    return spec
