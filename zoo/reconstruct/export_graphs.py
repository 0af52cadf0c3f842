"""Export encoder and decoder as torch or ONNX graphs, and check them against the model."""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import io
import json
import logging
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from zoo.api.autoencoder import Autoencoder
from zoo.base.atomic_files import atomic_write
from zoo.base.errors import BadInput, ZooError
from zoo.base.extras import missing_extra
from zoo.base.safe_text import one_line
from zoo.reconstruct.model_loader import TrainedModel

Format = Literal["torch", "onnx"]
FORMATS: tuple[Format, ...] = ("torch", "onnx")
SUFFIX = {"torch": ".pt2", "onnx": ".onnx"}
DESCRIPTION = "model.json"
OPSET = 20
TOLERANCE = 1e-3
"""Maximum error of a graph, relative to the range of colour values or of latents."""
_NEEDED = ("onnx", "onnxscript", "onnxruntime")

Run = Callable[[Tensor], Tensor]


class Encoder(nn.Module):
    """The model's `encode` as a module: float32 samples in [0, 1] to latents (B, ...)."""

    def __init__(self, model: Autoencoder) -> None:
        super().__init__()
        self.model = model

    def forward(self, frames: Tensor) -> Tensor:
        """Encode samples."""
        return self.model.encode(frames)


class Decoder(nn.Module):
    """The model's `decode` as a module: float32 latents (B, ...) to frames in [0, 1]."""

    def __init__(self, model: Autoencoder) -> None:
        super().__init__()
        self.model = model

    def forward(self, latents: Tensor) -> Tensor:
        """Decode, and clamp to [0, 1]."""
        return self.model.decode(latents).clamp(0, 1)


@dataclass(frozen=True)
class ExportedGraph:
    """One graph on disk."""

    path: Path
    error: float
    """Largest difference from the model on the frames that the graph was checked with."""
    scale: float
    """The scale of the error: 1 for colour values, the largest latent number for latents."""


def check_format(word: str) -> Format:
    """Parse a format; raises BadInput if it is unknown or cannot be written here."""
    found = next((each for each in FORMATS if each == word), None)
    if found is None:
        raise BadInput(f"the export format must be {' or '.join(FORMATS)}; not {word!r}")
    missing = [name for name in _NEEDED if importlib.util.find_spec(name) is None]
    if found == "onnx" and missing:
        raise BadInput(missing_extra("onnx", "--format onnx"))
    return found


def file_names(form: Format) -> list[str]:
    """The names of the files that `export_graphs` writes."""
    return [f"encoder{SUFFIX[form]}", f"decoder{SUFFIX[form]}", DESCRIPTION]


def export_graphs(
    trained: TrainedModel, frames: Tensor, folder: Path, form: Format
) -> list[ExportedGraph]:
    """Write encoder and decoder into a folder, with a `model.json` that describes them.

    The graphs accept any batch size. `frames` are at least 3 samples as `encode` takes them, float
    in [0, 1]. The graphs are read back and checked on them, as a batch and one by one. Raises
    ZooError if the model cannot be traced, or if the graphs give different results.
    """
    model = trained.model.cpu().float()
    frames = frames.cpu().contiguous()
    with torch.inference_mode():
        latents = model.encode(frames)
        decoded = model.decode(latents).clamp(0, 1)
    parts = (
        ("encoder", Encoder(model), frames, latents, max(1e-6, _largest(latents))),
        ("decoder", Decoder(model), latents.clone(), decoded, 1.0),
    )
    exported = []
    for name, network, inputs, expected, scale in parts:
        path = folder / f"{name}{SUFFIX[form]}"
        with atomic_write(path) as temporary:
            write = _write_torch if form == "torch" else _write_onnx
            try:
                write(network.eval(), inputs, temporary)
                run = _read_torch(temporary) if form == "torch" else _read_onnx(temporary)
                error = _largest_error(run, inputs, expected)
            except Exception as failure:
                why = one_line(str(failure))
                raise ZooError(
                    f"the {name} of {model.name} cannot be traced for {form}: "
                    f"{type(failure).__name__}: {why}"
                ) from failure
            if not error <= TOLERANCE * scale:
                raise ZooError(
                    f"the {name} of {model.name} gives other results as {form}: off by {error:.2g}"
                )
        exported.append(ExportedGraph(path, error, scale))
    _write_description(trained, frames, latents, decoded, folder / DESCRIPTION)
    return exported


def _largest_error(run: Run, inputs: Tensor, expected: Tensor) -> float:
    """The largest difference over the whole batch and over single samples."""
    return max(_largest(run(inputs) - expected), _largest(run(inputs[1:2]) - expected[1:2]))


def _largest(values: Tensor) -> float:
    return float(values.abs().max()) if values.numel() else 0.0


@contextlib.contextmanager
def _silenced() -> Iterator[None]:
    """Suppress the exporters' prints and warnings."""
    level = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with (
            warnings.catch_warnings(),
            contextlib.redirect_stdout(io.StringIO()),
            contextlib.redirect_stderr(io.StringIO()),
        ):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(level)


def _write_torch(network: nn.Module, inputs: Tensor, path: Path) -> None:
    batch = torch.export.Dim("batch", min=1, max=65_536)
    with _silenced(), torch.no_grad():
        program = torch.export.export(network, (inputs,), dynamic_shapes=({0: batch},))
        torch.export.save(program, path)


def _read_torch(path: Path) -> Run:
    with _silenced():
        program = torch.export.load(path).module()

    def run(inputs: Tensor) -> Tensor:
        with torch.no_grad():
            return program(inputs)

    return run


def _write_onnx(network: nn.Module, inputs: Tensor, path: Path) -> None:
    with _silenced(), torch.no_grad():
        torch.onnx.export(
            network,
            (inputs,),
            path,
            dynamo=True,
            external_data=False,
            opset_version=OPSET,
            input_names=["given"],
            output_names=["made"],
            dynamic_shapes=({0: torch.export.Dim("batch", min=1, max=65_536)},),
        )


def _read_onnx(path: Path) -> Run:
    session: Any = importlib.import_module("onnxruntime").InferenceSession(
        path.read_bytes(), providers=["CPUExecutionProvider"]
    )

    def run(inputs: Tensor) -> Tensor:
        (made,) = session.run(None, {"given": inputs.numpy()})
        return torch.from_numpy(made)

    return run


def _write_description(
    trained: TrainedModel, frames: Tensor, latents: Tensor, decoded: Tensor, path: Path
) -> None:
    """Describe inputs and outputs for users who only have the graphs."""
    description = {
        "model": trained.config.model,
        "origin": trained.config.origin,
        "trained_on": trained.config.film,
        "frames": {"shape": ["batch", *frames.shape[1:]], "range": [0, 1], "order": "RGB"},
        "drawn": {"shape": ["batch", *decoded.shape[1:]], "range": [0, 1], "order": "RGB"},
        "window": trained.model.window,
        "context": list(trained.model.context),
        "latents": {
            "shape": ["batch", *latents.shape[1:]],
            "bits": trained.quantiser.bits,
            "codes": trained.quantiser.codes,
            "lowest": trained.quantiser.lowest.tolist(),
            "step": trained.quantiser.step.tolist(),
        },
    }
    with atomic_write(path) as temporary:
        temporary.write_text(
            json.dumps(description, indent=1, allow_nan=False) + "\n", encoding="utf-8"
        )
