"""torch.compile for the network's part of a training step, where it is asked for."""

from __future__ import annotations

import importlib.util
import sysconfig
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from zoo.autoencoder import Autoencoder, Batch, Losses, Step
from zoo.errors import BadInput
from zoo.training.run_folder import CompileMode

CACHE_TAG = "film-zoo, no buffers donated"

LossesOf = Callable[[Batch, Step], Losses]


def choose_mode(compiled: bool, cuda_graphs: bool, device: torch.device) -> CompileMode:
    """Read what the user asked for; raises BadInput where `device` cannot do it."""
    if cuda_graphs and not compiled:
        raise BadInput("--cuda-graphs goes with --compile")
    if cuda_graphs and device.type != "cuda":
        raise BadInput("--cuda-graphs needs a GPU")
    if not compiled:
        return "none"
    _require_compiler(device)
    return "reduce-overhead" if cuda_graphs else "default"


def compiled_losses(model: Autoencoder, mode: CompileMode) -> LossesOf:
    """The model's `losses`, compiled unless `mode` is `none`, backward passes included.

    Same results to rounding: floats are added up in another order. Compiling takes place in the
    first step, and once: batches are all of one size.
    """
    if mode == "none":
        return model.losses
    # Imported here, because it takes seconds.
    import torch._dynamo

    # torch compiles a function anew only so often and then leaves it as it is without a word,
    # and models share functions: what was trained before in this process must not count.
    torch._dynamo.reset()
    _keep_what_backward_reads()
    rows, randn, rand = map(torch.compiler.disable, (Step._rows, Step.randn, Step.rand))

    class StepOutsideGraphs(Step):
        """Draws noise between the compiled graphs, by the very call of a plain step."""

        def _rows(self, draw: Any, like: Tensor) -> Tensor:
            return rows(self, draw, like)

        def randn(self, *shape: int) -> Tensor:
            return randn(self, *shape)

        def rand(self, *shape: int) -> Tensor:
            return rand(self, *shape)

    run = torch.compile(model.losses, mode=mode, dynamic=False)

    def compiled(batch: Batch, step: Step) -> Losses:
        if mode == "reduce-overhead":
            # What the step before left in the graphs' memory is no longer wanted.
            torch.compiler.cudagraph_mark_step_begin()
        return run(batch, StepOutsideGraphs(**vars(step)))

    return compiled


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
