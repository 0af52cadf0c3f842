"""Results of one comparison on two machines, as folders to be merged."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

from tests.report.synthetic_results import comparison, put_pictures, series
from zoo.base.atomic_files import write_json
from zoo.base.records import Results
from zoo.base.untrusted_files import read_json

Change = Callable[[Results], None]
MODELS = {"sharp", "blurry"}


def small() -> Results:
    """Two models on both films, each watching its own."""
    results = comparison()
    results.records = [
        one for one in results.records if one.model in MODELS and one.trained_on == one.evaluated_on
    ]
    return results


def on_a_gpu(results: Results, better: float = 0.1) -> Results:
    """The same comparison by a machine that draws everything better, and looked at other frames."""
    results.command = "zoo compare --films alpha,beta --device cuda"
    results.created = "2025-01-02T05:00:00+01:00"
    for one in results.records:
        one.environment = one.environment.model_copy(
            update={"device": "cuda", "device_name": "Test GPU"}
        )
        for part in one.scores["lpips"].values():
            part.mean = (part.mean or 0) - better
        for picture in one.pictures:
            picture.frame += 1
            picture.original = picture.original.replace(".png", "-gpu.png")
            picture.reconstruction = picture.reconstruction.replace(".png", "-gpu.png")
    return results


def put(results: Results, folder: Path, scale: float = 1.0) -> Path:
    """Write a results folder, the scores frame by frame times `scale`."""
    put_pictures(results, folder)
    for film in results.films:
        if film.series:
            frame_by_frame = series(results, film)
            for row in frame_by_frame.rows:
                row.scores["lpips"] = [v and v * scale for v in row.scores["lpips"]]
            write_json(folder / film.series, frame_by_frame)
    write_json(folder / "results.json", results)
    return folder


def changed(folder: Path, change: Change) -> None:
    results = read_json(folder / "results.json", Results)
    change(results)
    write_json(folder / "results.json", results)


def contents(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file() and not path.name.endswith(".lock")
    }
