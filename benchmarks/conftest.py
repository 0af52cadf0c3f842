"""Fixtures of every benchmark: the device, and its name in the output."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from zoo.base import devices


@pytest.fixture(scope="session")
def device() -> torch.device:
    """A GPU if there is one, else the CPU."""
    return devices.choose_device()


def pytest_benchmark_update_machine_info(
    config: pytest.Config, machine_info: dict[str, Any]
) -> None:
    """Add the device to the JSON."""
    device = devices.choose_device()
    described = devices.describe(device, devices.default_precision(device))
    machine_info["film_zoo"] = described.model_dump()


def pytest_report_header(config: pytest.Config) -> str:
    """Show the device in the terminal."""
    device = devices.choose_device()
    described = devices.describe(device, devices.default_precision(device))
    return f"device: {described.device_name}, {described.threads} threads, torch {described.torch}"
