"""Make untrusted text safe to print: on one line, of limited length, visible characters only.

Names, titles and reasons may come from untrusted files. Line breaks, terminal sequences and
characters that change the writing direction are removed.
"""

from __future__ import annotations

import difflib
import re
import unicodedata
from collections.abc import Iterable

# Remove whole terminal sequences: without the escape character the rest would be printed.
_TERMINAL = re.compile(
    r"(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]"
    r"|(?:\x1b[\]PX^_]|[\x9d\x90\x98\x9e\x9f])[^\x07\x1b\x9c]*(?:\x07|\x1b\\|\x9c)?"
    r"|\x1b.?",
    re.DOTALL,
)
# Joiners shape letters in some scripts; all other format characters are invisible or reorder text.
_JOINERS = "\u200c\u200d"
_CPP_FRAMES = re.compile(r"\s*Exception raised from \S+ at \S+ \(most recent call first\)")
_BREAKS = ("Cc", "Zl", "Zp")
_DEVICES = {
    "con",
    "prn",
    "aux",
    "nul",
    *(f"{port}{n}" for port in ("com", "lpt") for n in range(10)),
}


def one_line(text: str, longest: int = 200) -> str:
    """Put `text` on one line of at most `longest` letters, the last one `…` where it was cut."""
    # Cut before processing too, so that a title of a megabyte takes no longer than a short one.
    text = " ".join(visible(text[: 20 * longest]).split())
    return text if len(text) <= longest else text[: longest - 1].rstrip() + "…"


def error_line(error: BaseException, longest: int = 500) -> str:
    """Format an error on one line: its type and message.

    The C++ stack trace that torch adds to a message is removed.
    """
    said = _CPP_FRAMES.split(f"{type(error).__name__}: {error}", maxsplit=1)[0]
    return one_line(said.removesuffix(": "), longest)


def did_you_mean(name: str, names: Iterable[str]) -> str:
    """Suggest the name that is probably meant, for the middle of a message; empty if none is."""
    close = difflib.get_close_matches(name, list(names), n=1)
    return f" (did you mean {close[0]!r}?)" if close else ""


def describe_value(thing: object) -> str:
    """Describe a value of the wrong kind for a message: its type, and the value if it is short."""
    if thing is None or isinstance(thing, bool):
        return str(thing)
    if isinstance(thing, type):
        return f"the class {thing.__name__}"
    kind, said = type(thing).__name__, one_line(repr(thing), 60)
    return f"{said} ({kind})" if len(said) < 40 else f"a {kind}"


def visible(text: str) -> str:
    """Keep visible characters: line breaks and controls become spaces; spaces are not merged."""
    return "".join(map(_shown, _TERMINAL.sub(" ", text)))


def _shown(letter: str) -> str:
    kind = unicodedata.category(letter)
    if kind in _BREAKS:
        return " "
    if kind == "Cf" and letter not in _JOINERS:
        return ""
    # A lone surrogate, by which Python represents a byte of a file name that is not UTF-8.
    return "\N{REPLACEMENT CHARACTER}" if kind == "Cs" else letter


def safe_file_names(names: Iterable[str]) -> dict[str, str]:
    """Map each name to a file name that is safe on any system and unique if case is ignored."""
    given: dict[str, str] = {}
    taken: set[str] = set()
    for index, name in enumerate(names):
        stem = re.sub(r"[^A-Za-z0-9_.-]+", "-", name[:200])[:40].strip("-.")
        if not stem or stem != name:
            stem = f"{stem}-{index}".lstrip("-")
        given[name] = unused_name(stem, taken)
    return given


def unused_name(name: str, taken: set[str]) -> str:
    """Return `name`, or `name-2` and so on, such that it is not in `taken`, and add it there.

    Names that differ only in case count as the same, as they do on many disks. Names that Windows
    reserves for devices are not used.
    """
    if name.split(".")[0].lower() in _DEVICES:
        name = f"_{name}"
    free, count = name, 1
    while free.lower() in taken:
        count += 1
        free = f"{name}-{count}"
    taken.add(free.lower())
    return free
