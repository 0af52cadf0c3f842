"""Devices and precisions: what a word stands for, and what a device lacks."""

from __future__ import annotations

import pytest
import torch

from zoo.base import devices
from zoo.base.devices import (
    VISIBLE,
    choose_device,
    choose_precision,
    gpus_named,
    shared_threads,
)
from zoo.base.errors import BadInput

CPU, GPU = torch.device("cpu"), torch.device("cuda", 0)


@pytest.fixture
def gpus(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    """The compute capabilities of GPUs that are taken to be there."""
    found = [(8, 0), (8, 0)]
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: len(found))
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: found[device.index])
    return found


@pytest.mark.parametrize("word", ["auto", "cuda"])
def test_each_of_several_ranks_has_a_gpu_of_its_own(
    word: str, gpus: list[tuple[int, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert choose_device(word) == torch.device("cuda", 0)
    monkeypatch.setenv("LOCAL_RANK", "1")
    assert choose_device(word) == torch.device("cuda", 1)
    assert choose_device("cuda:0") == torch.device("cuda", 0)


@pytest.mark.parametrize(
    ("word", "visible", "named"),
    [
        ("auto", None, ["0", "1"]),
        ("cuda", "", ["0", "1"]),
        ("cuda", "6, GPU-ab", ["6", "GPU-ab"]),
        ("cuda", "6,7,-1,8", ["6", "7"]),
        ("cuda:1", "6,7", ["7"]),
        ("cuda:1", None, ["1"]),
        ("cpu", "6,7", []),
    ],
)
def test_a_word_names_gpus_as_a_process_beside_this_one_would_see_them(
    word: str,
    visible: str | None,
    named: list[str],
    gpus: list[tuple[int, int]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv(VISIBLE, raising=False)
    if visible is not None:
        monkeypatch.setenv(VISIBLE, visible)
    assert gpus_named(word) == named


@pytest.mark.parametrize(
    ("processes", "asked", "threads"),
    [(1, None, None), (1, 12, 12), (2, None, 4), (3, None, 2), (4, 1, 1), (4, 8, 2), (20, 8, 1)],
)
def test_processes_share_the_cores(
    processes: int, asked: int | None, threads: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(devices, "cores", lambda: 8)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 8)
    assert shared_threads(processes, asked) == threads


@pytest.mark.parametrize(
    ("capability", "auto"), [((7, 5), "32-true"), ((8, 0), "bf16-mixed"), ((9, 0), "bf16-mixed")]
)
def test_auto_is_bf16_only_where_a_gpu_computes_in_it(
    capability: tuple[int, int], auto: str, gpus: list[tuple[int, int]]
) -> None:
    gpus[0] = capability
    assert choose_precision("auto", GPU) == auto
    assert choose_precision("32", GPU) == "32-true"


def test_a_precision_that_the_device_lacks_is_refused(gpus: list[tuple[int, int]]) -> None:
    gpus[0] = (7, 0)
    with pytest.raises(BadInput, match="cuda:0 does not support bf16: use --precision 32 or 16"):
        choose_precision("bf16", GPU)
    assert choose_precision("16", GPU) == "16-mixed"
    with pytest.raises(BadInput, match="cpu cannot train in 16 bits: use --precision 32 or bf16"):
        choose_precision("16", CPU)
    with pytest.raises(
        BadInput, match="the precision must be one of auto, 32, bf16, 16; not 'fp8'"
    ):
        choose_precision("fp8", CPU)


def test_a_processor_trains_in_32_bits_unless_told_otherwise() -> None:
    assert choose_precision("auto", CPU) == "32-true"
    assert choose_precision("bf16", CPU) == "bf16-mixed"
