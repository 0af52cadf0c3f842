from __future__ import annotations

import itertools
import locale
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.films.making import drifting, encode, opened, rgb
from zoo.base.errors import BadInput
from zoo.films.ingested_film import Film
from zoo.films.shots_and_split import MOST_RUNS, Split, _number, find_shots, split_by_shot

LENGTHS = [20, 35, 25, 50, 30, 40]


@pytest.fixture(scope="module")
def six_shots(tmp_path_factory: pytest.TempPathFactory) -> Path:
    frames = [f for seed, length in enumerate(LENGTHS) for f in drifting(64, 36, length, seed)]
    return encode(tmp_path_factory.mktemp("six") / "six.mp4", frames)


def bounds(film: Film) -> list[int]:
    return [shot.start for shot in film.shots]


@pytest.mark.parametrize("size", ["64x36", "32x32", "256x144"])
def test_cuts_are_found_to_the_frame_at_any_size(
    six_shots: Path, tmp_path: Path, size: str
) -> None:
    film = opened(six_shots, tmp_path, size)
    assert bounds(film) == [0, *np.cumsum(LENGTHS)[:-1].tolist()]
    assert film.shots[-1].stop == len(film) == sum(LENGTHS)


def test_little_light_is_black_and_more_is_not_wherever_it_is(tmp_path: Path) -> None:
    black, speck, line = (rgb(128, 64, (0, 0, 0)) for _ in range(3))
    speck[33, 40:44] = 255
    line[33, 40:100] = 255
    after = drifting(128, 64, 20)
    for dark, shots in ((black, [0, 20]), (speck, [0, 20]), (line, [0])):
        # Lossless and dim, so that no cut scores enough to be one by itself.
        dim = [np.asarray(f // 16, dtype=np.uint8) for f in after]
        frames = dim[:10] + [dark] * 10 + dim[10:]
        clip = encode(tmp_path / f"{len(shots)}{dark.sum()}.mkv", frames, codec="ffv1")
        assert bounds(opened(clip, tmp_path, "128x64", crop="none")) == shots


def test_cuts_survive_resampling(six_shots: Path, tmp_path: Path) -> None:
    film = opened(six_shots, tmp_path, fps=12.5)
    wanted = [0, *(round(cut / 2) for cut in np.cumsum(LENGTHS)[:-1].tolist())]
    assert len(film.shots) == 6
    assert max(abs(a - b) for a, b in zip(bounds(film), wanted, strict=True)) <= 1


def test_a_cut_between_two_files_is_found(tmp_path: Path) -> None:
    one = encode(tmp_path / "1.mp4", drifting(64, 36, 20, seed=1))
    two = encode(tmp_path / "2.mp4", drifting(128, 72, 20, seed=9))
    assert bounds(opened([one, two], tmp_path)) == [0, 20]


def test_one_shot_in_two_files_stays_one_shot(tmp_path: Path) -> None:
    frames = drifting(64, 36, 40)
    one = encode(tmp_path / "1.mp4", frames[:20])
    two = encode(tmp_path / "2.mp4", frames[20:])
    assert bounds(opened([one, two], tmp_path)) == [0]


def test_a_flash_is_no_cut(tmp_path: Path) -> None:
    frames = drifting(64, 36, 40)
    frames[20] = rgb(64, 36, (255, 255, 255))
    shots = opened(encode(tmp_path / "clip.mp4", frames), tmp_path).shots
    # The flash is scored as one change, and what follows at once is none of its own.
    assert len(shots) <= 2


def test_a_fade_through_black_is_a_cut(tmp_path: Path) -> None:
    first = drifting(64, 36, 40, 1)
    out = [(f * (1 - i / 20)).astype(np.uint8) for i, f in enumerate(first[20:])]
    black = [rgb(64, 36, (0, 0, 0))] * 6
    into = [(f * (i / 20)).astype(np.uint8) for i, f in enumerate(drifting(64, 36, 20, 2))]
    clip = encode(tmp_path / "clip.mp4", [*first[:20], *out, *black, *into])
    found = bounds(opened(clip, tmp_path, crop="none"))
    assert len(found) == 2
    assert 44 <= found[1] <= 50


def test_black_at_the_beginning_is_no_shot() -> None:
    black = np.zeros(100, dtype=bool)
    black[:20] = True
    assert find_shots(np.zeros(100, np.float32), black, 25) == [(0, 100)]


@given(st.lists(st.floats(0, 100, width=32), min_size=1, max_size=300), st.randoms())
def test_shots_cover_every_frame_once(scores: list[float], chance: object) -> None:
    black = np.array([chance.random() < 0.3 for _ in scores])  # type: ignore[attr-defined]
    shots = find_shots(np.array(scores, np.float32), black, 24)
    assert shots[0][0] == 0 and shots[-1][1] == len(scores)
    assert all(a[1] == b[0] for a, b in itertools.pairwise(shots))
    assert all(stop - start >= 6 for start, stop in shots) or len(shots) == 1


@given(
    st.lists(st.integers(6, 400), min_size=1, max_size=120),
    st.sampled_from([0.05, 0.1, 0.2, 0.3]),
    st.sampled_from([12.0, 24.0, 60.0]),
)
def test_seen_and_held_out_never_touch(lengths: list[int], holdout: float, fps: float) -> None:
    edges = np.cumsum([0, *lengths]).tolist()
    shots = list(itertools.pairwise(edges))
    frames = edges[-1]
    try:
        split = split_by_shot(shots, frames, fps, holdout)
    except BadInput:
        assert frames < 40
        return
    seen, held = set(split.seen.tolist()), set(split.held_out.tolist())
    assert seen and held and not seen & held
    assert split.gap >= 1
    for frame in held:
        assert not seen & set(range(frame - split.gap, frame + split.gap + 1))


def test_about_a_tenth_is_held_out_as_whole_shots_spread_over_the_film() -> None:
    lengths = np.random.default_rng(0).integers(30, 200, 150)
    edges = np.cumsum([0, *lengths]).tolist()
    shots = list(itertools.pairwise(edges))
    split = split_by_shot(shots, edges[-1], 24, 0.1)
    assert len(split.held_out) / edges[-1] == pytest.approx(0.1, abs=0.02)
    assert all(run in shots for run in split.held_out_runs)
    starts = np.array([run[0] for run in split.held_out_runs]) / edges[-1]
    assert len(starts) >= 10
    assert np.diff(starts).max() < 0.2 and starts[0] < 0.15 and starts[-1] > 0.85
    assert split.gap == 12


def test_one_shot_gives_a_block_with_gaps() -> None:
    split = split_by_shot([(0, 1000)], 1000, 25, 0.1)
    assert split.held_out_runs == [(450, 550)]
    assert len(split.seen) == 1000 - 100 - 2 * split.gap


def test_holdout_zero_trains_on_everything() -> None:
    split = split_by_shot([(0, 50), (50, 90)], 90, 25, 0)
    assert split.seen.tolist() == list(range(90)) and len(split.held_out) == 0


@pytest.mark.parametrize("holdout", [-0.1, 0.6, float("nan")])
def test_a_wrong_share_is_refused(holdout: float) -> None:
    with pytest.raises(BadInput, match="from 0 to 0"):
        split_by_shot([(0, 100)], 100, 25, holdout)


@pytest.mark.parametrize(
    ("lengths", "holdout", "said"),
    [
        ([3], 0.1, r"0.1 of 3 frames in one shot leaves 0 to train on \(1 held out, 2 in gaps"),
        ([2], 0.5, "in one shot leaves 0"),
        ([1, 1, 1], 0.5, "in 3 shots leaves 0"),
    ],
)
def test_a_split_that_leaves_nothing_is_refused_with_the_numbers(
    lengths: list[int], holdout: float, said: str
) -> None:
    with pytest.raises(BadInput, match=f"{said}.*--holdout 0"):
        split_of(lengths, holdout)


def split_of(lengths: Sequence[int], holdout: float, fps: float = 24) -> Split:
    edges = np.cumsum([0, *lengths]).tolist()
    return split_by_shot(list(itertools.pairwise(edges)), edges[-1], fps, holdout)


@pytest.mark.parametrize("holdout", [0.05, 0.1, 0.3, 0.5])
@pytest.mark.parametrize(
    "lengths",
    [[6] * 240, [12] * 20, [6] * 1000, [90] * 1500, [50] * 3, [200], [7, 300] * 40],
    ids=lambda lengths: f"{len(lengths)} shots",
)
def test_however_a_film_is_cut_the_shares_are_what_was_asked_for(
    lengths: list[int], holdout: float
) -> None:
    split = split_of(lengths, holdout)
    frames = sum(lengths)
    seen, held = len(split.seen) / frames, len(split.held_out) / frames
    assert held == pytest.approx(holdout, abs=0.05)
    assert seen > 1 - held - 0.105 - 1 / frames
    assert len(split.held_out_runs) <= MOST_RUNS


def test_in_a_film_of_many_shots_several_in_a_row_are_held_out() -> None:
    lengths = (6 + np.random.default_rng(1).exponential(80, 1500)).astype(int).tolist()
    split = split_of(lengths, 0.1)
    edges = set(np.cumsum([0, *lengths]).tolist())
    assert len(split.held_out) / sum(lengths) == pytest.approx(0.1, abs=0.01)
    assert len(split.held_out_runs) == MOST_RUNS
    assert all(start in edges and stop in edges for start, stop in split.held_out_runs)


def test_the_split_is_kept_and_is_part_of_what_the_film_is(six_shots: Path, tmp_path: Path) -> None:
    tenth = opened(six_shots, tmp_path, holdout=0.1)
    again = opened(six_shots, tmp_path, holdout=0.1)
    fifth = opened(six_shots, tmp_path, holdout=0.2)
    elsewhere = opened(six_shots, tmp_path / "elsewhere", holdout=0.1)
    assert tenth.split == again.split and tenth.fingerprint == again.fingerprint
    assert tenth.fingerprint == elsewhere.fingerprint
    assert fifth.fingerprint != tenth.fingerprint
    assert fifth.store.folder == tenth.store.folder
    assert set(fifth.store.manifest.splits) == {"0.1", "0.2"}
    info = tenth.info()
    assert info.seen_frames == len(tenth.split.seen) and info.shots == 6
    assert info.held_out == tenth.split.held_out_runs


@pytest.fixture
def comma() -> Iterator[None]:
    """A process whose C library writes a comma before decimals, as a plugin may set it."""
    before = locale.setlocale(locale.LC_ALL)
    try:
        locale.setlocale(locale.LC_ALL, "de_DE.UTF-8")
    except locale.Error:
        pytest.skip("there is no German locale here")
    yield
    locale.setlocale(locale.LC_ALL, before)


def test_cuts_are_found_where_decimals_have_a_comma(
    six_shots: Path, tmp_path: Path, comma: None
) -> None:
    assert bounds(opened(six_shots, tmp_path)) == [0, *np.cumsum(LENGTHS)[:-1].tolist()]


def test_a_score_is_read_with_either_decimal_sign() -> None:
    assert _number("12,375") == _number("12.375") == 12.375
