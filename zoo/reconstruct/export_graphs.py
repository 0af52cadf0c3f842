"""Encoder and decoder exported as torch or ONNX graphs, and checked against the model."""

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
from zoo.base.errors import BadInput, ZooError
from zoo.base.text import one_line
from zoo.base.workspace import written_aside
from zoo.reconstruct.trained_model import Eyes

Format = Literal["torch", "onnx"]
FORMATS: tuple[Format, ...] = ("torch", "onnx")
SUFFIX = {"torch": ".pt2", "onnx": ".onnx"}
OPSET = 20
CLOSE = 1e-3
"""How far a graph may be from the network, of a colour value or of a latent's range."""
_NEEDED = ("onnx", "onnxscript", "onnxruntime")

Run = Callable[[Tensor], Tensor]


class Encoder(nn.Module):
    """Samples as `encode` takes them, float32 in [0, 1], to latents (B, ...)."""

    def __init__(self, model: Autoencoder) -> None:
        super().__init__()
        self.model = model

    def forward(self, frames: Tensor) -> Tensor:
        """Encode."""
        return self.model.encode(frames)


class Decoder(nn.Module):
    """Latents, float32 (B, ...), to frames in [0, 1], as `decode` draws them."""

    def __init__(self, model: Autoencoder) -> None:
        super().__init__()
        self.model = model

    def forward(self, latents: Tensor) -> Tensor:
        """Decode, and keep to what can be shown."""
        return self.model.decode(latents).clamp(0, 1)


@dataclass(frozen=True)
class Exported:
    """One graph on disk."""

    path: Path
    apart: float
    """The largest difference from the network on the frames it was checked with."""
    scale: float
    """What that is to be seen against: 1 for colour values, the largest latent for latents."""


def check_format(word: str) -> Format:
    """Read a format; raises BadInput on one that is not known or cannot be written here."""
    found = next((each for each in FORMATS if each == word), None)
    if found is None:
        raise BadInput(f"a model is exported as {' or '.join(FORMATS)}; not {word!r}")
    missing = [name for name in _NEEDED if importlib.util.find_spec(name) is None]
    if found == "onnx" and missing:
        raise BadInput(f"ONNX needs {', '.join(missing)}: pip install 'film-zoo[onnx]'")
    return found


def export(eyes: Eyes, frames: Tensor, folder: Path, form: Format) -> list[Exported]:
    """Write encoder and decoder into a folder, with a `model.json` that says what they take.

    Batches may have any size. `frames` are samples as `encode` takes them, float in [0, 1], at
    least 3: the graphs are checked with them after they were read back, as a whole and one by one.
    Raises ZooError if the networks cannot be traced, or draw something else then.
    """
    model = eyes.model.cpu().float()
    frames = frames.cpu().contiguous()
    with torch.inference_mode():
        latents = model.encode(frames)
        drawn = model.decode(latents).clamp(0, 1)
    parts = (
        ("encoder", Encoder(model), frames, latents, max(1e-6, _largest(latents))),
        ("decoder", Decoder(model), latents.clone(), drawn, 1.0),
    )
    made = []
    for name, network, given, wanted, scale in parts:
        path = folder / f"{name}{SUFFIX[form]}"
        with written_aside(path) as aside:
            write = _write_torch if form == "torch" else _write_onnx
            try:
                write(network.eval(), given, aside)
                run = _read_torch(aside) if form == "torch" else _read_onnx(aside)
                apart = _apart(run, given, wanted)
            except Exception as error:
                why = one_line(str(error))
                raise ZooError(
                    f"the {name} of {model.name} cannot be traced for {form}: "
                    f"{type(error).__name__}: {why}"
                ) from error
            if not apart <= CLOSE * scale:
                raise ZooError(
                    f"the {name} of {model.name} is not the same for {form}: apart by {apart:.2g}"
                )
        made.append(Exported(path, apart, scale))
    _describe(eyes, frames, latents, drawn, folder / "model.json")
    return made


def _apart(run: Run, given: Tensor, wanted: Tensor) -> float:
    """The largest difference, of the whole batch and of a single one out of it."""
    return max(_largest(run(given) - wanted), _largest(run(given[1:2]) - wanted[1:2]))


def _largest(values: Tensor) -> float:
    return float(values.abs().max()) if values.numel() else 0.0


@contextlib.contextmanager
def _quietly() -> Iterator[None]:
    """Exporters say much of their own workings."""
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


def _write_torch(network: nn.Module, given: Tensor, path: Path) -> None:
    batch = torch.export.Dim("batch", min=1, max=65_536)
    with _quietly(), torch.no_grad():
        program = torch.export.export(network, (given,), dynamic_shapes=({0: batch},))
        torch.export.save(program, path)


def _read_torch(path: Path) -> Run:
    with _quietly():
        program = torch.export.load(path).module()

    def run(given: Tensor) -> Tensor:
        with torch.no_grad():
            return program(given)

    return run


def _write_onnx(network: nn.Module, given: Tensor, path: Path) -> None:
    with _quietly(), torch.no_grad():
        torch.onnx.export(
            network,
            (given,),
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

    def run(given: Tensor) -> Tensor:
        (made,) = session.run(None, {"given": given.numpy()})
        return torch.from_numpy(made)

    return run


def _describe(eyes: Eyes, frames: Tensor, latents: Tensor, drawn: Tensor, path: Path) -> None:
    """What goes in and out, for those who have the graphs alone."""
    said = {
        "model": eyes.config.model,
        "origin": eyes.config.origin,
        "trained_on": eyes.config.film,
        "frames": {"shape": ["batch", *frames.shape[1:]], "range": [0, 1], "order": "RGB"},
        "drawn": {"shape": ["batch", *drawn.shape[1:]], "range": [0, 1], "order": "RGB"},
        "window": eyes.model.window,
        "context": list(eyes.model.context),
        "latents": {
            "shape": ["batch", *latents.shape[1:]],
            "bits": eyes.quantiser.bits,
            "codes": eyes.quantiser.codes,
            "lowest": eyes.quantiser.lowest.tolist(),
            "step": eyes.quantiser.step.tolist(),
        },
    }
    with written_aside(path) as aside:
        aside.write_text(json.dumps(said, indent=1, allow_nan=False) + "\n", encoding="utf-8")
