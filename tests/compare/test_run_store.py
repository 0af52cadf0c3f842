"""Run folders at an address: what is kept comes back, whole or not at all."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path

import fsspec
import pytest

from zoo.compare.run_store import RunStore
from zoo.errors import BadInput, ZooError
from zoo.training.run_folder import RunFolder
from zoo.workspace import Workspace


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
        if path.is_file()
    }


def test_what_one_machine_keeps_another_fetches(tmp_path: Path, address: str) -> None:
    (store, folder), (other, there) = (machine(tmp_path, name, address) for name in "ab")
    assert not other.fetch(there, "bikes")
    fill(folder, FILES)
    store.keep(folder, "bikes")
    assert other.fetch(there, "bikes")
    own = {n: c for n, c in FILES.items() if n not in (".lock", "evaluation/carphone/record.json")}
    assert content(there) == own
    # What was made of another film is kept, and fetched, by itself.
    store.keep(folder, "carphone")
    assert other.fetch(there, "carphone")
    assert content(there) == {n: c for n, c in FILES.items() if n != ".lock"}


def test_two_machines_that_watch_other_films_do_not_undo_one_another(
    tmp_path: Path, address: str
) -> None:
    (store, folder), (other, there) = (machine(tmp_path, name, address) for name in "ab")
    fill(folder, {"run.json": b"{}"})
    store.keep(folder, "bikes")
    other.fetch(there, "carphone")
    fill(folder, {"evaluation/carphone/record.json": b"a"})
    fill(there, {"evaluation/bunny/record.json": b"b"})
    store.keep(folder, "carphone")
    other.keep(there, "bunny")
    third, found = machine(tmp_path, "c", address)
    third.fetch(found, "carphone")
    third.fetch(found, "bunny")
    assert set(content(found)) == {
        *("run.json", "evaluation/carphone/record.json", "evaluation/bunny/record.json")
    }


def test_what_is_gone_is_removed_and_what_is_unchanged_is_left(
    tmp_path: Path, address: str
) -> None:
    (store, folder), (other, there) = (machine(tmp_path, name, address) for name in "ab")
    fill(folder, FILES | {"checkpoint.safetensors": b"state"})
    store.keep(folder, "bikes")
    other.fetch(there, "bikes")
    untouched = (there.path / "weights.safetensors").stat().st_mtime_ns
    folder.checkpoint.unlink()
    fill(folder, {"run.json": b"finished"})
    store.keep(folder, "bikes")
    other.fetch(there, "bikes")
    assert not there.checkpoint.exists()
    assert there.file.read_bytes() == b"finished"
    assert (there.path / "weights.safetensors").stat().st_mtime_ns == untouched
    files, root = fsspec.core.url_to_fs(address)
    kept = files.ls(f"{root}/bikes/ae/one/files", detail=False)
    assert len(kept) == 3, "files that no manifest names are removed"


def test_a_checkpoint_is_kept_when_it_is_another(tmp_path: Path, address: str) -> None:
    (store, folder), (other, there) = (machine(tmp_path, name, address) for name in "ab")
    store.keep_checkpoint(folder)
    assert not other.fetch(there, "bikes")
    fill(folder, {"checkpoint.safetensors": b"first", "run.json": b"{}"})
    store.keep_checkpoint(folder)
    assert other.fetch(there, "bikes")
    assert there.checkpoint.read_bytes() == b"first"


def test_a_damaged_file_is_refused_and_nothing_is_half_there(tmp_path: Path, address: str) -> None:
    (store, folder), (other, there) = (machine(tmp_path, name, address) for name in "ab")
    fill(folder, {"run.json": b"{}", "weights.safetensors": b"right"})
    store.keep(folder, "bikes")
    files, root = fsspec.core.url_to_fs(address)
    digest = hashlib.sha256(b"right").hexdigest()
    files.pipe_file(f"{root}/bikes/ae/one/files/{digest}", b"wrong")
    with pytest.raises(ZooError, match="is damaged; remove"):
        other.fetch(there, "bikes")
    assert content(there) == {}


@pytest.mark.parametrize("name", ["../../escaped", "/escaped", "..\\escaped", "a/../../../b"])
def test_no_path_leads_out_of_the_runs_folder(name: str, tmp_path: Path, address: str) -> None:
    store, folder = machine(tmp_path, "a", address)
    files, root = fsspec.core.url_to_fs(address)
    files.makedirs(f"{root}/bikes/ae/one", exist_ok=True)
    listed = {"schema_version": 1, "files": {name: {"sha256": "0" * 64, "size": 1}}}
    files.pipe_file(f"{root}/bikes/ae/one/manifest.json", json.dumps(listed).encode())
    with pytest.raises(ZooError, match="leads out of"):
        store.fetch(folder, "bikes")


def test_an_address_that_nobody_knows_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="--runs"):
        RunStore("abacus://there", Workspace(tmp_path))
