"""Every registered model and reference keeps the contract, by the suite of plugin authors."""

from __future__ import annotations

from zoo.plugins.registry import registry
from zoo.testing import conformance

test_conformance = conformance(*registry().models.values(), *registry().references.values())


def test_models_and_references_are_registered() -> None:
    assert {"ae", "vae", "vaegan", "perceptual"} <= set(registry().models)
    assert {"broad2016", "broad2016_published"} <= set(registry().models)
    assert {"mean", "pca"} <= set(registry().references)
