"""`zoo models show` counts what a model is made of, and can do so without building it."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import nn

import zoo as the_zoo
from zoo.api.samples_and_latents import LatentSpec
from zoo.base.frame_size import FrameSize
from zoo.evaluation.model_summary import summarise_model

SIZE = FrameSize(64, 36)


class Counted(the_zoo.Autoencoder):
    """One convolution and two matrices, small enough to count by hand."""

    name = "counted"
    summary = "a model for a test"

    def __init__(self, size: FrameSize, options: the_zoo.Options) -> None:
        super().__init__(size, options)
        self.look = nn.Conv2d(3, 5, kernel_size=3, stride=2, padding=1)
        self.down = nn.Linear(5 * 32 * 18, options.latent)
        self.up = nn.Linear(options.latent, 3 * size.pixels)

    def encode(self, frames: torch.Tensor) -> torch.Tensor:
        return self.down(self.look(frames).flatten(1))

    def decode(self, latent: torch.Tensor) -> torch.Tensor:
        return self.up(latent).sigmoid().unflatten(1, (3, self.size.height, self.size.width))


class ReadsBack(Counted):
    """A model that cannot be built without storage."""

    def __init__(self, size: FrameSize, options: the_zoo.Options) -> None:
        super().__init__(size, options)
        self.scale = float(torch.ones(3).sum())


class Huge(Counted):
    """As many weights as no machine here can hold: 4 TB."""

    def __init__(self, size: FrameSize, options: the_zoo.Options) -> None:
        super().__init__(size, options)
        self.up = nn.Linear(options.latent, 3 * size.pixels)
        self.wide = nn.Linear(10**6, 10**6)


@pytest.mark.parametrize(("model", "device"), [(Counted, "meta"), (ReadsBack, "cpu")])
def test_a_small_model_is_counted_as_by_hand(model: type[Counted], device: str) -> None:
    found = summarise_model(model, SIZE, the_zoo.Options(latent=7))
    values = 3 * 64 * 36
    assert found.device == device
    assert found.latent == LatentSpec((7,))
    assert found.encode == 32 * 18 * 5 * 3 * 9 + 5 * 32 * 18 * 7
    assert found.decode == 7 * values
    assert found.players == {"autoencoder": 5 * 28 + 7 * (5 * 32 * 18 + 1) + 8 * values}
    assert found.decoder_bytes == 4 * 8 * values


def test_a_model_that_no_machine_holds_is_counted() -> None:
    found = summarise_model(Huge, SIZE, the_zoo.Options(latent=7))
    assert found.device == "meta"
    assert found.players["autoencoder"] > 10**12


def test_a_model_that_fails_says_how() -> None:
    class Fails(Counted):
        def encode(self, frames: torch.Tensor) -> torch.Tensor:
            raise ArithmeticError("not enough")

    with pytest.raises(ArithmeticError, match="not enough"):
        summarise_model(Fails, SIZE, the_zoo.Options(latent=7))


def test_show_prints_what_is_counted(zoo: Callable) -> None:
    said = zoo("models", "show", "pca", "--size", "64x36", "--set", "latent=11")
    assert said.code == 0, said.err
    assert "(11,), 11 numbers per frame" in said.out
    assert f"{11 * 3 * 64 * 36:,} multiply-adds per frame" in said.out
    assert f"{12 * 3 * 64 * 36:,} numbers" in said.out
