"""Open a film: decode its files once into a frame store, which then opens in milliseconds."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import shutil
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np
import numpy.typing as npt

from zoo.api.film_entry import FilmEntry
from zoo.base.atomic_files import best_effort, confined, replace_folder, write_json
from zoo.base.errors import FULL, BadInput, CannotWrite, ZooError, write_error
from zoo.base.frame_size import FrameSize
from zoo.base.locks import exclusive_lock, print_waiting
from zoo.base.safe_text import one_line
from zoo.base.time_code import JITTER_SECONDS, FrameTimes
from zoo.base.workspace import Workspace
from zoo.films.frame_store import (
    FRAMES,
    MANIFEST,
    SCORES,
    TIMES,
    FrameStore,
    IngestSettings,
    Manifest,
    Resampled,
    SourceFile,
    SplitRecord,
    store_lock,
)
from zoo.films.ingested_film import Film, Shot
from zoo.films.pipeline import (
    FramePipeline,
    IngestProgress,
    Progress,
    ProgressReporter,
    probe_film,
    repeat_if_bars_change,
)
from zoo.films.probe import FileProbe, frames_in_words
from zoo.films.shots_and_split import DETECTOR, Split, check_holdout, find_shots, split_by_shot
from zoo.films.source_files import digest, identity

# Space for times, scores, the manifest and the file system, in addition to the frames.
_SLACK_BYTES = 16 << 20


def open_film(
    entry: FilmEntry,
    size: FrameSize,
    workspace: Workspace,
    *,
    holdout: float = 0.1,
    progress: Progress | None = None,
    hwaccel: str | None = None,
    threads: int = 0,
) -> Film:
    """Open a film at one size; ingest it first if that has not been done.

    `holdout` is the share of frames to hold out, 0 to 0.5. `hwaccel` names a hardware decoder, such
    as `cuda`; `threads` is the decoder's number of threads, 0 for one per core.

    An ingested film opens in milliseconds: its files are recognised by length and samples
    (`file_fingerprint`). If their modification time has changed, as in a copy, they are read whole
    once. A damaged store is made again. If two processes open the same film, it is ingested once.
    Files that killed processes left half written among the film's stores and runs are removed.
    While the film object lives, its frames cannot be removed. Raises BadInput on files or settings
    that cannot be used, and ZooError if the disk is full; nothing is left behind then.
    """
    check_holdout(holdout)
    workspace.sweep(entry.name)
    location = locate_store(entry, size, workspace)
    store = FrameStore.find(location.folder)
    if store is None or _changed_since(store, location):
        with _locked(location.folder, entry, progress):
            store = FrameStore.find(location.folder)
            if store and _changed_since(store, location):
                files = _source_files(entry, location)
                before = [file.sha256 for file in store.manifest.files]
                same = before == [file.sha256 for file in files]
                store = store.with_fields(files=files) if same else None
            if store is None:
                known = known_frames(entry, workspace)
                _make_store(entry, location, progress, hwaccel, threads, known)
                store = FrameStore.find(location.folder)
    if store is None:
        raise ZooError(f"the frames in {location.folder} vanished while being made; try again")
    return _film(entry, store, holdout, progress)


def _make_store(
    entry: FilmEntry,
    location: StoreLocation,
    progress: Progress | None,
    hwaccel: str | None,
    threads: int,
    known: int | None,
) -> None:
    if (location.folder / MANIFEST).exists():
        _print(entry, progress, f"the frames in {location.folder} are damaged: decoding them again")
    # Left behind by killed processes of film-zoo 0.1.0.
    for left in location.folder.parent.glob(f".{location.folder.name}.*"):
        shutil.rmtree(left, ignore_errors=True)
    try:
        with replace_folder(location.folder) as new:
            write_store(entry, location, new, progress, hwaccel, threads, known)
    except OSError as error:
        full = error.__cause__ if isinstance(error, CannotWrite) else error
        if isinstance(full, OSError) and full.errno in FULL:
            raise ZooError(
                f"{write_error(full.errno)}: the frames did not fit into {location.folder.parent}; "
                "nothing is kept. Make room or choose a smaller --size"
            ) from None
        raise


def write_store(
    entry: FilmEntry,
    location: StoreLocation,
    folder: Path,
    progress: Progress | None,
    hwaccel: str | None,
    threads: int,
    known: int | None,
) -> None:
    """Decode a film into an empty folder. Raises BadInput or ZooError, see `open_film`.

    `known` is its number of frames, if it was decoded at another size before.
    """
    settings, reporter = location.settings, ProgressReporter(entry.name, progress)
    probes = probe_film(entry, settings, reporter)
    _report_space(entry, settings, probes, known, folder, reporter)

    def write_frames() -> FramePipeline:
        pipeline = FramePipeline(entry, settings, probes, reporter, hwaccel, threads)
        with (folder / FRAMES).open("wb") as file, closing(pipeline.frames()) as frames:
            for pixels in frames:
                file.write(np.ascontiguousarray(pixels).data)
        return pipeline

    pipeline = repeat_if_bars_change(probes, reporter, write_frames)
    _write_manifest(pipeline, entry, location, folder)


def _report_space(
    entry: FilmEntry,
    settings: IngestSettings,
    probes: Sequence[FileProbe],
    known: int | None,
    folder: Path,
    reporter: ProgressReporter,
) -> None:
    expected = known or sum(probe.expected for probe in probes)
    frames = frames_in_words(probes, known)
    if not frames:
        silent = all(probe.part.duration is None for probe in probes)
        why = "its files do not say how long they are" if silent else "its range has no frames"
        reporter.message(f"{entry.name}: {why}")
        return
    store = expected * settings.size.pixels * 3
    needed = store + _SLACK_BYTES
    free = shutil.disk_usage(folder).free
    reporter.message(f"{entry.name}: {frames} at {settings.size}, {_bytes(store)} on disk")
    if needed > free:
        # This is only an estimate, so the ingest goes on.
        reporter.message(
            f"{entry.name} may not fit: {_bytes(free)} are free in the workspace. If the disk "
            "fills up, nothing is kept; make room or choose a smaller --size"
        )


def _bytes(count: int) -> str:
    for size, unit in ((1e9, "GB"), (1e6, "MB")):
        if count >= size:
            return f"{count / size:.1f} {unit}"
    return f"{count / 1e3:.0f} kB"


def _write_manifest(
    pipeline: FramePipeline, entry: FilmEntry, location: StoreLocation, folder: Path
) -> None:
    """Write all but the frames: times, scores, shots and the manifest."""
    settings, decoder, probes = pipeline.settings, pipeline.decoder, pipeline.probes
    times = np.array(pipeline.times, dtype=np.float64)
    scores = np.array(pipeline.scores, dtype=np.float32)
    np.save(folder / TIMES, times)
    np.save(folder / SCORES, scores)
    steps = _steps(times, [part.starts for part in decoder.parts])
    fps = float(1 / steps.mean()) if settings.fps is None else float(settings.fps)
    varies = bool(np.abs(steps - np.median(steps)).max() > JITTER_SECONDS)
    for probe, decoded in zip(probes, decoder.parts, strict=False):
        part = probe.part
        part.starts, part.frames, part.joins = decoded.starts, decoded.frames, decoded.joins
    resampler = pipeline.resampler
    resampled = (
        Resampled(dropped=resampler.dropped, repeated=resampler.repeated) if resampler else None
    )
    manifest = Manifest(
        fingerprint=location.fingerprint,
        size=str(settings.size),
        fit=settings.fit,
        frames=len(times),
        fps=fps,
        variable_rate=varies,
        parts=[probe.part for probe in probes],
        damage=decoder.damage,
        resampled=resampled,
        detector=DETECTOR,
        # By the median step, so that a still that lasts minutes does not lengthen other shots.
        shots=find_shots(scores, np.array(pipeline.black), 1 / np.median(steps) if varies else fps),
        splits={},
        pyav=av.__version__,
        ffmpeg=av.ffmpeg_version_info,
        files=_source_files(entry, location),
    )
    write_json(folder / MANIFEST, manifest)


def _steps(times: npt.NDArray[np.float64], starts: Sequence[float]) -> npt.NDArray[np.float64]:
    """Return the seconds from frame to frame, without the steps from one file to the next."""
    steps = np.diff(times)
    part = np.searchsorted(np.array(starts), times, side="right")
    within = steps[part[1:] == part[:-1]]
    return within if len(within) else steps


@dataclass(frozen=True)
class StoreLocation:
    """Where the store of a film with given settings is, or would be."""

    settings: IngestSettings
    fingerprint: str
    folder: Path
    changed: list[int]
    """Modification time of each of the film's files: see `source_files.identity`."""


def _changed_since(store: FrameStore, location: StoreLocation) -> bool:
    then = [file.changed for file in store.manifest.files]
    return bool(then) and then != location.changed


def _source_files(entry: FilmEntry, location: StoreLocation) -> list[SourceFile]:
    digests = [digest(path) for path in entry.files]
    return [
        SourceFile(changed=changed, sha256=sha256)
        for changed, sha256 in zip(location.changed, digests, strict=True)
    ]


def locate_store(entry: FilmEntry, size: FrameSize, workspace: Workspace) -> StoreLocation:
    """Return where a film's store is, or would be.

    Raises BadInput if a file is missing or not a file, or if a folder of the store is a link.
    """
    settings = IngestSettings(size, entry.fit, entry.crop, entry.start, entry.stop, entry.fps)
    identities = [identity(path) for path in entry.files]
    changed = [time for _, time in identities]
    key = settings.fingerprint([contents for contents, _ in identities])
    stores = confined(workspace.stores / entry.name, workspace.stores)
    # In film-zoo 0.1.0 the modification times were part of the key.
    before = stores / hashlib.sha256(f"{key} {changed}".encode()).hexdigest()[:16]
    folder = before if (before / MANIFEST).exists() else stores / key[:16]
    return StoreLocation(settings, key, confined(folder, stores), changed)


def _film(entry: FilmEntry, store: FrameStore, holdout: float, progress: Progress | None) -> Film:
    manifest = store.manifest
    key = f"{holdout:g}"
    if key not in manifest.splits:
        rate = 1 / FrameTimes.of(store.times).period if manifest.variable_rate else manifest.fps
        split = split_by_shot(manifest.shots, manifest.frames, rate, holdout)
        record = SplitRecord(runs=split.held_out_runs, gap=split.gap)
        store = _with_split(store, key, record, entry, progress)
    record = store.manifest.splits[key]
    return Film(
        name=entry.name,
        title=entry.shown_title,
        licence=entry.licence,
        source=", ".join(one_line(path.name) for path in entry.files),
        size=store.size,
        fps=manifest.fps,
        shots=tuple(Shot(start, stop) for start, stop in manifest.shots),
        split=Split(manifest.frames, list(record.runs), record.gap),
        fingerprint=film_fingerprint(manifest.fingerprint, record),
        store=store,
    )


def _with_split(
    store: FrameStore,
    key: str,
    record: SplitRecord,
    entry: FilmEntry,
    progress: Progress | None,
) -> FrameStore:
    """Add a split to a store; on disk too, if it can be written."""
    splits = {**store.manifest.splits, key: record}
    manifest = store.manifest.model_copy(update={"splits": splits})
    with best_effort("its splits"), _locked(store.folder, entry, progress):
        # Another process may have added one meanwhile.
        now = FrameStore.open(store.folder)
        manifest = now.with_fields(splits={**now.manifest.splits, key: record}).manifest
    return dataclasses.replace(store, manifest=manifest)


def film_fingerprint(frames: str, split: SplitRecord) -> str:
    """Hash the identity of a film: the fingerprint of its frames, and which are held out."""
    identity = json.dumps([frames, split.runs, split.gap])
    return hashlib.sha256(identity.encode()).hexdigest()


@contextmanager
def _locked(folder: Path, entry: FilmEntry, progress: Progress | None) -> Iterator[None]:
    """Lock one store; reports when it has to wait for another process."""

    def waiting(line: str) -> None:
        _print(entry, progress, line)

    with exclusive_lock(store_lock(folder), f"the frames of {entry.name}", waiting=waiting):
        yield


def _print(entry: FilmEntry, progress: Progress | None, line: str) -> None:
    if progress:
        progress(IngestProgress(entry.name, 0, 0, line))
    else:
        print_waiting(line)


def known_frames(entry: FilmEntry, workspace: Workspace) -> int | None:
    """Return how many frames a film has if it was decoded at any size; None if at none."""
    for store in list_stores(entry, workspace):
        location = locate_store(entry, store.size, workspace)
        if location.folder == store.folder and not _changed_since(store, location):
            return store.manifest.frames
    return None


def list_stores(entry: FilmEntry, workspace: Workspace) -> list[FrameStore]:
    """List the readable stores of a film, of any size."""
    stores = []
    for manifest in sorted((workspace.stores / entry.name).glob(f"*/{MANIFEST}")):
        try:
            stores.append(FrameStore.open(manifest.parent))
        except BadInput:
            # A store that is damaged or of an older version is never opened, only made again.
            continue
    return stores
