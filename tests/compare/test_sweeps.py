"""Sweeps: which settings multiply out, and which rows stand once for all of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pydantic
import pytest
import torch

import zoo
from zoo.api.codec import FilmCodec
from zoo.api.samples_and_latents import LatentSpec
from zoo.base.errors import BadInput
from zoo.base.frame_size import FrameSize
from zoo.base.option_validation import validated
from zoo.cli.options import read_sweep
from zoo.compare.cells import (
    Cell,
    config_of,
    fitting_models,
    latent_bytes_per_frame,
    plan_cells,
    sweep_settings,
)
from zoo.films.ingested_film import film_from_frames
from zoo.plugins.registry import registry
from zoo.training.settings import Settings

QUICK = Settings.choose("quick")


def test_latents_options_and_seeds_multiply_out() -> None:
    found = sweep_settings(QUICK, "4,8", 2, {"width": ["8", "12"]})
    assert [(s.latent, s.options["width"], s.seed) for s in found] == [
        (latent, width, seed) for latent in (4, 8) for width in ("8", "12") for seed in (0, 1)
    ]


def test_the_latent_may_be_swept_as_an_option_is() -> None:
    assert [s.latent for s in sweep_settings(QUICK, None, 1, {"latent": ["4", "8"]})] == [4, 8]


@pytest.mark.parametrize(
    ("latents", "seeds", "swept", "message"),
    [
        ("4,x", 1, {}, "--latents"),
        ("4,,8", 1, {}, "--latents"),
        (None, 0, {}, "--seeds"),
        (None, 100, {"width": [str(n) for n in range(11)]}, "1,100 settings"),
    ],
)
def test_sweeps_that_make_no_sense(
    latents: str | None, seeds: int, swept: dict, message: str
) -> None:
    with pytest.raises(BadInput, match=message):
        sweep_settings(QUICK, latents, seeds, swept)


def test_words_with_several_values() -> None:
    single, several = read_sweep(["width=32, 64,32", "lr=1e-3"])
    assert single == {"lr": "1e-3"}
    assert several == {"width": ["32", "64"]}
    with pytest.raises(BadInput, match="empty value"):
        read_sweep(["width=32,,64"])


def test_a_comma_within_a_list_does_not_part_values() -> None:
    single, several = read_sweep(["widths=[8,16]", "depths=[1], [2,3]"])
    assert single == {"widths": "[8,16]"}
    assert several == {"depths": ["[1]", "[2,3]"]}


class Lists(zoo.Options):
    widths: list[int] = pydantic.Field(default=[8])
    sides: tuple[int, int] = (3, 3)


def test_a_list_is_set_in_brackets() -> None:
    found = validated("m", Lists, {"widths": "[8, 16]", "sides": "[1,2]"})
    assert (found.widths, found.sides) == ([8, 16], (1, 2))
    for wrong in ("8,16", "[8,x]", "[8", ""):
        with pytest.raises(BadInput, match=r"option widths takes a list in square brackets, such"):
            validated("m", Lists, {"widths": wrong})
    with pytest.raises(BadInput, match=r"option widths.1 takes a whole number; not 'x'"):
        validated("m", Lists, {"widths": '[8, "x"]'})


def test_references_appear_once_for_options_that_they_do_not_have() -> None:
    film = film_from_frames(np.zeros((40, 8, 12, 3), np.uint8), name="a", holdout=0)
    sweep = sweep_settings(QUICK, "4,8", 2, {"width": ["8", "12"]})
    cells = plan_cells([film], [registry().models["ae"]], sweep)
    counts = {}
    for cell in cells:
        counts[cell.architecture.name] = counts.get(cell.architecture.name, 0) + 1
    assert counts["ae"] == 8
    assert counts["pca"] == 2
    for cell in cells:
        if issubclass(cell.architecture, FilmCodec):
            assert counts[cell.architecture.name] == 2
    assert len({cell.run for cell in cells}) == len(cells)


class Words(registry().models["ae"]):  # type: ignore[misc]
    """A model of a grid of codes, at any size of the latent."""

    name = "words"

    def latent_spec(self) -> LatentSpec:
        return LatentSpec((4, 6), codes=1024)


class Window(registry().models["ae"]):  # type: ignore[misc]
    """Four frames per latent."""

    name = "window"
    window = 4


class Broken(Words):
    """Cannot be built, and so declares nothing."""

    name = "broken"

    def __init__(self, size: object, options: object) -> None:
        raise ArithmeticError("never")


@pytest.mark.parametrize(
    ("models", "latents", "expected"),
    [
        (["ae"], "16", [16]),
        (["ae"], "4,8", [4, 8]),
        (["ae", "vae", "vaegan"], "16", [16]),
        (["ae", Words], "16", [16, 30]),
        ([Words], "4,8", [30]),
        ([Window], "16", [16]),
        ([Broken], "16", [16]),
        ([Broken, Words], "16", [30]),
        ([], "16", [16]),
    ],
)
def test_codecs_are_run_at_every_size_that_the_models_latents_have(
    models: list, latents: str, expected: list[int]
) -> None:
    chosen = [registry().models.get(model, model) for model in models]
    assert latent_bytes_per_frame(chosen, sweep_settings(QUICK, latents, 1)) == expected
    film = film_from_frames(np.zeros((40, 8, 12, 3), np.uint8), name="a", holdout=0)
    cells = plan_cells([film], chosen, sweep_settings(QUICK, latents, 2))
    coded = [cell for cell in cells if cell.architecture.name == "x264"]
    assert [coding_bytes(cell) for cell in coded] == expected


def coding_bytes(cell: Cell) -> int:
    return int(config_of(cell).options["bytes_per_frame"])


def test_what_is_not_trained_takes_no_gpu() -> None:
    film = film_from_frames(np.zeros((40, 8, 12, 3), np.uint8), name="a", holdout=0)
    settings = replace(QUICK, device=torch.device("cuda", 0), precision="bf16-mixed")
    cells = plan_cells([film], [registry().models["ae"]], [settings])
    assert {cell.architecture.name for cell in cells if cell.gpu} == {"ae"}
    beside = [cell for cell in cells if not cell.gpu]
    assert {"mean", "pca", "x264"} <= {cell.architecture.name for cell in beside}
    for cell in beside:
        assert (cell.settings.device.type, cell.settings.precision) == ("cpu", "32-true")


WORDS = ("compare", "--films", "carphone", "--models", "ae", "--preset", "quick", "--device", "cpu")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--on", "abacus"), "--on must be here, inline, ray"),
        (("--on", "127.0.0.1:1"), "nothing answers at 127.0.0.1:1"),
        (("--on", "ray://nowhere"), "--on must be ray://HOST:PORT"),
        (("--max-parallel", "0"), "--max-parallel"),
        (("--on", "inline", "--max-parallel", "2"), "one cell at a time"),
        (("--gpus-per-cell", "1"), "--gpus-per-cell works only with --on ray"),
        (("--on", "ray", "--gpus-per-cell", "1"), "--device cpu uses no GPU"),
        (("--set", "width=8,x"), "option width"),
        (("--runs", "abacus://there"), "--runs abacus://there"),
    ],
)
def test_executors_and_sweeps_that_make_no_sense_are_one_line(
    words: tuple[str, ...], message: str, zoo: Callable
) -> None:
    zoo(*WORDS, *words).check_refused(message)


def test_of_all_models_those_that_cannot_take_a_latent_are_left_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Large(registry().models["ae"]):  # type: ignore[misc]
        name = "large"

        @classmethod
        def latent_sizes(cls, size: FrameSize) -> range:
            return range(100, 1000)

    reported: list[str] = []
    small = [Settings.choose("quick", latent=4, device="cpu")]
    ae = registry().models["ae"]
    assert fitting_models([ae, Large], small, reported.append) == [ae]
    assert reported == ["left out: large takes latents of 100 up to 999 numbers at 96x54; not 4"]
    with pytest.raises(BadInput, match="large takes latents"):
        fitting_models([Large], small, reported.append)
