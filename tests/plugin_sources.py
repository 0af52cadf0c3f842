"""Plugins for tests: the source of a model and of a metric, and packages installed by hand."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

MODEL = """
import torch
import zoo


class Model(zoo.Autoencoder):
    name = "{name}"
    summary = "a model for a test"

    def __init__(self, size, options):
        super().__init__(size, options)
        self.down = torch.nn.Linear(3 * size.pixels, options.latent)
        self.up = torch.nn.Linear(options.latent, 3 * size.pixels)

    def encode(self, frames):
        return self.down(frames.flatten(1))

    def decode(self, latent):
        shape = (3, self.size.height, self.size.width)
        return self.up(latent).sigmoid().unflatten(1, shape)

    def losses(self, batch, step):
        frames = getattr(batch, "frames", batch)
        error = (self.decode(self.encode(frames)) - frames).square().mean()
        return {{"autoencoder": zoo.Loss({{"pixel": error}})}}

    def optimizer(self, player):
        return zoo.Optimizer(lr=0.01)
"""
METRIC = """
import zoo


class Measure(zoo.Metric):
    name = "{name}"
    label = "a measure"
    source = "a test"

    def __call__(self, originals, reconstructions):
        return (originals - reconstructions).abs().flatten(1).mean(dim=1)
"""
MODELS_HOOK = """

@zoo.hookimpl
def zoo_models():
    return [Model]
"""


def describe_package(
    folder: Path, name: str, plugins: Mapping[str, str], group: str = "zoo"
) -> Path:
    """Write what describes an installed package, whose plugins are named with their modules."""
    described = folder / f"{name.replace('-', '_')}-1.0.dist-info"
    described.mkdir(parents=True)
    (described / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    points = [f"{plugin} = {module}" for plugin, module in plugins.items()]
    (described / "entry_points.txt").write_text("\n".join([f"[{group}]", *points, ""]))
    return described
