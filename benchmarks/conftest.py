"""What every benchmark needs: the device, and its name in the output."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from zoo.base import environment


@pytest.fixture(scope="session")
def device() -> torch.device:
    """A GPU where there is one."""
    return environment.choose_device()


def pytest_benchmark_update_machine_info(
    config: pytest.Config, machine_info: dict[str, Any]
) -> None:
    """Say in the JSON what was measured on."""
    device = environment.choose_device()
    described = environment.describe(device, environment.default_precision(device))
    machine_info["film_zoo"] = described.model_dump()


def pytest_report_header(config: pytest.Config) -> str:
    """Say in the terminal what is measured on."""
    device = environment.choose_device()
    described = environment.describe(device, environment.default_precision(device))
    return f"device: {described.device_name}, {described.threads} threads, torch {described.torch}"
