"""What lies on disk: whole or not there, whoever interrupts, however many want it at once."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import shutil
import stat
import subprocess
import sys
import time
import tracemalloc
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.films.making import drifting, encode, opened
from zoo.api.film_entry import FilmEntry
from zoo.base.errors import BadInput, CannotWrite, ZooError
from zoo.base.frame_size import FrameSize
from zoo.base.workspace import Workspace
from zoo.films import ingest, pipeline
from zoo.films.decode import FilmDecoder
from zoo.films.ingest import open_film
from zoo.films.pipeline import IngestProgress
from zoo.films.source_files import file_fingerprint
from zoo.matching.pdq_hashes import hash_film


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return encode(tmp_path_factory.mktemp("clip") / "clip.mp4", drifting(96, 54, 60))


def files_left(tmp_path: Path) -> list[str]:
    """Everything in the stores but locks."""
    stores = tmp_path / "workspace" / ".zoo"
    return [p.name for p in stores.rglob("*") if p.is_file() and p.suffix != ".lock"]


def test_frames_times_and_manifest_agree(clip: Path, tmp_path: Path) -> None:
    film = opened(clip, tmp_path)
    assert len(film) == 60 and film.fps == pytest.approx(25)
    assert film.store.array.shape == (60, 36, 64, 3) and film.store.array.dtype == np.uint8
    assert film.frames.shape == (60, 3, 36, 64)
    assert np.array_equal(film.frames[7], film.store.array[7].transpose(2, 0, 1))
    assert not film.store.array.flags.writeable
    assert film.frame_seconds == pytest.approx(np.arange(60) / 25)
    assert film.store.bytes == (film.store.folder / "frames.rgb").stat().st_size
    assert str(film.store.folder).startswith(
        str(tmp_path / "workspace" / ".zoo" / "films" / "film")
    )


def test_an_ingested_film_is_not_decoded_again(
    clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = opened(clip, tmp_path)

    def refuse(*given: Any) -> None:
        raise AssertionError("ingested again")

    monkeypatch.setattr(ingest, "write_store", refuse)
    assert opened(clip, tmp_path).fingerprint == first.fingerprint
    with pytest.raises(AssertionError, match="ingested again"):
        opened(clip, tmp_path, "32x32")


def test_a_changed_file_is_another_film(clip: Path, tmp_path: Path) -> None:
    path = tmp_path / "own.mp4"
    shutil.copy(clip, path)
    before = opened(path, tmp_path)
    encode(path, drifting(96, 54, 60, seed=4))
    after = opened(path, tmp_path)
    assert after.fingerprint != before.fingerprint
    assert not np.array_equal(after.frames[0], before.frames[0])


def test_the_fingerprint_does_not_depend_on_place_or_time(clip: Path, tmp_path: Path) -> None:
    path = tmp_path / "copy" / "other-name.mp4"
    path.parent.mkdir()
    path.write_bytes(clip.read_bytes())
    assert opened(path, tmp_path / "b").fingerprint == opened(clip, tmp_path / "a").fingerprint


def test_a_large_file_is_known_by_samples(tmp_path: Path) -> None:
    path = tmp_path / "large"
    with path.open("wb") as file:
        file.truncate(40 << 30)
    tracemalloc.start()
    empty = file_fingerprint(path)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < 64 << 20
    for place in (0, (40 << 30) - 1):
        with path.open("r+b") as file:
            file.seek(place)
            file.write(b"x")
        assert file_fingerprint(path) != empty
        empty = file_fingerprint(path)


def test_a_film_travels_to_another_process_without_its_frames(clip: Path, tmp_path: Path) -> None:
    film = opened(clip, tmp_path)
    assert film.frames.size and film.frame_seconds.size
    packed = pickle.dumps(film)
    assert len(packed) < 20_000
    assert np.array_equal(pickle.loads(packed).frames[5], film.frames[5])  # noqa: S301


def test_progress_includes_the_needed_space(clip: Path, tmp_path: Path) -> None:
    reported: list[IngestProgress] = []
    opened(clip, tmp_path, progress=reported.append)
    assert any(
        p.message and "60 frames at 64x36" in p.message and "kB" in p.message for p in reported
    )
    assert reported[-1].frames == 60 and reported[-1].expected == 60


def test_too_little_space_is_announced_but_tried(
    clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = type(shutil.disk_usage("/"))(100, 99, 1_000_000)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
    reported: list[IngestProgress] = []
    film = opened(clip, tmp_path, progress=reported.append)
    assert len(film) == 60
    assert any("may not fit: 1.0 MB are free" in (p.message or "") for p in reported)


def test_a_disk_that_fills_up_ends_in_one_line_and_no_store(
    clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # What a full disk does to a writer; /dev/full does it for real.
    class Full(pipeline.FramePipeline):
        def frames(self) -> Any:
            with closing(super().frames()) as frames:
                yield next(frames)
            with Path("/dev/full").open("wb", buffering=0) as file:
                file.write(b"x")

    monkeypatch.setattr(ingest, "FramePipeline", Full)
    with pytest.raises(ZooError, match=r"the disk is full.*smaller --size"):
        opened(clip, tmp_path)
    assert files_left(tmp_path) == []


def test_an_interrupt_leaves_nothing_and_the_next_ingest_is_whole(
    clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(event: IngestProgress) -> None:
        if event.frames:
            raise KeyboardInterrupt

    monkeypatch.setattr(pipeline, "_PROGRESS_SECONDS", 0.0)
    with pytest.raises(KeyboardInterrupt):
        opened(clip, tmp_path, progress=interrupt)
    assert files_left(tmp_path) == []
    assert len(opened(clip, tmp_path)) == 60


def test_what_a_killed_ingest_left_is_cleared_away(clip: Path, tmp_path: Path) -> None:
    script = (
        "import os, sys\n"
        "from pathlib import Path\n"
        "from tests.films.making import opened\n"
        "from zoo.films import pipeline\n"
        "pipeline._PROGRESS_SECONDS = 0.0\n"
        "kill = lambda event: os.kill(os.getpid(), 9) if event.frames > 30 else None\n"
        "opened(Path(sys.argv[1]), Path(sys.argv[2]), progress=kill)\n"
    )
    root = Path(__file__).parents[2]
    ended = subprocess.run(
        [sys.executable, "-c", script, str(clip), str(tmp_path)], cwd=root, check=False
    )
    assert ended.returncode == -9
    assert "frames.rgb" in files_left(tmp_path)
    film = opened(clip, tmp_path)
    assert len(film) == 60
    assert sorted(files_left(tmp_path)) == [
        "frames.rgb",
        "manifest.json",
        "scores.npy",
        "times.npy",
    ]


def _ingest_and_report(clip: Path, folder: Path, answers: Any) -> None:
    reported: list[str] = []

    def hear(event: IngestProgress) -> None:
        reported.append(event.message or "")
        if event.frames == 0 and "frames at" in (event.message or ""):
            time.sleep(1.0)

    film = opened(clip, folder, progress=hear)
    answers.put((film.fingerprint, int(film.frames[30].sum()), reported))


def test_two_at_once_ingest_once(clip: Path, tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    answers: Any = context.Queue()
    both = [
        context.Process(target=_ingest_and_report, args=(clip, tmp_path, answers)) for _ in range(2)
    ]
    for process in both:
        process.start()
    (first, first_sum, first_told), (second, second_sum, second_told) = (
        answers.get(timeout=60) for _ in both
    )
    for process in both:
        process.join(timeout=60)
    assert first == second and first_sum == second_sum
    ingested = [
        reported
        for reported in (first_told, second_told)
        if any("frames at" in t for t in reported)
    ]
    assert len(ingested) == 1


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-5])


def spoil(path: Path) -> None:
    path.write_bytes(b"{" * path.stat().st_size)


@pytest.mark.parametrize("damage", [cut, Path.unlink, spoil], ids=["cut", "gone", "spoilt"])
@pytest.mark.parametrize("name", ["frames.rgb", "times.npy", "scores.npy", "manifest.json"])
def test_a_damaged_store_is_made_again(
    clip: Path, tmp_path: Path, name: str, damage: Callable[[Path], None]
) -> None:
    film = opened(clip, tmp_path)
    frames = np.array(film.frames)
    path = film.store.folder / name
    if (name, damage) == ("frames.rgb", spoil):
        pytest.skip("any bytes are frames")
    damage(path)
    again = opened(clip, tmp_path)
    assert np.array_equal(again.frames, frames)
    assert again.frame_seconds.size == again.store.scores.size == 60
    assert len(files_left(tmp_path)) == 4


def test_goods_are_on_disk_before_the_store_is_in_its_place(
    clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[str] = []
    sync, rename = os.fsync, Path.rename

    def syncing(file: int) -> None:
        synced.append(Path(f"/proc/self/fd/{file}").readlink().name)
        sync(file)

    def renaming(self: Path, target: Path) -> Path:
        if target.parent.name == "film":
            synced.append("in place")
        return rename(self, target)

    monkeypatch.setattr(os, "fsync", syncing)
    monkeypatch.setattr(Path, "rename", renaming)
    folder = opened(clip, tmp_path).store.folder
    before = synced[: synced.index("in place")]
    for name in ("frames.rgb", "times.npy", "scores.npy", "manifest.json", folder.name):
        assert name in before, name
    assert before[-1] == folder.name, "the folder's list of names comes after its files"
    assert folder.parent.name in synced[synced.index("in place") :]


def counting(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The films that are decoded from now on."""
    decoded: list[str] = []
    write_store = ingest.write_store

    def counted(entry: FilmEntry, *given: Any) -> None:
        decoded.append(entry.name)
        write_store(entry, *given)

    monkeypatch.setattr(ingest, "write_store", counted)
    return decoded


@pytest.mark.parametrize("way", ["touched", "copied", "restored"])
def test_a_file_with_another_time_is_the_same_film(
    clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    path = Path(shutil.copy(clip, tmp_path / "own.mp4"))
    opened(path, tmp_path)
    decoded = counting(monkeypatch)
    if way == "copied":
        path = Path(shutil.copy(path, tmp_path / "copy.mp4"))
    os.utime(path, (1e9, 1e9) if way == "restored" else None)
    film = opened(path, tmp_path)
    assert decoded == []
    assert len(files_left(tmp_path)) == 4
    # Its new time is known from now on: the file is not read whole again.
    monkeypatch.setattr(
        "zoo.films.source_files.file_sha256", lambda path: pytest.fail("read again")
    )
    assert opened(path, tmp_path).fingerprint == film.fingerprint


def test_a_change_that_no_sample_shows_makes_the_store_anew(
    clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("zoo.films.source_files.file_fingerprint", lambda path: "the samples")
    path = Path(shutil.copy(clip, tmp_path / "own.mp4"))
    before = np.array(opened(path, tmp_path).frames)
    encode(path, drifting(96, 54, 60, seed=4))
    assert not np.array_equal(opened(path, tmp_path).frames, before)
    assert len(files_left(tmp_path)) == 4


@pytest.mark.parametrize(("mask", "folder", "file"), [(0o002, 0o775, 0o664), (0o077, 0o700, 0o600)])
def test_a_store_has_the_modes_that_the_user_asks_for(
    clip: Path, tmp_path: Path, mask: int, folder: int, file: int
) -> None:
    shared = tmp_path / "workspace"
    shared.mkdir()
    shared.chmod(0o2775)
    before = os.umask(mask)
    try:
        store = opened(clip, tmp_path).store.folder
    finally:
        os.umask(before)
    assert stat.S_IMODE(store.stat().st_mode) == 0o2000 | folder
    modes = {
        stat.S_IMODE(path.stat().st_mode) for path in store.parent.rglob("*.*") if path.is_file()
    }
    assert modes == {file}


def test_a_split_that_cannot_be_kept_is_used_all_the_same(
    clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    opened(clip, tmp_path)

    def refuse(path: Path, record: object) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr("zoo.films.frame_store.write_json", refuse)
    film = opened(clip, tmp_path, holdout=0.2)
    assert 0 < len(film.split.held_out) < 60
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and "manifest.json" in said and "are not kept" in said


def test_hashes_that_cannot_be_kept_or_read_are_made_again(
    clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    film = opened(clip, tmp_path)
    hashes = hash_film(film, torch.device("cpu")).hashes.packed()[0]
    (film.store.folder / "pdq.npz").write_bytes(b"PK no archive")

    def refuse(path: Path) -> Any:
        raise CannotWrite(f"{path} cannot be written: Permission denied")

    monkeypatch.setattr("zoo.matching.pdq_hashes.atomic_write", refuse)
    again = hash_film(film, torch.device("cpu")).hashes.packed()[0]
    assert np.array_equal(again, hashes)
    assert "the hashes of film are not kept" in capsys.readouterr().err


def test_an_error_in_the_decoding_thread_is_raised_where_it_is_waited_for(
    clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(self: Any) -> Any:
        yield from ()
        raise RuntimeError("broken on purpose")

    monkeypatch.setattr(FilmDecoder, "frames", fail)
    with pytest.raises(RuntimeError, match="broken on purpose"):
        opened(clip, tmp_path)
    assert files_left(tmp_path) == []


def test_ingest_does_not_depend_on_threads(clip: Path, tmp_path: Path) -> None:
    one = opened(clip, tmp_path / "one", threads=1)
    many = opened(clip, tmp_path / "many", threads=4)
    assert np.array_equal(one.store.array, many.store.array)


def test_memory_stays_flat(tmp_path: Path) -> None:
    # Four times the frames, each 0.35 MB decoded: 155 MB more if they were kept.
    script = (
        "import resource, sys\n"
        "from pathlib import Path\n"
        "from tests.films.making import opened\n"
        "opened(Path(sys.argv[1]), Path(sys.argv[2]))\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)\n"
    )
    one = encode(tmp_path / "one.ts", drifting(640, 360, 150), options={"g": "50"})
    four = tmp_path / "four.ts"
    four.write_bytes(one.read_bytes() * 4)
    root = Path(__file__).parents[2]
    peaks = [
        int(
            subprocess.run(
                [sys.executable, "-c", script, str(path), str(tmp_path / path.stem)],
                cwd=root,
                check=True,
                capture_output=True,
                text=True,
            ).stdout
        )
        for path in (one, four)
    ]
    assert peaks[1] - peaks[0] < 60, f"{peaks} MiB"


def test_fit_and_hardware_are_checked(clip: Path, tmp_path: Path) -> None:
    entry = FilmEntry(name="film", files=(clip,))
    with pytest.raises(BadInput, match="no hardware decoder is called 'abacus'"):
        open_film(entry, FrameSize(64, 36), Workspace(tmp_path), hwaccel="abacus")


def test_a_workspace_that_cannot_be_written_says_so(clip: Path, tmp_path: Path) -> None:
    (tmp_path / "workspace").write_text("a file, not a folder")
    with pytest.raises(ZooError, match="cannot be written: Not a directory"):
        opened(clip, tmp_path)
