"""Download a film from an address into a file of the workspace, once."""

from __future__ import annotations

import hashlib
import re
import shutil
import urllib.parse
from collections.abc import Callable, Generator
from contextlib import closing, suppress
from email.message import Message
from pathlib import Path

from zoo.base.atomic_files import atomic_write, confined
from zoo.base.errors import BadInput
from zoo.base.network import NETWORK_ERRORS, read_blocks, refuse_offline, short_reason
from zoo.base.numbers import scaled
from zoo.base.safe_text import one_line
from zoo.films.source_files import NAME_DIGITS, PLAYLISTS, FilmSource, name_from_stem

_SCHEMES = ("http", "https", "ftp")
_PAGES = ("text/html", "application/xhtml+xml")
_RECORD = "record it with `ffmpeg -i URL -c copy film.mkv` and add the file"
Progress = Callable[[int, int | None], None]
"""Called with the bytes received so far, and with the total or None if it is not known."""


def download_film(
    url: str, folder: Path, check: Callable[[FilmSource], object], progress: Progress
) -> FilmSource:
    """Download the film at an address into a folder, unless it is there already.

    The file gets its name once it is complete and `check` has accepted it. Raises BadInput, and
    leaves nothing behind, if the address does not answer or its answer is not a film.
    """
    shown = one_line(url, 100)
    stem, target = _names(url, confined(folder, folder.parent))
    if target.is_file():
        return FilmSource(stem, (target,))
    refuse_offline(f"downloading {shown}")
    try:
        with atomic_write(target) as temporary:
            blocks = _blocks(url, shown, folder, progress)
            with temporary.open("wb") as file, closing(blocks):
                for block in blocks:
                    file.write(block)
            try:
                check(FilmSource(stem, (temporary,)))
            except BadInput as error:
                raise BadInput(f"{shown}: {error}") from None
    except BaseException:
        with suppress(OSError):
            folder.rmdir()  # if it was made for this film alone
        raise
    return FilmSource(stem, (target,))


def check_address(url: str) -> None:
    """Raise BadInput on an address that no film can be downloaded from, without opening it."""
    _names(url, Path())


def _names(url: str, folder: Path) -> tuple[str, Path]:
    """Return the stem of an address, which names the film, and the film's file; raises BadInput."""
    try:
        parts = urllib.parse.urlsplit(url)
    except ValueError as error:
        raise BadInput(f"{one_line(url, 100)} is not a valid URL: {error}") from None
    path = Path(urllib.parse.unquote(parts.path))
    shown = one_line(url, 100)
    if parts.scheme.lower() not in _SCHEMES:
        raise BadInput(f"{shown} is a stream, not a file to download: {_RECORD}")
    if path.suffix.lower() in PLAYLISTS:
        raise BadInput(f"{shown} is a playlist, whose URLs are not opened: {_RECORD}")
    ending = path.suffix if re.fullmatch(r"\.[A-Za-z0-9]{1,8}", path.suffix) else ""
    digits = hashlib.sha256(url.encode("utf-8", "surrogateescape")).hexdigest()[:NAME_DIGITS]
    return path.stem, folder / f"{name_from_stem(path.stem)}-{digits}{ending.lower()}"


def _blocks(url: str, shown: str, folder: Path, progress: Progress) -> Generator[bytes, None, None]:
    """Yield the content at an address; raises BadInput if there is none or it is not a film."""
    total: int | None = None

    def look_at(header: Message) -> None:
        nonlocal total
        if header.get_content_type() in _PAGES and "Content-Type" in header:
            raise BadInput(f"{shown} is a web page, not a video; give the URL of the video itself")
        length = header.get("Content-Length", "")
        total = int(length) if length.isdecimal() else None
        free = shutil.disk_usage(folder).free
        if total is not None and total > free:
            raise BadInput(
                f"{shown} takes {scaled(total, 'B')}, but {scaled(free, 'B')} are free in {folder}"
            )

    came = 0
    try:
        for block in read_blocks(url, on_answer=look_at):
            if not came and block.lstrip(b"\xef\xbb\xbf").startswith(b"#EXTM3U"):
                raise BadInput(f"{shown} is a playlist, whose URLs are not opened: {_RECORD}")
            came += len(block)
            progress(came, total)
            yield block
    except NETWORK_ERRORS as error:
        raise BadInput(f"{shown} cannot be downloaded: {short_reason(error, url)}") from None
