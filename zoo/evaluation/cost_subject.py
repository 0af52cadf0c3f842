"""What a cost is of: an architecture with its options, at one size and batch."""

from __future__ import annotations

import hashlib
import json
from typing import Any, Self

import pydantic
import torch
from torch import Tensor

from zoo.autoencoder import Autoencoder
from zoo.frame_size import FrameSize
from zoo.plugins import registry
from zoo.training.run_folder import CompileMode, TrainingConfig


class CostSubject(pydantic.BaseModel):
    """All that a cost depends on, beside the machine."""

    model_config = pydantic.ConfigDict(extra="forbid", frozen=True)

    model: str
    origin: str
    options: dict[str, Any]
    size: str
    batch: int
    precision: str
    """Of training, one of Fabric's names; encoding and decoding run in 32 bits."""
    compile: CompileMode = "none"
    """Of the training step."""

    @classmethod
    def of(cls, config: TrainingConfig) -> Self:
        """What is measured for a training; trainings on other films or seeds cost the same."""
        return cls.model_validate(config.model_dump(include=set(cls.model_fields)))

    @property
    def key(self) -> str:
        """A name of its own for each subject."""
        canonical = json.dumps(self.model_dump(mode="json"), sort_keys=True)
        return hashlib.sha256(canonical.encode()).hexdigest()[:16]

    @property
    def architecture(self) -> type[Autoencoder]:
        """What is measured; raises BadInput if no plugin brings it."""
        return registry().architecture(self.model)

    def build(self, device: torch.device) -> Autoencoder:
        """An untrained instance, laid out as in training and evaluation."""
        model = self.architecture.build(FrameSize.parse(self.size), self.options)
        return model.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]

    def frames(self, device: torch.device) -> Tensor:
        """A batch of noise, float (B, 3, H, W) in [0, 1], laid out as those of a film are."""
        width, height = FrameSize.parse(self.size)
        return torch.rand(self.batch, height, width, 3, device=device).permute(0, 3, 1, 2)

    def training(self) -> TrainingConfig:
        """A training of it, on no film, for what is counted by training."""
        return TrainingConfig(
            **self.model_dump(), film="none", film_fingerprint="", budget="1steps", seed=0
        )
