"""Every reader of files from elsewhere, each called as its commands call it.

A reader gets a path and does with the file all that film-zoo does. Whatever the bytes are, it
returns or raises a ZooError in one line: anything else is a defect.
"""

from __future__ import annotations

import os
import pickle
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path

import numpy as np
import torch

from tests.hostile import seeds
from zoo.api.film_entry import FilmEntry
from zoo.base.errors import BadInput, ZooError
from zoo.base.records import Record, Results, Series
from zoo.base.untrusted_files import read_arrays, read_json
from zoo.base.workspace import Workspace
from zoo.evaluation import latents
from zoo.films.catalogue import Catalogue
from zoo.films.decode import FilmDecoder
from zoo.films.frame_store import FRAMES, MANIFEST, SCORES, TIMES, FrameStore, IngestSettings
from zoo.films.probe import probe_files
from zoo.pretrained.weights import read_arrays as read_pickle
from zoo.reconstruct.decode_film_file import ZooFile, decoded_frames, find_decoder
from zoo.reconstruct.film_file import _digest, _sealed_header, open_container, summarise
from zoo.reconstruct.hub import load_folder
from zoo.report.results_folder import open_picture
from zoo.report.write import write_report
from zoo.training.checkpoint import load_checkpoint, load_weights, save_weights
from zoo.training.curves_and_progress_page import plot_curves
from zoo.training.run_folder import last_entry, read_log
from zoo.training.runs import find_runs

CPU = torch.device("cpu")


@dataclass(frozen=True)
class Reader:
    """A reader, the name that its file has, and a good file of that kind."""

    file: str
    read: Callable[[Path], object]
    seed: Callable[[Path], bytes]
    slow: bool = False
    """Whether a call takes more than some milliseconds."""


def _put(path: Path, place: Path) -> None:
    """Let the file stand at its place as well, without a copy: it may claim to be huge."""
    place.unlink(missing_ok=True)
    os.link(path, place)


def catalogue(path: Path) -> object:
    return Catalogue.open(Workspace(path.parent)).entries


def log(path: Path) -> object:
    return read_log(path), last_entry(path)


def curves(path: Path) -> object:
    return plot_curves(path, path.with_suffix(".png"))


def runs(path: Path) -> object:
    """A run folder with this `run.json`, found, as `zoo runs` does."""
    place = path.parent / "runs" / seeds.CONFIG.film / seeds.CONFIG.model / seeds.CONFIG.id
    place.mkdir(parents=True, exist_ok=True)
    _put(path, place / "run.json")
    found = find_runs(Workspace(path.parent))
    for run in found:
        if run.problem:
            raise ZooError(run.problem)
    return found


def report(path: Path) -> object:
    return write_report(read_json(path, Results), path.parent / "report")


def store(path: Path) -> object:
    """A store of frames with this manifest."""
    folder = path.parent / "store"
    folder.mkdir(exist_ok=True)
    _put(path, folder / MANIFEST)
    (folder / FRAMES).write_bytes(bytes(seeds.FRAMES * seeds.SIZE.pixels * 3))
    found = FrameStore.open(folder)
    return found.array.mean(), found.bytes


def times(path: Path) -> object:
    """A store of frames with these times."""
    folder = path.parent / "store"
    folder.mkdir(exist_ok=True)
    (folder / MANIFEST).write_bytes(seeds.text(MANIFEST))
    (folder / FRAMES).write_bytes(bytes(seeds.FRAMES * seeds.SIZE.pixels * 3))
    for name in (TIMES, SCORES):
        _put(path, folder / name)
    found = FrameStore.open(folder)
    return found.times


def load_latents(path: Path) -> object:
    found = latents.load_latents(path, "f" * 64, CPU)
    return found.dequantised(slice(0, 2))


def weights(path: Path) -> object:
    return load_weights(path, seeds.model())  # type: ignore[arg-type]


def checkpoint(path: Path) -> object:
    return load_checkpoint(path, seeds.training_step(seeds.model()))


def published(path: Path) -> object:
    """A folder as `zoo push` writes one, with this scale."""
    folder = path.parent / "published"
    folder.mkdir(exist_ok=True)
    if not (folder / "run.json").exists():
        (folder / "run.json").write_bytes(seeds.text("run.json"))
        save_weights(folder / "weights.safetensors", seeds.model())  # type: ignore[arg-type]
    _put(path, folder / "scale.safetensors")
    return load_folder(folder, CPU)


def film_file(path: Path) -> object:
    """All that can be done with a film file, after sealing it anew as one who means harm would."""
    try:
        header, place = _sealed_header(path)
    except BadInput:
        pass
    else:
        data = bytearray(path.read_bytes())
        data[8 + place : 8 + place + 64] = _digest(path, header, place).encode()
        path.write_bytes(data)
    summarise(open_container(path))
    film = ZooFile.open(path)
    trained = find_decoder(film, Workspace(path.parent), CPU, lambda line: None)
    return sum(1 for _ in islice(decoded_frames(film, trained), 100))


def video(path: Path) -> object:
    entry = FilmEntry(name="clip", files=(path,))
    settings = IngestSettings(seeds.SIZE, "crop", "auto", None, None, None)
    expected = sum(one.expected for one in probe_files(entry, settings))
    decoder = FilmDecoder(entry.files, None, None, None, 1)
    given = [frame.time for frame in islice(decoder.frames(), 200)]
    assert bool((np.diff(given) > 0).all())
    return expected


def weights_pickle(path: Path) -> object:
    try:
        return read_pickle(path.read_bytes())
    except pickle.UnpicklingError as error:
        raise ZooError(" ".join(str(error).split())) from None


def picture(path: Path) -> object:
    """A picture that a record names."""
    found = open_picture(path.parent, path.name)
    if found is None:
        raise ZooError("the picture is left out")
    return found.size


def _text(name: str) -> Callable[[Path], bytes]:
    return lambda folder: seeds.text(name)


def _arrays(name: str) -> Callable[[Path], bytes]:
    return lambda folder: seeds.arrays(name)


def _tensors(name: str) -> Callable[[Path], bytes]:
    return partial(seeds.tensors, name)


READERS: dict[str, Reader] = {
    "catalogue": Reader("films.toml", catalogue, _text("films.toml")),
    "log": Reader("log.jsonl", log, _text("log.jsonl")),
    "curves": Reader("log.jsonl", curves, _text("log.jsonl"), slow=True),
    "runs": Reader("run.json", runs, _text("run.json")),
    "record": Reader("record.json", lambda path: read_json(path, Record), _text("record.json")),
    "series": Reader("series.json", lambda path: read_json(path, Series), _text("series.json")),
    "results": Reader("results.json", lambda path: read_json(path, Results), _text("results.json")),
    "report": Reader("results.json", report, _text("results.json"), slow=True),
    "store": Reader("manifest.json", store, _text("manifest.json")),
    "times": Reader("times.npy", times, _arrays("times.npy")),
    "scores": Reader("scores.npz", read_arrays, _arrays("scores.npz")),
    "hashes": Reader("pdq.npz", read_arrays, _arrays("pdq.npz")),
    "latents": Reader("latents.safetensors", load_latents, _tensors("latents.safetensors")),
    "weights": Reader("weights.safetensors", weights, _tensors("weights.safetensors")),
    "checkpoint": Reader("checkpoint.safetensors", checkpoint, _tensors("checkpoint.safetensors")),
    "scale": Reader("scale.safetensors", published, _tensors("scale.safetensors")),
    "film_file": Reader("film.zoo", film_file, seeds.film_file),
    "rounded_film_file": Reader("film.zoo", film_file, partial(seeds.film_file, bits=8)),
    "pickle": Reader("net.ckpt", weights_pickle, lambda folder: seeds.pickled()),
    "picture": Reader("frame.webp", picture, lambda folder: seeds.picture("WEBP")),
    "png": Reader("frame.png", picture, lambda folder: seeds.picture("PNG")),
    "video": Reader("clip.mp4", video, seeds.video),
}


def outcome(reader: Reader, path: Path) -> str | None:
    """Read a file: None if it was taken, the one line if it was refused."""
    try:
        reader.read(path)
    except ZooError as error:
        said = str(error)
        assert said and "\n" not in said and len(said) < 4000, said[:200]
        return said
    return None
