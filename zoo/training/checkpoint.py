"""Everything a training needs to go on, in one safetensors file; nothing in it can run code."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from zoo.api.autoencoder import Autoencoder
from zoo.base.errors import BadInput
from zoo.base.untrusted_files import check_regular, check_tensors, parse_json
from zoo.base.workspace import written_aside
from zoo.plugins.model_building import kept_state
from zoo.training.step import TrainingStep

_TIMES_AS_LARGE, _BESIDE = 16, 64 << 20
"""What a checkpoint may take: a model, its average and its moments are four times the model."""
_NAMED = 3
"""Tensors that do not fit, in a message."""
FORMAT = "film-zoo checkpoint 3"


@dataclass
class Progress:
    """Where training stands: plain numbers, saved beside the tensors."""

    step: int = 0
    seconds: float = 0.0
    waited: float = 0.0
    """Seconds of those in which the loop waited for frames."""


def save_weights(path: Path, model: Autoencoder) -> None:
    """Write the parameters and buffers that are kept as safetensors, whole or not at all."""
    # Copies, since some tensors of a model may share their memory.
    kept = kept_state(model).items()
    _save(path, {k: t.detach().to("cpu", copy=True).contiguous() for k, t in kept}, {})


def load_weights(path: Path, model: Autoencoder) -> None:
    """Read weights into a model of the same shape; raises BadInput if they do not fit it.

    Modules that only training needs stay as they are.
    """
    tensors, _ = _read(path, model)
    with torch.no_grad():
        for name, tensor in kept_state(model).items():
            tensor.copy_(tensors[name])


class CheckpointWriter:
    """Writes the checkpoints of one training in a thread beside it, one at a time.

    A training is held up while its tensors are copied to the host; on a GPU the copies are put on
    the device's stream, and the thread waits for them. The host's copies are kept and used again,
    so that there is one set of them. A file is there whole or not at all.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="checkpoint")
        self._writing: Future[float] | None = None
        self._held: dict[str, Tensor] = {}

    def begin(self, progress: Progress, step: TrainingStep) -> None:
        """Copy weights, their average, optimisers, progress and losses; begin to write them.

        `wait` comes before: the copies of what is being written are used again.
        """
        assert self._writing is None
        tensors, plain = _everything(step)
        here = self._copied(tensors)
        copied: torch.cuda.Event | None = None
        if step.device.type == "cuda":
            copied = torch.cuda.Event()
            copied.record(torch.cuda.current_stream(step.device))
        metadata = {
            "format": FORMAT,
            "progress": json.dumps({**asdict(progress), "plain": plain}),
        }
        self._writing = self._thread.submit(self._write, here, metadata, copied)

    @property
    def busy(self) -> bool:
        """Whether a checkpoint is being written."""
        return self._writing is not None and not self._writing.done()

    def wait(self) -> float:
        """Wait until nothing is being written; return the processor time that the thread took.

        That is of what was begun since it was last asked, in seconds. Raises CannotWrite where it
        could not be written.
        """
        writing, self._writing = self._writing, None
        return writing.result() if writing else 0.0

    def close(self) -> None:
        """Wait until nothing is being written, however that ends, and end the thread."""
        self._writing = None
        self._thread.shutdown(wait=True)

    def _copied(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Contiguous copies on the host, as safetensors asks; on a GPU they are not awaited."""
        found = {}
        for name, tensor in tensors.items():
            here = self._held.get(name)
            if here is None or here.shape != tensor.shape or here.dtype != tensor.dtype:
                here = torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=tensor.is_cuda)
                self._held[name] = here
            found[name] = here.copy_(tensor.detach(), non_blocking=True)
        return found

    def _write(
        self, tensors: dict[str, Tensor], metadata: dict[str, str], copied: torch.cuda.Event | None
    ) -> float:
        """Write the file once the copies are made; returns the processor time of this thread."""
        began = time.thread_time()
        if copied is not None:
            copied.synchronize()
        _save(self.path, tensors, metadata)
        return time.thread_time() - began


def _everything(step: TrainingStep) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """All tensors that a training has, by name, and its optimisers' other numbers."""
    tensors = {f"model.{k}": v for k, v in step.model.state_dict().items()}
    tensors |= {f"average.{k}": v for k, v in step.average.with_buffers().state_dict().items()}
    tensors |= {f"other.{k}": v for k, v in step.tally.state().items()}
    plain: dict[str, Any] = {}
    for player in step.players.players:
        for index, state in player.optimizer.state_dict()["state"].items():
            for key, value in state.items():
                where = f"optimizer.{player.name}.{index}.{key}"
                if isinstance(value, Tensor):
                    tensors[where] = value
                else:
                    plain[where] = value
    return tensors, plain


def load_checkpoint(path: Path, step: TrainingStep) -> Progress:
    """Put back what a `CheckpointWriter` wrote; returns where training stands.

    Raises BadInput if the file is damaged, foreign or of another model.
    """
    held = sum(tensor.nbytes for tensor in step.model.state_dict().values())
    tensors, metadata = _read(path, most=_TIMES_AS_LARGE * held + _BESIDE)
    if metadata.get("format") != FORMAT:
        said = str(metadata.get("format", "no checkpoint"))[:40]
        raise BadInput(
            f"{path} is a {said!r}; this film-zoo reads {FORMAT!r}: delete it to begin again, or "
            "use the film-zoo that wrote it"
        )
    try:
        return _put_back(path, tensors, metadata, step)
    except (ValueError, LookupError, TypeError, AttributeError, RuntimeError) as error:
        why = " ".join(f"{type(error).__name__}: {error}".split())[:200]
        raise BadInput(f"{path} is damaged: {why}; delete it to begin again") from None


def _put_back(
    path: Path,
    tensors: Mapping[str, Tensor],
    metadata: Mapping[str, str],
    step: TrainingStep,
) -> Progress:
    described = parse_json(metadata["progress"])
    groups: dict[str, dict[str, Tensor]]
    groups = {name: {} for name in ("model", "average", "other", "optimizer")}
    for name, tensor in tensors.items():
        group, _, rest = name.partition(".")
        groups[group][rest] = tensor
    _fill(step.model, groups["model"], path)
    _fill(step.average.module, groups["average"], path)
    plain = {k.partition(".")[2]: v for k, v in described["plain"].items()}
    for player in step.players.players:
        prefix = f"{player.name}."
        states: dict[int, dict[str, Any]] = {}
        for name, value in {**groups["optimizer"], **plain}.items():
            if name.startswith(prefix):
                index, _, key = name[len(prefix) :].partition(".")
                states.setdefault(int(index), {})[key] = value
        whole = player.optimizer.state_dict()
        player.optimizer.load_state_dict({**whole, "state": states})
        # Files hold tensors in one layout only; moments go back into that of their parameter,
        # because fused optimisers walk both through memory side by side.
        for parameter, state in player.optimizer.state.items():
            for key, value in state.items():
                if isinstance(value, Tensor) and value.shape == parameter.shape:
                    state[key] = torch.empty_like(parameter).copy_(value)
    step.tally.load(groups["other"])
    step.number = int(described["step"])
    return Progress(step.number, float(described["seconds"]), float(described["waited"]))


def _fill(model: Autoencoder, tensors: Mapping[str, Tensor], path: Path) -> None:
    try:
        model.load_state_dict(tensors)
    except RuntimeError as error:
        why = " ".join(str(error).split())
        raise BadInput(f"{path} does not fit {model.name}: {why}") from None


def _save(path: Path, tensors: dict[str, Tensor], metadata: dict[str, str]) -> None:
    with written_aside(path) as aside:
        save_file(tensors, aside, metadata)


def _read(
    path: Path, fits: Autoencoder | None = None, most: int | None = None
) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Tensors and metadata; where they are to fit a model, that is seen before they are read.

    `most` are the bytes that such a file can have.
    """
    try:
        check_regular(path, most)
        check_tensors(path)
        with safe_open(path, framework="pt") as file:
            names = list(file.keys())
            if fits is not None:
                _check_fit(fits, {name: file.get_slice(name).get_shape() for name in names}, path)
            return {name: file.get_tensor(name) for name in names}, file.metadata() or {}
    except FileNotFoundError:
        raise BadInput(f"{path} is not there") from None
    except (SafetensorError, OSError) as error:
        raise BadInput(f"{path} is damaged: {error}") from None


def check_fit(path: Path, model: Autoencoder) -> None:
    """Raise BadInput where a file of weights does not fit a model; only its header is read."""
    try:
        check_regular(path)
        check_tensors(path)
        with safe_open(path, framework="pt") as file:
            shapes = {name: file.get_slice(name).get_shape() for name in file.keys()}  # noqa: SIM118
    except FileNotFoundError:
        raise BadInput(f"{path} is not there") from None
    except (SafetensorError, OSError) as error:
        raise BadInput(f"{path} is damaged: {error}") from None
    _check_fit(model, shapes, path)


def _check_fit(model: Autoencoder, shapes: Mapping[str, Sequence[int]], path: Path) -> None:
    expected = {name: list(tensor.shape) for name, tensor in kept_state(model).items()}
    wrong = [n for n in {**expected, **shapes} if expected.get(n) != shapes.get(n)]
    if wrong:
        named = "; ".join(
            f"{name[:200]} is {_shape(shapes.get(name))} in the file and "
            f"{_shape(expected.get(name))} in the model"
            for name in wrong[:_NAMED]
        )
        more = f" and {len(wrong) - _NAMED} more" if len(wrong) > _NAMED else ""
        raise BadInput(
            f"{path} does not fit {model.name}: {named}{more}. The model is not the one that was "
            "trained: train it again, or go back to the version of its plugin that run.json names"
        )


def _shape(shape: Sequence[int] | None) -> str:
    return "missing" if shape is None else str(list(shape))
