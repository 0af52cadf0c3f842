"""A full disk, a disk that is read-only, and a limit on files: one clear line, nothing damaged."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.golden.make import settle
from tests.reliability.conftest import HURRIED, TINY, VERBS, one_line, worked
from tests.reliability.mounting import disk, fill, make_read_only, why_not
from tests.reliability.outcome import check_whole, differences, outcome, strays
from tests.reliability.warm import Warm

GOLDEN = Path(__file__).parents[1] / "golden" / "0.1.0"
WORDS = {
    **VERBS,
    "train": ("train", "ae", "--film", "flash", *TINY, "--budget", "16frames"),
}
QUICK = ("ingest", "train", "reconstruct", "encode", "report")
"""`compare` takes longer; it is in the slow tests below."""
TOO_LARGE = {"ingest": 60_000, "train": 30_000, "reconstruct": 6_000, "encode": 6_000,
             "report": 12_000, "compare": 12_000}  # fmt: skip
"""Bytes: below what each verb's largest file takes, and above its smallest."""
NO_DISK = why_not()


@pytest.fixture
def furnished(workshop: Callable[..., Path]) -> Callable[..., Path]:
    """Fill a folder with what a verb needs."""

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
    assert strays(place) == []


@pytest.mark.parametrize("verb", QUICK)
def test_a_file_that_may_not_grow_is_told_in_one_line(
    verb: str, warm: Warm, furnished: Callable, tmp_path: Path
) -> None:
    place = furnished(verb, tmp_path / "workspace")
    ended = warm.run(place, *WORDS[verb], file_size=TOO_LARGE[verb])
    assert "allows no file so large" in one_line(ended)
    check_undamaged(place)
    worked(warm.run(place, *WORDS[verb]))


@pytest.mark.parametrize("verb", QUICK)
def test_a_full_disk_is_told_in_one_line_and_the_same_command_goes_on(
    verb: str, warm: Warm, furnished: Callable, small_disk: Path
) -> None:
    place = furnished(verb, small_disk / "workspace")
    before = outcome(place)
    filler = fill(small_disk, leave=8192)
    said = one_line(warm.run(place, *WORDS[verb]))
    assert "the disk is full" in said or "are free" in said
    check_undamaged(place)
    after = outcome(place)
    lost = [name for name in differences(before, after) if name.partition(":")[0] in before]
    assert [name for name in lost if not name.startswith("films.toml")] == []
    filler.unlink()
    worked(warm.run(place, *WORDS[verb]))
    check_undamaged(place)


@pytest.mark.parametrize("verb", QUICK)
def test_a_folder_that_cannot_be_written_is_told_in_one_line(
    verb: str, warm: Warm, furnished: Callable, small_disk: Path
) -> None:
    place = furnished(verb, small_disk / "workspace")
    before = outcome(place, with_times=True)
    make_read_only(small_disk)
    try:
        said = one_line(warm.run(place, *WORDS[verb]))
    finally:
        make_read_only(small_disk, False)
    assert "Read-only file system" in said
    assert differences(before, outcome(place, with_times=True)) == []
    worked(warm.run(place, *WORDS[verb]))


@pytest.mark.skipif(
    not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root writes where nobody may"
)
def test_a_folder_without_the_right_to_write_is_told_in_one_line(
    warm: Warm, furnished: Callable, tmp_path: Path
) -> None:
    place = furnished("ingest", tmp_path / "workspace")
    place.chmod(0o555)
    try:
        assert "Permission denied" in one_line(warm.run(place, *VERBS["ingest"]))
    finally:
        place.chmod(0o755)


@pytest.mark.parametrize("evaluated", [True, False])
def test_what_is_finished_is_used_where_nothing_can_be_written(
    warm: Warm, furnished: Callable, small_disk: Path, tmp_path: Path, evaluated: bool
) -> None:
    place = furnished("encode", small_disk / "workspace")
    if evaluated:
        worked(warm.run(place, *VERBS["encode"]))
    make_read_only(small_disk)
    try:
        out = tmp_path / "elsewhere.zoo"
        ended = worked(warm.run(place, "encode", "ae", "--film", "flash", "-o", out))
        worked(warm.run(place, "runs"))
        worked(warm.run(place, "match", "flash", "flash"))
        worked(warm.run(place, "films", "clean", "--dry-run"))
    finally:
        make_read_only(small_disk, False)
    assert out.stat().st_size
    assert ("the latents of the film are not kept" in ended.err) is not evaluated


@pytest.mark.parametrize("verb", QUICK)
def test_a_path_with_spaces_and_letters_of_any_alphabet(
    verb: str, warm: Warm, furnished: Callable, tmp_path: Path
) -> None:
    place = furnished(verb, tmp_path / "my films" / "Ночь é 影片 [x] %s 'q'")
    worked(warm.run(place, *WORDS[verb]))
    check_undamaged(place)


@pytest.mark.slow
def test_a_comparison_on_a_full_disk_in_a_strange_place(
    warm: Warm, furnished: Callable, small_disk: Path
) -> None:
    place = furnished("compare", small_disk / "my films é 影片")
    filler = fill(small_disk, leave=900_000)
    said = one_line(warm.run(place, *VERBS["compare"], settings=HURRIED))
    assert "the disk is full" in said or "are free" in said
    check_undamaged(place)
    filler.unlink()
    worked(warm.run(place, *VERBS["compare"], settings=HURRIED))
    check_undamaged(place)
