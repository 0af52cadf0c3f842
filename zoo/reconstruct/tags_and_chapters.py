"""Tags and chapters of a film's source files, and the tags of a reconstruction.

Texts are shortened to lengths that MP4 and `.zoo` files can hold.
"""

from __future__ import annotations

import importlib.metadata
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from zoo.api.film_entry import FilmEntry
from zoo.base.safe_text import one_line
from zoo.films.ingested_film import Film
from zoo.films.video_file import VideoFile
from zoo.reconstruct.model_loader import TrainedModel
from zoo.reconstruct.video_writers import Chapter

MOST_TAGS, LONGEST_TAG_NAME, LONGEST_TAG = 80, 200, 5000
"""Maximum number of tags of a source, and maximum characters of a tag's name and text."""
MOST_CHAPTERS, LONGEST_CHAPTER_TITLE = 2000, 250
"""Limits for chapters; one of MP4's two forms has one byte for the length of a title."""
LONGEST_FILE_NAMES, LONGEST_TITLE = 1000, 500
"""Maximum characters of the names of a film's files, and of its title."""

_OF_THE_FILE = {"major_brand", "minor_version", "compatible_brands", "encoder", "creation_time",
                "duration", "encoded_by", "encoding_tool", "software"}  # fmt: skip
"""Tags that describe the file instead of the film."""
_COMMON = {"title", "artist", "comment", "date", "copyright", "description", "genre",
           "album", "composer", "language", "show"}  # fmt: skip


def source_tags(path: Path) -> dict[str, str]:
    """Read a source file's tags about the film (title, artist, date...) by lower-case name.

    Long texts are shortened. Raises BadInput if the file cannot be read.
    """
    with VideoFile.open(path, threads=1) as source:
        tags = {name.lower(): text for name, text in source.container.metadata.items()}
    kept = {
        name: text
        for name, text in tags.items()
        if name not in _OF_THE_FILE and len(name) <= LONGEST_TAG_NAME
    }
    # If there are too many, common tags take precedence over unusual ones.
    first = set(sorted(kept, key=lambda name: name not in _COMMON)[:MOST_TAGS])
    return {name: _cut(text, LONGEST_TAG) for name, text in kept.items() if name in first}


def source_chapters(
    files: Sequence[Path], starts: Sequence[float], start: float, stop: float
) -> list[Chapter]:
    """Read the chapters of a film's files between `start` and `stop`, timed from `start`.

    They are in order, and each ends where the next begins or earlier. `starts` are the times at
    which the files begin, in seconds of the film. Raises BadInput if a file cannot be read.
    """
    found: list[Chapter] = []
    for path, begins in zip(files, starts, strict=True):
        with VideoFile.open(path, threads=1) as source:
            shift = begins - source.clock_start - start
            for one in source.container.chapters():
                base = one["time_base"] or 1
                first = max(0.0, float(one["start"] * base) + shift)
                last = min(stop - start, float(one["end"] * base) + shift)
                if last > first:
                    title = one["metadata"].get("title") or f"Chapter {len(found) + 1}"
                    found.append(Chapter(first, last, one_line(title, LONGEST_CHAPTER_TITLE)))
    return _in_order(found)[:MOST_CHAPTERS]


def _in_order(chapters: Sequence[Chapter]) -> list[Chapter]:
    """Sort chapters by start, and end each where the next begins at the latest.

    Chapters with equal starts become one chapter with both titles.
    """
    ordered: list[Chapter] = []
    for one in sorted(chapters, key=lambda c: c.start):
        if ordered and ordered[-1].start == one.start:
            both = one_line(f"{ordered[-1].title} / {one.title}", LONGEST_CHAPTER_TITLE)
            ordered[-1] = Chapter(one.start, max(ordered[-1].stop, one.stop), both)
            continue
        if ordered and ordered[-1].stop > one.start:
            ordered[-1] = replace(ordered[-1], stop=one.start)
        ordered.append(one)
    return ordered


def _cut(text: str, longest: int) -> str:
    """Shorten text to `longest` characters, keep line breaks, and replace lone surrogates."""
    whole = text.encode("utf-8", "replace").decode()
    return whole if len(whole) <= longest else whole[: longest - 1] + "…"


def source_file_names(entry: FilmEntry) -> str:
    """List the names of a film's files; only the first ones if there are hundreds."""
    names = [one_line(path.name) for path in entry.files]
    shown: list[str] = []
    for name in names:
        if shown and sum(map(len, shown)) + 2 * len(shown) + len(name) > LONGEST_FILE_NAMES:
            return f"{', '.join(shown)} and {len(names) - len(shown):,} more"
        shown.append(name)
    return ", ".join(shown)


def reconstruction_tags(
    film: Film, entry: FilmEntry, models: Sequence[TrainedModel], source: Mapping[str, str]
) -> dict[str, str]:
    """The source's tags with a new title and comment.

    The comment names the models, what they were trained on, the film, its files and its licence.
    """
    names = ", ".join(dict.fromkeys(trained.config.model for trained in models))
    title = source.get("title") or entry.shown_title
    if entry.title and entry.title != entry.files[0].stem:
        title = entry.title
    title = one_line(title, LONGEST_TITLE)
    licence = one_line(film.licence or "", LONGEST_TITLE)
    version = importlib.metadata.version("film-zoo")
    comment = [
        *[_reconstructed_by(trained, film) for trained in models],
        f"Film: {title} ({source_file_names(entry)}). Licence: {licence or 'not stated'}.",
        f"Made by film-zoo {version}.",
    ]
    if source.get("comment"):
        comment.append(f"The source's comment: {source['comment']}")
    new_title = f"{title}, reconstructed by {names}" if names else title
    tags = {**source, "title": new_title, "comment": " ".join(comment)}
    if licence and "copyright" not in tags:
        tags["copyright"] = licence
    return tags


def _reconstructed_by(trained: TrainedModel, film: Film) -> str:
    config = trained.config
    own = config.film == film.name or config.film_fingerprint == film.fingerprint
    seen = "this film" if own else config.film
    return (
        f"Reconstructed by {config.model}, trained on {seen}, from {trained.numbers} numbers "
        "per frame."
    )
