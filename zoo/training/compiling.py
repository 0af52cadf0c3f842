"""torch.compile for the modules of a model, where it is asked for."""

from __future__ import annotations

import importlib.util
import sysconfig
from collections.abc import Iterator
from pathlib import Path

import torch
from torch import nn

from zoo.api.autoencoder import Autoencoder
from zoo.base.errors import BadInput
from zoo.training.run_folder import CompileMode

CACHE_TAG = "film-zoo, no buffers donated"


def choose_mode(compiled: bool, device: torch.device) -> CompileMode:
    """Read what the user asked for; raises BadInput where `device` cannot do it."""
    if not compiled:
        return "none"
    _require_compiler(device)
    return "default"


def compile_modules(model: Autoencoder, mode: CompileMode) -> None:
    """Compile each of the modules that the model consists of, in place, unless `mode` is `none`.

    Encoder, decoder and discriminator are compiled apart, and what `losses` does between them is
    not: a player's gradient then runs back through the modules that it needs and no others. Same
    results to rounding: floats are added up in another order. Compiling takes place in the first
    step, and once: batches are all of one size. Copies of the model are not compiled.
    """
    if mode == "none":
        return
    # Imported here, because it takes seconds.
    import torch._dynamo

    # torch compiles a function anew only so often and then leaves it as it is without a word,
    # and models share functions: what was trained before in this process must not count.
    torch._dynamo.reset()
    _keep_what_backward_reads()
    for module in _called(model):
        module.compile(mode=mode, dynamic=False)


def _called(module: nn.Module) -> Iterator[nn.Module]:
    """The modules right below this one, and those in lists of modules."""
    for child in module.children():
        if type(child).forward is nn.Module.forward:
            yield from _called(child)
        else:
            yield child


def _keep_what_backward_reads() -> None:
    """Forbid compiled backward passes to write over what the forward pass left for them.

    Every player's gradient is taken through the same forward pass, so the next one reads it too.
    """
    import torch._functorch.config
    import torch.compiler.config

    torch._functorch.config.donated_buffer = False
    # torch's cache on disk does not ask how that was set: it would bring back code that another
    # program compiled without, and gradients after the first would be wrong in silence.
    if CACHE_TAG not in torch.compiler.config.cache_key_tag:
        torch.compiler.config.cache_key_tag += CACHE_TAG


def _require_compiler(device: torch.device) -> None:
    """Raise BadInput if this machine lacks what torch.compile generates code for."""
    from torch._inductor.cpp_builder import get_cpp_compiler
    from torch._inductor.exc import InvalidCxxCompiler

    try:
        get_cpp_compiler()
    except InvalidCxxCompiler:
        raise BadInput("--compile needs a C++ compiler, and none was found") from None
    headers = Path(sysconfig.get_paths()["include"])
    if not (headers / "Python.h").exists():
        raise BadInput("--compile needs the headers of Python, which are not installed")
    if device.type == "cuda" and importlib.util.find_spec("triton") is None:
        raise BadInput("--compile needs the package triton on a GPU, which is not installed")
