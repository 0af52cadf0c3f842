"""The run store: an uploaded run is downloaded again, whole or not at all."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from pathlib import Path

import fsspec
import numpy as np
import pytest
import safetensors.numpy
import torch

from zoo.base import devices
from zoo.base.errors import BadInput, ZooError
from zoo.base.locks import exclusive_lock
from zoo.base.workspace import Workspace
from zoo.compare import run_store
from zoo.compare.run_store import RunStore
from zoo.training.run_folder import RunFile, RunFolder, TrainingConfig


@pytest.fixture(params=["memory", "file"])
def address(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    if request.param == "file":
        yield f"file://{tmp_path / 'kept'}"
        return
    memory = fsspec.filesystem("memory")
    yield "memory://kept/runs"
    memory.rm("/kept", recursive=True) if memory.exists("/kept") else None


FILES = {
    "run.json": b"{}",
    "weights.safetensors": b"\0" * 3_000_000,
    "evaluation/bikes/record.json": b"own",
    "evaluation/carphone/record.json": b"other",
    ".lock": b"",
}


def machine(tmp_path: Path, name: str, address: str) -> tuple[RunStore, RunFolder]:
    """A machine's store, and its folder for the run."""
    workspace = Workspace(tmp_path / name)
    return RunStore(address, workspace), RunFolder(workspace.runs / "bikes" / "ae" / "one")


def fill(folder: RunFolder, files: dict[str, bytes]) -> None:
    for name, content in files.items():
        path = folder.path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


def content(folder: RunFolder) -> dict[str, bytes]:
    return {
        path.relative_to(folder.path).as_posix(): path.read_bytes()
        for path in folder.path.rglob("*")
        if path.is_file() and path.name != ".owner.lock"
    }


def described(state: str, made: str = "") -> dict[str, bytes]:
    """The files of a run in this state: `finished`, or `interrupted` at a step."""
    kind, _, step = state.partition(" ")
    config = TrainingConfig(
        model="ae",
        origin=made,
        options={},
        film="bikes",
        film_fingerprint="",
        size="32x32",
        budget="9steps",
        batch=1,
        seed=0,
        precision="32-true",
    )
    where = devices.describe(torch.device("cpu"), "32-true")
    run = RunFile(state=kind, config=config, environment=where)  # type: ignore[arg-type]
    files = {"run.json": run.model_dump_json().encode()}
    if kind == "finished":
        return files | {"weights.safetensors": f"weights {made}".encode()}
    metadata = {"progress": json.dumps({"step": int(step), "plain": {}})}
    return files | {"checkpoint.safetensors": safetensors.numpy.save({"x": np.zeros(3)}, metadata)}


def age(folder: RunFolder, seconds: float) -> None:
    """Make all files of a run older."""
    for path in folder.path.rglob("*"):
        if path.is_file():
            os.utime(path, (path.stat().st_atime, path.stat().st_mtime - seconds))


ORDERED = [
    ("interrupted 3", "interrupted 7"),
    ("interrupted 7", "finished"),
    ("interrupted 0", "finished"),
    ("nothing", "interrupted 0"),
    ("nothing", "finished"),
]


@pytest.mark.parametrize(("less", "more"), ORDERED)
def test_the_copy_that_is_ahead_is_never_overwritten(
    less: str, more: str, tmp_path: Path, address: str
) -> None:
    (store, folder), (other, there) = (machine(tmp_path, name, address) for name in "ab")
    # Later, but less far.
    fill(there, described(more, "more"))
    fill(folder, described(less, "less") if less != "nothing" else {})
    age(there, 1000)
    further, behind = content(there), content(folder)
    if less != "nothing":
        store.upload(folder, "bikes")
        other.download(there, "bikes")
        assert content(there) == further, "an older copy replaced it"
    other.upload(there, "bikes")
    if less != "nothing":
        store.upload(folder, "bikes")
    with store.preview(folder, "bikes") as seen:
        assert seen is not None
        assert content(RunFolder(seen.runs / "bikes/ae/one")).keys() >= further.keys() - {".lock"}
    assert content(folder) == behind, "nothing is changed by looking"
    store.download(folder, "bikes")
    assert content(folder) == further | {".lock": b""}


def test_of_two_finished_runs_the_later_one_stays(tmp_path: Path, address: str) -> None:
    (store, folder), (other, there) = (machine(tmp_path, name, address) for name in "ab")
    fill(folder, described("finished", "first") | {"evaluation/carphone/record.json": b"first"})
    fill(there, described("finished", "second"))
    age(folder, 1000)
    store.upload(folder, "bikes")
    store.upload(folder, "carphone")
    other.download(there, "carphone")
    assert content(there) == described("finished", "second"), "it is not what others made"
    other.upload(there, "bikes")
    store.download(folder, "bikes")
    assert content(folder) == described("finished", "second") | {".lock": b""}
    # What the weights that are gone made of other films is theirs no more.
    other.download(there, "carphone")
    assert content(there) == described("finished", "second")


def test_evaluations_of_other_weights_are_not_uploaded(tmp_path: Path, address: str) -> None:
    (store, folder), (other, there) = (machine(tmp_path, name, address) for name in "ab")
    fill(folder, described("finished", "one"))
    store.upload(folder, "bikes")
    fill(there, described("finished", "two") | {"evaluation/carphone/record.json": b"two"})
    age(there, -1000)
    other.upload(there, "carphone")
    store.download(folder, "carphone")
    assert content(folder) == described("finished", "one")


def test_a_run_that_is_being_trained_is_left_alone(tmp_path: Path, address: str) -> None:
    (store, folder), (other, there) = (machine(tmp_path, name, address) for name in "ab")
    fill(folder, described("finished"))
    store.upload(folder, "bikes")
    fill(there, described("interrupted 3"))
    with exclusive_lock(there.path / ".lock", "it", waiting=None):
        other.download(there, "bikes")
        assert content(there) == described("interrupted 3") | {".lock": b""}
    other.download(there, "bikes")
    assert content(there) == described("finished") | {".lock": b""}


def test_weights_that_are_gone_are_downloaded_again(tmp_path: Path, address: str) -> None:
    store, folder = machine(tmp_path, "a", address)
    fill(folder, described("finished"))
    store.upload(folder, "bikes")
    folder.weights.unlink()
    store.download(folder, "bikes")
    assert content(folder) == described("finished") | {".lock": b""}


def test_what_has_not_changed_is_not_read_again(
    tmp_path: Path, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, folder = machine(tmp_path, "a", address)
    fill(folder, described("finished") | {"evaluation/carphone/record.json": b"other"})
    store.upload(folder, "bikes")
    store.upload(folder, "carphone")
    hashed: list[Path] = []
    monkeypatch.setattr(run_store, "file_sha256", lambda path: hashed.append(path) or "0" * 64)
    again = RunStore(address, Workspace(tmp_path / "a"))
    again.download(folder, "bikes")
    again.download(folder, "carphone")
    again.upload(folder, "bikes")
    assert hashed == []


def test_what_one_machine_uploads_another_downloads(tmp_path: Path, address: str) -> None:
    (store, folder), (other, there) = (machine(tmp_path, name, address) for name in "ab")
    other.download(there, "bikes")
    assert content(there) == {}
    fill(folder, FILES)
    store.upload(folder, "bikes")
    other.download(there, "bikes")
    own = {n: c for n, c in FILES.items() if n != "evaluation/carphone/record.json"}
    assert content(there) == own
    # What was made of another film is kept, and fetched, by itself.
    store.upload(folder, "carphone")
    other.download(there, "carphone")
    assert content(there) == FILES


def test_two_machines_that_evaluate_on_other_films_do_not_undo_one_another(
    tmp_path: Path, address: str
) -> None:
    (store, folder), (other, there) = (machine(tmp_path, name, address) for name in "ab")
    fill(folder, {"run.json": b"{}"})
    store.upload(folder, "bikes")
    other.download(there, "carphone")
    fill(folder, {"evaluation/carphone/record.json": b"a"})
    fill(there, {"evaluation/bunny/record.json": b"b"})
    store.upload(folder, "carphone")
    other.upload(there, "bunny")
    third, found = machine(tmp_path, "c", address)
    third.download(found, "carphone")
    third.download(found, "bunny")
    assert set(content(found)) == {
        *("run.json", "evaluation/carphone/record.json", "evaluation/bunny/record.json", ".lock")
    }


def test_what_is_gone_is_removed_and_what_is_unchanged_is_left(
    tmp_path: Path, address: str
) -> None:
    (store, folder), (other, there) = (machine(tmp_path, name, address) for name in "ab")
    fill(folder, FILES | {"checkpoint.safetensors": b"state"})
    store.upload(folder, "bikes")
    other.download(there, "bikes")
    untouched = (there.path / "weights.safetensors").stat().st_mtime_ns
    folder.checkpoint.unlink()
    fill(folder, {"run.json": b"finished"})
    store.upload(folder, "bikes")
    other.download(there, "bikes")
    assert not there.checkpoint.exists()
    assert there.file.read_bytes() == b"finished"
    assert (there.path / "weights.safetensors").stat().st_mtime_ns == untouched
    files, root = fsspec.core.url_to_fs(address)
    kept = files.ls(f"{root}/bikes/ae/one/files", detail=False)
    assert len(kept) == 3, "files that no manifest names are removed"


def test_a_checkpoint_is_uploaded_when_it_has_changed(tmp_path: Path, address: str) -> None:
    (store, folder), (other, there) = (machine(tmp_path, name, address) for name in "ab")
    store.upload_checkpoint(folder)
    other.download(there, "bikes")
    assert content(there) == {}
    fill(folder, {"checkpoint.safetensors": b"first", "run.json": b"{}"})
    store.upload_checkpoint(folder)
    other.download(there, "bikes")
    assert there.checkpoint.read_bytes() == b"first"


def test_an_old_file_that_another_machine_removed_is_no_failure(
    tmp_path: Path, address: str
) -> None:
    store, folder = machine(tmp_path, "a", address)
    fill(folder, described("interrupted 3") | {"notes.txt": b"3"})
    store.upload(folder, "bikes")
    old = hashlib.sha256(b"3").hexdigest()
    files, root = fsspec.core.url_to_fs(f"{address}/bikes/ae/one/files/{old}")
    files.rm_file(root)
    fill(folder, described("interrupted 7") | {"notes.txt": b"7"})
    store.upload(folder, "bikes")
    other, there = machine(tmp_path, "b", address)
    other.download(there, "bikes")
    assert there.checkpoint.read_bytes() == folder.checkpoint.read_bytes()


def test_a_damaged_file_is_refused_and_nothing_is_half_there(tmp_path: Path, address: str) -> None:
    (store, folder), (other, there) = (machine(tmp_path, name, address) for name in "ab")
    fill(folder, {"run.json": b"{}", "weights.safetensors": b"right"})
    store.upload(folder, "bikes")
    files, root = fsspec.core.url_to_fs(address)
    digest = hashlib.sha256(b"right").hexdigest()
    files.pipe_file(f"{root}/bikes/ae/one/files/{digest}", b"wrong")
    with pytest.raises(ZooError, match="is damaged; remove"):
        other.download(there, "bikes")
    assert content(there) == {".lock": b""}


@pytest.mark.parametrize("name", ["../../escaped", "/escaped", "..\\escaped", "a/../../../b"])
def test_no_path_leads_out_of_the_runs_folder(name: str, tmp_path: Path, address: str) -> None:
    store, folder = machine(tmp_path, "a", address)
    files, root = fsspec.core.url_to_fs(address)
    files.makedirs(f"{root}/bikes/ae/one", exist_ok=True)
    listed = {"schema_version": 1, "files": {name: {"sha256": "0" * 64, "size": 1}}}
    files.pipe_file(f"{root}/bikes/ae/one/manifest.json", json.dumps(listed).encode())
    with pytest.raises(ZooError, match="points outside"):
        store.download(folder, "bikes")


def test_an_address_that_nobody_knows_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="--runs"):
        RunStore("abacus://there", Workspace(tmp_path))


@pytest.mark.parametrize("part", ["evaluation", "evaluation/carphone"])
def test_nothing_is_brought_or_removed_through_a_link(
    part: str, tmp_path: Path, address: str
) -> None:
    (store, folder), (other, there) = (machine(tmp_path, name, address) for name in "ab")
    fill(folder, described("finished", "new") | FILES | described("finished", "new"))
    store.upload(folder, "bikes")
    store.upload(folder, "carphone")
    fill(there, described("finished", "old") | {"evaluation/carphone/other.npz": b"precious"})
    age(there, 3600)
    victim = tmp_path / "victim"
    (there.path / part).rename(victim)
    (there.path / part).symlink_to(victim)
    before = contents(victim)
    with pytest.raises(BadInput, match="is a link"):
        other.download(there, "carphone")
    assert contents(victim) == before


def test_what_a_link_points_to_is_not_sent(tmp_path: Path, address: str) -> None:
    store, folder = machine(tmp_path, "a", address)
    fill(folder, described("finished"))
    (tmp_path / "secret").write_bytes(b"a secret")
    (folder.path / "notes.txt").symlink_to(tmp_path / "secret")
    with pytest.raises(BadInput, match=r"notes\.txt is a link"):
        store.upload(folder, "bikes")
    files = store._files
    sent = [files.cat_file(path) for path in files.find(store._root)]
    assert b"a secret" not in sent


def contents(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
