"""`FilmEntry`: a film as the catalogue and plugins describe it, and how its fields are read."""

from __future__ import annotations

import os
import re
import shlex
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, Literal, NoReturn

from zoo.base.errors import BadInput
from zoo.base.option_validation import names_its_fields
from zoo.base.safe_text import one_line
from zoo.base.time_code import format_time_code, parse_time_code

LONGEST_NAME, LONGEST_NAME_IN_BYTES = 64, 100
"""Limits in letters and in UTF-8 bytes, so that a file name has room for two films and a model."""
_DEVICES = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.IGNORECASE)
"""Device names on Windows, which no file can have."""
Fit = Literal["crop", "pad"]
LONGEST_TITLE, LONGEST_NOTES = 200, 2000
_MOST = 4e6
"""The largest time code, in seconds."""
_RATE = re.compile(r"\d{1,9}(\.\d{1,9})?|\d{1,9}/\d{1,9}")


def is_film_name(name: str) -> bool:
    """Whether a film may have this name: letters and digits of every script, `-`, `_` and `.`.

    The name begins with a letter or digit, is composed (NFC), has at most 64 letters and 100 bytes,
    and is a valid folder name on every system.
    """
    kinds = [unicodedata.category(letter)[0] for letter in name]
    return (
        all(kind in "LMN" or letter in "-_." for letter, kind in zip(name, kinds, strict=True))
        and kinds[:1] in (["L"], ["N"])
        and len(name) <= LONGEST_NAME
        and len(name.encode("utf-8")) <= LONGEST_NAME_IN_BYTES
        and normalised_name(name) == name
        and not (".." in name or name.endswith(".") or _DEVICES.fullmatch(name))
    )


def check_film_name(name: str) -> str:
    """Return `name` if a film may have it; raise BadInput if not."""
    if not is_film_name(name):
        shown = name if len(name) <= 40 else name[:40] + "…"
        if _DEVICES.fullmatch(name):
            raise BadInput(f"{shown!r} is a device name on Windows and cannot name a film")
        raise BadInput(
            "a film's name has letters and digits of any script, '-', '_' and '.', starts with a "
            f"letter or digit, and is at most 64 letters and 100 bytes long; not {shown!r}"
        )
    return name


def normalised_name(name: str) -> str:
    """Return a name in Unicode's NFC form, for comparison: macOS may write `é` as two letters."""
    return unicodedata.normalize("NFC", name)


@dataclass(frozen=True)
class Rect:
    """A rectangle in pixels of the coded frame."""

    left: int
    top: int
    width: int
    height: int

    def __str__(self) -> str:
        return f"{self.width}x{self.height}+{self.left}+{self.top}"


def parse_crop(text: str) -> Rect | None:
    """Read `WIDTHxHEIGHT+LEFT+TOP`; None for `auto` and `none`. Raises BadInput otherwise."""
    if text in ("auto", "none"):
        return None
    match = re.fullmatch(r"(\d{1,5})x(\d{1,5})\+(\d{1,5})\+(\d{1,5})", text)
    if not match or int(match[1]) < 2 or int(match[2]) < 2:
        raise BadInput(
            f"a crop must be auto, none or WIDTHxHEIGHT+LEFT+TOP such as 1280x544+0+88; "
            f"not {text[:40]!r}"
        )
    return Rect(left=int(match[3]), top=int(match[4]), width=int(match[1]), height=int(match[2]))


def parse_fit(text: str) -> Fit:
    """Read `crop` or `pad`; raises BadInput on anything else."""
    if text == "crop":
        return "crop"
    if text == "pad":
        return "pad"
    raise BadInput(f"a film's fit must be crop or pad; not {text!r}")


@names_its_fields
@dataclass(frozen=True)
class FilmEntry:
    """A film in the catalogue: its files, and which part of them to use.

    `start` and `stop` are seconds on the time line of all files joined; None means the beginning
    or the end. `crop` is `auto`, `none` or `WIDTHxHEIGHT+LEFT+TOP` in pixels of the coded frame.
    `fit` says how frames of another aspect ratio are fitted: `crop` or `pad`. `fps` is the rate to
    resample to; None keeps every frame.
    """

    name: str
    files: tuple[Path, ...]
    title: str = ""
    licence: str | None = None
    start: float | None = None
    stop: float | None = None
    crop: str = "auto"
    fps: Fraction | None = None
    notes: str = ""
    fit: Fit = "crop"
    path: str = ""
    """The path by which a command named it; empty for a film of the catalogue."""

    def __post_init__(self) -> None:
        # A plugin may give fields in the form of films.toml. They are checked here, so that errors
        # appear where the fields were written and not where the film is first opened.
        if not isinstance(self.name, str):
            raise BadInput(f"a film's name must be text; not {one_line(repr(self.name), 40)}")
        check_film_name(self.name)
        for field_name, longest in (
            ("title", LONGEST_TITLE),
            ("licence", LONGEST_TITLE),
            ("notes", LONGEST_NOTES),
        ):
            text = getattr(self, field_name)
            if text is not None:
                self._set(field_name, one_line(self._text(field_name), longest))
        self._set("files", self._paths())
        if not self.files:
            raise BadInput(f"the film {self.name} names no files")
        read: tuple[tuple[str, Callable[[Any], Any]], ...] = (
            ("start", lambda value: parse_seconds("it", value)),
            ("stop", lambda value: parse_seconds("it", value)),
            ("fps", lambda value: value if value is None else parse_fps(value)),
        )
        for field_name, parse in read:
            try:
                self._set(field_name, parse(getattr(self, field_name)))
            except BadInput as error:
                self._refuse(field_name, str(error))
        parse_crop(self._text("crop"))
        parse_fit(self._text("fit"))
        if self.start is not None and self.stop is not None and self.start >= self.stop:
            raise BadInput(
                f"a film must end after it begins; not at {format_time_code(self.stop)} when it "
                f"begins at {format_time_code(self.start)}"
            )

    def _paths(self) -> tuple[Path, ...]:
        files: object = self.files
        given = [files] if isinstance(files, str | os.PathLike) else files
        if not isinstance(given, list | tuple):
            self._refuse("files", f"it must be a tuple of paths; not {one_line(repr(files), 40)}")
        for path in given:
            if not isinstance(path, str | os.PathLike):
                self._refuse(
                    "files", f"a path must be text or a Path; not {one_line(repr(path), 40)}"
                )
        return tuple(Path(path) for path in given)

    def _text(self, field_name: str) -> str:
        text = getattr(self, field_name)
        if not isinstance(text, str):
            self._refuse(field_name, f"it must be text; not {one_line(repr(text), 40)}")
        return text

    def _set(self, field_name: str, value: object) -> None:
        object.__setattr__(self, field_name, value)

    def _refuse(self, field_name: str, why: str) -> NoReturn:
        raise BadInput(f"the film {self.name}, field {field_name}: {why}")

    @property
    def word(self) -> str:
        """The film's name or path as a word of a command line, quoted for a shell."""
        return shlex.quote(self.path or self.name)

    @property
    def shown_title(self) -> str:
        """The title, or the name of a film without one."""
        return self.title or self.name


def parse_seconds(key: str, value: object) -> float | None:
    """Read a time, in seconds or as a time code; raises BadInput naming the field."""
    if value is None:
        return None
    if isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value < _MOST:
        return float(value)
    if isinstance(value, str):
        return parse_time_code(value)
    raise BadInput(
        f'{key} must be a time code such as "00:01:02.5"; not {one_line(repr(value), 40)}'
    )


def parse_fps(value: object) -> Fraction:
    """Read a frame rate: a number, or text such as `24` or `24000/1001`; from 0.01 to 1000.

    Raises BadInput on anything else.
    """
    try:
        # The form is checked first: Fraction would try to compute `1e999999999`.
        written = one_line(str(value), 40)
        if not _RATE.fullmatch(written):
            raise ValueError
        rate = Fraction(written).limit_denominator(1_000_000)
        if not Fraction(1, 100) <= rate <= 1000:
            raise ValueError
    except (ValueError, ZeroDivisionError):
        raise BadInput(
            f"a frame rate must be written like 24 or 24000/1001; not {one_line(repr(value), 40)}"
        ) from None
    return rate
