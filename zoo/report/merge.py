"""Merge the results of several machines: `zoo report FOLDER OTHER... --into DEST`.

Folders can be merged if they have the same films, frame for frame, and the same preset, budget and
batch. A merge keeps its files in `merged/` under names with the hash of their content. So names
never collide, identical files are stored once, and merging again changes no file that the earlier
report still shows.
"""

from __future__ import annotations

import datetime
import hashlib
import json
import re
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from zoo.base.atomic_files import atomic_write, sweep_below
from zoo.base.errors import BadInput
from zoo.base.locks import folder_lock
from zoo.base.records import FilmInfo, MetricInfo, Record, Results, Series, SeriesRow, SideBySide
from zoo.base.untrusted_files import check_regular, read_json
from zoo.report.aggregate import environment_key
from zoo.report.results_folder import (
    MERGE_MARKER,
    MERGED,
    RESULTS,
    named,
    new_report,
    path_in_folder,
    read_results,
    replace_report,
    series_row,
    shared_frames,
    within_size_limit,
)
from zoo.report.write import build_report, check

_PROTOCOL = ("preset", "budget", "batch")


@dataclass(frozen=True)
class _Source:
    folder: Path
    results: Results


def merge(folders: Sequence[Path], into: Path) -> tuple[Results, Path]:
    """Merge several results folders into one, and write its report.

    Records keep their order. If two folders have a record from the same machine, the later folder's
    is used. A film's barcode, sheet and video come from the first folder that has them, and its
    side-by-side video from the first folder without a replaced model in it. `into` must be new,
    empty or an earlier merge; `folders` are only read. Returns the results and the path of
    `report.md`. Raises BadInput, with nothing changed, if the folders do not fit together or name
    a file outside them.
    """
    _check_apart(folders, into)
    _check_free(into)
    sources = [_source(folder) for folder in folders]
    files = Files()
    results = _merged(sources, files)
    with folder_lock(into):
        _check_free(into)
        sweep_below(into)
        with new_report(into) as new:
            files.write(into, new)
            build_report(results, new, new)
            with atomic_write(new / MERGE_MARKER) as temporary:
                temporary.write_text(
                    "zoo report --into overwrites this folder.\n", encoding="utf-8"
                )
            replace_report(new, into, results)
    return results, into / "report.md"


def _source(folder: Path) -> _Source:
    results = read_results(folder)
    try:
        check(results, folder)
    except BadInput as error:
        raise BadInput(f"{folder}: {error}") from None
    return _Source(folder, results)


def _check_apart(folders: Sequence[Path], into: Path) -> None:
    place = into.resolve()
    for folder in folders:
        source = folder.resolve()
        if place.is_relative_to(source) or source.is_relative_to(place):
            raise BadInput(f"--into {into} must lie outside {folder}, which is only read")


def _check_free(into: Path) -> None:
    """Raise BadInput unless a folder is new, empty or an earlier merge."""
    if not into.exists():
        return
    if not into.is_dir():
        raise BadInput(f"--into {into} is not a folder")
    # Names of locks and temporary files begin with a dot.
    found = sorted(path.name for path in into.iterdir() if not path.name.startswith("."))
    if found and not (into / MERGE_MARKER).is_file():
        raise BadInput(
            f"--into {into} holds {found[0][:60]!r}; a merge is written into a folder that is "
            "new or empty, or over an earlier merge"
        )
    if RESULTS in found:
        earlier = read_results(into)
        if not all(name.startswith(f"{MERGED}/") for name in named(earlier)):
            raise BadInput(f"--into {into} holds a comparison's own results, not an earlier merge")


def _merged(sources: Sequence[_Source], files: Files) -> Results:
    first = sources[0]
    for other in sources[1:]:
        _check_protocol(first, other)
    records = _records(sources)
    films = _films(sources, records, files)
    starts = {film.name: film.video_start for film in films}
    commands = [line for each in sources for line in each.results.command.splitlines()]
    return Results(
        created=max((each.results.created for each in sources), key=_moment),
        command="\n".join(dict.fromkeys(commands)),
        preset=first.results.preset,
        budget=first.results.budget,
        batch=first.results.batch,
        films=films,
        metrics=_metrics(sources),
        records=[_with_files(record, source, starts, files) for source, record in records],
    )


def _check_protocol(one: _Source, other: _Source) -> None:
    for name in _PROTOCOL:
        here, there = (getattr(each.results, name) for each in (one, other))
        if here != there:
            raise BadInput(
                f"records under different protocols are not comparable: the {name} is "
                f"{str(here)[:60]!r} in {one.folder} and {str(there)[:60]!r} in {other.folder}"
            )


def _moment(created: str) -> datetime.datetime:
    try:
        moment = datetime.datetime.fromisoformat(created)
    except ValueError:
        raise BadInput(f"results were made at {created[:60]!r}, which is not a time") from None
    return moment if moment.tzinfo else moment.replace(tzinfo=datetime.UTC)


def _records(sources: Sequence[_Source]) -> list[tuple[_Source, Record]]:
    """All records with their sources, in order; of duplicates only the last source's record."""
    kept: list[tuple[_Source, Record]] = []
    later: set[str] = set()
    for source in reversed(sources):
        keys = [_cell(record) for record in source.results.records]
        pairs = zip(keys, source.results.records, strict=True)
        kept[:0] = [(source, record) for key, record in pairs if key not in later]
        later.update(keys)
    return kept


def _cell(record: Record) -> str:
    """A key that two records share if they are the same run on the same machine."""
    fields = {"model", "options", "origin", "seed", "trained_on", "evaluated_on"}
    own = [record.model_dump(mode="json", include=fields), environment_key(record.environment)]
    return json.dumps(own, sort_keys=True)


def _films(
    sources: Sequence[_Source], records: Sequence[tuple[_Source, Record]], files: Files
) -> list[FilmInfo]:
    found: dict[str, list[tuple[_Source, FilmInfo]]] = {}
    for source in sources:
        for film in source.results.films:
            versions = found.setdefault(film.name, [])
            versions.append((source, film))
            _check_same(*versions[0], *versions[-1])
    return [_film(versions, records, files) for versions in found.values()]


def _check_same(one: _Source, film: FilmInfo, other: _Source, again: FilmInfo) -> None:
    for name in ("size", "fingerprint"):
        if getattr(film, name) != getattr(again, name):
            raise BadInput(
                f"the film {film.name[:60]!r} is not the same in {one.folder} and {other.folder}: "
                f"its {name} differs"
            )


def _film(
    versions: Sequence[tuple[_Source, FilmInfo]],
    records: Sequence[tuple[_Source, Record]],
    files: Files,
) -> FilmInfo:
    shown: dict[str, str | None] = {"series": _series(versions, records, files)}
    start = 0
    for what in ("barcode", "video", "sheet"):
        named = [(s.folder, film) for s, film in versions if getattr(film, what)]
        there = [each for each in named if path_in_folder(each[0], getattr(each[1], what)).exists()]
        for folder, film in [*there, *named][:1]:
            shown[what] = files.take(folder, getattr(film, what))
            start = film.video_start if what == "video" else start
    together = {
        "side_by_side": _side_by_side(versions, records, files),
        "overlaps": _overlaps([film for _, film in versions]),
        "video_start": start,
    }
    return versions[0][1].model_copy(update={**shown, **together})


def _overlaps(versions: Sequence[FilmInfo]) -> dict[str, float] | None:
    """The share of a film that matches each film it was compared with; None if unknown."""
    known = [film.overlaps for film in versions if film.overlaps is not None]
    return {other: share for each in known for other, share in each.items()} if known else None


def _side_by_side(
    versions: Sequence[tuple[_Source, FilmInfo]],
    records: Sequence[tuple[_Source, Record]],
    files: Files,
) -> SideBySide | None:
    """The first existing side-by-side video without a replaced run, else the first named one."""
    named = [
        (source.folder, film.side_by_side)
        for source, film in versions
        if film.side_by_side
        and all(
            any(_same_run(shown, kept) for _, kept in records)
            for shown in _shown_beside(source.results, film.name, film.side_by_side)
        )
    ]
    there = [each for each in named if path_in_folder(each[0], each[1].video).exists()]
    for folder, one in [*there, *named]:
        return one.model_copy(update={"video": files.take(folder, one.video)})
    return None


def _shown_beside(results: Results, film: str, beside: SideBySide) -> list[Record]:
    """The records that a side-by-side video may show: those that have a video of their own."""
    return [
        record
        for record in results.records
        if record.video
        and record.model in beside.panels
        and record.evaluated_on == record.trained_on == film
    ]


def _same_run(one: Record, other: Record) -> bool:
    """Whether two records come from the same run, with equal scores in all shared metrics."""
    shared = one.scores.keys() & other.scores.keys()
    return one.run == other.run and all(one.scores[name] == other.scores[name] for name in shared)


def _series(
    versions: Sequence[tuple[_Source, FilmInfo]],
    records: Sequence[tuple[_Source, Record]],
    files: Files,
) -> str | None:
    """Merge the scores per frame of all records into one file, with a machine for each row."""
    named_ones = [(source, film.series) for source, film in versions if film.series]
    read = [
        (source, read_json(path, Series))
        for source, name in named_ones
        if (path := path_in_folder(source.folder, name)).exists()
    ]
    if not read:
        return next((files.take(source.folder, name) for source, name in named_ones), None)
    (first, base), *others = read
    for other, series in others:
        # A series with very many rows is stored with fewer frames.
        both = shared_frames(base, series)
        if both is None:
            raise BadInput(
                f"the scores of {base.film[:60]!r} per frame are not of the same frames in "
                f"{first.folder} and {other.folder}"
            )
        base = both
    by_folder = {source.folder: shared_frames(series, base) for source, series in read}
    rows = []
    for source, record in records:
        own = record.evaluated_on == record.trained_on == versions[0][1].name
        series_here = by_folder.get(source.folder)
        row = series_row(series_here, record) if own and series_here else None
        if row:
            machine = environment_key(record.environment)
            rows.append(SeriesRow(run=row.run, machine=machine, scores=row.scores))
    series = within_size_limit(base.model_copy(update={"rows": rows}))
    return files.add(base.film, ".json", (series.model_dump_json() + "\n").encode())


def _metrics(sources: Sequence[_Source]) -> list[MetricInfo]:
    """Every metric once; unavailable only if it was unavailable in every source."""
    found: dict[str, MetricInfo] = {}
    for source in sources:
        for metric in source.results.metrics:
            known = found.setdefault(metric.name, metric)
            if known.unavailable is not None and metric.unavailable is None:
                found[metric.name] = metric
    return list(found.values())


def _with_files(record: Record, source: _Source, starts: Mapping[str, int], files: Files) -> Record:
    """The record with new file names; drops a video with a different first frame."""
    folder = source.folder
    pictures = [
        picture.model_copy(
            update={
                "original": files.take(folder, picture.original),
                "reconstruction": files.take(folder, picture.reconstruction),
            }
        )
        for picture in record.pictures
    ]
    begins = {film.name: film.video_start for film in source.results.films}
    fits = begins.get(record.evaluated_on) == starts.get(record.evaluated_on)
    video = files.take(folder, record.video) if record.video and fits else None
    return record.model_copy(update={"pictures": pictures, "video": video})


_DIGITS = 32
"""Hexadecimal digits of a hash in a file name."""


@dataclass
class Files:
    """The files of a merge: a source path or the content, by new name."""

    _held: dict[str, Path | bytes] = field(default_factory=dict)
    _known: dict[Path, str] = field(default_factory=dict)

    def take(self, folder: Path, name: str) -> str:
        """Add a file that a record names in `folder`; return its name in the merge.

        A missing file gets a name that no file has. Raises BadInput if the file is outside
        `folder`, is not a regular file or cannot be read.
        """
        path = path_in_folder(folder, name)
        if path not in self._known:
            try:
                if not path.exists():
                    return f"{MERGED}/absent-{_plain(path.stem)}{_plain_suffix(path.suffix)}"
                check_regular(path)
                with path.open("rb") as file:
                    digest = hashlib.file_digest(file, "sha256").hexdigest()
            except OSError as error:
                raise BadInput(f"{path} cannot be read: {error.strerror}") from None
            self._known[path] = _hashed(path.stem, path.suffix, digest)
            self._held[self._known[path]] = path
        return self._known[path]

    def add(self, stem: str, suffix: str, content: bytes) -> str:
        """Add new content; return its name in the merge."""
        hashed = _hashed(stem, suffix, hashlib.sha256(content).hexdigest())
        self._held[hashed] = content
        return hashed

    def write(self, into: Path, out: Path) -> None:
        """Write all files below `out`; files that `into` already has are linked, not copied."""
        for name, content in self._held.items():
            (out / name).parent.mkdir(parents=True, exist_ok=True)
            if not _linked(into / name, out / name):
                with atomic_write(out / name) as temporary:
                    if isinstance(content, bytes):
                        temporary.write_bytes(content)
                    else:
                        shutil.copyfile(content, temporary)


def _linked(old: Path, new: Path) -> bool:
    """Hard-link a regular file under a second name; return False if that fails."""
    if old.parent.is_symlink() or old.is_symlink() or not old.is_file():
        return False
    try:
        new.hardlink_to(old)
    except OSError:  # unsupported by some file systems
        return False
    return True


def _hashed(stem: str, suffix: str, digest: str) -> str:
    short = digest[:_DIGITS]
    # The name of a file from an earlier merge already ends in its hash.
    return f"{MERGED}/{_plain(stem.removesuffix(f'-{short}'))}-{short}{_plain_suffix(suffix)}"


def _plain(stem: str) -> str:
    return re.sub(r"[^A-Za-z0-9_-]+", "-", stem)[:40].strip("-") or "file"


def _plain_suffix(suffix: str) -> str:
    return suffix if re.fullmatch(r"[.][A-Za-z0-9]{1,8}", suffix) else ""
