"""Links in untrusted folders: nothing is written, removed or sent through one."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.reliability.conftest import QUICK_SETTINGS, VERBS, one_line, succeeded
from tests.reliability.warm_process import WarmProcess
from tests.reliability.workspace_contents import contents_of, differences
from zoo.base.atomic_files import confined, is_abandoned, remove
from zoo.base.errors import BadInput

COMPARE = VERBS["compare"]
_settings = COMPARE[COMPARE.index("ae") + 1 : COMPARE.index("--metrics")]
TRAIN = ("train", "ae", "--film", "flash", *_settings)
RUN = "runs/flash/ae/*"
STORE = ".zoo/films/flash/*/"
REFUSED = [
    ("runs/flash", TRAIN),
    ("runs/flash/ae", TRAIN),
    (RUN, (*TRAIN, "--overwrite")),
    (f"{RUN}/evaluation", ("reconstruct", "ae", "--film", "flash")),
    (f"{RUN}/evaluation/flash", ("encode", "ae", "--film", "flash")),
    (f"{RUN}/tensorboard", (*TRAIN, "--tensorboard")),
    (RUN, ("runs", "remove", "flash/ae", "--yes")),
    ("runs/flash", ("runs", "remove", "flash/ae", "--yes")),
    (".zoo/films/flash", ("films", "ingest", "flash", "--size", "128x64")),
    (".zoo/films/flash", ("films", "ingest", "flash", "--size", "32x32")),
    (STORE, ("films", "ingest", "flash", "--size", "128x64")),
    (".zoo/films/flash", ("films", "remove", "flash")),
    (".zoo/films/flash", ("films", "clean", "flash", "--all", "--yes")),
    (".zoo/costs", COMPARE),
    ("results/viewer", ("report",)),
    ("results/series", COMPARE),
]
"""A folder that is a link, and a command that would write or remove in it."""
LEFT_ALONE = [
    (f"{RUN}/evaluation", (*TRAIN, "--overwrite")),
    (f"{RUN}/evaluation/flash", ("runs", "remove", "flash/ae", "--yes")),
    (".zoo/films/flash", ("films", "clean", "--all", "--yes")),
    (STORE, ("films", "clean", "--all", "--yes")),
    (STORE, ("films", "remove", "flash")),
]
"""The same, where the command removes the link or does not use it."""
WORDS_IN_IDS = {
    *("train", "compare", "reconstruct", "encode", "report", "runs", "films", "ingest", "remove"),
    *("clean", "--overwrite", "--tensorboard", "32x32"),
}
"""Words of a command that appear in its test's id."""


def contents(folder: Path) -> dict[str, bytes | None]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() if path.is_file() else None
        for path in sorted(folder.rglob("*"))
    }


def replace_by_link(workspace: Path, pattern: str, victim: Path) -> Path:
    """Move a folder elsewhere and leave a link to it."""
    found = [path for path in workspace.glob(pattern) if path.is_dir()]
    place = found[0] if found else next(workspace.glob(str(Path(pattern).parent))) / "tensorboard"
    if found:
        place.rename(victim)
    else:
        victim.mkdir()
    (victim / ".tmp-0000").mkdir()
    (victim / ".tmp-0000" / "file").write_text("left by a process that was killed")
    (victim / "precious.js").write_text("precious")
    place.symlink_to(victim)
    return place


@dataclass(frozen=True)
class Linked:
    """A workspace in which a link stands in place of a folder, and what lies where it leads."""

    workspace: Path
    place: Path
    victim: Path
    before: dict[str, bytes | None]

    @property
    def unchanged(self) -> bool:
        """Whether the same lies where the link leads."""
        return contents(self.victim) == self.before


@pytest.fixture
def linked(request: pytest.FixtureRequest, workshop: Callable[..., Path], tmp_path: Path) -> Linked:
    """A link in place of the folder that the test's parameter names by a pattern."""
    workspace, victim = workshop("report"), tmp_path / "victim"
    place = replace_by_link(workspace, request.param, victim)
    return Linked(workspace, place, victim, contents(victim))


def id_of(value: str | tuple[str, ...]) -> str:
    words = [value] if isinstance(value, str) else [word for word in value if word in WORDS_IN_IDS]
    return " ".join(words).replace("/", ":")


@pytest.mark.parametrize(("linked", "words"), REFUSED, ids=id_of, indirect=["linked"])
def test_nothing_is_written_or_removed_through_a_link(
    warm: WarmProcess, linked: Linked, words: tuple[str, ...]
) -> None:
    said = one_line(warm.run(linked.workspace, *words, settings=QUICK_SETTINGS), code=2)
    assert f"{linked.place.relative_to(linked.workspace)} is a link" in said
    assert linked.unchanged
    assert linked.place.is_symlink()


@pytest.mark.parametrize(("linked", "words"), LEFT_ALONE, ids=id_of, indirect=["linked"])
def test_what_a_link_points_to_is_left_alone(
    warm: WarmProcess, linked: Linked, words: tuple[str, ...]
) -> None:
    succeeded(warm.run(linked.workspace, *words, settings=QUICK_SETTINGS))
    assert linked.unchanged


@pytest.mark.slow
@pytest.mark.parametrize("link", [os.symlink, os.link], ids=["symbolic", "hard"])
def test_files_that_are_links_are_replaced(
    warm: WarmProcess,
    workshop: Callable[..., Path],
    tmp_path: Path,
    link: Callable[[Path, Path], None],
) -> None:
    workspace, victim = workshop("report"), tmp_path / "victim"
    (run,) = workspace.glob(RUN)
    (workspace / "results" / "bench.json").write_text("{}")
    (run / "failure.txt").write_text("")
    (run / "checkpoint.safetensors").write_text("")
    linked = [
        path
        for folder in (run, workspace / "results", workspace / ".zoo" / "costs")
        for path in folder.rglob("*")
        if path.is_file() and not path.name.endswith(".lock")
    ]
    for path in linked:
        target = victim / path.relative_to(workspace)
        target.parent.mkdir(parents=True, exist_ok=True)
        path.rename(target)
        link(target, path)
    before = contents(victim)
    # Trains, evaluates and reports again, over the linked files.
    succeeded(warm.run(workspace, *COMPARE, "--overwrite-runs", settings=QUICK_SETTINGS))
    succeeded(warm.run(workspace, "report"))
    assert contents(victim) == before


def test_a_log_that_is_a_link_is_not_added_to(
    warm: WarmProcess, workshop: Callable[..., Path], tmp_path: Path
) -> None:
    workspace = workshop("report")
    (run,) = workspace.glob(RUN)
    description = run / "run.json"
    description.write_text(description.read_text().replace('"finished"', '"interrupted"'))
    (tmp_path / "victim").write_bytes((run / "log.jsonl").read_bytes())
    (run / "log.jsonl").unlink()
    (run / "log.jsonl").symlink_to(tmp_path / "victim")
    before = (tmp_path / "victim").read_bytes()
    succeeded(warm.run(workspace, *TRAIN, settings=QUICK_SETTINGS))
    assert (tmp_path / "victim").read_bytes() == before
    assert (run / "log.jsonl").read_bytes().count(b"\n") > 0


@pytest.mark.parametrize("places", [("runs", ".zoo", "results"), (".zoo/films",)])
def test_top_folders_may_be_links_to_other_disks(
    warm: WarmProcess, workshop: Callable[..., Path], tmp_path: Path, places: tuple[str, ...]
) -> None:
    workspace = workshop("report")
    before = contents_of(workspace)
    for name in places:
        disk = tmp_path / "disk" / name
        disk.parent.mkdir(parents=True, exist_ok=True)
        (workspace / name).rename(disk)
        (workspace / name).symlink_to(disk)
        for made in disk.iterdir():
            remove(made)
    succeeded(warm.run(workspace, *COMPARE, settings=QUICK_SETTINGS))
    succeeded(warm.run(workspace, "report"))
    assert all((workspace / name).is_symlink() for name in places)
    for name in places:  # compared where they lie
        (workspace / name).unlink()
        (tmp_path / "disk" / name).rename(workspace / name)
    assert differences(before, contents_of(workspace)) == []


@pytest.mark.parametrize("linked", [f"{RUN}/evaluation"], ids=id_of, indirect=True)
def test_a_link_in_one_run_fails_no_other(warm: WarmProcess, linked: Linked) -> None:
    ended = warm.run(linked.workspace, *COMPARE, settings=QUICK_SETTINGS)
    assert ended.code == 1 and "evaluation is a link" in ended.out
    assert ended.out.count("failed") == 1
    assert linked.unchanged


def test_confined_refuses_links_below_the_root_only(tmp_path: Path) -> None:
    (tmp_path / "disk" / "below").mkdir(parents=True)
    top = tmp_path / "top"
    top.symlink_to(tmp_path / "disk")
    assert confined(top / "below" / "new", top) == top / "below" / "new"
    assert confined(top, top) == top
    (top / "below" / "dangling").symlink_to("nowhere")
    with pytest.raises(BadInput, match="below/dangling is a link"):
        confined(top / "below" / "dangling" / "new", top)


def test_remove_deletes_a_link_and_not_its_target(tmp_path: Path) -> None:
    (tmp_path / "victim").mkdir()
    (tmp_path / ".tmp-0").symlink_to(tmp_path / "victim")
    assert not is_abandoned(tmp_path / ".tmp-0")
    assert contents(tmp_path / "victim") == {}, "no lock is made there"
    remove(tmp_path / ".tmp-0")
    assert (tmp_path / "victim").is_dir()
    shutil.rmtree(tmp_path / "victim")
    remove(tmp_path / "victim")
