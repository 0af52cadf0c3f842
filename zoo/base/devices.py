"""Devices, precision and threads, and the description of machine and software in records."""

from __future__ import annotations

import functools
import importlib.metadata
import os
import platform
import re
import subprocess
from pathlib import Path

import av
import torch

from zoo.base.errors import BadInput
from zoo.base.records import Environment

PRECISIONS = ("auto", "32", "bf16", "16")
VISIBLE = "CUDA_VISIBLE_DEVICES"
_AMPERE = (8, 0)


def choose_device(name: str = "auto") -> torch.device:
    """Read `auto` (a GPU if there is one), `cpu`, `cuda` or `cuda:1`.

    Each process that torchrun started gets the GPU of its local rank.
    Raises BadInput on any other word and on a GPU that does not exist.
    """
    gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if name == "cpu" or (name == "auto" and not gpus):
        return torch.device("cpu")
    match = re.fullmatch(r"auto|cuda(?::(\d{1,3}))?", name)
    if not match:
        raise BadInput(f"the device must be auto, cpu, cuda or cuda:1; not {name!r}")
    index = int(match[1] or os.environ.get("LOCAL_RANK", "0"))
    if index >= gpus:
        raise BadInput(f"there is no device {name!r}: {gpus or 'no'} CUDA devices are visible")
    return torch.device("cuda", index)


def gpus_named(name: str) -> list[str]:
    """The GPUs that a device name stands for, as CUDA_VISIBLE_DEVICES names them.

    `auto` and `cuda` mean all that this process sees, `cuda:1` one of these, `cpu` none. Raises
    BadInput as `choose_device` does.
    """
    chosen = choose_device(name)
    if chosen.type == "cpu":
        return []
    named = [word.strip() for word in os.environ.get(VISIBLE, "").split(",") if word.strip()]
    every = named or [str(index) for index in range(torch.cuda.device_count())]
    return [every[chosen.index]] if ":" in name else every[: torch.cuda.device_count()]


def cores() -> int:
    """The number of cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def shared_threads(processes: int, asked: int | None) -> int | None:
    """Threads for each of several parallel processes, so that they do not outnumber the cores.

    `asked` is the number for a process that runs alone, None for torch's default. A single process
    gets it unchanged.
    """
    if processes == 1:
        return asked
    return min(asked or torch.get_num_threads(), max(1, cores() // processes))


def choose_precision(name: str, device: torch.device, bf16_on_cpu: bool = False) -> str:
    """Read `auto`, `32`, `bf16` or `16`, and return Fabric's name of the training precision.

    `auto` is bf16 autocast on a GPU with bf16 support (Ampere or newer), with `bf16_on_cpu` also
    on a CPU with bf16 support, else 32 bits. `16` is fp16 autocast. Raises BadInput on any other
    word, on bf16 for a GPU that only emulates it, and on 16 for a CPU.
    """
    if name not in PRECISIONS:
        raise BadInput(f"the precision must be one of {', '.join(PRECISIONS)}; not {name!r}")
    if name == "auto":
        has = _cpu_has_bf16() if device.type == "cpu" and bf16_on_cpu else _has_bf16(device)
        return "bf16-mixed" if has else "32-true"
    if name == "32":
        return "32-true"
    if name == "16":
        if device.type != "cuda":
            raise BadInput(f"{device} cannot train in 16 bits: use --precision 32 or bf16")
        return "16-mixed"
    if device.type == "cuda" and not _has_bf16(device):
        raise BadInput(f"{device} does not support bf16: use --precision 32 or 16")
    return "bf16-mixed"


def _cpu_has_bf16() -> bool:
    """Whether this processor has instructions for bf16: AVX512-BF16 or AMX."""
    # Private names of torch: if they are missing, only `--precision bf16` turns bf16 on.
    probes = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
    return any(getattr(torch.cpu, name, bool)() for name in probes)


def _has_bf16(device: torch.device) -> bool:
    """Whether a GPU supports bf16; a GPU of another machine is assumed to."""
    if device.type != "cuda":
        return False
    if not torch.cuda.is_available():
        return True
    return torch.cuda.get_device_capability(device) >= _AMPERE


def default_precision(device: torch.device) -> str:
    """Fabric's name of the precision that `auto` stands for on this device."""
    return choose_precision("auto", device)


def describe(device: torch.device, precision: str, compile_mode: str = "none") -> Environment:
    """Describe the current environment, for a computation on `device` at `precision`.

    `compile_mode` says how the training step is compiled.
    """
    on_gpu = device.type == "cuda"
    return Environment(
        device=device.type,
        device_name=torch.cuda.get_device_name(device) if on_gpu else processor(),
        precision=precision,
        memory_format="channels_last",
        compile=compile_mode,
        threads=torch.get_num_threads(),
        python=platform.python_version(),
        torch=torch.__version__,
        cuda=torch.version.cuda if on_gpu else None,
        pyav=av.__version__,
        ffmpeg=av.ffmpeg_version_info,
        film_zoo=importlib.metadata.version("film-zoo"),
        commit=_commit(),
    )


@functools.cache
def processor() -> str:
    """The processor's name if the system states it, else its architecture."""
    listing = Path("/proc/cpuinfo")
    if listing.exists():
        for line in listing.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


@functools.cache
def _commit() -> str | None:
    """The commit of the checkout that contains this file; None in an installed package.

    A checkout with uncommitted changes is marked, since the commit alone does not reproduce its
    results.
    """
    root = Path(__file__).resolve().parents[2]
    if not (root / ".git").exists():
        return None
    try:
        said = [
            subprocess.run(
                ["git", "-C", str(root), *words], capture_output=True, text=True, check=True
            ).stdout.strip()
            for words in (["rev-parse", "--short=12", "HEAD"], ["status", "--porcelain"])
        ]
    except (OSError, subprocess.CalledProcessError):
        return None
    return said[0] + (" with changes" if said[1] else "")
