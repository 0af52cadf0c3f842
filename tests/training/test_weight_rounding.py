"""Kept weights in fewer bits: what is rounded, what it costs, and that it names the run."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from tests.training.test_step import Noisy
from tests.training.tiny_runs import CPU, SIZE, config_of
from zoo.api.autoencoder import Options
from zoo.api.recipe_and_events import Recipe
from zoo.base.errors import BadInput
from zoo.evaluation.model_summary import decoder_bytes
from zoo.films.ingested_film import Film
from zoo.training.engine import train
from zoo.training.run_folder import RunFolder
from zoo.training.weight_rounding import round_weights, stored_bytes, trained_matrices


def test_rows_have_so_many_levels_and_keep_their_ends() -> None:
    model = Noisy(SIZE, Options(latent=4))
    before = model.inward.weight.detach().clone()
    bias = model.inward.bias.detach().clone()
    round_weights(model, {"inward.weight"}, 3)
    after = model.inward.weight.detach()
    assert {len(row.unique()) for row in after} <= set(range(2, 9))
    step = (before.amax(1) - before.amin(1)) / 7
    assert ((after - before).abs() <= step[:, None] * 0.501).all()
    assert torch.allclose(after.amin(1), before.amin(1)) and torch.allclose(
        after.amax(1), before.amax(1)
    )
    assert torch.equal(model.inward.bias.detach(), bias)
    assert len(model.outward.weight.unique()) > 100


def test_kernels_in_any_memory_format_and_constant_rows_are_rounded() -> None:
    model = Noisy(SIZE, Options(latent=4))
    kernel = torch.randn(5, 3, 3, 3).contiguous(memory_format=torch.channels_last)
    kernel[2] = 0.25
    model.kernel = torch.nn.Parameter(kernel.clone(memory_format=torch.preserve_format))
    round_weights(model, trained_matrices(model), 8)
    rounded = model.kernel.detach()
    assert torch.equal(rounded[2], kernel[2])
    assert 0 < float((rounded - kernel).abs().max()) < 8 / 255
    assert rounded.is_contiguous(memory_format=torch.channels_last)


def test_bytes_are_those_of_levels_and_scales() -> None:
    assert stored_bytes(torch.zeros(10, 30), 32) == 1200
    assert stored_bytes(torch.zeros(10, 30), 8) == 300 + 80
    assert stored_bytes(torch.zeros(3, 3), 3) == 4 + 24
    model, latent = Noisy(SIZE, Options(latent=4)), torch.zeros(1, 4)
    values = 3 * SIZE.pixels
    assert decoder_bytes(model, latent) == 4 * 5 * values
    assert decoder_bytes(model, latent, 8) == values * (4 + 8 + 4)
    model.outward.weight.requires_grad_(False)
    assert decoder_bytes(model, latent, 8) == 4 * 5 * values


def test_a_training_keeps_rounded_weights_under_a_name_of_its_own(
    film: Film, tmp_path: Path, register: Callable
) -> None:
    register(Noisy)
    plain = config_of("noisy", film, options={"latent": 4}, budget="3steps")
    rounded = plain.model_copy(update={"recipe": Recipe(weight_bits=4)})
    assert rounded.id != plain.id
    found = []
    for number, config in enumerate((plain, rounded)):
        folder = RunFolder(tmp_path / str(number))
        folder.path.mkdir()
        train(folder, config, film, CPU)
        found.append(load_file(folder.weights))
    assert max(len(row.unique()) for row in found[1]["inward.weight"]) <= 16
    assert min(len(row.unique()) for row in found[0]["inward.weight"]) > 16
    assert torch.equal(found[0]["inward.bias"], found[1]["inward.bias"])


@pytest.mark.parametrize("bits", ["0", "1", "17", "31", "33", "8.5"])
def test_bits_that_cannot_be_are_refused(bits: str) -> None:
    with pytest.raises(BadInput, match=r"recipe's weight_bits .* cannot be"):
        Recipe().with_settings({"weight_bits": bits}, "ae")
