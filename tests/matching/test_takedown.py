"""The takedown score on cases whose answer is known."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from tests.films.making import encode, opened
from tests.matching.clips import frames_of
from zoo.compare.results import with_overlaps
from zoo.films.ingested_film import film_from_frames
from zoo.matching.pdq_hashes import HASHES_FILE, HashedFilm, Hashes, hash_film
from zoo.matching.takedown import own_moments, takedown

CPU = torch.device("cpu")
FPS = 10.0


def random_bits(count: int, seed: int) -> torch.Tensor:
    return torch.rand(count, 256, generator=torch.Generator().manual_seed(seed)) < 0.5


def hashed(name: str, bits: torch.Tensor, quality: list[int] | None = None) -> HashedFilm:
    levels = torch.tensor(quality or [100] * len(bits), dtype=torch.uint8)
    times = np.arange(len(bits)) / FPS
    return HashedFilm(name, Hashes(bits, levels), times, ((0.0, len(bits) / FPS),))


def flipped(bits: torch.Tensor, count: int) -> torch.Tensor:
    changed = bits.clone()
    changed[:, :count] ^= True
    return changed


def test_an_exact_reconstruction_is_known_everywhere() -> None:
    film, other = hashed("a", random_bits(40, 0)), hashed("b", random_bits(50, 1))
    score = takedown(film, film.hashes, [film, other])
    assert (score.comparable, score.reconstruction_comparable) == (40, 40)
    assert (score.matched, score.retrieved, score.found, score.precision) == (1, 1, 1, 1)
    assert score.false_matches == {"b": 0}
    assert score.film_matches


@pytest.mark.parametrize(("bits", "share"), [(31, 1.0), (32, 0.0)])
def test_the_threshold_is_31_bits(bits: int, share: float) -> None:
    film = hashed("a", random_bits(40, 0))
    drawn = Hashes(flipped(film.hashes.bits, bits), film.hashes.quality)
    score = takedown(film, drawn, [film])
    assert (score.matched, score.retrieved, score.found) == (share, share, share)
    assert score.film_matches is (share == 1)


def test_of_faint_originals_nothing_is_asked_and_faint_drawings_do_not_match() -> None:
    film = hashed("a", random_bits(4, 0), [100, 50, 49, 100])
    drawn = Hashes(film.hashes.bits, torch.tensor([100, 49, 100, 50], dtype=torch.uint8))
    score = takedown(film, drawn, [film])
    assert (score.comparable, score.reconstruction_comparable) == (3, 3)
    assert score.matched == pytest.approx(2 / 3)
    assert score.retrieved == pytest.approx(2 / 3)


def test_a_film_that_is_all_black_has_no_score() -> None:
    film = hashed("a", random_bits(4, 0), [0] * 4)
    score = takedown(film, film.hashes, [hashed("b", random_bits(4, 1))])
    assert (score.matched, score.retrieved, score.found, score.precision) == (None,) * 4
    assert not score.film_matches
    assert score.false_matches == {}


def test_another_moment_of_the_film_matches_but_is_not_retrieved() -> None:
    film = hashed("a", random_bits(40, 0))
    drawn = Hashes(film.hashes.bits.roll(20, dims=0), film.hashes.quality)
    score = takedown(film, drawn, [film])
    assert (score.matched, score.retrieved, score.found) == (0, 0, 1)
    assert score.film_matches


def test_half_a_second_away_is_the_same_moment_and_more_is_not() -> None:
    film = hashed("a", random_bits(40, 0))
    for frames, retrieved in ((5, 35 / 40), (6, 0.0)):
        drawn = Hashes(film.hashes.bits.roll(frames, dims=0), film.hashes.quality)
        assert takedown(film, drawn, [film]).retrieved == pytest.approx(retrieved)


def test_a_static_shot_is_one_moment() -> None:
    still = random_bits(1, 0).expand(30, -1).clone()
    film = hashed("a", torch.cat([random_bits(5, 1), still, random_bits(5, 2)]))
    first, last = own_moments(film)
    assert (int(first[20]), int(last[20])) == (5, 34)
    # The frames on either side of it have their half second.
    assert (int(first[37]), int(last[37])) == (32, 39)
    # The picture comes again after a break: that is another moment.
    broken = hashed("a", torch.cat([still[:10], random_bits(20, 3), still[:10]]))
    assert int(own_moments(broken)[1][4]) == 9


def test_a_frame_nearer_to_another_film_is_not_retrieved_and_costs_precision() -> None:
    film = hashed("a", random_bits(40, 0))
    drawn = Hashes(flipped(film.hashes.bits, 8), film.hashes.quality)
    nearer = hashed("b", drawn.bits[:10])
    equally = hashed("c", flipped(drawn.bits[20:30], 8))
    score = takedown(film, drawn, [nearer, film, equally, hashed("d", random_bits(9, 5))])
    assert score.matched == 1
    assert score.retrieved == pytest.approx(30 / 40)
    assert score.precision == pytest.approx(40 / 60)
    assert score.false_matches == {"b": 10 / 40, "c": 10 / 40, "d": 0}


def test_the_own_film_is_searched_though_the_catalogue_lacks_it() -> None:
    film, other = hashed("a", random_bits(40, 0)), hashed("b", random_bits(10, 1))
    assert takedown(film, film.hashes, [other]) == takedown(film, film.hashes, [film, other])


def test_frames_that_are_missing_are_refused() -> None:
    film = hashed("a", random_bits(4, 0))
    with pytest.raises(ValueError, match="3 reconstructions of 4 frames"):
        takedown(film, film.hashes[:3], [film])


def test_blurred_frames_of_a_real_film_match_less_and_less() -> None:
    frames = frames_of("bikes", 96, 54, 5)
    film = hash_film(film_from_frames(frames, fps=5, holdout=0), CPU)
    other = hash_film(film_from_frames(frames_of("carphone", 96, 54, 5), name="c", holdout=0), CPU)
    shares = []
    for shrunk in (54, 12, 4):
        floats = torch.from_numpy(frames).permute(0, 3, 1, 2).float()
        small = torch.nn.functional.interpolate(floats, (shrunk, shrunk * 16 // 9), mode="area")
        blurred = torch.nn.functional.interpolate(small, (54, 96), mode="bilinear")
        drawn = blurred.round().byte().permute(0, 2, 3, 1).numpy()
        hashes = hash_film(film_from_frames(np.ascontiguousarray(drawn), holdout=0), CPU).hashes
        shares.append(takedown(film, hashes, [film, other]).matched or 0)
    assert shares[0] == 1
    assert shares[0] > shares[1] > shares[2]


def test_hashes_are_kept_beside_the_frames(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = encode(tmp_path / "bikes.mp4", frames_of("bikes", 96, 54, 5))
    film = opened(path, tmp_path, size="96x54")
    first = hash_film(film, CPU)
    monkeypatch.setattr("zoo.matching.pdq_hashes.pdq", None)
    again = hash_film(film, CPU)
    assert torch.equal(first.hashes.bits, again.hashes.bits)
    assert torch.equal(first.hashes.quality, again.hashes.quality)
    assert again.scenes[0][0] == 0
    assert again.scenes[-1][1] == pytest.approx(len(film) / 25)
    monkeypatch.undo()
    (film.store.folder / HASHES_FILE).write_bytes(b"damaged")
    assert torch.equal(hash_film(film, CPU).hashes.bits, first.hashes.bits)


def test_films_of_a_comparison_that_share_frames_are_found() -> None:
    bikes, phone = (frames_of(clip, 96, 54)[:60] for clip in ("bikes", "carphone"))
    films = [
        film_from_frames(bikes, name="whole"),
        film_from_frames(np.concatenate([phone, bikes[20:50]]), name="mixed"),
        film_from_frames(phone[:30], name="other"),
    ]
    found = with_overlaps([film.info() for film in films], films, torch.device("cpu"))
    overlaps = {info.name: info.overlaps for info in found}
    assert overlaps["whole"] is not None and overlaps["mixed"] is not None
    assert overlaps["whole"]["mixed"] >= 0.5
    assert overlaps["whole"]["other"] == 0
    assert overlaps["mixed"]["whole"] == pytest.approx(1 / 3, abs=0.1)
    assert overlaps["other"] == {"whole": 0, "mixed": 1}
