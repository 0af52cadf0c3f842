"""Keep a plugin's import from changing the process: standard output, torch's defaults and more.

All modules share one interpreter. Output printed during an import would corrupt `--json`, and a
changed default would alter the weights of every model that is trained afterwards.
"""

from __future__ import annotations

import functools
import locale
import os
import random
import signal
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

from zoo.base.safe_text import one_line


class _Shared(NamedTuple):
    """A piece of global process state, with functions that read and restore it."""

    name: str
    read: Callable[[], Any]
    put_back: Callable[[Any], Any]
    silent: bool = False
    """Whether a change is undone without a message, because imports often cause it."""


_TORCH_BEGINS_WITH: dict[str, Any] = {
    "torch's default dtype": "float32",
    "torch's default device": "cpu",
    "torch's grad mode": True,
    "torch's precision of products": "highest",
    "torch's deterministic algorithms": (False, False),
    "torch's anomaly detection": False,
    "cuDNN's choice of kernels": (False, False),
}


@contextmanager
def output_to_stderr() -> Iterator[None]:
    """Redirect everything written to standard output to standard error.

    The file descriptor itself is redirected, so that the output of C libraries and child processes
    goes there too.
    """
    before = sys.stdout
    if before is not None:
        before.flush()
    try:
        kept = os.dup(1)
    except OSError:
        # The process was started with standard output closed: there is nothing to redirect.
        yield
        return
    try:
        os.dup2(2, 1)
        sys.stdout = sys.stderr
        yield
    finally:
        sys.stdout = before
        for stream in (sys.stdout, sys.__stdout__):
            if stream is not None and not stream.closed:
                stream.flush()
        os.dup2(kept, 1)
        os.close(kept)


@contextmanager
def process_state_restored(changed: list[str]) -> Iterator[None]:
    """Restore process state that the block changes; add a line for each change to `changed`."""
    torch_was_there = "torch" in sys.modules
    shared = _shared_state()
    before = [one.read() for one in shared]
    try:
        with output_to_stderr():
            yield
    finally:
        for one, was in zip(shared, before, strict=True):
            _restore(one, was, changed)
        if not torch_was_there and "torch" in sys.modules:
            # torch was imported by the block: compare with its initial defaults.
            for one in _torch_state():
                if one.name in _TORCH_BEGINS_WITH:
                    _restore(one, _TORCH_BEGINS_WITH[one.name], changed)


def _restore(one: _Shared, was: Any, changed: list[str]) -> None:
    now = one.read()
    if now != was:
        one.put_back(was)
        if not one.silent:
            if isinstance(was, dict):
                was, now = _differing(was, now), _differing(now, was)
            was, now = one_line(str(was), 60), one_line(str(now), 60)
            changed.append(f"changed {one.name} ({was} to {now}); it was put back")


def _differing(one: dict[str, Any], other: dict[str, Any]) -> dict[str, Any]:
    """The entries of the first dictionary that are missing or different in the second."""
    return {name: value for name, value in one.items() if other.get(name) != value}


def _shared_state() -> list[_Shared]:
    found = [
        _Shared("the working directory", os.getcwd, os.chdir),
        _Shared(
            "the locale",
            functools.partial(locale.setlocale, locale.LC_ALL),
            functools.partial(locale.setlocale, locale.LC_ALL),
        ),
        _Shared("the environment", _environment, _set_environment),
        _Shared("the mode of new files", _umask, os.umask),
        _Shared("which warnings are errors", _warnings_as_errors, _set_warnings_as_errors),
        _Shared("Python's recursion limit", sys.getrecursionlimit, sys.setrecursionlimit),
        _Shared("Python's random numbers", random.getstate, random.setstate, silent=True),
    ]
    found += [
        _Shared(
            f"the handler of {number.name}",
            functools.partial(signal.getsignal, number),
            functools.partial(signal.signal, number),
        )
        for number in (signal.SIGINT, signal.SIGTERM)
    ]
    if "numpy" in sys.modules:
        import numpy as np

        found.append(_Shared("NumPy's error handling", np.geterr, lambda was: np.seterr(**was)))
    return found + (_torch_state() if "torch" in sys.modules else [])


_VARIABLES = ("ZOO_", "CUDA_", "OMP_", "HOME", "PATH", "PYTHONPATH", "TMPDIR", "XDG_")
"""Prefixes of environment variables that affect other code."""


def _environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name.startswith(_VARIABLES)}


def _set_environment(was: dict[str, str]) -> None:
    for name in _environment().keys() - was:
        del os.environ[name]
    os.environ.update(was)


def _umask() -> int:
    # The umask can be read only by setting it.
    mask = os.umask(0o077)
    os.umask(mask)
    return mask


def _warnings_as_errors() -> list[Any]:
    return [each for each in warnings.filters if each[0] == "error"]


def _set_warnings_as_errors(was: list[Any]) -> None:
    kept = [each for each in warnings.filters if each[0] != "error" or each in was]
    # Appending by Python's own function invalidates its cache of the filters.
    warnings.simplefilter("default", append=True)
    warnings.filters[:] = kept  # type: ignore[index]


def _torch_state() -> list[_Shared]:
    import torch

    def deterministic() -> tuple[bool, bool]:
        return (
            torch.are_deterministic_algorithms_enabled(),
            torch.is_deterministic_algorithms_warn_only_enabled(),
        )

    return [
        _Shared(
            "torch's default dtype",
            lambda: str(torch.get_default_dtype()).removeprefix("torch."),
            lambda was: torch.set_default_dtype(getattr(torch, was)),
        ),
        # `None` removes the device mode, which would slow down every call of torch.
        _Shared(
            "torch's default device",
            lambda: str(torch.get_default_device()),
            lambda was: torch.set_default_device(None if was == "cpu" else was),
        ),
        _Shared("torch's grad mode", torch.is_grad_enabled, torch.set_grad_enabled),
        _Shared("torch's number of threads", torch.get_num_threads, torch.set_num_threads),
        _Shared(
            "torch's precision of products",
            torch.get_float32_matmul_precision,
            torch.set_float32_matmul_precision,
        ),
        _Shared(
            "torch's deterministic algorithms",
            deterministic,
            lambda was: torch.use_deterministic_algorithms(was[0], warn_only=was[1]),
        ),
        _Shared(
            "torch's anomaly detection",
            torch.is_anomaly_enabled,
            torch.autograd.set_detect_anomaly,
        ),
        _Shared(
            "cuDNN's choice of kernels",
            lambda: (torch.backends.cudnn.benchmark, torch.backends.cudnn.deterministic),
            _set_cudnn,
        ),
        _Shared(
            "torch's random numbers",
            lambda: torch.get_rng_state().numpy().tobytes(),
            lambda was: torch.set_rng_state(torch.frombuffer(bytearray(was), dtype=torch.uint8)),
            silent=True,
        ),
    ]


def _set_cudnn(was: tuple[bool, bool]) -> None:
    import torch

    torch.backends.cudnn.benchmark, torch.backends.cudnn.deterministic = was
