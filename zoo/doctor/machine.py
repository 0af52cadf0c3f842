"""The machine: Python and libraries, devices, threads, disks, and the workspace."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from zoo.base.locks import SUFFIX, CannotLock, try_lock
from zoo.base.workspace import Workspace
from zoo.doctor.finding import Finding, good, problem, warning

LIBRARIES = ("torch", "torchvision", "numpy", "av", "safetensors", "timm", "pydantic")
LEAST_FREE, FREE = 1e9, 10e9
"""Bytes. A feature film at 256x144 takes about 19 GB decoded, a short clip some megabytes."""


def environment(workspace: Workspace) -> Iterator[Finding]:
    """film-zoo, Python and the libraries that decide what comes out."""
    release = importlib.metadata.version("film-zoo")
    yield good("environment", f"film-zoo {release}, Python {platform.python_version()}")
    yield good("environment", f"{platform.system()} {platform.release()}, {platform.machine()}")
    for library in LIBRARIES:
        try:
            yield good("environment", f"{library} {importlib.metadata.version(library)}")
        except importlib.metadata.PackageNotFoundError:
            yield problem(
                "environment", f"{library} is not installed", "`pip install --upgrade film-zoo`"
            )


def devices(workspace: Workspace) -> Iterator[Finding]:
    """The processor, and every GPU after a sum on it."""
    import torch

    from zoo.base.environment import processor

    yield good("device", f"cpu: {processor()}")
    if not torch.cuda.is_available():
        why = "this torch has no CUDA" if torch.version.cuda is None else "no CUDA device is here"
        yield good("device", f"no GPU: {why}")
        return
    for index in range(torch.cuda.device_count()):
        name = torch.cuda.get_device_name(index)
        try:
            right = torch.ones(1000, device=f"cuda:{index}").sum().item() == 1000
        except RuntimeError as error:
            said = " ".join(str(error).split())[:200]
            yield problem("device", f"cuda:{index}: {name}: {said}", "use --device cpu till then")
            continue
        if right:
            memory = torch.cuda.get_device_properties(index).total_memory / 1e9
            yield good("device", f"cuda:{index}: {name}, {memory:.0f} GB")
        else:
            yield problem("device", f"cuda:{index}: {name} cannot add", "use --device cpu")


def threads(workspace: Workspace) -> Iterator[Finding]:
    """Threads that torch will use, beside processors that this process may use."""
    import torch

    here = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    used = torch.get_num_threads()
    said = f"torch uses {used} on {here} processors"
    if used > here:
        yield warning("threads", said, f"set OMP_NUM_THREADS={here}, or --threads {here}")
    else:
        yield good("threads", said)


def disk(workspace: Workspace) -> Iterator[Finding]:
    """Free space where films and runs, and where weights are kept."""
    from zoo.pretrained.resolution import cache_folder

    for what, folder in (("workspace", workspace.root), ("cache", cache_folder())):
        place = _existing(folder)
        free = shutil.disk_usage(place).free
        said = f"{what} {folder}: {free / 1e9:,.1f} GB free"
        if free < LEAST_FREE:
            yield problem("disk", said, "make room, or work elsewhere")
        elif free < FREE:
            yield warning("disk", said, "make room before a long film is ingested")
        else:
            yield good("disk", said)


def workspace_is_writable(workspace: Workspace) -> Iterator[Finding]:
    """Whether a file can be written and read again where the user stands, and films.toml read."""
    from zoo.base.errors import BadInput
    from zoo.films.catalogue import Catalogue

    try:
        with tempfile.TemporaryFile(dir=workspace.root) as file:
            file.write(b"film-zoo")
            file.seek(0)
            whole = file.read() == b"film-zoo"
    except OSError as error:
        step = "work in a folder that may be written to"
        yield problem("workspace", f"{workspace.root}: {error.strerror}", step)
    else:
        if whole:
            yield good("workspace", f"{workspace.root} can be written to")
            yield _locks(workspace)
        else:
            yield problem("workspace", f"{workspace.root} loses what is written", "work elsewhere")
    try:
        films = Catalogue.open(workspace).own
    except BadInput as error:
        yield problem("workspace", str(error), f"mend {workspace.catalogue}")
        return
    for entry in films.values():
        for path in entry.files:
            if not path.exists():
                step = f"bring it back, or `zoo films remove {entry.name}`"
                yield warning("workspace", f"film {entry.name}: {path} is not there", step)
    yield good("workspace", f"films of its own: {len(films)}")


def _locks(workspace: Workspace) -> Finding:
    """Whether processes can keep out of each other's way on the disk of the workspace."""
    with tempfile.TemporaryDirectory(dir=workspace.root, prefix=".zoo-doctor-") as folder:
        try:
            lock = try_lock(Path(folder) / SUFFIX)
        except CannotLock as error:
            said = f"{workspace.root} is on a disk without file locks: {error.strerror}"
            return problem("workspace", said, "mount it with them (docs/cluster.md)")
        assert lock is not None, "nobody else knows this folder"
        marker = lock.is_marker
        lock.release()
        if marker:
            said = f"{workspace.root} is on a disk without flock: locks are files"
            return warning("workspace", said, "mount it with flock (docs/cluster.md)")
    return good("workspace", f"{workspace.root} has file locks")


def _existing(folder: Path) -> Path:
    return next(place for place in (folder, *folder.absolute().parents) if place.exists())
