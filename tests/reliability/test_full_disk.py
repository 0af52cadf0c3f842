"""A full disk, a read-only disk and a file size limit: one clear line, nothing damaged."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.golden.make import settle
from tests.reliability.conftest import QUICK_SETTINGS, TINY, VERBS, one_line, succeeded
from tests.reliability.disks import disk, fill, make_read_only, why_no_disk
from tests.reliability.warm_process import WarmProcess
from tests.reliability.workspace_contents import check_whole, contents_of, differences, leftovers

GOLDEN = Path(__file__).parents[1] / "golden" / "0.1.0"
WORDS = {
    **VERBS,
    "train": ("train", "ae", "--film", "flash", *TINY, "--budget", "16frames"),
}
QUICK = ("ingest", "train", "reconstruct", "encode", "report")
"""`compare` takes longer; it is in the slow tests below."""
TOO_LARGE = {"ingest": 60_000, "train": 30_000, "reconstruct": 6_000, "encode": 6_000,
             "report": 12_000, "compare": 12_000}  # fmt: skip
"""Bytes, below the size of each verb's largest file and above its smallest."""
NO_DISK = why_no_disk()


@pytest.fixture
def prepare(workshop: Callable[..., Path]) -> Callable[..., Path]:
    """Prepare a folder for a verb."""

    def into(verb: str, place: Path) -> Path:
        if verb == "report":
            shutil.copytree(GOLDEN, place, dirs_exist_ok=True)
            settle(place)
        else:
            made = workshop(verb, f"for-{verb}")
            shutil.copytree(made, place, dirs_exist_ok=True)
        return place

    return into


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    if NO_DISK:
        pytest.skip(NO_DISK)
    with disk(tmp_path / "disk", 24) as place:
        if place is None:
            pytest.skip("mounting a disk in memory is refused here")
        yield place


def check_undamaged(place: Path) -> None:
    check_whole(place)
    assert leftovers(place) == []


@pytest.mark.parametrize("verb", QUICK)
def test_a_file_size_limit_is_one_line(
    verb: str, warm: WarmProcess, prepare: Callable, tmp_path: Path
) -> None:
    place = prepare(verb, tmp_path / "workspace")
    ended = warm.run(place, *WORDS[verb], file_size=TOO_LARGE[verb])
    assert "does not allow a file that large" in one_line(ended)
    check_undamaged(place)
    succeeded(warm.run(place, *WORDS[verb]))


@pytest.mark.parametrize("verb", QUICK)
def test_a_full_disk_is_one_line_and_the_command_completes_later(
    verb: str, warm: WarmProcess, prepare: Callable, small_disk: Path
) -> None:
    place = prepare(verb, small_disk / "workspace")
    before = contents_of(place)
    filler = fill(small_disk, leave=8192)
    said = one_line(warm.run(place, *WORDS[verb]))
    assert "the disk is full" in said or "are free" in said
    check_undamaged(place)
    after = contents_of(place)
    lost = [name for name in differences(before, after) if name.partition(":")[0] in before]
    assert [name for name in lost if not name.startswith("films.toml")] == []
    filler.unlink()
    succeeded(warm.run(place, *WORDS[verb]))
    check_undamaged(place)


@pytest.mark.parametrize("verb", QUICK)
def test_a_read_only_disk_is_one_line(
    verb: str, warm: WarmProcess, prepare: Callable, small_disk: Path
) -> None:
    place = prepare(verb, small_disk / "workspace")
    before = contents_of(place, with_times=True)
    make_read_only(small_disk)
    try:
        said = one_line(warm.run(place, *WORDS[verb]))
    finally:
        make_read_only(small_disk, False)
    assert "Read-only file system" in said
    assert differences(before, contents_of(place, with_times=True)) == []
    succeeded(warm.run(place, *WORDS[verb]))


@pytest.mark.skipif(
    not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root writes where nobody may"
)
def test_a_folder_without_write_permission_is_one_line(
    warm: WarmProcess, prepare: Callable, tmp_path: Path
) -> None:
    place = prepare("ingest", tmp_path / "workspace")
    place.chmod(0o555)
    try:
        assert "Permission denied" in one_line(warm.run(place, *VERBS["ingest"]))
    finally:
        place.chmod(0o755)


@pytest.mark.parametrize("evaluated", [True, False])
def test_finished_runs_are_usable_on_a_read_only_disk(
    warm: WarmProcess, prepare: Callable, small_disk: Path, tmp_path: Path, evaluated: bool
) -> None:
    place = prepare("encode", small_disk / "workspace")
    if evaluated:
        succeeded(warm.run(place, *VERBS["encode"]))
    make_read_only(small_disk)
    try:
        out = tmp_path / "elsewhere.zoo"
        ended = succeeded(warm.run(place, "encode", "ae", "--film", "flash", "-o", out))
        succeeded(warm.run(place, "runs"))
        succeeded(warm.run(place, "match", "flash", "flash"))
        succeeded(warm.run(place, "films", "clean", "--dry-run"))
    finally:
        make_read_only(small_disk, False)
    assert out.stat().st_size
    assert ("the latents of the film are not kept" in ended.err) is not evaluated


@pytest.mark.parametrize("verb", QUICK)
def test_paths_with_spaces_and_any_letters_work(
    verb: str, warm: WarmProcess, prepare: Callable, tmp_path: Path
) -> None:
    place = prepare(verb, tmp_path / "my films" / "Ночь é 影片 [x] %s 'q'")
    succeeded(warm.run(place, *WORDS[verb]))
    check_undamaged(place)


@pytest.mark.slow
def test_a_comparison_on_a_full_disk_with_an_odd_path(
    warm: WarmProcess, prepare: Callable, small_disk: Path
) -> None:
    place = prepare("compare", small_disk / "my films é 影片")
    filler = fill(small_disk, leave=900_000)
    said = one_line(warm.run(place, *VERBS["compare"], settings=QUICK_SETTINGS))
    assert "the disk is full" in said or "are free" in said
    check_undamaged(place)
    filler.unlink()
    succeeded(warm.run(place, *VERBS["compare"], settings=QUICK_SETTINGS))
    check_undamaged(place)
