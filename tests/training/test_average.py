"""Our averaging of weights is timm's, to the bit."""

from __future__ import annotations

import torch
from timm.utils.model_ema import ModelEmaV3
from torch import nn

from zoo.conformance.subject import Subject
from zoo.plugins import registry
from zoo.training.average import WeightAverage


def test_the_average_is_that_of_timm() -> None:
    model = Subject(registry().models["vaegan"]).build().train()
    model.register_buffer("counted", torch.tensor(0))
    frozen = next(iter(model.decoder.parameters()))
    frozen.requires_grad_(False)
    model.register_buffer("replaced", torch.zeros(3))
    assert isinstance(model, nn.Module)
    ours, theirs = WeightAverage(model, 0.9), ModelEmaV3(model, decay=0.9, use_warmup=True)
    for step in range(6):
        with torch.no_grad():
            for parameter in model.parameters():
                if parameter.requires_grad:
                    parameter.add_(torch.randn_like(parameter))
            for name, buffer in model.named_buffers():
                if buffer.is_floating_point() and name != "replaced":
                    buffer.add_(1)
        model.counted += 1
        model.replaced = torch.full((3,), float(step))  # a new tensor under the same name
        ours.update(model, step=step)
        theirs.update(model, step=step)
    expected = theirs.module.state_dict()
    for name, tensor in ours.module.state_dict().items():
        assert torch.equal(tensor, expected[name]), name
