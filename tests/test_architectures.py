"""What single architectures promise beyond the contract that all of them keep."""

from __future__ import annotations

import pytest
import timm
import torch
from zoo_plugins.architectures.blocks.layers import group_norm
from zoo_plugins.architectures.blocks.patches import patch, patch_size
from zoo_plugins.architectures.vaegan import _gates
from zoo_plugins.metrics.ssim import multiscale_similarity

import zoo
from zoo import Batch, FrameSize, Step
from zoo.conformance.fixtures import scene, take_step
from zoo.evaluation.latents import Quantiser
from zoo.plugins.model_building import build_to_train
from zoo.plugins.registry import registry
from zoo.pretrained import WeightsUnavailable, feature_network, vgg16_features_state

SIZE = FrameSize(64, 36)


def build(name: str, **options: object) -> zoo.Autoencoder:
    torch.manual_seed(0)
    architecture = registry().architecture(name)
    quick = architecture.presets.get("quick", {})
    return build_to_train(architecture, SIZE, {"latent": 6, **quick, **options})


def test_codes_survive_storage_in_bytes() -> None:
    model = build("fsq").eval()
    with torch.inference_mode():
        codes = model.encode(scene(40, SIZE))
        quantiser = Quantiser.spanning(codes)
        stored = quantiser.dequantise(quantiser.quantise(codes))
        assert torch.equal(codes, codes.round()) and codes.min() >= 0 and codes.max() < 240
        assert codes.std() > 0
        assert torch.equal(model.decode(stored), model.decode(codes))


def test_multiscale_similarity_is_that_of_another_implementation() -> None:
    metrics = pytest.importorskip("torchmetrics.functional.image")
    generator = torch.Generator().manual_seed(0)
    coarse = torch.rand(2, 3, 24, 24, generator=generator)
    frames = torch.nn.functional.interpolate(coarse, 192, mode="bicubic").clamp(0, 1)
    other = (frames + 0.1 * torch.randn(frames.shape, generator=generator)).clamp(0, 1)
    theirs = metrics.multiscale_structural_similarity_index_measure(
        other, frames, data_range=1.0, kernel_size=11, sigma=1.5
    )
    assert float(multiscale_similarity(other, frames).mean()) == pytest.approx(
        float(theirs), abs=0.01
    )
    assert multiscale_similarity(frames, frames).tolist() == pytest.approx(
        [1] * len(frames), abs=1e-5
    )


def test_beta_weighs_the_divergence_alone() -> None:
    frames = scene(4, SIZE)
    plain, beta = (
        take_step(build("beta_vae", beta=weight), frames)["autoencoder"].terms for weight in (1, 4)
    )
    assert torch.allclose(4 * plain["kl"], beta["kl"])
    assert torch.equal(plain["pixel"], beta["pixel"])


@pytest.mark.parametrize(
    ("real", "drawn", "decoder_plays", "discriminator_plays"),
    [
        (0.6, 0.7, True, True),
        (0.2, 0.7, True, False),
        (0.6, 1.2, False, True),
        (0.2, 1.2, True, True),
    ],
)
def test_the_winning_side_sits_out_and_never_both(
    real: float, drawn: float, decoder_plays: bool, discriminator_plays: bool
) -> None:
    decoder, discriminator = _gates(torch.tensor([real, drawn]))
    assert (bool(decoder), bool(discriminator)) == (decoder_plays, discriminator_plays)


def test_a_gated_vaegan_says_who_plays() -> None:
    losses = take_step(build("vaegan", gated=True), scene(4, SIZE))
    assert losses["encoder"].active is None
    for player in ("decoder", "discriminator"):
        active = losses[player].active
        assert active is not None and active.dtype == torch.bool and active.dim() == 0


def test_the_adversary_warms_up_with_progress() -> None:
    model, frames = build("vaegan", warm_up=0.5), scene(4, SIZE)
    terms = [
        model.losses(
            Batch.numbered(frames),
            Step(torch.tensor(progress), 0, torch.Generator().manual_seed(0)),
        )["decoder"].terms["adversarial"]
        for progress in (0.0, 0.25, 0.5, 1.0)
    ]
    ratios = [float(term / terms[-1]) for term in terms]
    assert ratios == pytest.approx([0, 0.5, 1, 1], abs=0.05)


def test_the_gradient_penalty_is_half_the_squared_slope() -> None:
    frames = scene(4, SIZE)
    model = build("vaegan", r1=1.0, spectral=False)
    penalty = float(take_step(model, frames)["discriminator"].terms["r1"])
    slopes = []
    for frame in frames:
        evaluated_on = frame[None].clone().requires_grad_()
        logit, _ = model.discriminator(evaluated_on)  # type: ignore[operator]
        (slope,) = torch.autograd.grad(logit.sum(), evaluated_on)
        slopes.append(0.5 * float(slope.square().sum()))
    assert penalty == pytest.approx(sum(slopes) / 4, rel=1e-4)


@pytest.mark.parametrize("share", [1.0, 0.5, 0.3])
def test_a_patch_comes_by_everywhere_and_equally_for_frames_and_reconstructions(
    share: float,
) -> None:
    pixels = torch.arange(float(SIZE.pixels)).view(1, 1, SIZE.height, SIZE.width)
    seen = torch.zeros(SIZE.pixels)
    for number in range(200):
        cut = patch(pixels, share, number)
        assert cut.shape[2:] == patch_size(SIZE, share)[::-1]
        assert torch.equal(cut, patch(pixels.clone(), share, number))
        seen[cut.flatten().long()] += 1
    assert seen.min() > 0


@pytest.mark.parametrize("name", ["perceptual", "vaegan"])
def test_features_are_compared_on_a_patch_and_pixels_everywhere(name: str) -> None:
    frames = scene(4, SIZE)
    whole, part = (
        take_step(build(name, patch=share, width=8), frames)[player].terms
        for share in (1.0, 0.5)
        for player in [{"perceptual": "autoencoder", "vaegan": "encoder"}[name]]
    )
    assert not torch.allclose(whole["feature"], part["feature"], rtol=1e-3)
    assert torch.allclose(whole["kl"], part["kl"])


def test_prior_samples_are_a_share_of_the_frames() -> None:
    model = build("vaegan", prior_samples=0.25)
    decoded: list[int] = []
    model.decoder.register_forward_hook(  # type: ignore[union-attr, operator]
        lambda _, given, out: decoded.append(len(out))
    )
    take_step(model, scene(8, SIZE))
    assert decoded == [8, 2]


def test_the_papers_objective_is_there() -> None:
    paper = {"pixel": 0, "feature_stage": 3, "saturating": True, "fakes": "prior", "gated": True}
    losses = take_step(build("vaegan", **paper), scene(4, SIZE))
    assert float(losses["decoder"].terms["pixel"].detach()) == 0
    # Saturating: what the decoder gains is bounded by nothing below, and is negative here.
    assert float(losses["decoder"].terms["adversarial"].detach()) < 0


def test_vgg16_through_timm_sees_what_torchvision_sees() -> None:
    torchvision = pytest.importorskip("torchvision")
    try:
        network = feature_network("vgg16", 2).eval()
    except WeightsUnavailable as reason:
        pytest.skip(str(reason))
    features = torchvision.models.vgg16().features.eval()
    features.load_state_dict(vgg16_features_state())
    frames = scene(1, SIZE)
    with torch.inference_mode():
        # Up to before the second pooling: the second of timm's stages.
        assert torch.allclose(network(frames)[1], features[:9](frames), atol=1e-4)


def test_vgg16_is_the_same_through_versions_of_timm_without_a_getter_for_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    try:
        newer = feature_network("vgg16", 3).eval()
    except WeightsUnavailable as reason:
        pytest.skip(str(reason))
    frames = scene(1, SIZE)
    expected = newer(frames)
    if hasattr(timm.models.vgg.VGG, "forward_intermediates"):
        monkeypatch.delattr(timm.models.vgg.VGG, "forward_intermediates")
    older = feature_network("vgg16", 3).eval()
    assert not hasattr(older, "model"), "a getter has one"
    for one, other in zip(older(frames), expected, strict=True):
        assert torch.allclose(one, other, atol=1e-4)


@pytest.mark.parametrize(
    ("name", "stages", "reason"),
    [("no_such_network", 3, "no network called"), ("vgg16", 30, "fewer")],
)
def test_a_backbone_that_cannot_be_had_is_refused(name: str, stages: int, reason: str) -> None:
    with pytest.raises(zoo.BadInput, match=reason):
        feature_network(name, stages)


def test_weights_without_a_known_hash_are_fetched_for_those_who_want_them_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with pytest.raises(zoo.BadInput, match="the weights of resnet18 have no known hash"):
        feature_network("resnet18", 3)
    monkeypatch.setenv("ZOO_TRUST_HUB", "1")
    monkeypatch.setenv("ZOO_OFFLINE", "1")
    with pytest.raises(WeightsUnavailable, match="ZOO_OFFLINE"):
        feature_network("resnet18", 3)


def test_a_trusted_hub_gives_any_network_after_a_notice(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import timm

    create = timm.create_model
    asked: list[bool] = []

    def untrained(name: str, pretrained: bool, **words: object) -> object:
        asked.append(pretrained)
        return create(name, pretrained=False, **words)

    monkeypatch.setattr(timm, "create_model", untrained)
    monkeypatch.setenv("ZOO_TRUST_HUB", "1")
    monkeypatch.delenv("ZOO_OFFLINE", raising=False)
    network = feature_network("resnet18", 3)
    assert asked == [True]
    assert "resnet18" in capsys.readouterr().err
    assert [m.shape[1] for m in network(torch.zeros(1, 3, 64, 64))] == [64, 64, 128]


def test_a_frozen_backbone_stays_frozen_and_in_evaluation() -> None:
    distance = build("perceptual").train().distance
    assert not any(module.training for module in distance.modules())  # type: ignore[union-attr]
    assert not any(p.requires_grad for p in distance.parameters())  # type: ignore[union-attr]


def test_a_layer_that_no_machine_could_hold_is_refused_at_once() -> None:
    # Of a description that came with a file: the groups of so many channels are never found.
    with torch.device("meta"), pytest.raises(zoo.BadInput, match="at most 1,048,576 channels"):
        group_norm(2**61 - 1)
