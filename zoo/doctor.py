"""Checks of `zoo doctor`: what film-zoo needs from a machine, reported line by line.

The checks fetch and repair nothing, and leave no files behind.
"""

from __future__ import annotations

import importlib.metadata
import io
import os
import platform
import shutil
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Literal

from zoo.base.extras import install_command, package_command
from zoo.base.locks import SUFFIX, CannotLock, try_lock
from zoo.base.network import OFFLINE, is_offline
from zoo.base.numbers import counted
from zoo.base.safe_text import error_line
from zoo.base.workspace import Workspace

State = Literal["good", "warning", "problem"]
"""`warning`: something is missing or slow; `problem`: something will fail."""
LIBRARIES = ("torch", "torchvision", "numpy", "av", "safetensors", "timm", "pydantic")
LEAST_FREE, FREE = 1e9, 10e9
"""Bytes; less free space is a problem or a warning. A film at 256x144 takes about 19 GB."""
DECODERS = ("h264", "hevc", "av1", "vp9", "vp8", "mpeg4", "mpeg2video", "prores", "mjpeg")
_QUIET = {"libx265": {"x265-params": "log-level=none"}}
ENCODERS = {
    "libx264": "videos are written with it, and it stands in comparisons",
    "libx265": "it stands in comparisons",
    "libsvtav1": "it stands in comparisons",
    "aac": "sound that cannot be copied is written with it",
}
_FRAMES, _SIDE = 3, 64
_REINSTALL = f"{package_command('--force-reinstall av')} brings a whole FFmpeg"


@dataclass(frozen=True)
class Finding:
    """The result of one check: its topic, its state and the next step."""

    topic: str
    state: State
    said: str
    step: str = ""
    """The next step; empty if all is well."""


def good(topic: str, said: str) -> Finding:
    """Report that all is well."""
    return Finding(topic, "good", said)


def warning(topic: str, said: str, step: str) -> Finding:
    """Report that something is missing or slow."""
    return Finding(topic, "warning", said, step)


def problem(topic: str, said: str, step: str) -> Finding:
    """Report that something will fail."""
    return Finding(topic, "problem", said, step)


def environment(workspace: Workspace) -> Iterator[Finding]:
    """The versions of film-zoo, Python and the libraries that affect results."""
    release = importlib.metadata.version("film-zoo")
    yield good("environment", f"film-zoo {release}, Python {platform.python_version()}")
    yield good("environment", f"{platform.system()} {platform.release()}, {platform.machine()}")
    for library in LIBRARIES:
        try:
            yield good("environment", f"{library} {importlib.metadata.version(library)}")
        except importlib.metadata.PackageNotFoundError:
            yield problem("environment", f"{library} is not installed", install_command())


def devices(workspace: Workspace) -> Iterator[Finding]:
    """The processor and every GPU, each tested by computing a sum."""
    import torch

    from zoo.base.devices import processor

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
    """The threads that torch uses, compared with the processors available to this process."""
    import torch

    here = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    used = torch.get_num_threads()
    said = f"torch uses {used} on {here} processors"
    if used > here:
        yield warning("threads", said, f"set OMP_NUM_THREADS={here}, or --threads {here}")
    else:
        yield good("threads", said)


def disk(workspace: Workspace) -> Iterator[Finding]:
    """Free disk space in the workspace and in the cache of weights."""
    from zoo.base.workspace import cache_folder

    for what, folder in (("workspace", workspace.root), ("cache", cache_folder())):
        place = _existing(folder)
        free = shutil.disk_usage(place).free
        said = f"{what} {folder}: {free / 1e9:,.1f} GB free"
        if free < LEAST_FREE:
            yield problem("disk", said, "make room, or work on another disk")
        elif free < FREE:
            yield warning("disk", said, "make room before a long film is ingested")
        else:
            yield good("disk", said)


def workspace_is_writable(workspace: Workspace) -> Iterator[Finding]:
    """Whether files can be written and read in the workspace, and whether films.toml is valid."""
    from zoo.base.errors import BadInput
    from zoo.films.catalogue import Catalogue
    from zoo.films.source_files import is_present

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
            yield problem(
                "workspace", f"{workspace.root} loses what is written", "work in another folder"
            )
    try:
        films = Catalogue.open(workspace).own
    except BadInput as error:
        yield problem("workspace", str(error), f"repair {workspace.catalogue}")
        return
    for entry in films.values():
        for path in entry.files:
            if not is_present(path):
                step = f"bring it back, or `zoo films remove {entry.name}`"
                yield warning("workspace", f"film {entry.name}: {path} is not there", step)
    added = f"{counted(len(films), 'film')} added"
    yield good("workspace", added if films else "no films added yet: `zoo films add FILE`")


def _locks(workspace: Workspace) -> Finding:
    """Whether file locks work on the disk of the workspace."""
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


def codecs(workspace: Workspace) -> Iterator[Finding]:
    """Every codec that film-zoo uses; video encoders are tried on a few frames."""
    import av

    yield good("codec", f"PyAV {av.__version__}, FFmpeg {av.ffmpeg_version_info}")
    missing = [name for name in DECODERS if not _has(name, "r")]
    there = [name for name in DECODERS if name not in missing]
    yield good("codec", f"decodes {', '.join(there)}")
    if missing:
        yield warning("codec", f"no decoder for {', '.join(missing)}", _REINSTALL)
    for name, use in ENCODERS.items():
        if not _has(name, "w"):
            state = problem if name == "libx264" else warning
            yield state("codec", f"no encoder {name}: {use}", _REINSTALL)
            continue
        fault = None if name == "aac" else _fault(name)
        if fault:
            yield problem("codec", f"{name} fails: {fault}", _REINSTALL)
        else:
            yield good("codec", f"encodes with {name}")


def _has(name: str, mode: str) -> bool:
    from av.codec import Codec
    from av.codec.codec import UnknownCodecError

    try:
        Codec(name, mode)  # type: ignore[arg-type]
    except UnknownCodecError:
        return False
    return True


def _fault(encoder: str) -> str | None:
    """Encode and decode a few frames; return the error, or None if it works."""
    import av
    import numpy as np
    from av.video.stream import VideoStream

    from zoo.base.encoder_priority import quiet_encoders, usual_priority

    quiet_encoders()
    file = io.BytesIO()
    try:
        with av.open(file, "w", format="mp4") as container:
            stream = container.add_stream(encoder, Fraction(25), options=_QUIET.get(encoder))
            assert isinstance(stream, VideoStream)
            stream.width = stream.height = _SIDE
            stream.pix_fmt = "yuv420p"
            for number in range(_FRAMES):
                grey = np.full((_SIDE, _SIDE, 3), 60 * number, np.uint8)
                frame = av.VideoFrame.from_ndarray(grey, "rgb24").reformat(format="yuv420p")
                frame.pts, frame.time_base = number, Fraction(1, 25)
                with usual_priority():
                    container.mux(stream.encode(frame))
            with usual_priority():
                container.mux(stream.encode(None))
        file.seek(0)
        with av.open(file, "r", format="mp4") as container:
            back = sum(1 for _ in container.decode(video=0))
    except (av.FFmpegError, ValueError) as error:
        return " ".join(str(error).split())[:200]
    return None if back == _FRAMES else f"{_FRAMES} frames went in and {back} came out"


def pretrained_weights(workspace: Workspace) -> Iterator[Finding]:
    """Where each file of pretrained weights is, and whether its hash is right."""
    from zoo.pretrained import WeightsUnavailable, efficientnet_lite0_state
    from zoo.pretrained.lookup import FETCHED, stored_files

    for weights in FETCHED:
        found = stored_files(weights)
        for place in found:
            if place.valid:
                yield good("weights", f"{weights.title}: {place.path}, hash right")
            else:
                step = "delete that file; it is never used"
                yield problem("weights", f"{weights.title}: {place.path}: {place.fault}", step)
        if not any(place.valid for place in found):
            step = (
                f"unset {OFFLINE}, or put them there by hand (docs/pretrained.md)"
                if is_offline()
                else f"nothing: about {weights.hub_megabytes} MB or less come when first needed"
            )
            yield warning("weights", f"{weights.title}: not here yet", step)
    try:
        efficientnet_lite0_state()
    except WeightsUnavailable as error:
        yield problem("weights", f"EfficientNet-Lite0: {error}", "install film-zoo again")
    else:
        yield good("weights", "EfficientNet-Lite0: in its package, hash right")


def plugins(workspace: Workspace) -> Iterator[Finding]:
    """Every installed plugin, with what it adds or why it failed."""
    from zoo.plugins.entry_points import BUILT_IN, LIMIT
    from zoo.plugins.registry import registry
    from zoo.report.plugin_sections import section_registry

    found = (*registry().plugins, *section_registry().plugins)
    built_in = [p for p in found if p.package == BUILT_IN and not p.errors and not p.left_out]
    yield good("plugin", f"{len(built_in)} of film-zoo itself")
    for plugin in found:
        named = f"{plugin.name}, from {plugin.origin}"
        if plugin.left_out:
            yield warning("plugin", f"{named}: left out", f"add it to {LIMIT}, or unset that")
        for error in plugin.errors:
            repair = package_command(f"--upgrade {plugin.package}")
            if plugin.folder:
                repair = f"repair it in {plugin.folder}"
            step = f"{repair}, or leave it out by {LIMIT}"
            yield problem("plugin", f"{named}: {error}", step)
        if plugin.adds and plugin.package != BUILT_IN:
            names = [name for hook in plugin.adds.values() for name in hook]
            yield good("plugin", f"{named}: adds {', '.join(names)}")


Check = Callable[[Workspace], Iterator[Finding]]

CHECKS: dict[str, Check] = {
    "environment": environment,
    "device": devices,
    "threads": threads,
    "codec": codecs,
    "weights": pretrained_weights,
    "plugin": plugins,
    "disk": disk,
    "workspace": workspace_is_writable,
}


def run_checks(workspace: Workspace) -> Iterator[Finding]:
    """Run every check; a check that raises is reported as a problem, and the others still run."""
    for topic, check in CHECKS.items():
        try:
            yield from check(workspace)
        except Exception as error:
            yield problem(
                topic, f"could not be looked at: {error_line(error)}", "repair that first"
            )
