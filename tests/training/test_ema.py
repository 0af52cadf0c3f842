"""The EMA of trained weights equals timm's; everything else is copied."""

from __future__ import annotations

import torch
from timm.utils.model_ema import ModelEmaV3

from zoo.conformance.fixtures import Subject
from zoo.plugins.registry import registry
from zoo.training.step import WeightEMA


def test_the_ema_of_trained_weights_equals_timms() -> None:
    model = Subject(registry().models["vaegan"]).to_train()
    ours, theirs = WeightEMA(model, 0.9), ModelEmaV3(model, decay=0.9, use_warmup=True)
    for step in range(40):
        with torch.no_grad():
            for parameter in filter(lambda p: p.requires_grad, model.parameters()):
                parameter.add_(torch.randn_like(parameter))
        ours.update(step)
        theirs.update(model, step=step)
    expected = theirs.module.state_dict()
    for name, tensor in ours.module.named_parameters():
        torch.testing.assert_close(tensor.detach(), expected[name], rtol=1e-4, atol=1e-5)


def test_buffers_and_frozen_parameters_are_copied() -> None:
    """A codebook that a model updates itself, its counts, and a buffer that it replaces."""
    model = Subject(registry().models["ae"]).to_train()
    codebook = torch.nn.Parameter(torch.zeros(4, 2), requires_grad=False)
    model.register_parameter("codebook", codebook)
    model.register_buffer("sums", torch.zeros(4, 2))
    model.register_buffer("uses", torch.zeros(4, dtype=torch.int64))
    model.register_buffer("replaced", torch.zeros(3))
    ema = WeightEMA(model, 0.999)
    for step in range(100):
        model.uses += 1
        model.sums += 3.0
        with torch.no_grad():
            codebook.copy_(model.sums / model.uses[:, None])
        model.replaced = torch.full((3,), float(step))
        ema.update(step)
    kept = ema.with_latest_buffers().state_dict()
    assert kept["uses"].tolist() == [100] * 4
    assert torch.equal(kept["codebook"], kept["sums"] / kept["uses"][:, None])
    assert kept["replaced"].tolist() == [99.0] * 3
    assert not any(p.requires_grad for p in ema.module.parameters())
    assert not ema.module.training
