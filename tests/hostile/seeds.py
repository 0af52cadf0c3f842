"""A small good file of every kind that film-zoo reads: what is spoilt, and fuzzing begins with."""

from __future__ import annotations

import io
import json
import pickle
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from safetensors.torch import save, save_file

from tests.films.making import drifting, encode
from tests.report.synthetic_results import ENVIRONMENT, comparison
from tests.report.synthetic_results import series as series_of
from zoo.base.frame_size import FrameSize
from zoo.evaluation.latents import Latents, Quantiser, pack_levels, save_latents
from zoo.films.frame_store import Damage, Manifest, SplitRecord
from zoo.plugins.model_building import build
from zoo.plugins.registry import registry
from zoo.reconstruct.encode_film_file import decoder_tensors_of
from zoo.reconstruct.film_file import Content, decoder_parts, write_container
from zoo.reconstruct.film_file_description import Description, FilmPart, LatentPart, ModelPart
from zoo.training.checkpoint import CheckpointWriter, Progress, save_weights, weights_fingerprint
from zoo.training.distributed import launch
from zoo.training.run_folder import RunFile, TrainingConfig
from zoo.training.step import TrainingStep

SIZE = FrameSize(32, 32)
FRAMES = 6
CONFIG = TrainingConfig(
    model="ae",
    origin="film-zoo 0.1.0",
    options={"latent": 4, "width": 4, "lr": 0.004},
    film="clip",
    film_fingerprint="f" * 64,
    size=str(SIZE),
    budget="4steps",
    batch=2,
    seed=0,
    precision="32-true",
)
TOML = """\
[holiday]
files = ["a.mp4", "b.mkv"]
title = "Our holiday"
licence = "CC0"
notes = "rain"
from = "00:00:01.5"
to = 20.5
crop = "64x36+0+4"
fps = "24000/1001"
"""


def model() -> torch.nn.Module:
    """A tiny autoencoder, always with the same weights."""
    torch.manual_seed(0)
    return build(registry().models["ae"], SIZE, CONFIG.options)


def levels() -> np.ndarray:
    return (np.arange(FRAMES * 4, dtype=np.uint8).reshape(FRAMES, 4) * 7) % 200


def text(name: str) -> bytes:
    """The JSON and TOML files."""
    if name == "films.toml":
        return TOML.encode()
    if name == "log.jsonl":
        lines = [
            {"step": n, "frames": 2 * n, "losses": {"all": {"pixel": 1 / n}}, "seconds": n / 8}
            for n in range(1, 5)
        ]
        return "".join(json.dumps(line) + "\n" for line in lines).encode()
    if name == "run.json":
        return (
            RunFile(state="finished", config=CONFIG, environment=ENVIRONMENT)
            .model_dump_json()
            .encode()
        )
    if name == "record.json":
        return comparison().records[0].model_dump_json().encode()
    if name == "results.json":
        results = comparison()
        few = results.model_copy(update={"records": results.records[:3]})
        return few.model_dump_json().encode()
    if name == "series.json":
        results = comparison()
        return series_of(results, results.films[0]).model_dump_json().encode()
    assert name == "manifest.json"
    return (
        Manifest(
            fingerprint="f" * 64,
            size=str(SIZE),
            fit="crop",
            frames=FRAMES,
            fps=25.0,
            variable_rate=False,
            parts=[],
            damage=Damage(),
            resampled=None,
            detector="none",
            shots=[(0, 4), (4, FRAMES)],
            splits={"0.1": SplitRecord(runs=[(2, 3)], gap=1)},
            pyav="0",
            ffmpeg="0",
        )
        .model_dump_json()
        .encode()
    )


def arrays(name: str) -> bytes:
    """The `.npy` and `.npz` files."""
    file = io.BytesIO()
    if name == "times.npy":
        np.save(file, np.arange(FRAMES, dtype=np.float64))
    elif name == "pdq.npz":
        bits = np.arange(FRAMES * 32, dtype=np.uint8).reshape(FRAMES, 32)
        np.savez(file, bits=bits, quality=np.full(FRAMES, 90, np.uint8))
    else:
        np.savez_compressed(file, psnr=np.linspace(20, 30, FRAMES), ssim=np.full(FRAMES, np.nan))
    return file.getvalue()


def picture(kind: str) -> bytes:
    file = io.BytesIO()
    Image.fromarray(drifting(32, 32, 1)[0]).save(file, kind, lossless=True)
    return file.getvalue()


def pickled() -> bytes:
    layer = {"kernel": np.ones((1, 1, 2, 2), np.float32), "bias": np.zeros(2, np.float32)}
    return pickle.dumps({"Net_0": {"Conv_0": layer}}, 3)


def training_step(network: torch.nn.Module) -> TrainingStep:
    """A step in 32 bits on the processor."""
    return TrainingStep(network, launch(torch.device("cpu"), "32-true", 4))


def tensors(name: str, folder: Path) -> bytes:
    """The safetensors files."""
    path = folder / f"seed-{name}"
    network = model()
    if name == "weights.safetensors":
        save_weights(path, network)
    elif name == "checkpoint.safetensors":
        writer = CheckpointWriter(path)
        writer.begin(Progress(3, 1.5, 0.5), training_step(network))
        writer.wait()
        writer.close()
    elif name == "latents.safetensors":
        scale = Quantiser(torch.zeros(4), torch.full((4,), 0.5))
        found = levels()
        save_latents(path, Latents(torch.from_numpy(found), (4,), scale, len(found)), "f" * 64)
    else:
        return save({"lowest": torch.zeros(4), "step": torch.ones(4)}, {"bits": "8"})
    return path.read_bytes()


def film_file(folder: Path, bits: int = 32) -> bytes:
    """A `.zoo` file with its decoder, in so many bits per weight."""
    network = model().eval()
    weights, path = folder / "w.safetensors", folder / "seed.zoo"
    save_file(network.state_dict(), weights)
    description = Description(
        made_by="film-zoo 0.1.0",
        film=FilmPart(
            name="clip", title="A clip", licence=None, source="clip.mp4", source_bytes=1000,
            fingerprint="f" * 64, frames=FRAMES, rate=(25, 1), first_tick=0,
        ),
        latent=LatentPart(shape=(4,), bits=8),
        model=ModelPart(run="clip/ae/x", config=CONFIG, weights=weights_fingerprint(weights)),
        sound=None,
        tags={"title": "A clip"},
        chapters=[],
    )  # fmt: skip
    content = Content(
        latents=np.frombuffer(pack_levels(levels()), np.uint8),
        lowest=np.zeros(4, np.float32),
        step=np.full(4, 0.01, np.float32),
        times=None,
        sound=None,
    )
    decoder = decoder_tensors_of(network, torch.zeros(2, 4))
    write_container(path, description, content, decoder_parts(decoder, bits))
    return path.read_bytes()


def video(folder: Path) -> bytes:
    """A short film in H.264, its index first."""
    faststart = {"movflags": "faststart"}
    path = folder / "seed.mp4"
    encode(path, drifting(64, 36, 12), options={"g": "4", "crf": "30"}, container_options=faststart)
    return path.read_bytes()
