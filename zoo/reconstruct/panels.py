"""What stands in one place of the picture: the film itself, or the film as eyes draw it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np

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
        """Latents where they are known, else frames as the network takes them."""
        which = self._samples.covering(indices)
        shown = self._samples.within(indices, which)
        if self._kept is not None:
            return replace(self._kept, levels=self._kept.levels[which]), shown
        return sample_batch(self.film, self._samples, which, self.eyes.device), shown

    def draw(self, read: Any) -> Pixels:
        """Decode, after encoding where that was not done before."""
        of, shown = read
        drawn = self.eyes.draw(of if isinstance(of, Latents) else self.eyes.see(of))
        return drawn if len(drawn) == len(shown) else drawn[shown]
