"""What every test of a metric needs."""

from __future__ import annotations

import pytest
from torch import Tensor

from tests.metrics.spoiling import clip, made
from zoo import Metric


@pytest.fixture(scope="module")
def metric(request: pytest.FixtureRequest) -> Metric:
    return made(request.param)


@pytest.fixture(scope="session")
def frames() -> Tensor:
    """Four frames of a real clip that have little in common, (4, 3, 54, 96)."""
    return clip(60, 120, 180, 240)


@pytest.fixture(scope="session")
def moving() -> Tensor:
    """Twelve frames in a row of one shot, (12, 3, 54, 96)."""
    return clip(*range(60, 72))
