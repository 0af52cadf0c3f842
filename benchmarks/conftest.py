"""What every benchmark needs: the device, and its name in the output."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from zoo.base import devices


@pytest.fixture(scope="session")
def device() -> torch.device:
    """A GPU where there is one."""
    return devices.choose_device()


def pytest_benchmark_update_machine_info(
    config: pytest.Config, machine_info: dict[str, Any]
) -> None:
    """Say in the JSON what was measured on."""
    device = devices.choose_device()
    described = devices.describe(device, devices.default_precision(device))
    machine_info["film_zoo"] = described.model_dump()


def pytest_report_header(config: pytest.Config) -> str:
    """Say in the terminal what is measured on."""
    device = devices.choose_device()
    described = devices.describe(device, devices.default_precision(device))
    return f"device: {described.device_name}, {described.threads} threads, torch {described.torch}"
