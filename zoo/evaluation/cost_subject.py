"""What a cost is of: an architecture with its options, at one size and batch."""

from __future__ import annotations

import hashlib
import json
from typing import Any, Self

import pydantic
import torch
from torch import Tensor

from zoo.api.autoencoder import Autoencoder
from zoo.api.recipe import Recipe
from zoo.api.sampling import Sampling, noise
from zoo.base.frame_size import FrameSize
from zoo.plugins.model_building import build, build_to_train
from zoo.plugins.registry import registry
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
    source: str = ""
    """Digest of the model's own source."""
    recipe: Recipe = Recipe()

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
        """An untrained instance, laid out as in evaluation."""
        model = build(self.architecture, FrameSize.parse(self.size), self.options)
        return model.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]

    def build_to_train(self, device: torch.device) -> Autoencoder:
        """An untrained instance with what only training needs, laid out as in training."""
        model = build_to_train(self.architecture, FrameSize.parse(self.size), self.options)
        return model.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]

    @property
    def sampling(self) -> Sampling:
        """How it looks at a film."""
        return Sampling.of(self.architecture)

    def samples(self, device: torch.device, batch: int | None = None) -> Tensor:
        """Samples of noise in a batch of frames, the subject's own if none is given."""
        width, height = FrameSize.parse(self.size)
        count = self.sampling.samples_in(self.batch if batch is None else batch)
        return noise(count, self.sampling, width, height, device)

    def training(self) -> TrainingConfig:
        """A training of it, on no film, for what is counted by training."""
        return TrainingConfig(
            **self.model_dump(), film="none", film_fingerprint="", budget="1steps", seed=0
        )
