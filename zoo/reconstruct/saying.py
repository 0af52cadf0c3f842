"""What a reconstruction says of itself in its tags."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Mapping, Sequence

from zoo.base.text import one_line
from zoo.films.catalogue import FilmEntry
from zoo.films.film import Film
from zoo.reconstruct.panels import Panel, Redrawn

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
    film: Film, entry: FilmEntry, panels: Sequence[Panel], source: Mapping[str, str]
) -> dict[str, str]:
    """The source's tags with a new title, and a comment that says who drew what, from what.

    The comment names the models, what they were trained on, the film, its files and its licence.
    """
    redrawn = [panel for panel in panels if isinstance(panel, Redrawn)]
    models = ", ".join(dict.fromkeys(panel.eyes.config.model for panel in redrawn))
    title = source.get("title") or entry.shown_title
    if entry.title and entry.title != entry.files[0].stem:
        title = entry.title
    title = one_line(title, LONGEST_TITLE)
    licence = one_line(film.licence or "", LONGEST_TITLE)
    version = importlib.metadata.version("film-zoo")
    said = [
        *[_drawn_by(panel, film) for panel in redrawn],
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


def _drawn_by(panel: Redrawn, film: Film) -> str:
    config = panel.eyes.config
    own = config.film == film.name or config.film_fingerprint == film.fingerprint
    seen = "this film" if own else config.film
    return f"Drawn by {config.model}, trained on {seen}, from {panel.eyes.numbers} numbers a frame."
