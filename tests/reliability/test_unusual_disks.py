"""Disks without `flock`, modes, links or times: everything works, or one line names the folder."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.films.making import drifting, encode, opened
from tests.reliability.lock_holder import HOLD_LOCK, start
from zoo.base.atomic_files import atomic_write, replace_folder, sweep
from zoo.base.errors import CannotWrite, ZooError
from zoo.base.locks import CannotLock, LockHeld, exclusive_lock, holder
from zoo.cli.console import check_folder, check_free
from zoo.report.results_folder import check_folder as report_folder

fcntl = pytest.importorskip("fcntl")
ROOT = Path(__file__).parents[2]
NO_FLOCK = """
import errno, fcntl, os
def flock(file, operation):
    raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))
fcntl.flock = flock
"""
LEFT = """
import os, sys
from pathlib import Path
from zoo.base.atomic_files import atomic_write
with atomic_write(Path(sys.argv[1])) as temporary:
    temporary.write_text("half")
    os._exit(9)
"""


def refusing(number: int) -> Callable[..., None]:
    def refuse(*given: object, **named: object) -> None:
        raise OSError(number, os.strerror(number))

    return refuse


@pytest.fixture
def no_flock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """This process and those that it starts have no `flock`."""
    (tmp_path / "shim").mkdir()
    (tmp_path / "shim" / "sitecustomize.py").write_text(NO_FLOCK)
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path / 'shim'}:{ROOT}:{ROOT / 'plugins'}")
    monkeypatch.setattr(fcntl, "flock", refusing(errno.ENOSYS))


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("left", [False, True])
def test_without_flock_locks_still_exclude_others(
    tmp_path: Path, no_flock: None, left: bool
) -> None:
    place = tmp_path / "place"
    place.mkdir()
    if left:  # by a process on a disk that had flock
        (place / ".lock").touch()
    process = start(HOLD_LOCK, place / ".lock")
    with (
        pytest.raises(LockHeld, match=f"by pid {process.pid} "),
        exclusive_lock(place / ".lock", "it", waiting=None),
    ):
        pass
    process.kill()
    process.communicate(timeout=30)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with exclusive_lock(place / ".lock", "it", waiting=None):
            assert ".marker.lock" in names(place)
    assert names(place) == [".lock"]
    assert holder(place / ".lock") is None


def test_without_flock_files_and_folders_are_written_atomically(
    tmp_path: Path, no_flock: None
) -> None:
    place = tmp_path / "place"
    with atomic_write(place / "a.txt") as temporary:
        temporary.write_text("a")
        sweep(place)
    code = [sys.executable, "-c", LEFT, str(place / "b.txt")]
    assert subprocess.run(code, check=False).returncode == 9
    assert len(names(place)) == 2
    sweep(place)
    assert names(place) == ["a.txt"]
    with replace_folder(place) as new:
        (new / "c.txt").write_text("c")
    assert names(place) == ["c.txt"]


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.EINVAL, errno.EIO])
def test_a_disk_that_refuses_locks_is_named_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    clip = encode(tmp_path / "clip.mp4", drifting(64, 36, 8))
    monkeypatch.setattr(fcntl, "flock", refusing(number))
    for attempt in (lambda: opened(clip, tmp_path), lambda: opened(clip, tmp_path)):
        with pytest.raises(CannotLock) as raised:
            attempt()
        said = str(raised.value)
        assert said.startswith(f"{tmp_path / 'workspace' / '.zoo' / 'films' / 'film'} is on a disk")
        assert os.strerror(number) in said and "flock" in said and "\n" not in said
    with pytest.raises(CannotLock), atomic_write(tmp_path / "a" / "b.txt"):
        pass
    assert names(tmp_path / "a") == []


COURTESIES = ["chmod", "fchmod", "lchmod", "chown", "utime", "link", "symlink", "setxattr"]


@pytest.mark.parametrize("number", [errno.EPERM, errno.ENOSYS, errno.EOPNOTSUPP])
def test_a_disk_without_modes_links_and_times_works(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    clip = encode(tmp_path / "clip.mp4", drifting(64, 36, 30))
    for name in COURTESIES:
        if hasattr(os, name):
            monkeypatch.setattr(os, name, refusing(number))
    sync = os.fsync

    def no_folders(file: int) -> None:
        if Path(f"/proc/self/fd/{file}").is_dir():
            refusing(errno.EINVAL)()
        sync(file)

    monkeypatch.setattr(os, "fsync", no_folders)
    film = opened(clip, tmp_path, holdout=0.2)
    assert len(opened(clip, tmp_path, holdout=0.1)) == 30
    with (
        exclusive_lock(film.store.folder / ".lock", "it", waiting=None),
        replace_folder(film.store.folder) as new,
    ):
        (new / "a.txt").write_text("a")
    private = tmp_path / "private"
    with atomic_write(private) as temporary:
        os.close(os.open(temporary, os.O_CREAT | os.O_WRONLY, 0o600))
    assert private.exists()


@pytest.mark.parametrize(
    "module", ["zoo.base.picture_style", "zoo.training.curves_and_progress_page"]
)
def test_an_unwritable_home_folder_is_ignored(tmp_path: Path, module: str) -> None:
    draws = (
        f"import sys, pathlib, {module}, zoo.training.curves_and_progress_page as curves\n"
        "log = pathlib.Path(sys.argv[1])\n"
        "curves.plot_curves(log, log.with_suffix('.png'))\n"
    )
    log = tmp_path / "log.jsonl"
    entry = '{"step": %d, "frames": %d, "losses": {"a": {"b": 1.0}}, "seconds": 1, "data_stall": 0}'
    log.write_text("".join(entry % (step, step) + "\n" for step in (1, 2)))
    away = {"HOME": "/dev/null/x", "XDG_CONFIG_HOME": "", "XDG_CACHE_HOME": ""}
    done = subprocess.run(
        [sys.executable, "-c", draws, str(log)],
        env={**os.environ, **away},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert log.with_suffix(".png").exists()


def test_windows_syncs_only_files_open_for_writing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sync, synced = os.fsync, []

    def commit(file: int) -> None:
        path = Path(f"/proc/self/fd/{file}").readlink()
        if not path.is_dir():
            mode = fcntl.fcntl(file, fcntl.F_GETFL) & os.O_ACCMODE
            assert mode in (os.O_RDWR, os.O_WRONLY), "EBADF on Windows"
            synced.append(path.name)
        sync(file)

    monkeypatch.setattr(os, "fsync", commit)
    with atomic_write(tmp_path / "a.txt") as temporary:
        temporary.write_text("a")
    assert synced == ["a.txt"]


@pytest.mark.parametrize("number", [errno.EIO, errno.ENOSPC])
def test_a_sync_that_loses_data_leaves_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    (tmp_path / "a.txt").write_text("old")
    monkeypatch.setattr(os, "fsync", refusing(number))
    with (
        pytest.raises(OSError, match="cannot be written"),
        atomic_write(tmp_path / "a.txt") as temporary,
    ):
        temporary.write_text("new")
    assert (tmp_path / "a.txt").read_text() == "old"


@pytest.mark.parametrize("number", [errno.EACCES, errno.EROFS, errno.EPERM])
def test_errors_name_the_target_and_not_the_temporary_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    make = os.mkdir

    def refuse(path: object, *given: Any, **named: Any) -> None:
        if Path(os.fsdecode(path)).name.startswith(".tmp-"):  # type: ignore[arg-type]
            raise OSError(number, os.strerror(number), os.fsdecode(path))  # type: ignore[arg-type]
        make(path, *given, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(os, "mkdir", refuse)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder").mkdir()
    for path in (Path("a.mp4"), tmp_path / "a.mp4"):
        with pytest.raises(CannotWrite) as raised, atomic_write(path):
            pass
        assert str(raised.value) == f"{path} cannot be written: {os.strerror(number)}"
    with pytest.raises(CannotWrite) as raised, replace_folder(tmp_path / "folder"):
        pass
    assert str(raised.value).startswith(f"{tmp_path / 'folder'} cannot be written: ")


@pytest.mark.parametrize("place", ["/proc", "/proc/self", "file/folder"])
def test_an_unwritable_output_folder_is_refused_before_any_work(
    place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").touch()
    for check in (
        lambda: check_free(Path(place, "a.mp4"), ".mp4", False),
        lambda: check_folder(Path(place, "folder"), False),
        lambda: report_folder(Path(place, "folder")),
    ):
        with pytest.raises(ZooError, match=r"(cannot|can) be written"):
            check()
    with pytest.raises(ZooError), atomic_write(Path(place, "a.mp4")):
        pass
    assert names(tmp_path) == ["file"]
