"""A film into a film file and out again: what `zoo reconstruct` draws, to the bit."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
import torch

from tests.archive.trained import film_in, reconstructed, train
from zoo.archive.container import open_container
from zoo.archive.decode import FilmFile, eyes_of, pictures
from zoo.archive.timing import pack_ticks, steady_ticks, unpack_ticks
from zoo.errors import BadInput
from zoo.video.writer import VideoWriter
from zoo.workspace import Workspace

CPU = torch.device("cpu")


def drawn(path: Path, folder: Path) -> np.ndarray:
    """All frames of a film file."""
    film = FilmFile.open(path)
    eyes = eyes_of(film, Workspace(folder), CPU, lambda line: None)
    return np.array(list(pictures(film, eyes)))


@pytest.mark.parametrize("model", ["vae", "fsq", "pca", "broad2016"])
def test_frames_are_those_of_reconstruct_to_the_bit(
    model: str, zoo: Callable, workspace: Path
) -> None:
    """From the run here, and from the decoder in the file where there is no run."""
    film = film_in(workspace, audio=None)
    train(zoo, film, model)
    wanted = np.array(list(reconstructed(workspace, str(film))))
    assert zoo("encode", model, "--film", film, "-o", "bare.zoo").code == 0
    done = zoo("encode", model, "--film", film, "-o", "whole.zoo", "--with-decoder")
    assert done.code == 0, done.err
    assert np.array_equal(drawn(workspace / "bare.zoo", workspace), wanted)
    assert np.array_equal(drawn(workspace / "whole.zoo", workspace / "elsewhere"), wanted)
    assert wanted.std() > 1


def test_the_decoder_alone_is_inside(zoo: Callable, workspace: Path) -> None:
    film = film_in(workspace, audio=None)
    train(zoo, film, "vaegan")
    zoo("encode", "vaegan", "--film", film, "-o", "whole.zoo", "--with-decoder")
    names = open_container(workspace / "whole.zoo").decoder_names
    assert names and all(name.startswith("decoder.") for name in names)


def test_the_mp4_is_that_of_reconstruct(
    zoo: Callable, workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Pictures and times as the encoder gets them, sound, tags and chapters."""
    written: dict[Path, list[tuple]] = {}
    write = VideoWriter.write

    def spying(self: VideoWriter, pixels: np.ndarray, time: float | None = None) -> None:
        written.setdefault(now, []).append((pixels.tobytes(), round(time * 120_000)))
        write(self, pixels, time)

    monkeypatch.setattr(VideoWriter, "write", spying)
    film = film_in(workspace)
    train(zoo, film)
    now = Path("a.mp4")
    assert zoo("reconstruct", "vae", "--film", film, "-o", now).code == 0
    assert zoo("encode", "vae", "--film", film, "-o", "a.zoo", "--sound").code == 0
    now = Path("b.mp4")
    done = zoo("decode", "a.zoo", "-o", now)
    assert done.code == 0, done.err
    first, second = written.values()
    assert len(first) == 75 and first == second
    assert packets(Path("a.mp4"), "audio") == packets(Path("b.mp4"), "audio")
    with av.open("a.mp4") as one, av.open("b.mp4") as other:
        assert one.metadata == other.metadata


@pytest.mark.parametrize("audio", ["aac", "libopus", "pcm_s16le", "ac3", "libmp3lame"])
def test_sound_of_any_kind_stays_in_step(audio: str, zoo: Callable, workspace: Path) -> None:
    film = film_in(workspace, audio=audio, suffix="mkv")
    train(zoo, film, "mean")
    assert zoo("reconstruct", "mean", "--film", film, "-o", "a.mp4").code == 0
    assert zoo("encode", "mean", "--film", film, "-o", "a.zoo", "--sound").code == 0
    assert zoo("decode", "a.zoo", "-o", "b.mp4").code == 0
    assert packets(Path("a.mp4"), "audio") == packets(Path("b.mp4"), "audio")


def packets(path: Path, kind: str) -> list[tuple]:
    """Every packet of one kind: when it is shown and decoded, in seconds, and its bytes."""
    with av.open(str(path)) as container:
        return [
            (p.pts * p.time_base, p.dts * p.time_base, bytes(p))
            for p in container.demux()
            if p.stream.type == kind and p.size
        ]


def test_the_same_film_makes_the_same_bytes(zoo: Callable, workspace: Path) -> None:
    film = film_in(workspace)
    train(zoo, film)
    for name in ("a.zoo", "b.zoo"):
        words = ("--sound", "--with-decoder")
        assert zoo("encode", "vae", "--film", film, "-o", name, *words).code == 0
    assert Path("a.zoo").read_bytes() == Path("b.zoo").read_bytes()


def test_info_counts_every_byte(zoo: Callable, workspace: Path) -> None:
    film = film_in(workspace)
    train(zoo, film)
    zoo("encode", "vae", "--film", film, "-o", "a.zoo", "--sound", "--bits", "5")
    said = json.loads(zoo("info", "a.zoo", "--json").out)
    assert said["bytes"] == Path("a.zoo").stat().st_size
    assert said["bytes_a_frame"] == said["bytes"] / 75
    assert said["seconds"] == pytest.approx(3.0)
    assert said["kilobits_a_second"] == pytest.approx(said["bytes"] * 8 / 3000)
    assert said["share_of_source"] == said["bytes"] / film.stat().st_size
    assert said["share_of_raw"] == said["bytes"] / (75 * 64 * 48 * 3)
    assert (said["bits"], said["numbers"], said["decoder_bytes"]) == (5, 4, None)
    assert "aac, copied" in zoo("info", "a.zoo").out


def test_fewer_bits_use_fewer_levels(zoo: Callable, workspace: Path) -> None:
    film = film_in(workspace, audio=None)
    train(zoo, film)
    zoo("encode", "vae", "--film", film, "-o", "a.zoo", "--bits", "3")
    zoo("encode", "vae", "--film", film, "-o", "b.zoo")
    few, many = (FilmFile.open(Path(name)).latents for name in ("a.zoo", "b.zoo"))
    assert few.levels.max() == 7 and many.levels.max() == 255
    apart = (few.restored(slice(None)) - many.restored(slice(None))).abs()
    assert (apart <= 0.51 * (few.quantiser.step + many.quantiser.step)).all()


def test_codes_keep_their_bits(zoo: Callable, workspace: Path) -> None:
    film = film_in(workspace, audio=None)
    train(zoo, film, "fsq")
    done = zoo("encode", "fsq", "--film", film, "-o", "a.zoo", "--bits", "4")
    assert done.code == 2 and "codes" in done.err and not Path("a.zoo").exists()


def test_without_its_network_it_says_which_one_is_missing(zoo: Callable, workspace: Path) -> None:
    film = film_in(workspace, audio=None)
    train(zoo, film)
    zoo("encode", "vae", "--film", film, "-o", "a.zoo")
    shutil.move("runs/flash/vae", "runs/flash/elsewhere")
    done = zoo("decode", "a.zoo")
    assert done.code == 2 and "no run here has them" in done.err and "flash/vae/" in done.err
    assert not Path("a.mp4").exists()
    shutil.rmtree("runs")
    train(zoo, film, steps=7)
    assert zoo("decode", "a.zoo").code == 2
    train(zoo, film)
    assert zoo("decode", "a.zoo").code == 0


def test_files_are_not_written_over(zoo: Callable, workspace: Path) -> None:
    film = film_in(workspace, audio=None)
    train(zoo, film, "mean")
    assert zoo("encode", "mean", "--film", film, "-o", "a.mp4").code == 2
    assert zoo("encode", "mean", "--film", film).code == 0
    assert zoo("encode", "mean", "--film", film).code == 2
    assert zoo("encode", "mean", "--film", film, "--overwrite").code == 0
    assert Path("flash-mean.zoo").exists()


@pytest.mark.parametrize("rate", [Fraction(24), Fraction(24000, 1001), Fraction(18), Fraction(7)])
def test_a_constant_rate_takes_no_bytes(rate: Fraction) -> None:
    ticks = steady_ticks(1000, rate, 17)
    assert pack_ticks(ticks, rate) is None
    assert ticks[999] == 17 + round(999 * 120_000 / rate)
    assert np.array_equal(unpack_ticks(None, 1000, rate, 17), ticks)


def test_any_other_times_come_back_exactly() -> None:
    steps = np.random.default_rng(0).choice([4800, 4920, 1 << 33], 500)
    ticks = np.concatenate([[5], 5 + np.cumsum(steps)])
    packed = pack_ticks(ticks, Fraction(25))
    assert packed is not None and len(packed) < 1000
    assert np.array_equal(unpack_ticks(packed, 501, Fraction(25), 5), ticks)
    with pytest.raises(BadInput):
        unpack_ticks(packed, 502, Fraction(25), 5)
    with pytest.raises(BadInput):
        unpack_ticks(packed, 500, Fraction(25), 5)
