"""`zoo runs`: every run is listed with its state, and runs are chosen by name."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from filelock import FileLock

from tests.training.fake_runs import RunMaker, name_of, row
from zoo.base.errors import BadInput
from zoo.training.run_folder import RunFolder
from zoo.training.runs import Run, choose_run, find_runs, short_digests
from zoo.training.trained_models import load_model


def test_listing_no_runs_creates_nothing(zoo: Callable, workspace: Path) -> None:
    result = zoo("runs")
    assert result.code == 0
    assert "no runs here" in result.out
    assert list(workspace.iterdir()) == []


def test_the_states_of_runs(
    zoo: Callable, maker: RunMaker, hold_lock: Callable[[RunFolder], None]
) -> None:
    maker.run(model="finished")
    maker.run(model="interrupted", state="interrupted")
    maker.run(model="killed", state="training")
    never_locked = maker.run(model="unlocked", state="training")
    (never_locked.path / ".lock").unlink()
    hold_lock(maker.run(model="busy", state="training"))
    hold_lock(maker.run(model="resuming", state="interrupted"))
    begun = maker.run(model="begun", state="training")
    begun.file.unlink()
    hold_lock(begun)

    assert {run.model: run.status for run in maker.found.values()} == {
        "finished": "finished",
        "interrupted": "interrupted",
        "killed": "stopped",
        "unlocked": "stopped",
        "busy": "training",
        "resuming": "training",
        "begun": "training",
    }
    assert not (never_locked.path / ".lock").exists()
    listed = zoo("runs").out
    # What is finished was counted at its end; of what is under way the log knows more.
    assert row(listed, "bikes", " finished ")[3:6] == ["finished", "80", "61"]
    assert row(listed, "killed")[3:6] == ["stopped", "56", "43"]
    assert row(listed, "busy")[3:6] == ["training", "56", "43"]


def test_finding_runs_releases_their_locks(maker: RunMaker) -> None:
    folder = maker.run(state="training")
    assert maker.found
    with FileLock(folder.path / ".lock").acquire(blocking=False):
        pass


def test_the_listed_score_is_held_out_lpips(zoo: Callable, maker: RunMaker) -> None:
    maker.run(
        model="one",
        scores={
            "psnr": {"seen": 31.0, "held_out": 22.0},
            "lpips": {"seen": 0.11, "held_out": 0.34},
        },
    )
    maker.run(model="two", scores={"psnr": {"seen": 30.0, "held_out": 21.0}})
    maker.run(model="three")
    listed = zoo("runs").out
    assert "lpips, held out" in listed
    assert row(listed, "one")[6] == "0.340"
    assert row(listed, "two")[6] == "n/a"
    assert row(listed, "three")[6] == "–"


def test_without_lpips_the_listed_score_is_the_first_metric(zoo: Callable, maker: RunMaker) -> None:
    maker.run(scores={"psnr": {"seen": 31.0, "held_out": 22.0}, "ssim": {"held_out": 0.5}})
    listed = zoo("runs").out
    assert "psnr, held out" in listed
    assert row(listed, "bikes")[6] == "22.0"


def test_a_folder_that_is_no_valid_run_is_listed_with_the_reason(
    zoo: Callable, maker: RunMaker
) -> None:
    root = maker.workspace.runs
    good = maker.run()
    broken = maker.run(model="broken")
    broken.file.write_text('{"schema_version": 7')
    old = maker.run(model="old")
    old.file.write_text(old.file.read_text().replace('"schema_version": 3', '"schema_version": 9'))
    empty = maker.run(model="empty")
    empty.file.unlink()
    (empty.path / "failure.txt").write_text("why")
    bad_log = maker.run(model="badlog", state="training")
    bad_log.log.write_text("nonsense\n")
    moved = maker.run(model="moved")
    moved.path.parent.rename(root / "bikes" / "elsewhere")
    stray = maker.run(model="stray")
    stray.path.rename(root / "[bold]backup\x1b[31m")
    not_text = maker.run(model="nottext")
    not_text.file.write_bytes(b"\xff\xfe{}")
    a_folder = maker.run(model="folder")
    a_folder.file.unlink()
    a_folder.file.mkdir()
    (root / "bikes" / "notes.txt").write_text("mine")
    refused = root / "bikes" / "refused" / "64x36-8steps-seed0-0123456789"
    refused.mkdir(parents=True)
    (refused / ".lock").touch()

    problems = {name: run.problem for name, run in maker.found.items() if run.problem}
    assert name_of(good) not in problems
    assert len(problems) == 8
    assert "run.json is not a RunFile of this version" in str(problems[name_of(broken)])
    assert "with schema 9; this film-zoo" in str(problems[name_of(old)])
    assert problems[name_of(empty)] == "there is no run.json; failure.txt says why"
    assert problems[name_of(bad_log)] == "log.jsonl is damaged at its end"
    assert problems[f"bikes/elsewhere/{moved.path.name}"] == (
        f"its run.json belongs in bikes/moved/{moved.path.name}"
    )

    listed = zoo("runs")
    assert listed.code == 0, listed.err
    assert "Traceback" not in listed.out + listed.err
    assert listed.out.count("damaged: ") == 8
    assert "[bold]backup" in listed.out
    assert "\x1b" not in listed.out
    assert row(listed.out, "finished")[:2] == ["bikes", "ae"]
    shown = zoo("runs", "show", "bikes/empty")
    assert shown.code == 0
    assert "there is no run.json" in shown.out and "failure.txt" in shown.out


@pytest.mark.parametrize(
    ("place", "name"), [("", "runs"), ("bikes", "bikes"), ("bikes/ae", "bikes/ae")]
)
def test_an_unreadable_folder_is_one_row(
    zoo: Callable, maker: RunMaker, monkeypatch: pytest.MonkeyPatch, place: str, name: str
) -> None:
    maker.run()
    closed = maker.workspace.runs / place

    def below(path: Path) -> None:
        if closed in (path, *path.parents):
            raise PermissionError(13, "Permission denied", str(path))

    listed, there = Path.iterdir, Path.exists

    def iterdir(self: Path) -> Iterator[Path]:
        below(self)
        return listed(self)

    def exists(self: Path) -> bool:
        below(self.parent)
        return there(self)

    monkeypatch.setattr(Path, "iterdir", iterdir)
    monkeypatch.setattr(Path, "exists", exists)
    result = zoo("runs")
    assert result.code == 0
    damaged = [line for line in result.out.splitlines() if line.startswith("damaged: ")]
    assert damaged == [f"damaged: {name}: this folder cannot be read: Permission denied"]


def test_a_damaged_record_only_hides_the_score(zoo: Callable, maker: RunMaker) -> None:
    folder = maker.run(scores={"psnr": {"held_out": 22.0}})
    (folder.evaluation("bikes") / "record.json").write_text("{}")
    assert row(zoo("runs").out, "bikes")[3:7] == ["finished", "80", "61", "damaged"]
    assert "is not a Record of this version" in zoo("runs", "show", "bikes").out


def test_show_prints_everything_about_a_run(zoo: Callable, maker: RunMaker) -> None:
    folder = maker.run(seed=3, scores={"psnr": {"seen": 31.25, "held_out": 22.5}})
    folder.weights.write_bytes(b"x" * 1234)
    result = zoo("runs", "show", folder.path.name)
    assert result.code == 0, result.err
    lines = {" ".join(line.split()) for line in result.out.splitlines()}
    assert {
        name_of(folder),
        "state finished",
        "seed 3",
        "option latent 4",
        "device name Abacus",
        "frames 80",
        "seconds 61",
        "steps 10",
        "losses at step 7",
        "autoencoder: pixel 0.2500",
        "scores on bikes",
        "psnr, seen 31.25 (sd 0.100, 9 frames)",
        "psnr, held out 22.50 (sd 0.100, 9 frames)",
        "weights.safetensors 1.23 kB",
        "evaluation/bikes/record.json " + lines_with(result.out, "record.json"),
    } <= lines


def lines_with(text: str, word: str) -> str:
    """What stands after `word` in its line."""
    (line,) = (line for line in text.splitlines() if word in line)
    return " ".join(line.split(word)[1].split())


def test_a_run_is_chosen_by_name_path_id_or_prefix(maker: RunMaker, tmp_path: Path) -> None:
    first, second = maker.run(seed=0), maker.run(seed=1)
    other = maker.run(model="aether", seed=2)
    runs = find_runs(maker.workspace)
    short = short_digests(runs)

    def meant(word: str) -> str:
        return choose_run(runs, word, maker.workspace).name

    digest = first.path.name.rsplit("-", 1)[1]
    assert 4 <= len(short[name_of(first)]) <= len(digest)
    for word in (
        name_of(first),
        first.path.name,
        digest,
        short[name_of(first)],
        f"runs/{name_of(first)}/",
        str(first.path),
        f"./runs/../runs/{name_of(first)}",
        first.path.name[: -len(digest)],
        "bikes/ae/32x32-80frames-seed0",
    ):
        assert meant(word) == name_of(first), word
    assert meant("bikes/aether") == name_of(other)
    assert meant("bikes/aet") == name_of(other)
    (tmp_path / "link").symlink_to(tmp_path)
    assert meant(str(tmp_path / "link" / "runs" / name_of(second))) == name_of(second)

    for word in ("bikes/ae", "bikes", "runs/bikes/ae"):
        with pytest.raises(BadInput, match="may be") as caught:
            meant(word)
        assert name_of(first) in str(caught.value)
        assert name_of(second) in str(caught.value)
    for newest, older in ((first, second), (second, first)):
        for folder, seconds in ((newest, 2e9), (older, 1e9)):
            for path in folder.path.iterdir():
                os.utime(path, (seconds, seconds))
        with pytest.raises(BadInput) as caught:
            choose_run(find_runs(maker.workspace), "bikes/ae", maker.workspace)
        told = str(caught.value)
        assert told.index(f"{name_of(newest)} (2033-05-1") < told.index(name_of(older))
        assert f"{name_of(older)} (2001-09-0" in told
    for word in ("nothing", "", "/", ".", "..", "runs", "../..", str(tmp_path), "/etc"):
        with pytest.raises(BadInput, match="no run is called") as caught:
            meant(word)
        assert name_of(first) in str(caught.value)
    with pytest.raises(BadInput, match="there are no runs here"):
        choose_run([], "ae", maker.workspace)


def test_short_digests_are_unique() -> None:
    def run(name: str) -> Run:
        return Run(RunFolder(Path(name)), name, "finished")

    names = ["f/m/s-abcdef0000", "f/m/s-abcdef1111", "f/m/s-1234567890", "f/m/mine", "g/m/mine"]
    assert short_digests([run(name) for name in names]) == {
        names[0]: "abcdef0",
        names[1]: "abcdef1",
        names[2]: "1234",
        names[3]: "mine",
        names[4]: "mine",
    }


def test_weights_that_are_gone_are_named_with_what_makes_them_again(maker: RunMaker) -> None:
    run = maker.run()
    run.weights.unlink(missing_ok=True)
    description = run.read()
    assert description is not None
    with pytest.raises(BadInput, match="--overwrite`, with its options, makes the run again"):
        load_model(run, description.config, torch.device("cpu"))
