"""`zoo runs remove`: the named runs are deleted, and nothing else."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import typer

from tests.training.fake_runs import RunMaker, name_of
from zoo.base.errors import BadInput
from zoo.training.run_folder import RunFolder
from zoo.training.runs import remove_run


def test_remove_deletes_the_named_runs_and_empty_parents(zoo: Callable, maker: RunMaker) -> None:
    first, second = maker.run(seed=0), maker.run(seed=1)
    alone = maker.run(film="carphone", scores={"psnr": {"seen": 30.0}})
    result = zoo("runs", "remove", first.path, "carphone/ae", alone.path.name, "--yes")
    assert result.code == 0, result.err
    assert result.out.count("is removed") == 2
    assert list(maker.found) == [name_of(second)]
    assert not (maker.workspace.runs / "carphone").exists()
    assert zoo("runs", "remove", second.path, "--yes").code == 0
    assert list(maker.workspace.runs.iterdir()) == []


def test_a_damaged_run_can_be_removed(zoo: Callable, maker: RunMaker) -> None:
    folder = maker.run()
    folder.file.unlink()
    (folder.path / ".lock").unlink()
    assert zoo("runs", "remove", "bikes/ae", "-y").code == 0
    assert not folder.path.exists()


def test_a_run_in_training_is_not_removed_nor_are_others(
    zoo: Callable, maker: RunMaker, hold_lock: Callable[[RunFolder], None]
) -> None:
    idle, busy = maker.run(model="idle"), maker.run(model="busy", state="training")
    hold_lock(busy)
    result = zoo("runs", "remove", "bikes/idle", "bikes/busy", "--yes")
    assert result.code == 2
    assert "busy" in result.err and "is being trained" in result.err
    assert idle.weights.parent.exists() and busy.file.exists() and idle.file.exists()
    # One that began between the look and the removal.
    with pytest.raises(BadInput, match="is being trained"):
        remove_run(maker.found[name_of(busy)], maker.workspace)
    assert busy.file.exists()


def test_links_are_not_followed(zoo: Callable, maker: RunMaker, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    folder = maker.run()
    outside.mkdir()
    kept = outside / folder.path.name
    folder.path.rename(kept)
    folder.path.symlink_to(kept)
    result = zoo("runs", "remove", "bikes/ae", "--yes")
    assert result.code == 2
    assert "is a link" in result.err
    assert (kept / "run.json").exists()

    folder.path.unlink()
    folder.path.parent.rmdir()
    folder.path.parent.symlink_to(outside)
    assert zoo("runs", "remove", "bikes/ae", "--yes").code == 2
    assert (kept / "run.json").exists()

    # A link inside a run goes; what it leads to stays.
    other = maker.run(model="other")
    (other.path / "link").symlink_to(outside)
    assert zoo("runs", "remove", "bikes/other", "--yes").code == 0
    assert not other.path.exists()
    assert (kept / "run.json").exists()


def test_runs_may_be_a_link_to_another_disk(zoo: Callable, maker: RunMaker, tmp_path: Path) -> None:
    maker.run()
    disk = tmp_path / "disk"
    maker.workspace.runs.rename(disk)
    maker.workspace.runs.symlink_to(disk)
    result = zoo("runs", "remove", "bikes/ae", "--yes")
    assert result.code == 0, result.err
    assert list(disk.iterdir()) == []


def test_without_a_terminal_or_yes_nothing_is_removed(zoo: Callable, maker: RunMaker) -> None:
    folder = maker.run()
    result = zoo("runs", "remove", "bikes/ae")
    assert result.code == 2
    assert "--yes" in result.err
    assert folder.file.exists()


@pytest.mark.parametrize("answer", [True, False])
def test_removal_follows_the_answer(
    answer: bool, zoo: Callable, maker: RunMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = maker.run()
    asked: list[Any] = []
    monkeypatch.setattr("sys.stdin.isatty", lambda: True)
    monkeypatch.setattr(typer, "confirm", lambda question: asked.append(question) or answer)
    result = zoo("runs", "remove", "bikes/ae")
    assert asked == ["Remove 1 run?"]
    assert name_of(folder) in result.out
    assert folder.path.exists() is not answer
    assert result.code == (0 if answer else 1)


def test_unknown_names_remove_nothing(zoo: Callable, maker: RunMaker, tmp_path: Path) -> None:
    folder = maker.run()
    beside = tmp_path / "mine" / "a" / "b"
    beside.mkdir(parents=True)
    for word in ("../mine/a/b", str(beside), "runs/../mine/a/b", "mine/a/b"):
        result = zoo("runs", "remove", word, "bikes/ae", "--yes")
        assert result.code == 2
        assert "no run is called" in result.err
        assert result.err.count("\n") == 1
    assert beside.exists() and folder.file.exists()
