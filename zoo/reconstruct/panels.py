"""What stands in one place of the picture: the film itself, or the film as eyes draw it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
import torch

from zoo.evaluation.watch import sample_batch, samples_of
from zoo.films.film import Film
from zoo.latents.latents import Latents
from zoo.reconstruct.eyes import Eyes
from zoo.video.convert import Pixels


class Panel(Protocol):
    """Pictures of one film at one size, a batch at a time, made in two steps."""

    name: str
    film: Film

    def read(self, indices: slice) -> Any:
        """What is needed to draw these frames; asked for in a thread of its own."""

    def draw(self, read: Any) -> Pixels:
        """The frames of which this was read: uint8 (B, H, W, 3), RGB."""


@dataclass
class Original:
    """The film as it is."""

    film: Film
    name: str = "original"

    def read(self, indices: slice) -> Pixels:
        """Frames of the store."""
        return np.array(self.film.store.array[indices])

    def draw(self, read: Pixels) -> Pixels:
        """The same."""
        return read


@dataclass
class Redrawn:
    """The film as eyes draw it, from the latents that were scored where there are some."""

    film: Film
    name: str
    eyes: Eyes

    def __post_init__(self) -> None:
        self._kept = self.eyes.kept(self.film)
        self._samples = samples_of(self.film, self.eyes.model)

    def read(self, indices: slice) -> Any:
        """Latents where they are known, else samples as the network takes them, few at a time."""
        parts = []
        for which, wanted in self._samples.drawing(indices):
            if self._kept is not None:
                of: Any = replace(self._kept, levels=self._kept.levels[torch.from_numpy(which)])
            else:
                of = sample_batch(self.film, self._samples, which, self.eyes.device)
            parts.append((of, wanted))
        return parts

    def draw(self, read: Any) -> Pixels:
        """Decode, after encoding where that was not done before."""
        drawn = []
        for of, wanted in read:
            some = self.eyes.draw(of if isinstance(of, Latents) else self.eyes.see(of))
            drawn.append(some if len(some) == len(wanted) else some[wanted])
        return drawn[0] if len(drawn) == 1 else np.concatenate(drawn)
