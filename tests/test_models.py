"""Every registered model and reference keeps the contract: the same suite that strangers run."""

from __future__ import annotations

import pytest

from zoo.conformance.checks import CHECKS
from zoo.conformance.subject import Subject
from zoo.plugins import registry

EVERYTHING = {**registry().models, **registry().references}


def test_the_four_models_and_two_references_are_registered() -> None:
    assert {"ae", "vae", "vaegan", "perceptual"} <= set(registry().models)
    assert {"mean", "pca"} <= set(registry().references)


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
@pytest.mark.parametrize("name", EVERYTHING)
def test_conformance(name: str, check) -> None:
    check(Subject(EVERYTHING[name]))
