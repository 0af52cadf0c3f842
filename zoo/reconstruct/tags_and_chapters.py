"""Tags and chapters of a film's source files, and the tags of its reconstruction.

Texts are cut to a length that MP4 and `.zoo` files can hold.
"""

from __future__ import annotations

import importlib.metadata
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from zoo.base.text import one_line
from zoo.films.catalogue import FilmEntry
from zoo.films.film import Film
from zoo.films.source import Source
from zoo.reconstruct.trained_model import Eyes
from zoo.reconstruct.video.mp4_writer import Chapter

MOST_TAGS, LONGEST_NAME, LONGEST_TAG = 80, 200, 5000
"""Tags that are taken from a source, letters of a tag's name and of its text."""
MOST_CHAPTERS, LONGEST_TITLE = 2000, 250
"""An MP4 has one byte for the length of a chapter's title, beside a longer form of it."""

# What is said of the file and not of the film in it.
_OF_THE_FILE = {"major_brand", "minor_version", "compatible_brands", "encoder", "creation_time",
                "duration", "encoded_by", "encoding_tool", "software"}  # fmt: skip
_WELL_KNOWN = {"title", "artist", "comment", "date", "copyright", "description", "genre",
               "album", "composer", "language", "show"}  # fmt: skip


def source_tags(path: Path) -> dict[str, str]:
    """A file's tags that speak of the film: title, artist, date and so on, by lower-case name.

    MP4 keeps those it has a place for. Long texts are cut. Raises BadInput if the file cannot be
    read.
    """
    with Source.open(path, threads=1) as source:
        tags = {name.lower(): text for name, text in source.container.metadata.items()}
    kept = {n: text for n, text in tags.items() if n not in _OF_THE_FILE and len(n) <= LONGEST_NAME}
    # The title and what else everybody reads comes before what is peculiar to a program.
    first = sorted(kept, key=lambda name: name not in _WELL_KNOWN)[:MOST_TAGS]
    return {name: _cut(kept[name], LONGEST_TAG) for name in kept if name in set(first)}


def source_chapters(
    files: Sequence[Path], starts: Sequence[float], start: float, stop: float
) -> list[Chapter]:
    """Chapters of a film's files between two moments of its time line, timed from the first.

    They are in order, and each is over when the next begins. `starts` are the seconds at which the
    files begin on the time line. Raises BadInput if a file cannot be read.
    """
    found: list[Chapter] = []
    for path, begins in zip(files, starts, strict=True):
        with Source.open(path, threads=1) as source:
            shift = begins - source.clock_start - start
            for one in source.container.chapters():
                base = one["time_base"] or 1
                first = max(0.0, float(one["start"] * base) + shift)
                last = min(stop - start, float(one["end"] * base) + shift)
                if last > first:
                    title = one["metadata"].get("title") or f"Chapter {len(found) + 1}"
                    found.append(Chapter(first, last, one_line(title, LONGEST_TITLE)))
    return _in_order(found)[:MOST_CHAPTERS]


def _in_order(chapters: Sequence[Chapter]) -> list[Chapter]:
    """Chapters by their beginnings, each over when the next begins; of two that begin together one.

    The one that is kept has the titles of both.
    """
    ordered: list[Chapter] = []
    for one in sorted(chapters, key=lambda c: c.start):
        if ordered and ordered[-1].start == one.start:
            both = one_line(f"{ordered[-1].title} / {one.title}", LONGEST_TITLE)
            ordered[-1] = Chapter(one.start, max(ordered[-1].stop, one.stop), both)
            continue
        if ordered and ordered[-1].stop > one.start:
            ordered[-1] = replace(ordered[-1], stop=one.start)
        ordered.append(one)
    return ordered


def _cut(text: str, longest: int) -> str:
    """Text with its lines, of at most so many letters, and no halves of letters."""
    whole = text.encode("utf-8", "replace").decode()
    return whole if len(whole) <= longest else whole[: longest - 1] + "…"


LONGEST_NAMES, LONGEST_TITLE = 1000, 500
"""Letters of the names of a film's files, and of its title."""


def source_names(entry: FilmEntry) -> str:
    """Names of a film's files, the first of them where there are hundreds."""
    names = [one_line(path.name) for path in entry.files]
    shown: list[str] = []
    for name in names:
        if shown and sum(map(len, shown)) + 2 * len(shown) + len(name) > LONGEST_NAMES:
            return f"{', '.join(shown)} and {len(names) - len(shown):,} more"
        shown.append(name)
    return ", ".join(shown)


def tags_of(
    film: Film, entry: FilmEntry, networks: Sequence[Eyes], source: Mapping[str, str]
) -> dict[str, str]:
    """The source's tags with a new title, and a comment that says who drew what, from what.

    The comment names the models, what they were trained on, the film, its files and its licence.
    """
    models = ", ".join(dict.fromkeys(eyes.config.model for eyes in networks))
    title = source.get("title") or entry.shown_title
    if entry.title and entry.title != entry.files[0].stem:
        title = entry.title
    title = one_line(title, LONGEST_TITLE)
    licence = one_line(film.licence or "", LONGEST_TITLE)
    version = importlib.metadata.version("film-zoo")
    said = [
        *[_drawn_by(eyes, film) for eyes in networks],
        f"Film: {title} ({source_names(entry)}). Licence: {licence or 'not stated'}.",
        f"Made by film-zoo {version}.",
    ]
    if source.get("comment"):
        said.append(f"The source's comment: {source['comment']}")
    shown = f"{title}, drawn by {models}" if models else title
    tags = {**source, "title": shown, "comment": " ".join(said)}
    if licence and "copyright" not in tags:
        tags["copyright"] = licence
    return tags


def _drawn_by(eyes: Eyes, film: Film) -> str:
    config = eyes.config
    own = config.film == film.name or config.film_fingerprint == film.fingerprint
    seen = "this film" if own else config.film
    return f"Drawn by {config.model}, trained on {seen}, from {eyes.numbers} numbers a frame."
