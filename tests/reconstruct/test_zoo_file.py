"""A film encoded into a film file and decoded equals `zoo reconstruct`, to the bit."""

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

from tests.films.making import encode, texture
from tests.reconstruct.flashing_film import flashing_film
from tests.reconstruct.small_model import TIMES, film_in, reconstructed, train
from zoo.base.errors import BadInput
from zoo.base.time_code import ends_of, pack_ticks, rate_fraction, steady_ticks, unpack_ticks
from zoo.base.workspace import Workspace
from zoo.evaluation.model_summary import decoder_bytes, decoder_matrices
from zoo.reconstruct.decode_film_file import ZooFile, decoded_frames, find_decoder
from zoo.reconstruct.film_file import open_container
from zoo.reconstruct.film_file_description import LONGEST_TEXT, FilmPart
from zoo.reconstruct.video_writers import VideoWriter
from zoo.training.weight_rounding import rounded

CPU = torch.device("cpu")


def drawn(path: Path, folder: Path) -> np.ndarray:
    """All frames of a film file."""
    film = ZooFile.open(path)
    trained = find_decoder(film, Workspace(folder), CPU, lambda line: None)
    return np.array(list(decoded_frames(film, trained)))


@pytest.mark.parametrize("model", ["vae", "fsq", "pca", "broad2016"])
def test_frames_are_those_of_reconstruct_to_the_bit(
    model: str, zoo: Callable, workspace: Path
) -> None:
    """From the run here, and from the decoder in the file where there is no run."""
    film = film_in(workspace, audio=None)
    train(zoo, film, model)
    wanted = np.array(list(reconstructed(workspace, str(film), model)))
    assert zoo("encode", model, "--film", film, "-o", "bare.zoo").code == 0
    done = zoo("encode", model, "--film", film, "-o", "whole.zoo", "--with-decoder")
    assert done.code == 0, done.err
    assert np.array_equal(drawn(workspace / "bare.zoo", workspace), wanted)
    assert np.array_equal(drawn(workspace / "whole.zoo", workspace / "elsewhere"), wanted)
    assert wanted.std() > 1


@pytest.mark.parametrize("bits", [16, 8])
@pytest.mark.parametrize("model", ["vae", "pca", "vqvae"])
def test_a_decoder_of_fewer_bits_is_the_rounded_one(
    model: str, bits: int, zoo: Callable, workspace: Path
) -> None:
    """Its frames are those of the model rounded here, which are the ones that are scored."""
    film = film_in(workspace, audio=None)
    train(zoo, film, model)
    for name, words in (("whole", ()), ("small", ("--decoder-bits", bits))):
        done = zoo("encode", model, "--film", film, "-o", f"{name}.zoo", "--with-decoder", *words)
        assert done.code == 0, done.err
    opened = ZooFile.open(workspace / "whole.zoo")
    trained = find_decoder(opened, Workspace(workspace / "elsewhere"), CPU, lambda line: None)
    latent = opened.latents.dequantised(slice(0, 1))
    matrices = decoder_matrices(trained.model, latent)
    with rounded(trained.model, matrices, bits):
        wanted = np.array(list(decoded_frames(opened, trained)))
    found = drawn(workspace / "small.zoo", workspace / "elsewhere")
    assert np.array_equal(found, wanted)
    whole = np.array(list(decoded_frames(opened, trained)))
    # They are others, by little.
    apart = np.abs(found.astype(float) - whole)
    assert apart.mean() < (0.05 if bits == 16 else 4) and (bits == 16 or apart.any())
    said = {
        name: json.loads(zoo("info", f"{name}.zoo", "--json").out) for name in ("whole", "small")
    }
    assert (said["whole"]["decoder_bits"], said["small"]["decoder_bits"]) == (32, bits)
    assert said["small"]["decoder_bytes"] == decoder_bytes(trained.model, latent, bits, matrices)
    assert said["small"]["decoder_bytes"] < said["whole"]["decoder_bytes"]
    assert f"inside, {bits} bits per weight" in zoo("info", "small.zoo").out


def test_bits_of_a_decoder_that_is_not_inside_are_refused(zoo: Callable, workspace: Path) -> None:
    for words, said in (
        (("--decoder-bits", "8"), "add --with-decoder"),
        (("--with-decoder", "--decoder-bits", "4"), "32, 16 or 8 bits"),
    ):
        done = zoo("encode", "vae", "--film", "bikes", *words)
        assert done.code == 2 and said in done.err and done.err.count("\n") == 1


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
    assert said["bytes_per_frame"] == said["bytes"] / 75
    assert said["seconds"] == pytest.approx(3.0)
    assert said["kilobits_per_second"] == pytest.approx(said["bytes"] * 8 / 3000)
    parts = ("header_bytes", "latent_bytes", "scale_bytes", "time_bytes", "sound_bytes")
    assert sum(said[part] for part in parts) == said["bytes"]
    # A film cannot be drawn without the decoder, so it counts wherever it is.
    zoo("encode", "vae", "--film", film, "-o", "b.zoo", "--with-decoder")
    inside = json.loads(zoo("info", "b.zoo", "--json").out)
    assert inside["bytes_with_decoder"] == inside["bytes"]
    needed = said["bytes"] + inside["decoder_bytes"]
    assert said["bytes_with_decoder"] == needed
    assert said["share_of_source"] == needed / film.stat().st_size
    assert said["share_of_raw"] == needed / (75 * 64 * 48 * 3)
    assert (said["bits"], said["numbers"], said["decoder_bytes"]) == (5, 4, None)
    shown = zoo("info", "a.zoo").out
    assert "aac, copied" in shown and "this file with its decoder is" in shown and "header" in shown


def test_fewer_bits_use_fewer_levels(zoo: Callable, workspace: Path) -> None:
    film = film_in(workspace, audio=None)
    train(zoo, film)
    zoo("encode", "vae", "--film", film, "-o", "a.zoo", "--bits", "3")
    zoo("encode", "vae", "--film", film, "-o", "b.zoo")
    few, many = (ZooFile.open(Path(name)).latents for name in ("a.zoo", "b.zoo"))
    assert few.levels.max() == 7 and many.levels.max() == 255
    apart = (few.dequantised(slice(None)) - many.dequantised(slice(None))).abs()
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
    (runs,) = Path("runs").glob("flash*")
    shutil.move(runs / "vae", runs / "elsewhere")
    done = zoo("decode", "a.zoo")
    assert done.code == 2 and "no run here has them" in done.err
    assert f"{runs.name}/vae/" in done.err
    assert not Path("a.mp4").exists()
    shutil.rmtree("runs")
    train(zoo, film, steps=7)
    assert zoo("decode", "a.zoo").code == 2
    train(zoo, film)
    assert zoo("decode", "a.zoo").code == 0


def test_a_damaged_run_does_not_keep_another_from_decoding(zoo: Callable, workspace: Path) -> None:
    film = film_in(workspace, audio=None)
    train(zoo, film)
    assert zoo("encode", "vae", "--film", film, "-o", "a.zoo").code == 0
    (run,) = Path("runs").glob("*/vae/*")
    copy = run.with_name(f"z-{run.name}")
    shutil.copytree(run, copy)
    (run / "weights.safetensors").write_bytes((run / "weights.safetensors").read_bytes()[:200])
    done = zoo("decode", "a.zoo")
    assert done.code == 0 and copy.name in done.out, done.err
    shutil.rmtree(copy)
    done = zoo("decode", "a.zoo", "--overwrite")
    assert done.code == 2 and done.err.count("\n") == 1, done.err
    assert "a.zoo needs vae" in done.err and "holds no weights" in done.err
    assert f"restore {run.relative_to('runs').as_posix()}" in done.err


def test_files_are_not_written_over(zoo: Callable, workspace: Path) -> None:
    film = film_in(workspace, audio=None)
    train(zoo, film, "mean")
    assert zoo("encode", "mean", "--film", film, "-o", "a.mp4").code == 2
    assert zoo("encode", "mean", "--film", film).code == 0
    assert zoo("encode", "mean", "--film", film).code == 2
    assert zoo("encode", "mean", "--film", film, "--overwrite").code == 0
    # A film that is named by its path has a name with a hash.
    assert len(list(Path().glob("flash*-mean.zoo"))) == 1


@pytest.mark.parametrize("rate", [Fraction(24), Fraction(24000, 1001), Fraction(18), Fraction(7)])
def test_a_constant_rate_takes_no_bytes(rate: Fraction) -> None:
    ticks = steady_ticks(1000, rate, 17)
    assert pack_ticks(ticks, rate) is None
    assert ticks[999] == 17 + round(999 * 120_000 / rate)
    assert np.array_equal(unpack_ticks(None, 1000, rate, 17), ticks)


@pytest.mark.parametrize(
    ("ticks", "seconds"),
    [([0, 4800, 9600, 1_200_000, 1_204_800], 10.08), ([2400, 7200], 0.1), ([2400], 1.02)],
)
def test_the_last_frame_is_shown_as_long_as_most(ticks: list[int], seconds: float) -> None:
    """Whatever the mean rate is; for one period of it where there is no other frame."""
    assert ends_of(np.array(ticks), Fraction(1)) == pytest.approx(seconds)


@pytest.mark.parametrize(
    "rate", [25.0, 23.976, 2397.6024, 1999.123, 49_999.7, 1 / 60, 1 / 1200.123, 1 / 40_000.777]
)
def test_any_rate_is_a_fraction_that_a_film_file_can_have(rate: float) -> None:
    found = rate_fraction(rate)
    assert float(found) == pytest.approx(rate, rel=1e-5)
    part = {"name": "a", "title": "", "licence": None, "source": "", "source_bytes": 0}
    part |= {"fingerprint": "", "frames": 2, "first_tick": 0}
    made = FilmPart.model_validate({**part, "rate": (found.numerator, found.denominator)})
    assert made.fps == found


def test_frames_that_lie_days_apart_are_refused_before_anything_is_encoded(
    zoo: Callable, workspace: Path
) -> None:
    film = flashing_film(workspace / "flash.mkv", [4], times=[*range(20), 200_000], audio=None)
    train(zoo, film, "mean")
    done = zoo("encode", "mean", "--film", film)
    assert done.code == 2 and done.err.count("\n") == 1, done.err
    assert "does not fit into a film file: its frame times must increase by less than" in done.err


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


@pytest.mark.parametrize("audio", ["aac", "ac3"])
def test_sound_that_is_announced_and_never_comes(
    audio: str, zoo: Callable, workspace: Path
) -> None:
    film = flashing_film(workspace / "a.ts", [], times=TIMES, audio=audio, sound_ends=0.0)
    train(zoo, film, "mean")
    done = zoo("encode", "mean", "--film", film, "-o", "a.zoo", "--sound")
    assert done.code == 0, done.err
    assert f"sound: left out: its {audio} is empty" in done.out
    assert open_container(workspace / "a.zoo").description.sound is None
    assert zoo("decode", "a.zoo").code == 0


def test_a_film_of_hundreds_of_files(zoo: Callable, workspace: Path) -> None:
    """Their names are longer than a text in a film file may be."""
    clip = encode(workspace / "clip.mkv", [texture(64, 48, seed=n) for n in range(2)])
    names = [f"{'long-name-of-a-clip-' * 4}{n:03d}.mkv" for n in range(150)]
    for name in names:
        shutil.copy(clip, workspace / name)
    assert sum(map(len, names)) > LONGEST_TEXT
    assert zoo("films", "add", "--as-one", "many", *names, "--crop", "none").code == 0
    train(zoo, Path("many"), "mean")
    for words in (("encode", "mean", "-o", "a.zoo"), ("reconstruct", "mean", "-o", "a.mp4")):
        done = zoo(*words, "--film", "many")
        assert done.code == 0, done.err
    source = open_container(workspace / "a.zoo").description.film.source
    assert source.startswith(names[0]) and source.endswith("more")
    with av.open("a.mp4") as container:
        assert "more). Licence" in container.metadata["comment"]


LONG = "a title, and on it goes " * 1000


@pytest.mark.parametrize(
    ("tags", "chapters"),
    [
        ({"title": LONG, "comment": LONG, "artist": LONG}, [(0, 1, LONG), (1, 3, "ü" * 12_000)]),
        ({f"tag{n}": "text" for n in range(300)} | {"x" * 300: "y"}, []),
        ({"title": "line\nbreak"}, [(n / 1000, (n + 1) / 1000, f"c{n}") for n in range(2900)]),
    ],
)
def test_tags_and_chapters_of_any_length(
    tags: dict[str, str], chapters: list[tuple], zoo: Callable, workspace: Path
) -> None:
    film = flashing_film(
        workspace / "a.mkv", [], times=TIMES, audio=None, tags=tags, chapters=chapters
    )
    train(zoo, film, "mean")
    for words in (("encode", "mean", "-o", "a.zoo"), ("reconstruct", "mean", "-o", "a.mp4")):
        done = zoo(*words, "--film", film)
        assert done.code == 0, done.err
    said = open_container(workspace / "a.zoo").description
    for name in ("title", "artist"):
        if name in tags:
            assert said.tags[name].startswith(tags[name][:10].split("\n")[0])
    assert bool(said.chapters) == bool(chapters)
    done = zoo("decode", "a.zoo", "-o", "b.mp4")
    assert done.code == 0, done.err


def test_a_description_too_long_for_the_header_is_refused_before_encoding(
    zoo: Callable, workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    film = film_in(workspace, audio=None)
    train(zoo, film)
    monkeypatch.setattr("zoo.reconstruct.film_file.LARGEST_HEADER", 2000)
    monkeypatch.setattr("zoo.reconstruct.model_loader.TrainedModel.film_latents", None)
    done = zoo("encode", "vae", "--film", film, "-o", "a.zoo")
    assert done.code == 2 and "shorten them in the source" in done.err
    assert not Path("a.zoo").exists()
