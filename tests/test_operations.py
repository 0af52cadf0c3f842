"""Operations and casts of a training step: a change that doubles them is seen without a GPU.

`python -m tests.test_operations` counts them anew and writes `operations.json`: run it where a
model was changed on purpose, and look at the difference.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import pytest
import torch

from zoo.api.autoencoder import Autoencoder, Loss, Options
from zoo.base.frame_size import FrameSize
from zoo.base.presets_and_budgets import PRESETS
from zoo.conformance.fake_gpu import Operations, operations_of_step
from zoo.plugins.model_building import fits_directly
from zoo.plugins.registry import registry

KEPT = Path(__file__).with_name("operations.json")
MOST = 4 / 3
"""What a count may grow by; versions of torch differ by less."""
SLOW = {"coded_pca"}
MODELS = sorted(name for name, model in registry().models.items() if not fits_directly(model))


def counted(name: str) -> Operations:
    film, architecture = PRESETS["film"], registry().models[name]
    options = {"latent": film.latent, **architecture.presets.get(film.name, {})}
    return operations_of_step(architecture, film.size, options)


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=pytest.mark.slow if name in SLOW else ()) for name in MODELS],
)
def test_no_step_has_many_more_operations_than_it_had(name: str) -> None:
    kept = json.loads(KEPT.read_text())
    assert name in kept, "`python -m tests.test_operations` counts those of a new model"
    for what, now in asdict(counted(name)).items():
        # No built-in model copies anything from the host in a step.
        before = kept[name].get(what, 0)
        assert now <= MOST * before, (
            f"{name}: {what} {before} -> {now}; where that is meant, "
            "`python -m tests.test_operations` writes the new numbers"
        )


class Small(Autoencoder):
    """One convolution and its loss, so that operations can be counted by hand."""

    name, summary = "small", "for this test"
    doubled = False

    def __init__(self, size: FrameSize, options: Options) -> None:
        super().__init__(size, options)
        self.layer = torch.nn.Conv2d(3, 3, 3, padding=1, bias=False)

    def losses(self, batch, step):
        maps = self.layer(batch.frames)
        if self.doubled:
            maps = self.layer(maps).float()
        return {"autoencoder": Loss({"any": maps.permute(0, 2, 3, 1).sum()})}


def test_operations_are_those_that_one_counts_by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    once = operations_of_step(Small, FrameSize(32, 32), {"latent": 4})
    # Frames and kernel go to bf16; then come the convolution and the sum. `permute` moves nothing.
    assert (once.forward, once.casts, once.copies) == (4, 2, 0)
    monkeypatch.setattr(Small, "doubled", True)
    twice = operations_of_step(Small, FrameSize(32, 32), {"latent": 4})
    # Another convolution, whose result goes to 32 bits; the kernel is in bf16 by now.
    assert (twice.forward, twice.casts) == (6, 3)
    # Another convolution's backward pass, and the sum of the two gradients of the kernel.
    assert twice.backward == once.backward + 2


def test_show_prints_the_count(zoo: Callable) -> None:
    said = zoo("models", "show", "ae", "--cost", "--size", "64x36")
    assert said.code == 0, said.err
    out = " ".join(said.out.split())
    assert "operations under bf16 autocast, " in out and "operations in 32 bits" in out
    assert "autocast" not in zoo("models", "show", "ae", "--size", "64x36").out
    assert "autocast" not in zoo("models", "show", "pca", "--cost").out


if __name__ == "__main__":
    KEPT.write_text(json.dumps({name: asdict(counted(name)) for name in MODELS}, indent=1) + "\n")
