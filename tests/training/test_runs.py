"""`zoo runs`: every run is found with its state, meant runs are found, and only those go."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
from filelock import FileLock

from zoo.base.errors import BadInput
from zoo.base.records import Environment, Record, Summary, TrainingReceived, write_json
from zoo.base.workspace import Workspace
from zoo.training.run_folder import RunFile, RunFolder, State, TrainingConfig
from zoo.training.runs import Run, choose_run, find_runs, remove_run, short_digests

ENVIRONMENT = Environment(
    device="cpu",
    device_name="Abacus",
    precision="32-true",
    memory_format="channels_last",
    threads=1,
    python="3.11",
    torch="2",
    cuda=None,
    pyav="1",
    ffmpeg="1",
    film_zoo="0.1.0",
    commit=None,
)


class Maker:
    """Writes run folders as a training would."""

    def __init__(self, root: Path) -> None:
        self.workspace = Workspace(root)

    def run(
        self,
        film: str = "bikes",
        model: str = "ae",
        seed: int = 0,
        state: State = "finished",
        scores: dict[str, dict[str, float]] | None = None,
    ) -> RunFolder:
        config = TrainingConfig(
            origin="a test 0",
            model=model,
            options={"latent": 4},
            film=film,
            film_fingerprint="f",
            size="32x32",
            budget="80frames",
            batch=8,
            seed=seed,
            precision="32-true",
        )
        folder = RunFolder.of(self.workspace, config)
        spent = TrainingReceived(frames=80, steps=10, epochs=2.0, seconds=61.4)
        folder.path.mkdir(parents=True)
        folder.write(
            RunFile(
                state=state,
                config=config,
                environment=ENVIRONMENT,
                training=spent,
            )
        )
        entry = {
            "step": 7,
            "frames": 56,
            "seconds": 43.0,
            "losses": {"autoencoder": {"pixel": 0.25}},
        }
        folder.log.write_text(json.dumps(entry) + "\n")
        (folder.path / ".lock").touch()
        if scores:
            record = Record(
                model=model,
                summary="",
                role="model",
                origin="a test 0",
                trained_on=film,
                evaluated_on=film,
                evaluation_fingerprint="f",
                seed=seed,
                options={},
                status="ok",
                scores={
                    metric: {
                        part: Summary(frames=9, mean=mean, sd=0.1, lowest=0, highest=1)
                        for part, mean in parts.items()
                    }
                    for metric, parts in scores.items()
                },  # type: ignore[arg-type]
                environment=ENVIRONMENT,
            )
            write_json(folder.evaluation(film) / "record.json", record)
        return folder

    @property
    def found(self) -> dict[str, Run]:
        return {run.name: run for run in find_runs(self.workspace)}


@pytest.fixture
def maker(workspace: Path) -> Maker:
    return Maker(workspace)


def name_of(folder: RunFolder) -> str:
    return "/".join(folder.path.parts[-3:])


def row(listed: str, *words: str) -> list[str]:
    (line,) = (line for line in listed.splitlines() if all(word in line for word in words))
    return line.split()


HOLDS = """
import sys
from filelock import FileLock
with FileLock(sys.argv[1]):
    print("held", flush=True)
    sys.stdin.readline()
"""


@pytest.fixture
def held_by_another() -> Iterator[Callable[[RunFolder], None]]:
    holders = []

    def hold(folder: RunFolder) -> None:
        words = [sys.executable, "-c", HOLDS, str(folder.path / ".lock")]
        holder = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        holders.append(holder)
        assert holder.stdout and holder.stdout.readline() == "held\n"

    yield hold
    for holder in holders:
        holder.communicate("let go\n", timeout=30)


def test_nothing_is_listed_and_nothing_made_where_there_are_no_runs(
    zoo: Callable, workspace: Path
) -> None:
    said = zoo("runs")
    assert said.code == 0
    assert "no runs here" in said.out
    assert list(workspace.iterdir()) == []


def test_the_states_of_runs(
    zoo: Callable, maker: Maker, held_by_another: Callable[[RunFolder], None]
) -> None:
    maker.run(model="finished")
    maker.run(model="interrupted", state="interrupted")
    maker.run(model="killed", state="training")
    never_locked = maker.run(model="unlocked", state="training")
    (never_locked.path / ".lock").unlink()
    held_by_another(maker.run(model="busy", state="training"))
    held_by_another(maker.run(model="resuming", state="interrupted"))
    begun = maker.run(model="begun", state="training")
    begun.file.unlink()
    held_by_another(begun)

    assert {run.model: run.standing for run in maker.found.values()} == {
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


def test_looking_at_runs_lets_go_of_their_locks(maker: Maker) -> None:
    folder = maker.run(state="training")
    assert maker.found
    with FileLock(folder.path / ".lock").acquire(blocking=False):
        pass


def test_the_score_is_held_out_lpips_where_there_is_one(zoo: Callable, maker: Maker) -> None:
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


def test_the_score_is_the_first_metric_where_there_is_no_lpips(zoo: Callable, maker: Maker) -> None:
    maker.run(scores={"psnr": {"seen": 31.0, "held_out": 22.0}, "ssim": {"held_out": 0.5}})
    listed = zoo("runs").out
    assert "psnr, held out" in listed
    assert row(listed, "bikes")[6] == "22.0"


def test_what_is_no_run_is_listed_with_the_reason(zoo: Callable, maker: Maker) -> None:
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
def test_a_folder_that_may_not_be_read_is_one_clear_row(
    zoo: Callable, maker: Maker, monkeypatch: pytest.MonkeyPatch, place: str, name: str
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
    said = zoo("runs")
    assert said.code == 0
    damaged = [line for line in said.out.splitlines() if line.startswith("damaged: ")]
    assert damaged == [f"damaged: {name}: this folder cannot be read: Permission denied"]


def test_a_damaged_record_spoils_the_score_alone(zoo: Callable, maker: Maker) -> None:
    folder = maker.run(scores={"psnr": {"held_out": 22.0}})
    (folder.evaluation("bikes") / "record.json").write_text("{}")
    assert row(zoo("runs").out, "bikes")[3:7] == ["finished", "80", "61", "damaged"]
    assert "is not a Record of this version" in zoo("runs", "show", "bikes").out


def test_show_tells_all_that_a_run_holds(zoo: Callable, maker: Maker) -> None:
    folder = maker.run(seed=3, scores={"psnr": {"seen": 31.25, "held_out": 22.5}})
    folder.weights.write_bytes(b"x" * 1234)
    said = zoo("runs", "show", folder.path.name)
    assert said.code == 0, said.err
    lines = {" ".join(line.split()) for line in said.out.splitlines()}
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
        "evaluation/bikes/record.json " + lines_with(said.out, "record.json"),
    } <= lines


def lines_with(text: str, word: str) -> str:
    """What stands after `word` in its line."""
    (line,) = (line for line in text.splitlines() if word in line)
    return " ".join(line.split(word)[1].split())


def test_a_run_is_meant_by_name_path_id_or_beginning(maker: Maker, tmp_path: Path) -> None:
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
    for word in ("nothing", "", "/", ".", "..", "runs", "../..", str(tmp_path), "/etc"):
        with pytest.raises(BadInput, match="no run is called") as caught:
            meant(word)
        assert name_of(first) in str(caught.value)
    with pytest.raises(BadInput, match="there are no runs here"):
        choose_run([], "ae", maker.workspace)


def test_digests_are_cut_no_shorter_than_tells_them_apart() -> None:
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


def test_remove_deletes_what_is_named_and_empty_folders_above_it(
    zoo: Callable, maker: Maker
) -> None:
    first, second = maker.run(seed=0), maker.run(seed=1)
    alone = maker.run(film="carphone", scores={"psnr": {"seen": 30.0}})
    said = zoo("runs", "remove", first.path, "carphone/ae", alone.path.name, "--yes")
    assert said.code == 0, said.err
    assert said.out.count("is removed") == 2
    assert list(maker.found) == [name_of(second)]
    assert not (maker.workspace.runs / "carphone").exists()
    assert zoo("runs", "remove", second.path, "--yes").code == 0
    assert list(maker.workspace.runs.iterdir()) == []


def test_a_damaged_run_can_be_removed(zoo: Callable, maker: Maker) -> None:
    folder = maker.run()
    folder.file.unlink()
    (folder.path / ".lock").unlink()
    assert zoo("runs", "remove", "bikes/ae", "-y").code == 0
    assert not folder.path.exists()


def test_a_run_that_is_trained_stays_and_so_do_the_others(
    zoo: Callable, maker: Maker, held_by_another: Callable[[RunFolder], None]
) -> None:
    idle, busy = maker.run(model="idle"), maker.run(model="busy", state="training")
    held_by_another(busy)
    said = zoo("runs", "remove", "bikes/idle", "bikes/busy", "--yes")
    assert said.code == 2
    assert "busy" in said.err and "is being trained" in said.err
    assert idle.weights.parent.exists() and busy.file.exists() and idle.file.exists()
    # One that began between the look and the removal.
    with pytest.raises(BadInput, match="is being trained"):
        remove_run(maker.found[name_of(busy)], maker.workspace)
    assert busy.file.exists()


def test_links_are_not_followed(zoo: Callable, maker: Maker, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    folder = maker.run()
    outside.mkdir()
    kept = outside / folder.path.name
    folder.path.rename(kept)
    folder.path.symlink_to(kept)
    said = zoo("runs", "remove", "bikes/ae", "--yes")
    assert said.code == 2
    assert "is a link" in said.err
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


def test_runs_may_lie_on_another_disk(zoo: Callable, maker: Maker, tmp_path: Path) -> None:
    maker.run()
    disk = tmp_path / "disk"
    maker.workspace.runs.rename(disk)
    maker.workspace.runs.symlink_to(disk)
    said = zoo("runs", "remove", "bikes/ae", "--yes")
    assert said.code == 0, said.err
    assert list(disk.iterdir()) == []


def test_without_a_terminal_and_yes_nothing_is_removed(zoo: Callable, maker: Maker) -> None:
    folder = maker.run()
    said = zoo("runs", "remove", "bikes/ae")
    assert said.code == 2
    assert "--yes" in said.err
    assert folder.file.exists()


@pytest.mark.parametrize("answer", [True, False])
def test_removal_follows_the_answer(
    answer: bool, zoo: Callable, maker: Maker, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = maker.run()
    asked: list[Any] = []
    monkeypatch.setattr("sys.stdin.isatty", lambda: True)
    monkeypatch.setattr(typer, "confirm", lambda question: asked.append(question) or answer)
    said = zoo("runs", "remove", "bikes/ae")
    assert asked == ["Remove 1 run?"]
    assert name_of(folder) in said.out
    assert folder.path.exists() is not answer
    assert said.code == (0 if answer else 1)


def test_unknown_words_remove_nothing(zoo: Callable, maker: Maker, tmp_path: Path) -> None:
    folder = maker.run()
    beside = tmp_path / "mine" / "a" / "b"
    beside.mkdir(parents=True)
    for word in ("../mine/a/b", str(beside), "runs/../mine/a/b", "mine/a/b"):
        said = zoo("runs", "remove", word, "bikes/ae", "--yes")
        assert said.code == 2
        assert "no run is called" in said.err
        assert said.err.count("\n") == 1
    assert beside.exists() and folder.file.exists()
