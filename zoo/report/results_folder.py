"""A results folder: its files, how to read them, and how to replace a whole report at once.

A report is written into `.new-…` inside its folder. When it is complete, `.new-…` is renamed to
`.ready`, which commits the new report. Then its files are moved to their places, and files that
only the earlier report had are removed. If a process is killed in between, the next writer finishes
this step. Nothing is read, written or removed outside the folder or through a link, and files that
no report names are left alone.
"""

from __future__ import annotations

import io
import json
import os
import secrets
import shutil
import stat
import warnings
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path, PurePath
from urllib.parse import quote

from PIL import Image

from zoo.base.atomic_files import atomic_write, check_writable, confined, remove
from zoo.base.errors import BadInput, CannotWrite, ZooError, write_error
from zoo.base.records import FilmInfo, Record, Results, Series, SeriesRow
from zoo.base.safe_text import one_line, safe_file_names
from zoo.base.untrusted_files import parse_json, read_bytes, read_json
from zoo.report.aggregate import environment_key

RESULTS = "results.json"
TEXTS = ("report.md", "report.html", "results.csv", RESULTS)
MERGE_MARKER = ".merged"
"""The file that marks a folder which `zoo report FOLDER --into DEST` may overwrite."""
FIGURES, PAGE_SCORES, MERGED, SERIES, VIDEOS = "figures", "viewer", "merged", "series", "videos"
FRAMES = f"{FIGURES}/frames"
_FOLDERS = (FIGURES, PAGE_SCORES, MERGED, SERIES, VIDEOS, FRAMES)
_OF_A_FILM = (
    *("strip-{}.webp", "scores-{}.png", "time-{}.png", "rate-{}.png"),
    *("barcode-{}.png", "sheet-{}.webp"),
)
_OF_ALL_FILMS = ("trade.png", "crossing.png")
_NEW, _READY, _STALE = ".new-", ".ready", ".stale.json"
_LARGEST_LIST = 64 << 20


def read_results(folder: Path) -> Results:
    """Read the records of a results folder; raises BadInput if they are missing or invalid."""
    path = folder / RESULTS
    if not path.exists():
        raise BadInput(f"{folder} holds no results: `zoo compare` writes them")
    return read_json(path, Results)


def named(results: Results) -> Iterator[str]:
    """Every file that films and records name."""
    for film in results.films:
        beside = film.side_by_side.video if film.side_by_side else None
        files = (film.barcode, film.series, film.video, film.sheet, beside)
        yield from (name for name in files if name)
    for record in results.records:
        for picture in record.pictures:
            yield from (picture.original, picture.reconstruction)
        if record.video:
            yield record.video


def film_stems(results: Results) -> dict[str, str]:
    """The file name stem of each film, by the film's name."""
    return safe_file_names(film.name for film in results.films)


def report_files(results: Results) -> set[str]:
    """Every file that a report of these results may have, relative to its folder."""
    names = {
        MERGE_MARKER,
        *TEXTS,
        *named(results),
        *(f"{FIGURES}/{name}" for name in _OF_ALL_FILMS),
    }
    for stem in film_stems(results).values():
        names.update(f"{FIGURES}/{name.format(stem)}" for name in _OF_A_FILM)
        names.add(f"{PAGE_SCORES}/{stem}.js")
    return names


def files_there(folder: Path) -> Iterator[Path]:
    """The files of a folder that a new report replaces or may remove."""
    yield from (folder / name for name in TEXTS if (folder / name).is_file())
    for name in (FIGURES, PAGE_SCORES, MERGED, SERIES, VIDEOS):
        yield from _files(folder / name)


def check_folder(folder: Path) -> None:
    """Raise ZooError unless a report can be written into a folder.

    The folder need not exist, and this check does not create it.
    """
    if folder.exists() and not folder.is_dir():
        raise BadInput(f"{folder} is not a folder")
    for name in _FOLDERS:
        _check_parents(folder, PurePath(name, "file"))
    check_writable(folder)


@contextmanager
def new_report(folder: Path) -> Iterator[Path]:
    """Yield an empty folder inside `folder` to write a report into, removed at the end.

    The caller holds the lock of `folder`. Raises CannotWrite if it cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _finish(folder)
        for left in folder.glob(f"{_NEW}*"):
            remove(left)
        new = folder / f"{_NEW}{secrets.token_hex(4)}"
        new.mkdir()
    except OSError as error:
        if isinstance(error, CannotWrite):
            raise
        why = write_error(error.errno, error.strerror)
        raise CannotWrite(f"{folder} cannot be written: {why}") from error
    try:
        yield new
    except CannotWrite as error:
        # The user knows the folder, but not the temporary folder inside it.
        raise CannotWrite(str(error).replace(str(new), str(folder))) from error
    finally:
        shutil.rmtree(new, ignore_errors=True)


def replace_report(new: Path, folder: Path, results: Results, keep: Iterable[str] = ()) -> None:
    """Make the folder `new` from `new_report` the report of `folder`, with records `results`.

    Files that only the earlier report had are removed, except those that `results` or `keep` name.
    Raises BadInput, with nothing changed, if a link or a folder is in the way.
    """
    written = [path.relative_to(new) for path in _files(new)]
    for name in written:
        _check_parents(folder, name)
        if (folder / name).is_dir() and not (folder / name).is_symlink():
            raise BadInput(f"{folder / name} is a folder; a file of the report has that name")
    kept = {*keep, *named(results), *(name.as_posix() for name in written)}
    with atomic_write(new / _STALE) as temporary:
        temporary.write_text(json.dumps(sorted(_earlier(folder) - kept)), encoding="utf-8")
    ready = folder / _READY
    remove(ready)
    new.rename(ready)
    try:
        _finish(folder)
    except KeyboardInterrupt:
        _finish(folder)
        raise


def _earlier(folder: Path) -> set[str]:
    """The files of the earlier report; empty if its records cannot be read."""
    with suppress(BadInput):
        return report_files(read_results(folder))
    return set()


def _finish(folder: Path) -> None:
    """Move the files of a report in `.ready` to their places; do nothing if there is none."""
    ready = folder / _READY
    if ready.is_symlink() or not ready.is_dir():
        return
    try:
        stale = parse_json(read_bytes(ready / _STALE, _LARGEST_LIST))
    except (OSError, ValueError, BadInput):
        stale = []
    # The marker that allows overwriting comes first, the texts last.
    for path in sorted(_files(ready), key=lambda path: (path.name[0] != ".", -len(path.parts))):
        name = path.relative_to(ready)
        _check_parents(folder, name)
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        path.replace(folder / name)
    _remove_files(folder, [name for name in stale if isinstance(name, str)])
    shutil.rmtree(ready)


def _remove_files(folder: Path, names: Iterable[str]) -> None:
    """Remove files of a folder and directories left empty; never follow a link."""
    for name in map(PurePath, names):
        if name.is_absolute() or ".." in name.parts or not name.parts:
            continue
        try:
            _check_parents(folder, name)
        except BadInput:
            continue
        path = folder / name
        if path.is_symlink() or path.is_file():
            path.unlink()
            for above in list(name.parents)[:-1]:
                with suppress(OSError):  # not empty
                    (folder / above).rmdir()


def _check_parents(folder: Path, name: PurePath) -> None:
    """Raise BadInput if a path between `folder` and a file in it is a link or not a folder."""
    confined(folder / name.parent, folder)
    for above in list(name.parents)[-2::-1]:
        place = folder / above
        if place.exists() and not place.is_dir():
            raise BadInput(f"{place} is a file where the report has a folder; move it away")


def _files(folder: Path) -> Iterator[Path]:
    """Regular files below a folder, except the list of stale files."""
    for place, _, names in os.walk(folder):
        for name in sorted(names):
            path = Path(place, name)
            if stat.S_ISREG(path.lstat().st_mode) and path != folder / _STALE:
                yield path


MOST_PIXELS = 8192 * 8192
"""Maximum pixels of a picture; no frame is larger."""
LARGEST_PICTURE = 256 << 20
"""Maximum bytes of a picture file."""


def path_in_folder(folder: Path, name: str) -> Path:
    """The path of a file that a record names; the file need not exist.

    Raises BadInput if the path is not below `folder`, or if the name is not valid there.
    """
    try:
        path = (folder / name).resolve()
        path.exists()
    # A name that is too long, contains a null byte or cannot be encoded, or a loop of links.
    except (OSError, ValueError, RuntimeError) as error:
        why = getattr(error, "strerror", None) or one_line(str(error))
        said = f"a record names a file that cannot be read: {name[:200]!r}: {why}"
        raise BadInput(said) from None
    if not path.is_relative_to(folder.resolve()):
        raise BadInput(f"a record names a file outside the results folder: {name[:200]!r}")
    return path


def address(folder: Path, name: str | None) -> str | None:
    """The URL of a file in the results folder, relative to the report; None if it is missing."""
    if name is None or not path_in_folder(folder, name).is_file():
        return None
    # With `./` first, a name that begins like a URL scheme remains a relative path.
    return "./" + quote(name)


def open_picture(folder: Path, name: str) -> Image.Image | None:
    """Read a PNG or WebP that a record names, as RGB; None if missing, damaged or too large."""
    path = path_in_folder(folder, name)
    if not path.is_file():
        return None
    try:
        # From memory: from a file, Pillow would allocate as many bytes as a chunk claims to have.
        content = io.BytesIO(read_bytes(path, LARGEST_PICTURE))
        with warnings.catch_warnings():
            # The size is checked below.
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            picture = Image.open(content, formats=("PNG", "WEBP"))
        with picture:
            if picture.width * picture.height > MOST_PIXELS:
                return None
            return picture.convert("RGB")
    except (OSError, SyntaxError, ValueError, BadInput, Image.DecompressionBombError):
        # Pillow raises SyntaxError for a damaged PNG, and ValueError for a PNG's text that is too
        # large when decompressed.
        return None


RunKey = tuple[str, tuple[str, ...]]
"""A run's folder, and the machine and precision it was run with."""


@dataclass(frozen=True)
class FilmSeries:
    """The scores per frame of a film, or why they are missing."""

    series: Series | None
    problem: str | None
    """Why the series cannot be read; None if it was read, or if the records name none."""

    @classmethod
    def read(cls, film: FilmInfo, folder: Path) -> FilmSeries:
        """Read the film's series; raises BadInput if its path is not below `folder`."""
        if film.series is None:
            return cls(None, None)
        path = path_in_folder(folder, film.series)
        try:
            return cls(read_json(path, Series), None)
        except BadInput as error:
            # Show the name in the record, so that the text does not depend on the folder.
            return cls(None, one_line(str(error).replace(str(path), film.series), 300))


def run_key(record: Record) -> RunKey | None:
    """A key that identifies a record's run; None if it has none."""
    return (record.run, environment_key(record.environment)) if record.run else None


def series_row(series: Series, record: Record) -> SeriesRow | None:
    """The scores per frame of a record; None if the series has none.

    A row without a machine matches records of any machine.
    """
    machine = environment_key(record.environment)
    for row in series.rows:
        if row.run == record.run and row.machine in (None, machine):
            return row
    return None


def shared_frames(one: Series, other: Series) -> Series | None:
    """`one`, reduced to the frames of both; None if it has none or their times differ."""
    if any(len(each.frames) != len(each.seconds) for each in (one, other)):
        return None
    times = dict(zip(other.frames, other.seconds, strict=True))
    kept = [place for place, frame in enumerate(one.frames) if frame in times]
    if not kept or any(one.seconds[place] != times[one.frames[place]] for place in kept):
        return None
    return _at_places(one, kept)


def within_size_limit(series: Series) -> Series:
    """Keep every 2nd, 4th, 8th... frame of a series, as needed for its maximum file size."""
    shorter, step = series, 1
    while _bytes(shorter) >= Series.largest and step < len(series.frames):
        step *= 2
        shorter = _at_places(series, range(0, len(series.frames), step))
    return shorter


def _bytes(series: Series) -> int:
    return len(series.model_dump_json().encode())


def _at_places(series: Series, places: Sequence[int]) -> Series:
    if len(places) == len(series.frames):
        return series
    return series.model_copy(
        update={
            "frames": [series.frames[place] for place in places],
            "seconds": [series.seconds[place] for place in places],
            "rows": [
                row.model_copy(
                    update={
                        "scores": {
                            metric: [values[place] for place in places]
                            for metric, values in row.scores.items()
                            if len(values) == len(series.frames)
                        }
                    }
                )
                for row in series.rows
            ],
        }
    )


def write_results(path: Path, results: Results) -> None:
    """Write the results of a comparison as strict JSON, a line for each film, metric and record.

    Raises ZooError, with nothing written, if they are larger than `read_json` accepts.
    """
    fields = []
    for name in Results.model_fields:
        value = getattr(results, name)
        if isinstance(value, list):
            lines = ",\n".join(each.model_dump_json() for each in value)
            fields.append(f'"{name}":[\n{lines}\n]')
        else:
            # The JSON of one field, without the braces around it.
            fields.append(results.model_dump_json(include={name})[1:-1])
    content = ("{" + ",\n".join(fields) + "}\n").encode()
    if len(content) > Results.largest:
        raise ZooError(
            f"{len(results.records):,} records take {len(content):,} bytes, and results of more "
            f"than {Results.largest:,} are not read: compare fewer films at once"
        )
    with atomic_write(path) as temporary:
        temporary.write_bytes(content)
