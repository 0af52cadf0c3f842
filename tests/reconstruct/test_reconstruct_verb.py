"""`zoo reconstruct` as a user types it."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from PIL import Image

from tests.films.making import texture
from tests.reconstruct.conftest import FLASHES, film_and_entry
from tests.reconstruct.flashing_film import seen_and_heard
from zoo.api.film_entry import FilmEntry
from zoo.base.errors import BadInput
from zoo.base.workspace import Workspace
from zoo.cli.console import check_free
from zoo.reconstruct.reconstruct_film import default_name

Verb = Callable[..., "Said"]  # noqa: F821


def frames_of(path: Path) -> np.ndarray:
    with av.open(str(path)) as container:
        return np.array([f.to_ndarray(format="rgb24") for f in container.decode(video=0)])


def test_a_film_with_its_sound_and_what_it_is(zoo: Verb, studio: Workspace) -> None:
    said = zoo("reconstruct", "ae", "--film", "first")
    assert said.code == 0, said.err
    lines = said.out.splitlines()
    # Of two runs the one that was trained on more frames.
    assert "60steps-seed0" in lines[0]
    assert lines[-1] == "wrote first-ae.mp4: 32x32, 75 frames, 00:00:03.000"
    path = studio.root / "first-ae.mp4"
    _, heard = seen_and_heard(path)
    assert heard == pytest.approx(FLASHES, abs=0.02)
    with av.open(str(path)) as container:
        assert container.metadata["title"] == "The First, reconstructed by ae"
        comment = container.metadata["comment"]
        assert "Reconstructed by ae, trained on this film, from 4 numbers per frame." in comment
        assert "first.mp4" in comment and "Licence: CC BY 3.0" in comment
        assert container.metadata["copyright"] == "CC BY 3.0"


def test_a_webp_has_the_frames_and_times_of_the_mp4(zoo: Verb, studio: Workspace) -> None:
    words = ("reconstruct", "ae", "--film", "first", "--beside", "--from", "1", "--to", "2")
    assert zoo(*words, "-o", "a.mp4", "--crf", "1").code == 0
    said = zoo(*words, "-o", "a.WebP")
    assert said.code == 0, said.err
    assert said.out.splitlines()[-2:] == [
        "sound: none: a WebP is silent",
        "wrote a.WebP: 68x46, 25 frames, 00:00:01.000",
    ]
    expected = frames_of(Path("a.mp4")).astype(float)
    with Image.open("a.WebP") as moving:
        assert moving.n_frames == len(expected) and moving.info["loop"] == 0
        for number, frame in enumerate(expected):
            moving.seek(number)
            moving.load()
            assert moving.info["timestamp"] == 40 * number
            assert np.abs(np.asarray(moving.convert("RGB")) - frame).mean() < 6


def test_a_model_of_another_film(zoo: Verb, studio: Workspace) -> None:
    refused = zoo("reconstruct", "ae", "--film", "second")
    assert refused.code == 2
    assert "there is one on first: --trained-on first uses it for second" in refused.err
    said = zoo("reconstruct", "ae", "--film", "second", "--trained-on", "first")
    assert said.code == 0, said.err
    with av.open("second-ae-first.mp4") as container:
        assert "Reconstructed by ae, trained on first, from 4" in container.metadata["comment"]
        assert "Licence: not stated" in container.metadata["comment"]


def test_a_model_outlives_the_film_it_was_trained_on(zoo: Verb, studio: Workspace) -> None:
    """The scale is kept with the run, so the film itself may be gone."""
    words = ("reconstruct", "ae", "--film", "second", "--trained-on", "first", "--overwrite")
    zoo("films", "remove", "first")
    refused = zoo(*words)
    assert refused.code == 2
    assert "--trained-on also takes a path" in refused.err
    moved = shutil.copy2("first.mp4", "elsewhere.mp4")
    assert zoo("films", "add", "--name", "first", moved, "--crop", "none").code == 0
    assert zoo(*words).code == 0
    zoo("films", "remove", "first")
    assert zoo(*words).code == 0


def test_what_makes_another_video_is_in_its_default_name() -> None:
    names = [
        default_name("f", ["ae"], "f"),
        default_name("f", ["ae", "vae"], None),
        default_name("f", ["ae"], "other"),
        default_name("f", ["ae"], None, beside=True),
        default_name("f", ["ae"], None, begin=1.0),
        default_name("f", ["ae"], None, begin=1.0, end=62.5),
    ]
    assert names[3:] == [
        *("f-ae-beside.mp4", "f-ae-from-00.00.01.mp4"),
        "f-ae-from-00.00.01-to-00.01.02.500.mp4",
    ]
    assert len(set(names)) == 6


def test_beside_the_original_and_in_a_grid(zoo: Verb, studio: Workspace) -> None:
    _, film = film_and_entry(studio, "first")
    fine = ("--crf", "1", "--scale", "2x", "--filter", "nearest")
    assert zoo("reconstruct", "ae", "--film", "first", *fine, "-o", "one.mp4").code == 0
    assert zoo("reconstruct", "ae", "--film", "first", *fine, "--beside", "-o", "b.mp4").code == 0
    words = ("reconstruct", "--models", "ae,vae", "--film", "first", *fine, "--beside")
    said = zoo(*words, "-o", "g.mp4")
    assert said.code == 0, said.err
    one, beside, grid = (frames_of(Path(name)) for name in ("one.mp4", "b.mp4", "g.mp4"))
    assert beside.shape == (75, 78, 132, 3) and grid.shape == (75, 78, 200, 3)
    original = film.store.array.repeat(2, axis=1).repeat(2, axis=2)
    for picture in (beside, grid):
        left = picture[:, 14:78, :64].astype(int)
        assert np.abs(left - original).mean() < 3
        assert np.abs(picture[:, 14:78, 68:132].astype(int) - one).mean() < 3
    assert np.abs(one.astype(int) - original).mean() > 6


def test_a_range_and_another_codec(zoo: Verb, studio: Workspace) -> None:
    words = ("reconstruct", "ae", "--film", "first", "--from", "1.0", "--to", "0:02")
    said = zoo(*words, "--codec", "libsvtav1", "--crf", "20", "--encoder-preset", "12")
    assert said.code == 0, said.err
    with av.open("first-ae-from-00.00.01-to-00.00.02.mp4") as container:
        assert container.streams.video[0].codec_context.name in ("libdav1d", "av1")
    assert frames_of(Path("first-ae-from-00.00.01-to-00.00.02.mp4")).shape[0] == 25
    _, heard = seen_and_heard(Path("first-ae-from-00.00.01-to-00.00.02.mp4"))
    assert heard == pytest.approx([0.6], abs=0.02)


def test_a_run_by_name(zoo: Verb, studio: Workspace) -> None:
    (other,) = (studio.runs / "first" / "ae").glob("*-8steps-seed1-*")
    said = zoo("reconstruct", "--film", "first", "--run", other.name)
    assert said.code == 0, said.err
    assert other.name in said.out
    wrong = zoo("reconstruct", "vae", "--film", "first", "--run", other.name)
    assert wrong.code == 2 and "is a run of ae, not of vae" in wrong.err


@pytest.mark.parametrize("named", ["frames", "frames/a%02d.webp"])
def test_no_picture_of_a_film_of_pictures_is_written_over(named: str, tmp_path: Path) -> None:
    (tmp_path / "frames").mkdir()
    for number in range(3):
        (tmp_path / "frames" / f"a{number:02d}.webp").write_bytes(b"x")
    entry = FilmEntry(name="film", files=(tmp_path / named,))
    with pytest.raises(BadInput, match="is a file of film itself"):
        check_free(tmp_path / "frames" / "a01.webp", ".webp", True, [entry])
    check_free(tmp_path / "frames" / "a03.webp", ".webp", False, [entry])
    # A sequence with a gap is no film, and its pictures are kept all the same.
    (tmp_path / "frames" / "a05.webp").write_bytes(b"x")
    with pytest.raises(BadInput, match="is a file of film itself"):
        check_free(tmp_path / "frames" / "a01.webp", ".webp", True, [entry])


def test_nothing_is_written_over(zoo: Verb, studio: Workspace) -> None:
    first = Path("first.mp4").read_bytes()
    for words in ((), ("--overwrite",)):
        said = zoo("reconstruct", "ae", "--film", "first", "-o", "first.mp4", *words)
        assert said.code == 2 and "is a file of first itself" in said.err
    assert Path("first.mp4").read_bytes() == first
    Path("there.mp4").write_bytes(b"mine")
    said = zoo("reconstruct", "ae", "--film", "first", "-o", "there.mp4")
    assert said.code == 2 and "--overwrite replaces it" in said.err
    assert Path("there.mp4").read_bytes() == b"mine"
    assert zoo("reconstruct", "ae", "--film", "first", "-o", "there.mp4", "--overwrite").code == 0
    assert len(frames_of(Path("there.mp4"))) == 75


def test_an_interrupt_leaves_no_file(
    zoo: Verb, studio: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = {path.name for path in studio.root.iterdir()}

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("zoo.reconstruct.reconstruct_film.FrameGrid.__call__", interrupted)
    said = zoo("reconstruct", "ae", "--film", "first", "--beside")
    assert said.code != 0
    assert {path.name for path in studio.root.iterdir()} == before


def test_a_film_that_changed_is_reconstructed_as_another(zoo: Verb, studio: Workspace) -> None:
    assert zoo("reconstruct", "ae", "--film", "first", "-o", "a.mp4").code == 0
    catalogue = studio.catalogue.read_text()
    studio.catalogue.write_text(catalogue.replace("[second]", 'to = "00:02"\n\n[second]'))
    refused = zoo("reconstruct", "ae", "--film", "first", "-o", "b.mp4")
    assert refused.code == 2 and "was trained on frames that first no longer has" in refused.err
    run = refused.err.split("--run ")[1].split()[0]
    said = zoo("reconstruct", "--run", run, "--film", "first", "-o", "b.mp4")
    assert said.code == 0, said.err
    assert "first no longer has the frames that" in said.out
    assert len(frames_of(Path("b.mp4"))) == 50


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("ae", "--film", "third"), "no film is called 'third'"),
        (("a_e", "--film", "first"), "no model is called 'a_e' (did you mean 'ae'"),
        (("vaegan", "--film", "first"), "zoo train vaegan --film first"),
        (("ae", "--film", "first", "--trained-on", "second"), "zoo train ae --film second"),
        (("--film", "first"), "name a model"),
        (("ae", "--models", "vae", "--film", "first"), "not both"),
        (("--models", "ae,vae", "--run", "x", "--film", "first"), "--run names one run"),
        (("ae", "--film", "first,second"), "only one film can be reconstructed at a time"),
        (("ae", "--film", "first", "-o", "a.avi"), "must end in .mp4 or .webp; not 'a.avi'"),
        (("ae", "--film", "first", "-o", "a.webp", "--crf", "30"), "a WebP has none of them"),
        (("ae", "--film", "first", "--codec", "vp9"), "no codec is called 'vp9'"),
        (("ae", "--film", "first", "--crf", "60"), "from 1 to 51; not 60"),
        (("ae", "--film", "first", "--filter", "sharp"), "no filter is called 'sharp'"),
        (("ae", "--film", "first", "--scale", "big"), "--scale must be 2x, or a size"),
        (("ae", "--film", "first", "--scale", "0x"), "--scale must be 2x"),
        (("ae", "--film", "first", "--from", "2", "--to", "2"), "--from 2 must be before --to 2"),
        (("ae", "--film", "first", "--from", "9"), "its frames are from 00:00:00.000"),
        (("ae", "--film", "first", "--to", "noon"), "a time code must be HH:MM:SS.mmm"),
        (("ae", "--film", "first", "--run", "zzz"), "no run is called 'zzz'"),
        (("ae", "--film", "first", "--threads", "0"), "--threads must be a whole number"),
    ],
)
def test_bad_input_is_reported_in_a_line(
    words: tuple[str, ...], expected: str, zoo: Verb, studio: Workspace
) -> None:
    zoo("reconstruct", *words).check_refused(expected)
    assert not list(studio.root.glob("*-ae*.mp4"))


def test_a_film_without_a_model_of_its_own(zoo: Verb, workspace: Path) -> None:
    from tests.films.making import encode

    encode(Path("clip.mp4"), [texture(32, 32, seed=n) for n in range(8)])
    said = zoo("reconstruct", "vaegan", "--film", "./clip.mp4")
    assert said.code == 2
    assert ": `zoo train vaegan --film ./clip.mp4`" in said.err


def test_a_run_is_known_by_the_film_and_not_by_its_name(zoo: Verb, studio: Workspace) -> None:
    words = ("reconstruct", "ae", "--overwrite", "--film")
    assert zoo("films", "remove", "first").code == 0
    assert zoo("films", "add", "--name", "renamed", "first.mp4", "--crop", "none").code == 0
    said = zoo(*words, "renamed")
    assert said.code == 0, said.err
    assert "run: first/ae/" in said.out and "wrote renamed-ae.mp4" in said.out
    with av.open("renamed-ae.mp4") as container:
        assert "trained on this film" in container.metadata["comment"]
    said = zoo("reconstruct", "ae", "--film", "second", "--trained-on", "renamed")
    assert said.code == 0 and "wrote second-ae-first.mp4" in said.out


@pytest.mark.parametrize("how", ["replaced", "added"])
def test_another_film_of_the_same_name_is_not_reconstructed_by_that_model(
    zoo: Verb, studio: Workspace, how: str
) -> None:
    if how == "replaced":
        shutil.copy("second.mkv", "first.mp4")
    else:
        assert zoo("films", "remove", "first").code == 0
        assert zoo("films", "add", "--name", "first", "second.mkv", "--crop", "none").code == 0
    for words in (("--film", "first"), ("--film", "bikes", "--trained-on", "first")):
        refused = zoo("reconstruct", "ae", *words)
        assert refused.code == 2
        assert "was trained on frames that first no longer has" in refused.err
        assert "`zoo train ae --film first` trains on the current frames; --run " in refused.err
    assert not list(studio.root.glob("*-ae*.mp4"))


def test_films_of_one_file_name_have_runs_of_their_own(zoo: Verb, studio: Workspace) -> None:
    for folder, source in (("a", "first.mp4"), ("b", "second.mkv")):
        Path(folder).mkdir()
        shutil.copy(source, f"{folder}/羅生門.mp4")
        tiny = ("--preset", "quick", "--size", "32x32", "--latent", "4", "--set", "width=8")
        done = zoo("train", "ae", "--film", f"{folder}/羅生門.mp4", *tiny, "--budget", "2steps")
        assert done.code == 0, done.err
    names = sorted(path.name for path in studio.runs.iterdir() if path.name != "first")
    assert len(names) == 2 and all(name.startswith("羅生門-") for name in names)
    drawn = [zoo("reconstruct", "ae", "--film", f"{folder}/羅生門.mp4") for folder in "ab"]
    assert [said.code for said in drawn] == [0, 0]
    assert sorted(said.out.split("run: ")[1].split("/")[0] for said in drawn) == names
    for said in drawn:
        assert "is reconstructed like any other film" not in said.out


@pytest.mark.parametrize("number", [errno.EACCES, errno.EROFS, errno.ENOSPC])
@pytest.mark.parametrize("words", [("reconstruct",), ("encode",), ("walk", "--seconds", "1")])
def test_a_run_that_may_only_be_read(
    words: tuple[str, ...],
    number: int,
    zoo: Verb,
    studio: Workspace,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The scale of its latents is learnt and used, and cannot be kept."""
    for kept in studio.runs.rglob("evaluation"):
        shutil.rmtree(kept)
    make = Path.mkdir

    def refused(self: Path, *rest: Any, **named: Any) -> None:
        if "evaluation" in self.parts:
            raise OSError(number, os.strerror(number), str(studio.runs))
        make(self, *rest, **named)

    monkeypatch.setattr(Path, "mkdir", refused)
    said = zoo(words[0], "ae", "--film", "first", *words[1:])
    assert said.code == 0, said.err
    assert said.err.count("are not kept") == 1 and said.err.count("\n") == 1
    assert not list(studio.runs.rglob("evaluation"))


def test_a_range_that_is_no_range_is_refused_before_the_work(
    zoo: Verb, studio: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.rmtree(studio.stores)
    said = zoo("reconstruct", "ae", "--film", "first", "--from", "2", "--to", "1")
    assert said.code == 2 and "--from 2 must be before --to 1" in said.err
    assert not studio.stores.exists()
    # Whether a film is as long as that is known once it is ingested, before a model encodes it.
    monkeypatch.setattr("zoo.reconstruct.model_loader.load_trained_model", None)
    said = zoo("reconstruct", "ae", "--film", "first", "--from", "9")
    assert said.code == 2 and "its frames are from" in said.err
