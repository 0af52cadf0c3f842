"""Weights and checkpoints as safetensors files, which cannot run code."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from zoo.api.autoencoder import Autoencoder
from zoo.base.atomic_files import atomic_write
from zoo.base.errors import BadInput
from zoo.base.safe_text import error_line
from zoo.base.untrusted_files import check_regular, check_tensors, parse_json
from zoo.plugins.model_building import inference_state
from zoo.training.step import TrainingStep

FORMAT = "film-zoo checkpoint 4"

_MOST_TIMES_MODEL, _MOST_BESIDE = 16, 64 << 20
"""A checkpoint may have 16 times the model's bytes plus 64 MiB; with Adam it has about 4 times."""
_GROUP = "group"
"""Prefix of the number of an optimiser's group in tensor names; parameters' numbers have none."""
_NAMED = 3
"""The most tensors that an error message names."""


@dataclass
class Progress:
    """The progress of a training: plain numbers, saved with the tensors."""

    step: int = 0
    seconds: float = 0.0
    waited: float = 0.0
    """Seconds spent waiting for frames."""


def save_weights(path: Path, model: Autoencoder) -> None:
    """Write the parameters and buffers that inference needs, atomically."""
    # Copied, since tensors of a model may share memory.
    kept = inference_state(model).items()
    _save(path, {k: t.detach().to("cpu", copy=True).contiguous() for k, t in kept}, {})


def load_weights(path: Path, model: Autoencoder) -> None:
    """Read weights into a model; raises BadInput if their names or shapes do not fit it.

    Modules that only training needs are left as they are.
    """
    tensors, _ = _read(path, model)
    with torch.no_grad():
        for name, tensor in inference_state(model).items():
            tensor.copy_(tensors[name])


def weights_fingerprint(path: Path) -> str:
    """SHA-256 over the tensors of a weights file, sorted by name: name, type, shape and values.

    Raises BadInput if the file is not there or damaged.
    """
    hashed = hashlib.sha256()
    try:
        check_tensors(path)
        with safe_open(path, "pt") as file:
            for name in sorted(file.keys()):
                tensor = file.get_tensor(name)
                shape = "x".join(map(str, tensor.shape))
                hashed.update(f"{name}:{tensor.dtype}:{shape};".encode())
                # As bytes first: NumPy lacks some of torch's types.
                hashed.update(tensor.contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    except (SafetensorError, OSError, BadInput) as error:
        raise BadInput(f"{path} holds no weights: {error}") from None
    return hashed.hexdigest()


class CheckpointWriter:
    """Writes a training's checkpoints in a thread, one at a time, each atomically.

    Training waits only while tensors are copied to the host; on a GPU the copies are queued on the
    device's stream, and the thread waits for them. The copies on the host are reused.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="checkpoint")
        self._writing: Future[float] | None = None
        self._copies: dict[str, Tensor] = {}

    def begin(self, progress: Progress, step: TrainingStep) -> None:
        """Copy weights, EMA, optimisers, progress and losses, and begin to write them.

        Call `wait` first: this overwrites the copies that may still be being written.
        """
        assert self._writing is None
        tensors, plain = _state_of(step)
        copies = self._copied(tensors)
        copied: torch.cuda.Event | None = None
        if step.device.type == "cuda":
            copied = torch.cuda.Event()
            copied.record(torch.cuda.current_stream(step.device))
        metadata = {
            "format": FORMAT,
            "progress": json.dumps({**asdict(progress), "plain": plain}),
        }
        self._writing = self._thread.submit(self._write, copies, metadata, copied)

    @property
    def busy(self) -> bool:
        """Whether a checkpoint is being written."""
        return self._writing is not None and not self._writing.done()

    def wait(self) -> float:
        """Wait until the checkpoint is written; return the CPU seconds that writing it took.

        Raises CannotWrite if it could not be written.
        """
        writing, self._writing = self._writing, None
        return writing.result() if writing else 0.0

    def close(self) -> None:
        """Wait for the thread to end; errors of a last checkpoint are ignored."""
        self._writing = None
        self._thread.shutdown(wait=True)

    def _copied(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Contiguous copies on the host, as safetensors needs; from a GPU without waiting."""
        copies = {}
        for name, tensor in tensors.items():
            copy = self._copies.get(name)
            if copy is None or copy.shape != tensor.shape or copy.dtype != tensor.dtype:
                copy = torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=tensor.is_cuda)
                self._copies[name] = copy
            copies[name] = copy.copy_(tensor.detach(), non_blocking=True)
        return copies

    def _write(
        self, tensors: dict[str, Tensor], metadata: dict[str, str], copied: torch.cuda.Event | None
    ) -> float:
        """Write the file once the copies are complete; returns this thread's CPU seconds."""
        began = time.thread_time()
        if copied is not None:
            copied.synchronize()
        _save(self.path, tensors, metadata)
        return time.thread_time() - began


def _state_of(step: TrainingStep) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """All tensors of a training by name, and the optimisers' plain numbers."""
    tensors = {f"model.{k}": v for k, v in step.model.state_dict().items()}
    tensors |= {f"ema.{k}": v for k, v in step.ema.with_latest_buffers().state_dict().items()}
    tensors |= {f"losses.{k}": v for k, v in step.loss_averager.state().items()}
    if step.players.loss_scale:
        tensors |= {f"loss_scale.{k}": v for k, v in step.players.loss_scale.state().items()}
    plain: dict[str, Any] = {}
    for player in step.players.players:
        for index, state in player.optimizer.state_dict()["state"].items():
            for key, value in state.items():
                name = f"optimizer.{player.name}.{index}.{key}"
                if isinstance(value, Tensor):
                    tensors[name] = value
                else:
                    plain[name] = value
        for (number, key), value in player.counters().items():
            name = f"optimizer.{player.name}.{_GROUP}{number}.{key}"
            if isinstance(value, Tensor):
                tensors[name] = value
            else:
                plain[name] = value
    return tensors, plain


def load_checkpoint(path: Path, step: TrainingStep) -> Progress:
    """Restore a training from a checkpoint; returns its progress.

    Raises BadInput if the file is damaged, of another format or of another model.
    """
    model_bytes = sum(tensor.nbytes for tensor in step.model.state_dict().values())
    tensors, metadata = _read(path, most=_MOST_TIMES_MODEL * model_bytes + _MOST_BESIDE)
    if metadata.get("format") != FORMAT:
        found = str(metadata.get("format", "no checkpoint"))[:40]
        raise BadInput(
            f"{path} is a {found!r}; this film-zoo reads {FORMAT!r}: delete it to start over, or "
            "use the film-zoo that wrote it"
        )
    try:
        return _restore(path, tensors, metadata, step)
    except (ValueError, LookupError, TypeError, AttributeError, RuntimeError) as error:
        why = error_line(error, 200)
        raise BadInput(f"{path} is damaged: {why}; delete it to start over") from None


def _restore(
    path: Path,
    tensors: Mapping[str, Tensor],
    metadata: Mapping[str, str],
    step: TrainingStep,
) -> Progress:
    described = parse_json(metadata["progress"])
    groups: dict[str, dict[str, Tensor]]
    groups = {name: {} for name in ("model", "ema", "losses", "optimizer", "loss_scale")}
    for name, tensor in tensors.items():
        group, _, rest = name.partition(".")
        groups[group][rest] = tensor
    _load_state(step.model, groups["model"], path)
    _load_state(step.ema.module, groups["ema"], path)
    plain = {k.partition(".")[2]: v for k, v in described["plain"].items()}
    for player in step.players.players:
        prefix = f"{player.name}."
        states: dict[int, dict[str, Any]] = {}
        for name, value in {**groups["optimizer"], **plain}.items():
            if name.startswith(prefix):
                index, _, key = name[len(prefix) :].partition(".")
                if index.startswith(_GROUP):
                    group_of = int(index.removeprefix(_GROUP))
                    player.optimizer.param_groups[group_of][key] = value
                else:
                    states.setdefault(int(index), {})[key] = value
        player.optimizer.load_state_dict({**player.optimizer.state_dict(), "state": states})
        # The file holds contiguous tensors, but fused optimisers need moments in the memory layout
        # of their parameter.
        for parameter, state in player.optimizer.state.items():
            for key, value in state.items():
                if isinstance(value, Tensor) and value.shape == parameter.shape:
                    state[key] = torch.empty_like(parameter).copy_(value)
    step.loss_averager.load(groups["losses"])
    if step.players.loss_scale:
        step.players.loss_scale.load(groups["loss_scale"])
    step.number = int(described["step"])
    return Progress(step.number, float(described["seconds"]), float(described["waited"]))


def _load_state(model: Autoencoder, tensors: Mapping[str, Tensor], path: Path) -> None:
    try:
        model.load_state_dict(tensors)
    except RuntimeError as error:
        why = " ".join(str(error).split())
        raise BadInput(f"{path} does not fit {model.name}: {why}") from None


def _save(path: Path, tensors: dict[str, Tensor], metadata: dict[str, str]) -> None:
    with atomic_write(path) as temporary:
        save_file(tensors, temporary, metadata)


def _read(
    path: Path, fits: Autoencoder | None = None, most: int | None = None
) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Read tensors and metadata of a file of at most `most` bytes.

    Shapes are checked against the model `fits` before tensors are read.
    """
    with _opened(path, most) as file:
        if fits is not None:
            _check_fit(fits, _shapes(file), path)
        return {name: file.get_tensor(name) for name in _shapes(file)}, file.metadata() or {}


def check_fit(path: Path, model: Autoencoder) -> None:
    """Raise BadInput if a file of weights does not fit a model; reads only its header."""
    with _opened(path) as file:
        _check_fit(model, _shapes(file), path)


@contextmanager
def _opened(path: Path, most: int | None = None) -> Iterator[Any]:
    try:
        check_regular(path, most)
        check_tensors(path)
        with safe_open(path, framework="pt") as file:
            yield file
    except FileNotFoundError:
        raise BadInput(f"{path} is not there") from None
    except (SafetensorError, OSError) as error:
        raise BadInput(f"{path} is damaged: {error}") from None


def _shapes(file: Any) -> dict[str, list[int]]:
    return {name: file.get_slice(name).get_shape() for name in file.keys()}  # noqa: SIM118


def _check_fit(model: Autoencoder, shapes: Mapping[str, Sequence[int]], path: Path) -> None:
    expected = {name: list(tensor.shape) for name, tensor in inference_state(model).items()}
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
