"""Locks name their holder and are released when it dies; files are written atomically."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.reliability.lock_holder import HOLD_LOCK, start
from zoo.base.atomic_files import atomic_write, replace_folder, sweep, sweep_below
from zoo.base.errors import CannotWrite, ZooError
from zoo.base.locks import LockHeld, WaitStopped, exclusive_lock, holder

WRITES = """
import sys
from pathlib import Path
from zoo.base.atomic_files import atomic_write
with atomic_write(Path(sys.argv[1])) as temporary:
    temporary.write_text("half")
    print("begun", flush=True)
    sys.stdin.readline()
"""


@pytest.fixture
def running() -> Iterator[Callable[..., subprocess.Popen[str]]]:
    started = []

    def run(code: str, *words: object) -> subprocess.Popen[str]:
        started.append(start(code, *words))
        return started[-1]

    yield run
    for process in started:
        process.kill()
        process.communicate(timeout=30)


def left_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_the_holder_of_a_lock_is_named_with_its_age(tmp_path: Path, running: Callable) -> None:
    lock = tmp_path / ".lock"
    assert holder(lock) is None
    assert left_in(tmp_path) == []
    process = running(HOLD_LOCK, lock)
    note = json.loads((tmp_path / ".owner.lock").read_text())
    note["since"] -= 150
    (tmp_path / ".owner.lock").write_text(json.dumps(note))
    said = holder(lock)
    assert said == f"pid {process.pid} on {note['host']} ({note['user']}) for 2 min"
    with (
        pytest.raises(LockHeld, match=f"the thing is in use by pid {process.pid} on .* for 2 min"),
        exclusive_lock(lock, "the thing", waiting=None),
    ):
        pass
    process.communicate("let go\n", timeout=30)
    assert holder(lock) is None
    assert left_in(tmp_path) == [".lock"]


def test_a_lock_is_waited_for_and_taken_when_its_holder_is_killed(
    tmp_path: Path, running: Callable
) -> None:
    lock, lines = tmp_path / "film.lock", []
    process = running(HOLD_LOCK, lock)

    def on_waiting(line: str) -> None:
        lines.append(line)
        os.kill(process.pid, signal.SIGKILL)

    with exclusive_lock(lock, "the frames of x", waiting=on_waiting):
        assert str(os.getpid()) in (tmp_path / "film.owner.lock").read_text()
    assert len(lines) == 1
    assert lines[0].startswith(f"waiting for the frames of x, held by pid {process.pid} on ")
    assert left_in(tmp_path) == ["film.lock"]


def test_waiting_for_a_lock_can_be_stopped(tmp_path: Path, running: Callable) -> None:
    running(HOLD_LOCK, tmp_path / ".lock")
    with (
        pytest.raises(WaitStopped, match="stopped while waiting for it, held by pid"),
        exclusive_lock(tmp_path / ".lock", "it", waiting=lambda line: None, stop=lambda: True),
    ):
        pass


@pytest.mark.parametrize(
    "note", ["", "{", '{"pid": 1, "host": "a\\u001b[31m", "user": "u", "since": 0}', "x" * 100_000]
)
def test_an_invalid_owner_note_is_not_printed(tmp_path: Path, running: Callable, note: str) -> None:
    running(HOLD_LOCK, tmp_path / ".lock")
    (tmp_path / ".owner.lock").write_text(note)
    assert holder(tmp_path / ".lock") == "another process"


def test_a_killed_writer_leaves_the_old_file_and_its_temporary_file_is_removed(
    tmp_path: Path, running: Callable
) -> None:
    path = tmp_path / "record.json"
    path.write_text("old")
    process = running(WRITES, path)
    sweep(tmp_path)
    assert len(left_in(tmp_path)) == 2, "a process that is still writing is left alone"
    process.kill()
    process.wait(timeout=30)
    assert path.read_text() == "old"
    assert len(left_in(tmp_path)) == 2
    with atomic_write(path) as temporary:
        temporary.write_text("new")
    assert left_in(tmp_path) == ["record.json"]
    assert path.read_text() == "new"


def filled(folder: Path, text: str) -> Path:
    (folder / "deep").mkdir(parents=True)
    (folder / "deep" / "a.txt").write_text(text)
    return folder


def test_a_folder_is_replaced_as_a_whole(tmp_path: Path) -> None:
    place = tmp_path / "results"
    with replace_folder(place) as new:
        filled(new, "first")
        assert not place.exists()
    (place / "stale.txt").write_text("of the first")
    with replace_folder(place) as new:
        filled(new, "second")
        assert (place / "deep" / "a.txt").read_text() == "first"
        assert (place / "stale.txt").exists()
    assert (place / "deep" / "a.txt").read_text() == "second"
    assert left_in(place) == ["deep"]
    assert left_in(tmp_path) == ["results"]


def test_the_old_folder_stays_if_writing_the_new_one_fails(tmp_path: Path) -> None:
    place = filled(tmp_path / "results", "old")
    with pytest.raises(ArithmeticError), replace_folder(place) as new:
        filled(new, "new")
        raise ArithmeticError
    assert (place / "deep" / "a.txt").read_text() == "old"
    assert left_in(tmp_path) == ["results"]


DIES = """
import os, sys
from pathlib import Path
from zoo.base import atomic_files
renames = int(sys.argv[2])
rename = Path.rename
def dying(self, target):
    global renames
    if renames == 0:
        os._exit(9)
    renames -= 1
    return rename(self, target)
Path.rename = dying
with atomic_files.replace_folder(Path(sys.argv[1])) as new:
    (new / "a.txt").write_text("new")
"""


@pytest.mark.parametrize(("renames", "left"), [(0, "old"), (1, "new"), (2, "new")])
def test_a_kill_at_any_rename_leaves_the_old_folder_or_the_new(
    tmp_path: Path, renames: int, left: str
) -> None:
    place = tmp_path / "results"
    place.mkdir()
    (place / "a.txt").write_text("old")
    code = [sys.executable, "-c", DIES, str(place), str(renames)]
    assert subprocess.run(code, check=False).returncode == (9 if renames < 2 else 0)
    sweep(tmp_path)
    assert (place / "a.txt").read_text() == left
    assert left_in(tmp_path) == ["results"]


def test_the_old_folder_is_restored_if_the_new_one_cannot_be_renamed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = filled(tmp_path / "results", "old")
    rename = Path.rename

    def refusing(self: Path, target: Path) -> Path:
        if "new" in self.parts:
            raise PermissionError(13, "Permission denied", str(self))
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", refusing)
    with pytest.raises(CannotWrite), replace_folder(place) as new:
        filled(new, "new")
    assert (place / "deep" / "a.txt").read_text() == "old"
    assert left_in(tmp_path) == ["results"]


@pytest.mark.parametrize("links", [True, False])
def test_a_lock_in_a_folder_stays_held_while_the_folder_is_replaced(
    tmp_path: Path, running: Callable, monkeypatch: pytest.MonkeyPatch, links: bool
) -> None:
    place = tmp_path / "run"
    process = running(HOLD_LOCK, place / ".lock")
    if not links:

        def refused(*paths: object) -> None:
            raise PermissionError(1, "Operation not permitted")

        monkeypatch.setattr(os, "link", refused)
    with replace_folder(place) as new:
        (new / "a.txt").write_text("new")
    assert left_in(place) == [".lock", ".owner.lock", "a.txt"]
    assert str(holder(place / ".lock")).startswith(f"pid {process.pid} on ")
    process.communicate("let go\n", timeout=30)
    assert holder(place / ".lock") is None
    assert left_in(place) == [".lock", "a.txt"]


def test_a_link_to_a_folder_stays_a_link(tmp_path: Path) -> None:
    disk = filled(tmp_path / "disk" / "results", "old")
    (tmp_path / "results").symlink_to(disk)
    with replace_folder(tmp_path / "results") as new:
        filled(new, "new")
    assert (tmp_path / "results").is_symlink()
    assert (disk / "deep" / "a.txt").read_text() == "new"


def test_temporary_files_in_subfolders_are_removed_too(tmp_path: Path, running: Callable) -> None:
    place = tmp_path / "runs" / "a" / "b"
    process = running(WRITES, place / "x.json")
    process.kill()
    process.wait(timeout=30)
    assert left_in(place)
    sweep_below(tmp_path)
    assert left_in(place) == []
    sweep_below(tmp_path / "nowhere")


def test_an_error_of_the_writer_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("old")
    with pytest.raises(ArithmeticError), atomic_write(path) as temporary:
        temporary.write_text("new")
        raise ArithmeticError
    assert path.read_text() == "old"
    assert left_in(tmp_path) == ["a.txt"]


def test_errors_of_other_files_are_not_rewritten(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), atomic_write(tmp_path / "a.txt"):
        (tmp_path / "missing.txt").read_text()
    with pytest.raises(ConnectionResetError), atomic_write(tmp_path / "a.txt"):
        raise ConnectionResetError(104, "Connection reset by peer")


def test_a_folder_in_place_of_a_file_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "a.txt").mkdir()
    with (
        pytest.raises(CannotWrite, match=r"a\.txt cannot be written: Is a directory"),
        atomic_write(tmp_path / "a.txt") as temporary,
    ):
        temporary.write_text("new")
    assert left_in(tmp_path) == ["a.txt"]
    assert issubclass(CannotWrite, ZooError)


def test_many_writers_of_one_file_leave_one_whole_file(tmp_path: Path) -> None:
    code = (
        "import sys\n"
        "from pathlib import Path\n"
        "from zoo.base.atomic_files import atomic_write\n"
        "for turn in range(40):\n"
        "    with atomic_write(Path(sys.argv[1])) as temporary:\n"
        "        temporary.write_text(sys.argv[2] * 50_000)\n"
    )
    writers = [
        subprocess.Popen([sys.executable, "-c", code, str(tmp_path / "one"), letter])
        for letter in "abc"
    ]
    seen = set()
    while any(writer.poll() is None for writer in writers):
        if (tmp_path / "one").exists():
            text = (tmp_path / "one").read_text()
            seen.add((len(text), len(set(text))))
        time.sleep(0.002)
    assert [writer.returncode for writer in writers] == [0, 0, 0]
    assert seen <= {(50_000, 1)}
    assert left_in(tmp_path) == ["one"]
