"""Paths of film files as users type them, checks before opening, hashes, and names from paths."""

from __future__ import annotations

import errno
import hashlib
import os
import re
import stat
import unicodedata
import urllib.parse
import urllib.request
from pathlib import Path

from zoo.api.film_entry import is_film_name, normalised_name
from zoo.base.errors import BadInput
from zoo.base.text import one_line

_LONGEST_STEM, _LONGEST_STEM_IN_BYTES = 48, 80
_URL = re.compile(r"(?!file:)[a-z][a-z0-9+.-]*://", re.IGNORECASE)
_ENDS = 1 << 20
_SAMPLE = 1 << 16
_SAMPLES = 64


def name_from_stem(stem: str) -> str:
    """Make a film's name from a file's name: its letters and digits, of any script."""
    kept = "".join(
        letter if letter in "-_" or unicodedata.category(letter)[0] in "LMN" else " "
        for letter in normalised_name(stem)
    )
    name = "-".join(kept.split()).strip("-_")[:_LONGEST_STEM]
    while len(name.encode("utf-8")) > _LONGEST_STEM_IN_BYTES:
        name = name[:-1]
    name = name.strip("-_")
    return name if is_film_name(name) and name not in ("all", "mine") else "film"


def expand_home(path: str | Path) -> str:
    """Replace `~` by the home folder, unless there is a file of that very name; read `file://`."""
    text = os.fspath(path)
    if text.lower().startswith("file://"):
        return urllib.request.url2pathname(urllib.parse.urlsplit(text).path)
    # Unlike Path.expanduser, this leaves `~nobody` as it is where there is no such user.
    return text if is_file(text) else os.path.expanduser(text)  # noqa: PTH111


def is_file(path: str) -> bool:
    """Whether there is a file of that name; False too for names that no file can have."""
    try:
        return Path(path).is_file()
    except (OSError, ValueError):  # longer than a path can be, or with a zero byte
        return False


def is_there(path: str) -> bool:
    """Whether there is a file or folder of that name; False too for names that none can have."""
    try:
        return Path(path).exists()
    except (OSError, ValueError):
        return False


def looks_like_path(word: str) -> bool:
    """Whether a word is a path rather than a film's name: written as one, or an existing file.

    Raises BadInput on a URL: nothing is downloaded.
    """
    refuse_url(word)
    return written_as_path(word) or is_file(word) or "%" in word


def written_as_path(word: str) -> bool:
    """Whether a word is written as a path, which no film's name can be."""
    return "/" in word or "\\" in word or word.startswith((".", "~"))


def is_url(word: str) -> bool:
    """Whether a word is a URL such as https://... and no file's name."""
    return bool(_URL.match(word)) and not is_file(word)


def refuse_url(word: str) -> None:
    """Raise BadInput if a word is a URL such as https://..., saying what to do instead."""
    if is_url(word):
        raise BadInput(
            f"{one_line(word, 100)} is an address: `zoo films add URL` downloads the film, which "
            "then has a name"
        )


def check_regular_file(path: Path) -> None:
    """Raise BadInput unless the path is a regular file that may be read and is not empty.

    Call it before opening anything: opening a FIFO would wait for a writer forever.
    """
    try:
        mode = path.stat()
    except OSError as error:
        reason = {errno.ENOENT: "there is no such file"}.get(error.errno or 0, error.strerror)
        raise BadInput(f"{path}: {reason}") from None
    except ValueError:
        raise BadInput(f"{str(path)!r} is not a file name") from None
    if stat.S_ISDIR(mode.st_mode):
        raise BadInput(f"{path} is a folder; name the video files in it")
    if not stat.S_ISREG(mode.st_mode):
        raise BadInput(f"{path} is not a regular file; copy the film to a file first")
    if mode.st_size == 0:
        raise BadInput(f"{path} is empty")
    if not os.access(path, os.R_OK):
        raise BadInput(f"{path} cannot be read; check its permissions")


def file_fingerprint(path: Path) -> str:
    """Hash a file's length, its first and last MiB and 64 samples of 64 KiB between, as hex.

    Files up to 6 MiB are hashed whole, larger ones in milliseconds whatever their length. A change
    that keeps the length and misses every sample is not seen; that is why a store also keeps
    `file_sha256` and the modification time. Raises OSError.
    """
    digest = hashlib.sha256()
    with path.open("rb") as file:
        length = file.seek(0, 2)
        digest.update(f"{length}:".encode())
        file.seek(0)
        if length <= 2 * _ENDS + _SAMPLES * _SAMPLE:
            digest.update(file.read())
            return digest.hexdigest()
        digest.update(file.read(_ENDS))
        room = length - 2 * _ENDS - _SAMPLE
        for sample in range(_SAMPLES):
            file.seek(_ENDS + room * sample // (_SAMPLES - 1))
            digest.update(file.read(_SAMPLE))
        file.seek(length - _ENDS)
        digest.update(file.read(_ENDS))
    return digest.hexdigest()
