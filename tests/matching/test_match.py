"""`zoo match`: copies of a film are found, scene by scene, and other films are not."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.conftest import Said
from tests.films.making import encode, rgb
from tests.matching.clips import coded, file_of, frames_of
from zoo.api.film_entry import FilmEntry
from zoo.matching.pdq_hashes import HashedFilm, Hashes, hash_files, pdq
from zoo.matching.scene_search import search

CPU = torch.device("cpu")
Zoo = Callable[..., Said]
CUT = 100
"""Frames that the trimmed copy lacks at its beginning: four seconds."""


@pytest.fixture(scope="module")
def copies(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """What might become of `bikes` (640x272, 25 frames per second) on its way."""
    folder = tmp_path_factory.mktemp("copies")
    frames = frames_of("bikes", 320, 136)
    kept = frames[CUT:]
    barred = np.pad(kept, ((0, 0), (22, 22), (0, 0), (0, 0)))
    fewer = kept[np.arange(len(kept)) % 5 != 4]
    return {
        "trimmed": coded(folder / "trimmed.mp4", kept),
        "barred": coded(folder / "barred.mp4", barred),
        "squeezed": coded(folder / "squeezed.mp4", frames_of("bikes", 160, 120)[CUT:]),
        "slower": coded(folder / "slower.mp4", fewer, rate=20),
        "mirrored": coded(folder / "mirrored.mp4", np.ascontiguousarray(frames[:, :, ::-1])),
        "mixed": coded(folder / "mixed.mp4", [*frames_of("bigbuckbunny", 320, 136), *frames[CUT:]]),
    }


def answer(zoo: Zoo, *words: object) -> dict[str, Any]:
    said = zoo("match", *words, "--json")
    assert (said.code, said.err) == (0, "")

    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is not JSON")

    return json.loads(said.out, parse_constant=refuse)


@pytest.mark.parametrize("copy", ["trimmed", "barred", "slower", "squeezed"])
def test_a_trimmed_copy_is_an_excerpt_and_its_scenes_are_where_they_are(
    zoo: Zoo, copies: dict[str, Path], copy: str
) -> None:
    found = answer(zoo, "bikes", copies[copy])
    assert (found["matches"], found["verdict"]) == (True, "excerpt")
    assert found["suspect_matched"] > 0.9
    whole = [scene for scene in found["scenes"] if scene["start"] >= CUT / 25]
    assert len(whole) >= 2
    for scene in whole:
        assert scene["in_place"] > 0.6
        assert scene["suspect_start"] == pytest.approx(scene["start"] - CUT / 25, abs=0.13)
        assert scene["suspect_stop"] == pytest.approx(scene["stop"] - CUT / 25, abs=0.13)
    gone = [scene for scene in found["scenes"] if scene["stop"] <= CUT / 25]
    assert gone
    assert all(scene["matched"] == 0 and scene["suspect_start"] is None for scene in gone)


def test_a_film_matches_itself_as_a_whole(zoo: Zoo) -> None:
    found = answer(zoo, "carphone", "carphone")
    assert (found["verdict"], found["matched"], found["suspect_matched"]) == ("whole", 1, 1)


@pytest.mark.parametrize("other", ["mirrored", "carphone"])
def test_another_film_and_a_mirrored_copy_do_not_match(
    zoo: Zoo, copies: dict[str, Path], other: str
) -> None:
    found = answer(zoo, "bikes", copies.get(other, other))
    assert (found["matches"], found["verdict"]) == (False, "none")
    assert found["matched"] == found["suspect_matched"] == 0


def test_a_film_among_others_is_found_by_its_scenes(zoo: Zoo, copies: dict[str, Path]) -> None:
    found = answer(zoo, "bikes", copies["mixed"])
    assert (found["matches"], found["verdict"]) == (False, "scenes")
    last = found["scenes"][-1]
    offset = (len(frames_of("bigbuckbunny", 32, 32)) - CUT) / 25
    assert last["suspect_start"] == pytest.approx(last["start"] + offset, abs=0.1)


@pytest.mark.parametrize("copy", ["trimmed", "slower"])
def test_every_fourth_frame_asked_for_gives_much_the_same_shares(
    zoo: Zoo, copies: dict[str, Path], copy: str
) -> None:
    every, fourth = (answer(zoo, "bikes", copies[copy], "--every", n) for n in (1, 4))
    assert fourth["verdict"] == "excerpt"
    assert sum(scene["asked"] for scene in fourth["scenes"]) == fourth["asked"] < 70
    for side in ("matched", "suspect_matched"):
        assert fourth[side] == pytest.approx(every[side], abs=0.06)


def test_the_table_has_time_codes_and_the_verdict(zoo: Zoo, copies: dict[str, Path]) -> None:
    said = zoo("match", "bikes", copies["trimmed"])
    assert said.code == 0
    rows = [line.split() for line in said.out.splitlines()]
    assert ["1", "00:00:00.000"] in [row[:2] for row in rows]
    # The last scene: to the end of the film, and to the end of the copy.
    last = next(row for row in rows if row[2:3] == ["00:00:10.000"])
    assert last[4] == "100%"
    assert last[6] in ("00:00:05.920", "00:00:05.960")
    assert max(map(len, said.out.splitlines()[: len(rows) - 3])) <= 80
    assert said.out.rstrip().endswith("match: the suspect is taken from the film")


def test_dark_films_cannot_be_matched(zoo: Zoo, tmp_path: Path) -> None:
    dark = coded(tmp_path / "dark.mp4", [rgb(96, 54, (9, 9, 9))] * 20)
    found = answer(zoo, "carphone", dark)
    assert (found["verdict"], found["matches"]) == ("too little", False)
    assert (found["suspect_asked"], found["suspect_matched"]) == (0, None)


@pytest.mark.parametrize(
    ("suspect", "complaint"),
    [
        ("./missing.mp4", "there is no such file"),
        ("nothing", "no film is called 'nothing'"),
        ("./text.mp4", "not a video that can be read"),
        ("bikes,carphone", "each argument must name one film"),
        (".", "zoo: "),
    ],
)
def test_bad_input_is_one_line_before_anything_is_decoded(
    zoo: Zoo, workspace: Path, monkeypatch: pytest.MonkeyPatch, suspect: str, complaint: str
) -> None:
    (workspace / "text.mp4").write_text("no film\n" * 100)
    monkeypatch.setattr("zoo.matching.pdq_hashes.hash_files", None)
    said = zoo("match", "bikes", suspect)
    assert (said.code, said.out) == (2, "")
    assert said.err.count("\n") == 1
    assert complaint in said.err


def test_every_is_one_or_more(zoo: Zoo) -> None:
    said = zoo("match", "bikes", "bikes", "--every", 0)
    assert said.code == 2
    assert "--every must be a whole number from 1" in said.err


def test_nothing_is_left_in_the_workspace(
    zoo: Zoo, workspace: Path, copies: dict[str, Path]
) -> None:
    answer(zoo, "carphone", copies["mirrored"])
    assert list(workspace.iterdir()) == []


def test_a_film_is_hashed_whole_but_for_its_bars(copies: dict[str, Path]) -> None:
    plain, barred = (
        hash_files(FilmEntry(name, (copies[name],)), CPU) for name in ("trimmed", "barred")
    )
    apart = (plain.hashes.bits != barred.hashes.bits).sum(dim=1).float()
    assert float(apart.mean()) < 20


def test_bars_that_only_the_whole_film_disproves_are_not_cut(tmp_path: Path) -> None:
    frames = frames_of("bikes", 128, 72)
    shown = frames.copy()
    shown[::10, :16] = shown[::10, -16:] = 0
    keys = {"g": "10", "keyint_min": "10", "sc_threshold": "0", "crf": "20"}
    path = encode(tmp_path / "cards.mp4", shown, options=keys)
    reported: list[str] = []
    film = hash_files(
        FilmEntry("film", (path,)), CPU, progress=lambda event: reported.append(event.message or "")
    )
    assert [message for message in reported if message] == [
        "cards.mp4: the whole film has different bars; starting again"
    ]
    assert len(film) == len(frames)
    ours = pdq(torch.from_numpy(frames).permute(0, 3, 1, 2)).bits
    apart = (film.hashes.bits != ours).sum(dim=1)
    assert int(apart[1::10].max()) < 31


def test_from_and_to_of_a_film_are_kept() -> None:
    entry = FilmEntry("part", (file_of("bikes"),), start=4.0, stop=6.0)
    part = hash_files(entry, CPU)
    assert len(part) == 50
    assert part.times[0] == pytest.approx(4.0)
    assert part.scenes[-1][1] == pytest.approx(6.0)


def made_of(bits: torch.Tensor, times: np.ndarray, scenes: tuple[tuple[float, float], ...]):
    quality = torch.full((len(bits),), 100, dtype=torch.uint8)
    return HashedFilm("film", Hashes(bits, quality), times, scenes)


def test_a_copy_that_runs_faster_is_found_in_its_place() -> None:
    bits = torch.rand(1500, 256, generator=torch.Generator().manual_seed(0)) < 0.5
    times = np.arange(1500) / 25
    film = made_of(bits, times, ((0.0, 30.0), (30.0, 60.0)))
    faster = made_of(bits, 100 + times * 24 / 25, ((0.0, 160.0),))
    found = search(film, faster)
    assert found.verdict == "whole"
    for scene in found.scenes:
        assert scene.in_place == 1
        assert scene.suspect_start == pytest.approx(100 + scene.start * 24 / 25, abs=0.05)
        assert scene.suspect_stop == pytest.approx(100 + scene.stop * 24 / 25, abs=0.05)


def test_matches_scattered_over_the_suspect_make_no_scene() -> None:
    random = torch.Generator().manual_seed(0)
    bits = torch.rand(200, 256, generator=random) < 0.5
    times = np.arange(200) / 25
    film = made_of(bits, times, ((0.0, 8.0),))
    scattered = torch.rand(20_000, 256, generator=random) < 0.5
    scattered[torch.randperm(20_000, generator=random)[:100]] = bits[:100]
    found = search(film, made_of(scattered, np.arange(20_000) / 25, ((0.0, 800.0),)))
    assert found.matched == 0.5
    assert (found.scenes[0].in_place or 0) < 0.1
    assert not found.scenes[0].found
    assert found.verdict == "none"


def test_frames_that_show_too_little_are_not_asked_for() -> None:
    bits = torch.rand(60, 256, generator=torch.Generator().manual_seed(0)) < 0.5
    times = np.arange(60) / 25
    quality = torch.tensor([100, 49, 50], dtype=torch.uint8).repeat(20)
    film = HashedFilm("film", Hashes(bits, quality), times, ((0.0, 1.2), (1.2, 2.4)))
    found = search(film, made_of(bits[:30], times[:30], ((0.0, 1.2),)))
    assert (found.asked, found.suspect_asked) == (40, 30)
    assert (found.matched, found.suspect_matched) == (0.5, pytest.approx(20 / 30))
    assert [scene.asked for scene in found.scenes] == [20, 20]
    assert [scene.in_place for scene in found.scenes] == [1, 0]
    assert found.verdict == "scenes"


@pytest.mark.parametrize("columns", [4096, 7])
def test_a_scene_that_stands_still_is_where_it_is(
    columns: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("zoo.matching.pdq_hashes.COLUMNS", columns)
    random = torch.Generator().manual_seed(0)
    before, after = (torch.rand(50, 256, generator=random) < 0.5 for _ in range(2))
    still = (torch.rand(1, 256, generator=random) < 0.5).expand(250, -1)
    bits = torch.cat([before, still, after])
    times = np.arange(len(bits)) / 25
    film = made_of(bits, times, ((0.0, 2.0), (2.0, 12.0), (12.0, 14.0)))
    found = search(film, made_of(bits, times + 7, ((7.0, 21.0),)))
    assert found.scenes[1].in_place == 1
    assert found.scenes[1].suspect_start == pytest.approx(9.0, abs=0.11)
    assert found.scenes[1].suspect_stop == pytest.approx(19.0, abs=0.11)
