"""Named sets of defaults: how large frames and latents are, and how long training takes."""

from __future__ import annotations

from dataclasses import dataclass

from zoo.base.errors import BadInput
from zoo.base.frame_size import FrameSize


@dataclass(frozen=True)
class Preset:
    """Defaults for one purpose; models may have option values of their own by its name."""

    name: str
    purpose: str
    size: FrameSize
    latent: int
    budget: str
    """As `zoo.training.budget.Budget` reads it; a user's own budget takes its place whole."""
    batch: int
    threads: int | None
    """Threads a process computes with on a CPU; None leaves it to torch."""


PRESETS = {
    preset.name: preset
    for preset in (
        Preset(
            "film",
            "whole films, on a GPU",
            FrameSize(256, 144),
            200,
            # Six epochs of a feature film are 30,000 steps; those of a clip of ten seconds are 40.
            "6epochs-min20000steps",
            32,
            None,
        ),
        # Frames, and not epochs: as many for a clip of two seconds as for a film.
        Preset("quick", "short clips, on two CPU cores", FrameSize(96, 54), 16, "4000frames", 8, 1),
    )
}
DEFAULT_PRESET = "film"


def preset_named(name: str) -> Preset:
    """The preset of that name; raises BadInput naming those there are."""
    if name not in PRESETS:
        raise BadInput(f"no preset is called {name!r}; there are: {', '.join(PRESETS)}")
    return PRESETS[name]
