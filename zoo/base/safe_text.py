"""Untrusted text made safe to print: on one line, of bounded length, visible characters only.

Names, titles and reasons may come from untrusted files. Line breaks, terminal sequences and
characters that change the direction of writing are removed.
"""

from __future__ import annotations

import difflib
import re
import unicodedata
from collections.abc import Iterable

# A terminal's sequences go whole: without its escape character the rest of one is litter.
_TERMINAL = re.compile(
    r"(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]"
    r"|(?:\x1b[\]PX^_]|[\x9d\x90\x98\x9e\x9f])[^\x07\x1b\x9c]*(?:\x07|\x1b\\|\x9c)?"
    r"|\x1b.?",
    re.DOTALL,
)
# Joiners shape letters of some scripts; all other characters of format are unseen or reorder text.
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
    # Cut before the work as well: a title of a megabyte costs no more than one of a thousand.
    text = " ".join(visible(text[: 20 * longest]).split())
    return text if len(text) <= longest else text[: longest - 1].rstrip() + "…"


def error_line(error: BaseException, longest: int = 500) -> str:
    """An error on one line: its kind and message.

    What torch adds of its own C++ code to a message, frame after frame, is left out.
    """
    said = _CPP_FRAMES.split(f"{type(error).__name__}: {error}", maxsplit=1)[0]
    return one_line(said.removesuffix(": "), longest)


def did_you_mean(name: str, names: Iterable[str]) -> str:
    """The one of some names that is meant, perhaps, for the middle of a message; else empty."""
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
    """What can be seen of `text`: line breaks and controls are spaces, spaces stay as many."""
    return "".join(map(_shown, _TERMINAL.sub(" ", text)))


def _shown(letter: str) -> str:
    kind = unicodedata.category(letter)
    if kind in _BREAKS:
        return " "
    if kind == "Cf" and letter not in _JOINERS:
        return ""
    # Half of a pair, as Python has the bytes of a file's name that are not UTF-8.
    return "\N{REPLACEMENT CHARACTER}" if kind == "Cs" else letter


def safe_file_names(names: Iterable[str]) -> dict[str, str]:
    """Give each name a file's name: safe anywhere, and distinct where letters have no case."""
    given: dict[str, str] = {}
    taken: set[str] = set()
    for index, name in enumerate(names):
        stem = re.sub(r"[^A-Za-z0-9_.-]+", "-", name[:200])[:40].strip("-.")
        if not stem or stem != name:
            stem = f"{stem}-{index}".lstrip("-")
        given[name] = unused_name(stem, taken)
    return given


def unused_name(name: str, taken: set[str]) -> str:
    """A file's name, `name` or `name-2` and so on, that is not `taken`; it is added to these.

    Names that differ only in their case are the same, as they are on many disks, and none is one
    of those that Windows keeps for devices.
    """
    if name.split(".")[0].lower() in _DEVICES:
        name = f"_{name}"
    free, count = name, 1
    while free.lower() in taken:
        count += 1
        free = f"{name}-{count}"
    taken.add(free.lower())
    return free
