"""What films are called: names of the catalogue, names made from files, and words that are paths.

A film of the catalogue has the name its user gave it. A film that is named by its path is called
after its file and what the file holds: the same wherever it lies, and another for another film.
"""

from __future__ import annotations

import os
import re
import unicodedata
from pathlib import Path

from zoo.base.errors import BadInput
from zoo.base.text import one_line
from zoo.films.fingerprint import file_fingerprint

LONGEST_NAME, LONGEST_NAME_IN_BYTES = 64, 100
"""In letters and in UTF-8: the name of one file has room for two films and a model."""
_LONGEST_STEM, _LONGEST_STEM_IN_BYTES = 48, 80
_DIGEST = 8
"""Hexadecimal digits of what a file holds in the name that is made from it."""
_DEVICES = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.IGNORECASE)
"""What Windows opens in place of a file of that name."""
_ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")


def is_film_name(name: str) -> bool:
    """Whether a film can be called so: letters and digits of every script, `-`, `_` and `.`.

    The name begins with a letter or digit, is composed (NFC), has at most 64 letters and 100 bytes,
    and is a folder's name on any system.
    """
    kinds = [unicodedata.category(letter)[0] for letter in name]
    return (
        all(kind in "LMN" or letter in "-_." for letter, kind in zip(name, kinds, strict=True))
        and kinds[:1] in (["L"], ["N"])
        and len(name) <= LONGEST_NAME
        and len(name.encode("utf-8")) <= LONGEST_NAME_IN_BYTES
        and composed(name) == name
        and not (".." in name or name.endswith(".") or _DEVICES.fullmatch(name))
    )


def check_film_name(name: str) -> str:
    """Return `name` if a film can be called so; raise BadInput if not."""
    if not is_film_name(name):
        shown = name if len(name) <= 40 else name[:40] + "…"
        raise BadInput(
            "a film's name has letters and digits of any script, '-', '_' and '.', starts with a "
            f"letter or digit, and is at most 64 letters and 100 bytes long; not {shown!r}"
        )
    return name


def composed(name: str) -> str:
    """A name in the form in which names are compared: a Mac may write `é` as two letters."""
    return unicodedata.normalize("NFC", name)


def stem_name(path: Path) -> str:
    """A film's name from that of its file: its letters and digits, whatever their script."""
    kept = "".join(
        letter if letter in "-_" or unicodedata.category(letter)[0] in "LMN" else " "
        for letter in composed(path.stem)
    )
    name = "-".join(kept.split()).strip("-_")[:_LONGEST_STEM]
    while len(name.encode("utf-8")) > _LONGEST_STEM_IN_BYTES:
        name = name[:-1]
    name = name.strip("-_")
    return name if is_film_name(name) and name != "all" else "film"


def name_by_contents(path: Path) -> str:
    """A film's name from that of its file and what it holds, wherever it lies.

    Raises BadInput if the file is missing or cannot be read.
    """
    from zoo.films.source import check_regular_file

    check_regular_file(path)
    try:
        return f"{stem_name(path)}-{file_fingerprint(path)[:_DIGEST]}"
    except OSError as error:
        raise BadInput(f"{path} cannot be read: {error.strerror}") from None


def expanded(path: str | Path) -> str:
    """A path with the home folder for `~`; a file that is itself called so stays as it is."""
    text = os.fspath(path)
    # Unlike Path.expanduser, this leaves what names nobody's home as it is.
    return text if is_file(text) else os.path.expanduser(text)  # noqa: PTH111


def is_file(path: str) -> bool:
    """Whether there is a file of that name, however odd the name."""
    try:
        return Path(path).is_file()
    except (OSError, ValueError):  # longer than a path can be, or with a zero byte
        return False


def looks_like_path(word: str) -> bool:
    """Whether a user's word is a path and no film's name: it is written as one, or is a file here.

    Raises BadInput on an address, from which nothing is fetched.
    """
    refuse_address(word)
    return written_as_path(word) or is_file(word)


def written_as_path(word: str) -> bool:
    """Whether no film can be called so, and a file can."""
    return "/" in word or "\\" in word or word.startswith((".", "~"))


def refuse_address(word: str) -> None:
    """Raise BadInput if a word is an address such as https://..., with what to do instead."""
    if _ADDRESS.match(word) and not is_file(word):
        raise BadInput(
            f"{one_line(word, 100)} is an address, and films are files: download it, then name the "
            "file"
        )
