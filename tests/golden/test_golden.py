"""What earlier releases wrote is read as it was meant, or refused by name.

The folders beside this file are named after the releases that wrote them (`make.py`).
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.golden.make import EXPECTED, FILM, MODEL, settle
from zoo.base.errors import BadInput
from zoo.base.records import Record, Results
from zoo.base.untrusted_files import read_json
from zoo.evaluation.inference import decode_to_pixels
from zoo.evaluation.latents import Latents, Quantiser, unpack_levels
from zoo.films.frame_store import FrameStore, Manifest
from zoo.reconstruct.film_file import _digest, _sealed_header, open_container
from zoo.reconstruct.loading import Loaded, load
from zoo.training.checkpoint import load_checkpoint
from zoo.training.distributed import launch
from zoo.training.run_folder import RunFile
from zoo.training.step import TrainingStep

HERE = Path(__file__).parent
RELEASES = sorted(path.name for path in HERE.iterdir() if (path / EXPECTED).exists())
LARGEST = 300_000


@pytest.fixture(params=RELEASES)
def golden(request: pytest.FixtureRequest, workspace: Path) -> Path:
    """A copy of what a release wrote, as the current folder."""
    shutil.copytree(HERE / request.param, workspace, dirs_exist_ok=True)
    settle(workspace)
    return workspace


@pytest.fixture
def loaded(golden: Path) -> Loaded:
    return load(MODEL, film=FILM, workspace=golden, device="cpu")


def expected(golden: Path) -> dict[str, Any]:
    with np.load(golden / EXPECTED, allow_pickle=False) as held:
        return dict(held)


def only(golden: Path, pattern: str) -> Path:
    (path,) = golden.glob(pattern)
    return path


def apart(one: Any, other: Any) -> int:
    """The largest difference in 8-bit levels."""
    assert one.shape == other.shape
    return int(np.abs(one.astype(int) - other.astype(int)).max())


def test_they_are_small() -> None:
    assert RELEASES
    for release in RELEASES:
        sizes = [p.stat().st_size for p in (HERE / release).rglob("*") if p.is_file()]
        assert sum(sizes) < LARGEST


def test_a_store_is_known_again_and_holds_the_same_frames(golden: Path, loaded: Loaded) -> None:
    wanted = expected(golden)
    film = loaded.film
    assert (film.store.array[wanted["frames"]] == wanted["store"]).all()
    assert film.store.folder == only(golden, ".zoo/films/*/*/manifest.json").parent
    assert film.frame_seconds == pytest.approx(np.arange(len(film)) / 25)


def test_a_run_draws_what_it_drew(golden: Path, loaded: Loaded) -> None:
    wanted = expected(golden)
    assert apart(loaded.decode(loaded.encode(wanted["store"])), wanted["drawn"]) <= 1


def test_a_record_holds_the_scores_of_what_its_run_draws(golden: Path, loaded: Loaded) -> None:
    record = read_json(only(golden, "runs/*/*/*/evaluation/*/record.json"), Record)
    frames = loaded.film.store.array
    kept = loaded.trained.saved_latents(loaded.film)
    assert kept is not None
    again = loaded.trained.decode(kept).astype(float)
    error = ((again - frames) ** 2).mean(axis=(1, 2, 3))
    # At most 60 dB, as the metric has it.
    psnr = np.minimum(10 * np.log10(255**2 / error), 60)
    seen = psnr[loaded.film.split.seen].mean()
    assert record.scores["psnr"]["seen"].mean == pytest.approx(seen, abs=0.02)
    with np.load(only(golden, "runs/*/*/*/evaluation/*/scores.npz")) as scores:
        assert scores["psnr"] == pytest.approx(psnr, abs=0.05)


def test_a_film_file_draws_what_its_run_drew(golden: Path, loaded: Loaded) -> None:
    container = open_container(golden / "flash.zoo")
    said, content = container.description, container.content()
    quantiser = Quantiser(
        torch.tensor(content.lowest), torch.tensor(content.step), said.latent.bits
    )
    levels = unpack_levels(content.latents.tobytes(), said.film.frames, content.lowest.size)
    latents = Latents(torch.from_numpy(levels), said.latent.shape, quantiser, len(levels))
    again = decode_to_pixels(loaded.trained.model, latents.dequantised(slice(None)))
    kept = loaded.trained.saved_latents(loaded.film)
    assert kept is not None
    assert apart(again, loaded.trained.decode(kept)) <= 1
    assert said.film.frames == len(loaded.film)


def test_a_film_file_is_decoded_with_its_sound(zoo: Callable, golden: Path) -> None:
    said = zoo("decode", "flash.zoo", "-o", "again.mp4")
    assert said.code == 0, said.err
    import av

    with av.open("again.mp4") as video:
        assert sum(1 for _ in video.decode(video=0)) == 20
        assert video.streams.audio


def test_a_report_is_made_from_results(zoo: Callable, golden: Path) -> None:
    said = zoo("report")
    assert said.code == 0, said.err
    report = (golden / "results" / "report.md").read_text()
    results = read_json(golden / "results" / "results.json", Results)
    mean = next(r for r in results.records if r.model == MODEL).scores["psnr"]["held_out"].mean
    assert f"{mean:.2f}" in report


KINDS: dict[str, tuple[str, type[Any], str]] = {
    "run": ("runs/*/*/*/run.json", RunFile, "schema_version"),
    "record": ("runs/*/*/*/evaluation/*/record.json", Record, "schema_version"),
    "results": ("results/results.json", Results, "schema_version"),
    "store": (".zoo/films/*/*/manifest.json", Manifest, "format_version"),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("by", "remedy"), [(-1, "make it again"), (1, "update film-zoo")])
def test_another_schema_is_refused_by_name(golden: Path, kind: str, by: int, remedy: str) -> None:
    pattern, model, field = KINDS[kind]
    path = only(golden, pattern)
    said = json.loads(path.read_text())
    ours = said[field]
    said[field] += by
    text = re.sub(r'"film_zoo":\s*"[^"]*"', '"film_zoo": "0.0.9"', json.dumps(said))
    path.write_text(text)
    writer = "a film-zoo" if kind == "store" else "film-zoo 0.0.9"
    with pytest.raises(BadInput) as raised:
        read_json(path, model)
    assert str(raised.value).startswith(
        f"{path} was written by {writer} with schema {ours + by}; this film-zoo, "
        f"{version('film-zoo')}, reads schema {ours}: {remedy}"
    )


def test_verbs_refuse_another_schema_in_one_line(zoo: Callable, golden: Path) -> None:
    for kind, words in (
        ("run", ("reconstruct", MODEL, "--film", FILM)),
        ("store", ("reconstruct", MODEL, "--film", FILM)),
        ("results", ("report",)),
    ):
        path = only(golden, KINDS[kind][0])
        kept = path.read_text()
        said = json.loads(kept)
        said[KINDS[kind][2]] += 1
        path.write_text(json.dumps(said))
        done = zoo(*words)
        assert done.code == 2, (kind, done.err)
        assert done.err.count("\n") == 1 and "Traceback" not in done.err
        path.write_text(kept)
    assert not list(golden.glob("*.mp4.*"))


@pytest.mark.parametrize("schema", ["0", "6"])
def test_a_film_file_of_another_schema_is_refused_by_name(golden: Path, schema: str) -> None:
    path = golden / "flash.zoo"
    content = path.read_bytes()
    changed = content.replace(b'\\"schema_version\\":3', b'\\"schema_version\\":' + schema.encode())
    assert changed != content
    path.write_bytes(changed)
    header, place = _sealed_header(path)
    sealed = bytearray(changed)
    sealed[8 + place : 8 + place + 64] = _digest(path, header, place).encode()
    path.write_bytes(sealed)
    with pytest.raises(BadInput, match=f"version {schema}; this film-zoo reads versions 1 to 5"):
        open_container(path)


def test_a_checkpoint_of_another_format_is_refused_by_name(golden: Path, loaded: Loaded) -> None:
    from safetensors.numpy import save_file

    path = golden / "checkpoint.safetensors"
    save_file({"x": np.zeros(1)}, path, {"format": "film-zoo checkpoint 0"})
    step = TrainingStep(loaded.trained.model, launch(torch.device("cpu"), "32-true", 4))
    with pytest.raises(BadInput, match="is a 'film-zoo checkpoint 0'; this film-zoo reads"):
        load_checkpoint(path, step)


def test_a_store_of_another_schema_is_refused_when_it_is_opened(golden: Path) -> None:
    path = only(golden, ".zoo/films/*/*/manifest.json")
    path.write_text(path.read_text().replace('"format_version": 1', '"format_version": 2'))
    with pytest.raises(BadInput, match="with schema 2"):
        FrameStore.open(path.parent)
