"""What source files say of themselves, for the film that is made from them: tags and chapters."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from zoo.films.source import Source
from zoo.video.writer import Chapter

# What is said of the file and not of the film in it.
_OF_THE_FILE = {"major_brand", "minor_version", "compatible_brands", "encoder", "creation_time",
                "duration", "encoded_by", "encoding_tool", "software"}  # fmt: skip


def source_tags(path: Path) -> dict[str, str]:
    """A file's tags that speak of the film: title, artist, date and so on, by lower-case name.

    MP4 keeps those it has a place for. Raises BadInput if the file cannot be read.
    """
    with Source.open(path, threads=1) as source:
        tags = {name.lower(): text for name, text in source.container.metadata.items()}
    return {name: text for name, text in tags.items() if name not in _OF_THE_FILE}


def source_chapters(
    files: Sequence[Path], starts: Sequence[float], start: float, stop: float
) -> list[Chapter]:
    """Chapters of a film's files between two moments of its time line, timed from the first.

    `starts` are the seconds at which the files begin on it. Raises BadInput if a file cannot be
    read.
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
                    found.append(Chapter(first, last, title))
    return found
