"""A results folder is replaced as a whole, and nothing outside of it is touched."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from tests.report.synthetic_results import comparison, put_pictures
from zoo.base.atomic_files import sweep_below
from zoo.base.errors import BadInput, ZooError
from zoo.base.records import Results
from zoo.base.untrusted_files import read_json
from zoo.report import results_folder
from zoo.report.merge import merge
from zoo.report.results_folder import (
    check_folder,
    named,
    new_report,
    read_results,
    replace_report,
    report_files,
    write_results,
)
from zoo.report.write import write_report

PARTS = ("figures", "figures/frames", "figures/frames/beta", "series", "viewer", "videos", "merged")
"""Folders of a report that an untrusted report may have as links out of it."""

OTHERS = ("report.md", "report.html", "viewer/beta.js", "videos/beta/ae.mp4", "merged/a.png")


def contents(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file()
    }


@contextmanager
def unchanged(*folders: Path) -> Iterator[None]:
    """Fail unless all that lies in these folders is afterwards as it was before."""

    def found() -> list[tuple[list[Path], dict[str, str]]]:
        return [(sorted(folder.rglob("*")), contents(folder)) for folder in folders]

    before = found()
    yield
    assert found() == before


def put(folder: Path, text: str, *names: str) -> Results:
    """A small report, not drawn: every file that its results name holds `text`."""
    results = comparison()
    kept = results.films[0].name if "alpha" in names else "beta"
    results.films = [film for film in results.films if film.name == kept]
    results.records = [r for r in results.records if r.evaluated_on == r.trained_on == kept]
    write_results(folder / "results.json", results)
    for name in (*named(results), *OTHERS):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return results


@pytest.mark.parametrize("name", ["a\0b.webp", "x" * 300, "x/" * 3000, "circle/a.webp"])
@pytest.mark.parametrize("field", ["sheet", "series"])
def test_a_name_that_no_file_can_have_is_refused(field: str, name: str, tmp_path: Path) -> None:
    folder = tmp_path / "results"
    results = put(folder, "old")
    (folder / "circle").symlink_to("circle")
    results.films[0] = results.films[0].model_copy(update={field: name})
    write_results(folder / "results.json", results)
    for write in (lambda: write_report(results, folder), lambda: merge([folder], tmp_path / "new")):
        with pytest.raises(BadInput, match="a record names a file that cannot be read: "):
            write()
    assert (folder / "report.md").read_text() == "old" and not (tmp_path / "new").exists()


def replace(folder: Path, text: str, *names: str) -> None:
    with new_report(folder) as new:
        replace_report(new, folder, put(new, text, *names))


@pytest.fixture
def earlier(tmp_path: Path) -> Path:
    folder = tmp_path / "results"
    replace(folder, "old", "alpha")
    return folder


def test_a_new_report_replaces_the_old_one_and_no_file_of_the_user(earlier: Path) -> None:
    mine = ("notes.txt", "figures/mine.png", "videos/cut.mp4", "figures/frames/alpha/sketch.txt")
    for name in mine:
        (earlier / name).parent.mkdir(exist_ok=True)
        (earlier / name).write_text("mine")
    (earlier / "link").symlink_to("notes.txt")
    replace(earlier, "new", "beta")
    there = contents(earlier)
    beta = read_results(earlier)
    assert [film.name for film in beta.films] == ["beta"]
    assert set(there) == {*named(beta), *OTHERS, "results.json", *mine, "link"}
    assert {(earlier / name).read_text() for name in mine} == {"mine"}
    assert {(earlier / name).read_text() for name in named(beta)} == {"new"}


@pytest.mark.parametrize(
    "error", [KeyboardInterrupt(), ZooError("no latents"), OSError(28, "full")]
)
def test_a_failed_report_leaves_the_old_one_complete(earlier: Path, error: BaseException) -> None:
    with unchanged(earlier), pytest.raises(type(error)), new_report(earlier) as new:
        put(new, "new", "beta")
        raise error


def _moves(monkeypatch: pytest.MonkeyPatch, at: int, error: BaseException) -> None:
    """Have the move of the file of that number raise an error, once."""
    moves = 0
    move = Path.replace

    def counted(self: Path, target: Path) -> Path:
        nonlocal moves
        if ".ready" in self.parts:
            moves += 1
            if moves == at:
                raise error
        return move(self, target)

    monkeypatch.setattr(Path, "replace", counted)


@pytest.mark.parametrize("at", [1, 5, 9])
def test_ctrl_c_while_files_are_moved_into_place_waits_for_the_last(
    earlier: Path, monkeypatch: pytest.MonkeyPatch, at: int
) -> None:
    _moves(monkeypatch, at, KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt):
        replace(earlier, "new", "beta")
    assert {path.read_text() for path in earlier.rglob("*.png")} == {"new"}
    assert sorted(path.name for path in earlier.glob(".*")) == []


@pytest.mark.parametrize("at", [1, 5, 9])
def test_an_interrupted_replacement_is_finished_by_the_next_report(
    earlier: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at: int
) -> None:
    class Killed(BaseException):
        pass

    _moves(monkeypatch, at, Killed())
    with pytest.raises(Killed):
        replace(earlier, "new", "beta")
    with new_report(earlier):
        pass
    replace(tmp_path / "straight", "old", "alpha")
    replace(tmp_path / "straight", "new", "beta")
    assert contents(earlier) == contents(tmp_path / "straight")


def test_a_temporary_folder_of_a_killed_process_is_removed(earlier: Path) -> None:
    (earlier / ".new-1234" / "figures").mkdir(parents=True)
    replace(earlier, "new", "beta")
    assert sorted(path.name for path in earlier.glob(".*")) == []


@pytest.fixture
def victim(tmp_path: Path) -> Path:
    """What an attacker would like to have changed: files called as a report's are."""
    folder = tmp_path / "victim"
    for name in ("app.js", "beta.js", "strip-old.webp", "report.md", "beta/a.png", "000004.png"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("precious")
    return folder


def untrusted(tmp_path: Path) -> tuple[Path, Results]:
    """A results folder as somebody sends it, with the report of two films."""
    folder = tmp_path / "sent"
    results = comparison()
    put_pictures(results, folder)
    write_results(folder / "results.json", results)
    return folder, results


def linked(folder: Path, part: str, to: Path) -> None:
    """Put a link in the place of a part of a folder, whatever was there."""
    if (folder / part).exists():
        shutil.rmtree(folder / part)
    (folder / part).parent.mkdir(parents=True, exist_ok=True)
    (folder / part).symlink_to(to)


@pytest.mark.parametrize("part", PARTS)
def test_a_report_is_not_written_or_removed_through_a_link(
    tmp_path: Path, earlier: Path, victim: Path, part: str
) -> None:
    linked(earlier, part, victim)
    with unchanged(victim, earlier), pytest.raises(BadInput, match=f"{part} is a link"):
        replace(earlier, "new", "beta")
    if part.count("/") < 2:
        with pytest.raises(BadInput, match=f"{part} is a link"):
            check_folder(earlier)
    # The report of untrusted results: a link is refused where it is read, or where it is
    # written, and is nothing to a report that needs it for neither.
    folder, results = untrusted(tmp_path)
    linked(folder, part, victim)
    with unchanged(victim), suppress(BadInput):
        write_report(results, folder)


def test_a_file_named_through_a_link_is_not_removed(earlier: Path, victim: Path) -> None:
    linked(earlier, "figures/frames/alpha", victim)
    (victim / "original").mkdir()
    (victim / "original" / "000004.png").write_text("precious")
    with unchanged(victim):
        replace(earlier, "new", "beta")


@pytest.mark.parametrize("name", ["report.md", "report.html", "results.csv", "results.json"])
@pytest.mark.parametrize("link", [os.symlink, os.link])
def test_a_file_that_is_a_link_is_replaced_and_not_followed(
    earlier: Path, victim: Path, name: str, link: Callable[[Path, Path], None]
) -> None:
    (earlier / name).unlink(missing_ok=True)
    if name == "results.json":
        write_results(victim / "report.md", comparison())
    link(victim / "report.md", earlier / name)
    with unchanged(victim):
        replace(earlier, "new", "beta")
    assert not (earlier / name).is_symlink()


@pytest.mark.parametrize("name", [".ready", ".new-0000", ".tmp-0000"])
def test_temporary_folders_that_are_links_are_not_followed(
    earlier: Path, victim: Path, name: str
) -> None:
    for inside in ("new/results", "old/results"):
        (victim / inside).mkdir(parents=True)
        (victim / inside / "file").write_text("precious")
    (earlier / name).symlink_to(victim)
    with unchanged(victim):
        sweep_below(earlier)
        replace(earlier, "new", "beta")


@pytest.mark.parametrize("name", ["new", "old", ".lock"])
def test_links_in_a_temporary_folder_are_not_followed(
    earlier: Path, victim: Path, name: str
) -> None:
    (victim / "results").mkdir()
    (earlier / ".tmp-0000").mkdir()
    target = victim / "made-by-a-lock" if name == ".lock" else victim
    (earlier / ".tmp-0000" / name).symlink_to(target)
    with unchanged(victim):
        sweep_below(earlier)


@pytest.mark.parametrize("stale", ['["../victim/app.js", "/etc/hosts", 7]', "{}", "no JSON"])
def test_a_list_of_stale_files_cannot_point_outside(
    earlier: Path, victim: Path, stale: str
) -> None:
    (earlier / ".ready").mkdir()
    (earlier / ".ready" / ".stale.json").write_text(stale)
    with unchanged(victim):
        replace(earlier, "new", "beta")


def test_a_file_in_place_of_a_folder_is_refused_before_anything_changes(
    earlier: Path,
) -> None:
    (earlier / "viewer").rename(earlier.parent / "moved-away")
    (earlier / "viewer").write_text("mine")
    with unchanged(earlier), pytest.raises(BadInput, match="viewer is a file"):
        replace(earlier, "new", "beta")
    (earlier / "viewer").unlink()
    (earlier / "report.md").unlink()
    (earlier / "report.md").mkdir()
    with pytest.raises(BadInput, match=r"report.md is a folder"):
        replace(earlier, "new", "beta")


@pytest.mark.slow
def test_a_merge_over_a_merge_leaves_nothing_outside_changed(tmp_path: Path, victim: Path) -> None:
    one, _ = untrusted(tmp_path)
    into = tmp_path / "both"
    merge([one], into)
    first = contents(into)
    (into / "merged").rename(tmp_path / "merged-before")
    (into / "merged").symlink_to(victim)
    before = contents(victim)
    with pytest.raises(BadInput, match="merged is a link"):
        merge([one], into)
    (into / "merged").unlink()
    (tmp_path / "merged-before").rename(into / "merged")
    merge([one], into)
    assert contents(into) == first
    assert contents(victim) == before


def test_every_file_of_a_report_is_among_its_files(tmp_path: Path) -> None:
    folder, results = untrusted(tmp_path)
    write_report(results, folder)
    assert set(contents(folder)) <= report_files(results)
    assert read_json(folder / "results.json", Results) == results


def test_the_error_of_a_full_disk_names_the_users_folder(
    earlier: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(path: Path) -> None:
        raise OSError(28, "No space left on device", str(path))

    monkeypatch.setattr("zoo.base.atomic_files.sync", full)
    with pytest.raises(ZooError, match="the disk is full") as said:
        write_report(read_results(earlier), earlier)
    assert results_folder._NEW not in str(said.value)
