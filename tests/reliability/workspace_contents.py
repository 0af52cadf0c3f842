"""The contents of a workspace: check that every file is whole, and compare two workspaces.

Two workspaces are equal if they have the same files with the same contents, except for times:
dates, seconds, measured speeds, and plots of these.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import av
import numpy as np
from PIL import Image
from safetensors import safe_open

from zoo.base.locks import is_lock
from zoo.base.records import Results, Series
from zoo.reconstruct.film_file import open_container
from zoo.training.run_folder import RunFile

TIMES = {"created", "seconds", "data_stall", "cost", "gpu_seconds", "wall_seconds"}
"""Entries of a JSON object that are dates or durations."""
PLOTS_OF_TIMES = {"figures/trade.png"}
"""In the results folder; a run's curves show scores, which come by the clock."""
TEXTS_WITH_TIMES = {"report.md", "report.html", "results.csv"}


def files_of(root: Path) -> Iterator[Path]:
    """Every file except locks, which are never deleted."""
    return (path for path in sorted(root.rglob("*")) if path.is_file() and not is_lock(path))


def leftovers(root: Path) -> list[str]:
    """Temporary files of killed processes."""
    return [
        str(path.relative_to(root))
        for path in sorted(root.rglob("*"))
        if path.name.startswith((".tmp-", ".tmp")) or re.fullmatch(r"\.[0-9a-f]{16}\..*", path.name)
    ]


def check_whole(root: Path) -> None:
    """Raise unless every file with its final name can be read to its end."""
    for path in files_of(root):
        if any(part.startswith(".") and part != ".zoo" for part in path.relative_to(root).parts):
            continue  # temporary
        try:
            _READERS.get(path.suffix, Path.read_bytes)(path)
        except Exception as error:
            raise AssertionError(f"{path} is not whole: {error!r}") from error
    for run in root.glob("runs/*/*/*/run.json"):
        if RunFile.model_validate_json(run.read_bytes()).state == "finished":
            made = {path.name for path in run.parent.iterdir()}
            assert "weights.safetensors" in made or "coding.json" in made, run
    for manifest in root.glob(".zoo/films/*/*/manifest.json"):
        described = json.loads(manifest.read_text())
        width, height = map(int, described["size"].split("x"))
        held = (manifest.parent / "frames.rgb").stat().st_size
        assert held == described["frames"] * width * height * 3, manifest


def contents_of(root: Path, *, with_times: bool = False) -> dict[str, Any]:
    """The contents of all files, by path; `with_times` includes reports."""
    found: dict[str, Any] = {}
    for path in files_of(root):
        name = path.relative_to(root).as_posix()
        below = name.partition("/")[2]
        if name.startswith(".zoo/costs/"):
            found[".zoo/costs"] = "a pass"
        elif path.name in ("curves.png", "progress.html") or (
            not with_times and below in PLOTS_OF_TIMES | TEXTS_WITH_TIMES
        ):
            found[name] = "depends on times"
        elif path.suffix == ".json":
            found[name] = _without_times(json.loads(path.read_text()))
        elif path.suffix == ".jsonl":
            # Scores come by the clock, with the previews.
            lines = (json.loads(line) for line in path.open())
            found[name] = [_without_times({**line, "score": None}) for line in lines]
        elif path.suffix == ".mp4":
            found[name] = _decoded(path)
        elif path.suffix == ".safetensors":
            found[name] = _tensors(path)
        else:
            found[name] = hashlib.sha256(path.read_bytes()).hexdigest()
    return found


def differences(one: dict[str, Any], other: dict[str, Any]) -> list[str]:
    """Files whose contents differ, with the first difference in each."""
    return [
        f"{name}{_first_difference(one.get(name), other.get(name))}"
        for name in sorted(one.keys() | other.keys())
        if one.get(name) != other.get(name)
    ]


def _first_difference(one: Any, other: Any, where: str = "") -> str:
    """Where two values first differ, and the values there."""
    if isinstance(one, dict) and isinstance(other, dict):
        for key in [*one, *other]:
            if one.get(key) != other.get(key):
                return _first_difference(one.get(key), other.get(key), f"{where}.{key}")
    if isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        for number, (left, right) in enumerate(zip(one, other, strict=True)):
            if left != right:
                return _first_difference(left, right, f"{where}[{number}]")
    return f"{where}: {_abridged(one)} against {_abridged(other)}"


def _abridged(value: Any) -> str:
    return "nothing" if value is None else str(value)[:300]


def _without_times(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _without_times(v) for k, v in value.items() if k not in TIMES}
    return [_without_times(v) for v in value] if isinstance(value, list) else value


def _decoded(path: Path) -> dict[str, str]:
    """Hashes of a video's decoded frames with their times, by stream."""
    streams = {}
    with av.open(str(path)) as container:
        for stream in container.streams:
            hashed = hashlib.sha256()
            container.seek(0)
            for frame in container.decode(stream):
                hashed.update(f"{frame.pts} {frame.time_base}".encode())
                hashed.update(np.ascontiguousarray(frame.to_ndarray()))  # type: ignore[union-attr]
            streams[f"{stream.index} {stream.type}"] = hashed.hexdigest()
    assert streams
    return streams


def _tensors(path: Path) -> dict[str, Any]:
    """The tensors and metadata of a file, in whatever order its header lists them."""
    with safe_open(path, "numpy") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        held = {
            name: (str(array.dtype), array.shape, hashlib.sha256(array.tobytes()).hexdigest())
            for name, array in tensors.items()
        }
        return {**held, "metadata": file.metadata()}


def _arrays(path: Path) -> None:
    with np.load(path, allow_pickle=False) as held:
        for name in held:
            assert held[name] is not None


def _records(path: Path) -> None:
    kind = {"results.json": Results, "run.json": RunFile}.get(path.name)
    kind = Series if path.parent.name == "series" else kind
    if kind:
        kind.model_validate_json(path.read_bytes())
    else:
        json.loads(path.read_text())


def _log(path: Path) -> None:
    # Readers accept a last line that is cut short.
    for line in path.read_text().splitlines(keepends=True):
        if line.endswith("\n"):
            json.loads(line)


def _picture(path: Path) -> None:
    with Image.open(path) as picture:
        picture.load()


def _text(path: Path) -> None:
    assert path.read_text(encoding="utf-8").endswith("\n")


_READERS: dict[str, Callable[[Path], Any]] = {
    ".safetensors": _tensors,
    ".zoo": open_container,
    ".npz": _arrays,
    ".npy": lambda path: np.load(path, allow_pickle=False),
    ".json": _records,
    ".jsonl": _log,
    ".png": _picture,
    ".webp": _picture,
    ".mp4": _decoded,
    ".md": _text,
    ".html": _text,
    ".csv": _text,
    ".js": _text,
    ".toml": _text,
}
