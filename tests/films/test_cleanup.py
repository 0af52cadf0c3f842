"""Decoded frames are listed and freed, and never under a process that uses or makes them."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.films.making import drifting, encode, opened
from zoo.api.film_entry import FilmEntry
from zoo.base.frame_size import FrameSize
from zoo.base.locks import LockHeld
from zoo.base.workspace import Workspace
from zoo.films.catalogue import Catalogue
from zoo.films.cleanup import StoredFrames, check_not_in_use, find_stored_frames, remove_stores
from zoo.films.ingest import open_film
from zoo.films.ingested_film import Film

ROOT = Path(__file__).parents[2]
USES = """
import sys
from pathlib import Path
from tests.films.making import opened
from zoo.films import pipeline
film = None
def wait(event):
    if sys.argv[3] == "makes" and event.frames > 30:
        print("ready", flush=True)
        sys.stdin.readline()
pipeline._PROGRESS_SECONDS = 0.0
film = opened(Path(sys.argv[1]), Path(sys.argv[2]), progress=wait)
print("ready", flush=True)
sys.stdin.readline()
assert film.frames[59].any() and film.frame_seconds.size == 60
"""


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return encode(tmp_path_factory.mktemp("clip") / "clip.mp4", drifting(96, 54, 60))


@pytest.fixture
def catalogue(clip: Path, tmp_path: Path) -> Catalogue:
    """A workspace with one film, `film`, of its own file."""
    (tmp_path / "workspace").mkdir()
    own = shutil.copy(clip, tmp_path / "own.mp4")
    catalogue = Catalogue.open(Workspace(tmp_path / "workspace"))
    catalogue.add("film", [Path(own)])
    return catalogue


def ingested(catalogue: Catalogue, size: str = "64x36", **given: object) -> Film:
    entry = catalogue.film("film")
    return open_film(entry, FrameSize.parse(size), catalogue.workspace, **given)  # type: ignore[arg-type]


def using(tmp_path: Path, how: str) -> subprocess.Popen[str]:
    """Another process that uses the film, or is in the middle of making it."""
    process = subprocess.Popen(
        [sys.executable, "-c", USES, str(tmp_path / "own.mp4"), str(tmp_path), how],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout and process.stdout.readline() == "ready\n"
    return process


@pytest.fixture
def user(request: pytest.FixtureRequest, tmp_path: Path, catalogue: Catalogue) -> Iterator[str]:
    process = using(tmp_path, request.param)
    yield request.param
    if process.poll() is None:
        answers = "go\n\n"
        process.communicate(answers, timeout=60)
        assert process.returncode == 0, "it finds its frames"


def unneeded(found: list[StoredFrames]) -> list[str | None]:
    return [one.unneeded for one in found]


@pytest.mark.parametrize("user", ["uses", "makes"], indirect=True)
def test_frames_stay_while_a_process_uses_or_makes_them(user: str, catalogue: Catalogue) -> None:
    workspace = catalogue.workspace
    for attempt in (check_not_in_use, remove_stores):
        with pytest.raises(LockHeld, match="the frame store of film is in use by"):
            attempt("film", workspace)
    for one in find_stored_frames(catalogue):
        with pytest.raises(LockHeld):
            one.remove()


def test_frames_can_go_once_nobody_uses_them(tmp_path: Path, catalogue: Catalogue) -> None:
    process = using(tmp_path, "uses")
    process.kill()
    process.communicate(timeout=30)
    assert remove_stores("film", catalogue.workspace) > 60 * 64 * 36 * 3
    assert not (catalogue.workspace.stores / "film").exists()
    film = ingested(catalogue)
    with pytest.raises(LockHeld):
        remove_stores("film", catalogue.workspace)
    del film
    remove_stores("film", catalogue.workspace)
    assert not (catalogue.workspace.stores / "film").exists()


def test_frames_of_the_film_as_it_is_are_needed(catalogue: Catalogue) -> None:
    for size in ("64x36", "32x32"):
        ingested(catalogue, size)
    found = find_stored_frames(catalogue)
    assert unneeded(found) == [None] * 2
    assert sum(one.bytes for one in found) > 60 * 64 * 36 * 3


def test_frames_of_older_contents_are_not(clip: Path, tmp_path: Path, catalogue: Catalogue) -> None:
    ingested(catalogue)
    encode(tmp_path / "own.mp4", drifting(96, 54, 60, seed=4))
    ingested(catalogue)
    assert sorted(str(why) for why in unneeded(find_stored_frames(catalogue))) == [
        "None",
        "the film's files or settings have changed",
    ]
    (tmp_path / "own.mp4").unlink()
    assert unneeded(find_stored_frames(catalogue)) == [None, None], "the disk may be unplugged"


def test_frames_of_a_film_named_by_its_path_are_listed(clip: Path, catalogue: Catalogue) -> None:
    entry = FilmEntry(name="by-path", files=(clip,))
    open_film(entry, FrameSize.parse("64x36"), catalogue.workspace)
    (one,) = find_stored_frames(catalogue, ["by-path"])
    assert one.unneeded == "no film in the catalogue has this name"
    one.remove()
    assert find_stored_frames(catalogue) == []


@pytest.mark.parametrize("earlier", [False, True])
def test_what_a_killed_ingest_left_is_found_whatever_is_opened_next(
    tmp_path: Path, catalogue: Catalogue, earlier: bool
) -> None:
    place = catalogue.workspace.stores / "film"
    if earlier:  # as film-zoo 0.1.0 left it
        (place / ".0123456789abcdef.x7").mkdir(parents=True)
        (place / ".0123456789abcdef.x7" / "frames.rgb").write_bytes(bytes(1000))
    else:
        process = using(tmp_path, "makes")
        assert find_stored_frames(catalogue) == []
        process.send_signal(signal.SIGKILL)
        process.communicate(timeout=30)
    (left,) = find_stored_frames(catalogue)
    assert left.unneeded == "its ingest was killed" and left.bytes >= 1000
    left.remove()
    assert find_stored_frames(catalogue) == [] and not list(place.glob(".[!.]*"))


def test_another_size_sweeps_what_a_killed_ingest_left(
    tmp_path: Path, catalogue: Catalogue
) -> None:
    process = using(tmp_path, "makes")
    process.kill()
    process.communicate(timeout=30)
    opened(tmp_path / "own.mp4", tmp_path, "32x32")
    assert [one.what for one in find_stored_frames(catalogue)] == ["60 frames at 32x32"]


def test_the_verb_lists_asks_and_frees(tmp_path: Path, catalogue: Catalogue) -> None:
    ingested(catalogue)
    encode(tmp_path / "own.mp4", drifting(96, 54, 60, seed=4))
    ingested(catalogue, "32x32")

    def said(*words: str) -> tuple[int, str]:
        done = subprocess.run(
            [sys.executable, "-m", "zoo", "films", "clean", *words],
            cwd=catalogue.workspace.root,
            env={**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'plugins'}"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        return done.returncode, done.stdout + done.stderr

    code, lines = said("--dry-run")
    assert code == 0, lines
    assert "delete   417 kB  film: 60 frames at 64x36; the film's files or settings" in lines
    assert "keep     187 kB  film: 60 frames at 32x32; needed" in lines
    assert "417 kB can be freed" in lines
    assert len(find_stored_frames(catalogue)) == 2
    code, lines = said()
    assert code == 2 and "--yes deletes without asking" in lines
    assert len(find_stored_frames(catalogue)) == 2
    assert said("--yes")[0] == 0
    assert [one.what for one in find_stored_frames(catalogue)] == ["60 frames at 32x32"]
    code, lines = said("nothing")
    assert code == 2 and "no frames of a film 'nothing' are stored here; stored: film" in lines
    assert said("film", "--all", "--yes")[0] == 0
    assert find_stored_frames(catalogue) == []
