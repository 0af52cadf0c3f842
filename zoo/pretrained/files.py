"""Files of pretrained weights that a plugin names by address and hash.

`pretrained_state(file)` finds a file in the folder that `ZOO_WEIGHTS` names, then in our cache, and
else downloads it from its public address into the cache. Wherever it lies, it is read only if its
sha256 is the one that was stated, and without running any code of it.
"""

from __future__ import annotations

import hashlib
import io
import os
from dataclasses import dataclass
from pathlib import Path

from zoo.base.atomic_files import atomic_write
from zoo.base.errors import BadInput
from zoo.base.network import NETWORK_ERRORS, read_blocks, short_reason, why_offline
from zoo.base.untrusted_files import read_bytes
from zoo.base.workspace import cache_folder
from zoo.pretrained.fetch import DOWNLOAD_SECONDS, Notice
from zoo.pretrained.lookup import LOCK_SECONDS, one_at_a_time, to_standard_error
from zoo.pretrained.weights import State, WeightsUnavailable

FOLDER = "ZOO_WEIGHTS"
"""The environment variable that names a folder with such files."""


@dataclass(frozen=True)
class PretrainedFile:
    """A state dict that somebody publishes as a `.pth` file."""

    name: str
    """Of the file: `taef2_encoder.pth`."""
    url: str
    sha256: str
    size: int
    """Bytes."""


def pretrained_state(file: PretrainedFile, notice: Notice | None = None) -> State:
    """The state dict in a file, from the first place that has it; raises WeightsUnavailable.

    `notice` is called with one line before anything is downloaded, as in
    `zoo.pretrained.alexnet_features_state`.
    """
    import torch

    content = _content(file, notice or to_standard_error)
    try:
        state: State = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except Exception as error:  # the hash is right, so what it names is not weights
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
        raise _unavailable(file, [*reasons, forbidden])
    try:
        with one_at_a_time(cached.with_suffix(".lock")):
            content, _ = _read(cached, file)  # another process may have fetched it
            return _downloaded(file, cached, notice) if content is None else content
    except TimeoutError:
        reasons.append(f"another process has fetched it for {LOCK_SECONDS:.0f} s")
    except NETWORK_ERRORS as error:
        reasons.append(f"{file.url}: {short_reason(error)}")
    raise _unavailable(file, reasons)


def _read(path: Path, file: PretrainedFile) -> tuple[bytes | None, str]:
    """The content of a file if it is the right one, else None and why not."""
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
            raise ValueError("more comes than the file has")
    if hashlib.sha256(content).hexdigest() != file.sha256:
        raise ValueError("what came has the wrong sha256")
    with atomic_write(target) as temporary:
        temporary.write_bytes(content)
    return content


def _unavailable(file: PretrainedFile, reasons: list[str]) -> WeightsUnavailable:
    return WeightsUnavailable(
        f"{file.name} is not available: {'; '.join(reasons)}. {FOLDER} names a folder that has it"
    )
