"""The system of 2016: its numbers, its convolutions, and what each difference does."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from zoo_plugins.architectures.broad2016 import (
    Broad2016,
    Broad2016Published,
    Decoder,
    Trunk,
    padded,
    stretch,
    zeros_around,
)

from zoo.api.autoencoder import Autoencoder, PlayerParameters, Step
from zoo.base.frame_size import FrameSize
from zoo.conformance.fixtures import LATENT, Subject, extremes, scene, take_step
from zoo.evaluation.model_summary import decoder_bytes
from zoo.plugins.model_building import build, build_to_train
from zoo.training.optimizers import Players

SMALL = FrameSize(50, 38)


def built(architecture: type[Autoencoder] = Broad2016, **options) -> Autoencoder:
    torch.manual_seed(0)
    return build_to_train(architecture, SMALL, {"width": 4, "latent": LATENT, **options})


@pytest.mark.parametrize("architecture", [Broad2016, Broad2016Published])
def test_at_full_size_it_has_the_parameters_of_2016(architecture: type[Autoencoder]) -> None:
    with torch.device("meta"):
        model = build_to_train(architecture, FrameSize(256, 144), {"latent": 200})
    counts = {
        part: sum(p.numel() for p in getattr(model, part).parameters())
        for part in ("encoder", "decoder", "discriminator")
    }
    assert {part: round(count / 1e6, 1) for part, count in counts.items()} == {
        "encoder": 43.6,
        "decoder": 25.3,
        "discriminator": 6.8,
    }
    assert sum(counts.values()) == 75_668_564
    channels = [layer.out_channels for layer in model.encoder.trunk.convolutions]
    assert channels == [80, 160, 320, 640]
    assert model.encoder.mean.in_features == 92_160


def test_an_eighth_is_an_eighth_of_every_width() -> None:
    eighth = build(Broad2016, SMALL, Broad2016.presets["quick"])
    channels = [layer.out_channels for layer in eighth.encoder.trunk.convolutions]
    assert [8 * count for count in channels] == [80, 160, 320, 640]


@pytest.mark.parametrize(
    ("length", "zeros"), [(36, (1, 2)), (25, (2, 2)), (2, (1, 2)), (3, (2, 2))]
)
def test_padding_is_what_halving_takes(length: int, zeros: tuple[int, int]) -> None:
    assert zeros_around(length) == zeros
    assert (length + sum(zeros) - 5) // 2 + 1 == (length + 1) // 2


@pytest.mark.parametrize("size", [FrameSize(64, 36), SMALL])
def test_the_way_up_is_the_way_down_transposed(size: FrameSize) -> None:
    """<down(x), y> = <x, up(y)>, at even sizes and at odd ones, as same padding has it."""
    trunk, decoder = Trunk(2, running=False), Decoder(size, 2, LATENT, running=False)
    for stage, (down, up) in enumerate(
        zip(trunk.convolutions, list(decoder.convolutions)[::-1], strict=True)
    ):
        up.weight.data = down.weight.data.clone()
        nn.init.zeros_(down.bias)
        nn.init.zeros_(up.bias)
        height, length = decoder.sizes[::-1][stage]
        x = torch.randn(1, down.in_channels, height, length)
        y = torch.randn(1, down.out_channels, *decoder.sizes[::-1][stage + 1])
        through_down = (down(padded(x)) * y).sum()
        through_up = (x * up(y)[:, :, :height, :length]).sum()
        torch.testing.assert_close(through_down, through_up, rtol=1e-3, atol=1e-3)


def test_weights_begin_as_in_2016() -> None:
    model = build(Broad2016, SMALL, {"width": 16})
    for layer in model.modules():
        if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d | nn.Linear):
            assert layer.bias.abs().max() == 0
        if isinstance(layer, nn.Linear | nn.ConvTranspose2d) and layer.weight.numel() > 1000:
            assert float(layer.weight.detach().std()) == pytest.approx(0.02, rel=0.1)
        if isinstance(layer, nn.Conv2d):
            assert 0.03 < float(layer.weight.detach().abs().max()) <= 0.04


def test_all_three_learn_alike() -> None:
    model = built(lr=2e-4)
    settings = {model.optimizer(player) for player, _ in PlayerParameters.of(model)}
    (one,) = settings
    assert (one.name, one.lr, one.betas, one.clip) == ("adam", 2e-4, (0.5, 0.999), None)


def test_losses_are_put_together_as_in_2016() -> None:
    losses = take_step(built(), scene(4, SMALL))
    terms = {
        player: {n: float(v.detach()) for n, v in losses[player].terms.items()} for player in losses
    }
    assert set(terms["encoder"]) == {"kl", "similarity"}
    assert terms["decoder"]["similarity"] == pytest.approx(2.5 * terms["encoder"]["similarity"])
    assert terms["decoder"]["adversarial"] == -terms["discriminator"]["adversarial"]
    # Three undecided cross-entropies of log 2, over 72; the first weights decide nothing yet.
    assert terms["discriminator"]["adversarial"] == pytest.approx(0.0289, rel=0.1)


def test_the_decoders_bytes_are_its_weights_and_its_statistics() -> None:
    model = built()
    statistics = [b for b in model.decoder.buffers() if b.is_floating_point()]
    numbers = sum(t.numel() for t in (*model.decoder.parameters(), *statistics))
    assert len(statistics) == 8
    assert decoder_bytes(model, torch.zeros(1, LATENT)) == 4 * numbers


def test_swapped_lists_keep_the_adversary_from_the_decoder() -> None:
    model = built(swapped_lists=True)
    losses = take_step(model, scene(4, SMALL))
    gradients = Players(model).gradients(losses)
    owner = {id(p): player for player, group in PlayerParameters.of(model) for p in group}
    assert {owner[id(p)] for p in model.decoder.parameters()} == {"encoder"}
    assert {owner[id(p)] for p in model.encoder.trunk.parameters()} == {"decoder"}
    assert "adversarial" not in losses["encoder"].terms

    reached = torch.autograd.grad(
        take_step(model, scene(4, SMALL))["encoder"].terms["kl"],
        dict(PlayerParameters.of(model))["encoder"],
        allow_unused=True,
    )
    moved = [
        id(p)
        for p, g in zip(dict(PlayerParameters.of(model))["encoder"], reached, strict=True)
        if g is not None
    ]
    assert moved == [id(p) for p in model.encoder.log_variance.parameters()]
    assert all(torch.isfinite(g).all() for group in gradients.values() for g in group)


def test_a_stretched_reconstruction_cannot_stay_dark() -> None:
    dark = 0.1 * scene(2, SMALL) + 0.02
    assert float(dark.max()) < 0.13
    stretched = stretch(dark)
    assert stretched.amin(dim=(1, 2, 3)).tolist() == [0, 0]
    assert stretched.amax(dim=(1, 2, 3)).tolist() == [1, 1]
    assert stretch(torch.full((1, 3, 4, 4), 0.7)).max() == 0
    plain, published = built().eval(), built(stretched=True).eval()
    latent = plain.encode(scene(2, SMALL))
    torch.testing.assert_close(published.decode(latent), stretch(plain.decode(latent)))
    assert not torch.allclose(published.decode(latent), plain.decode(latent), atol=0.1)


def test_only_batch_statistics_make_a_black_frame_depend_on_its_company() -> None:
    black = extremes(SMALL)[:1]
    for options, moves in (
        ({}, False),
        ({"swapped_lists": True, "stretched": True}, False),
        ({"batch_statistics": True}, True),
    ):
        model = built(**options).eval()
        alone = model.encode(black)
        among = model.encode(torch.cat([black, scene(3, SMALL)]))[:1]
        apart = float((alone - among).detach().abs().max())
        assert (apart > 0.01) == moves


def test_calibration_makes_inference_do_what_training_did() -> None:
    frames = scene(6, SMALL)
    model = built()
    model.train()
    for seed in range(3):
        take_step(model, frames, seed)
    with torch.no_grad():
        in_training = model.decode(model.encode(frames))
        before = model.eval().decode(model.encode(frames))
        model.calibrate([frames, frames])
        after = model.decode(model.encode(frames))
    assert not model.encoder.trunk.norms[1].training
    assert model.encoder.trunk.norms[1].momentum == 0.1
    assert float((after - in_training).abs().max()) < 0.02
    assert float((before - in_training).abs().max()) > 2 * float((after - in_training).abs().max())


def test_noise_is_turned_down_for_the_second_half() -> None:
    model = built()
    generator = torch.Generator()
    sds = [
        float(model.noise_sd(Step(torch.tensor(p), 0, generator))) for p in (0.0, 0.49, 0.5, 1.0)
    ]
    assert sds == [1.0, 1.0, 0.5, 0.5]


def test_the_published_system_leaves_out_what_fills_no_batch_of_twelve() -> None:
    size = FrameSize(64, 36)
    intended, published = (
        build(kind, size, {"width": 1}) for kind in (Broad2016, Broad2016Published)
    )
    counts = (5, 12, 107, 1470, 1471)
    assert [published.frames_taken(count) for count in counts] == [5, 12, 96, 1464, 1464]
    assert [intended.frames_taken(count) for count in counts] == list(counts)


def test_the_published_system_waives_what_it_breaks_and_nothing_else() -> None:
    assert set(Broad2016Published.waivers) == {
        "batch invariant",
        "players hold what they name",
        "trains on every frame",
    }
    assert Broad2016.waivers == {}
    model = Subject(Broad2016Published).build()
    assert model.options.swapped_lists and model.options.batch_statistics
    assert model.options.stretched and model.options.width == 10


def test_gradients_of_convolutions_are_channels_last() -> None:
    """What turns them round costs a copy of every map, on a GPU."""
    torch.manual_seed(0)
    decoder = Decoder(FrameSize(50, 38), 4, LATENT, running=True)
    decoder = decoder.to(memory_format=torch.channels_last)
    found = []

    def look(gradient: torch.Tensor) -> None:
        found.append(gradient.is_contiguous(memory_format=torch.channels_last))

    for convolution in decoder.convolutions:
        convolution.register_forward_hook(lambda _, __, maps: maps.register_hook(look) and None)
    frames = decoder(torch.randn(3, LATENT))
    frames.backward(torch.randn_like(frames))
    assert found == [True] * 4
