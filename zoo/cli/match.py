"""`zoo match`: find one film, or scenes of it, in another."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Annotated, Any

import typer

from zoo.cli import options as opt

if TYPE_CHECKING:
    import torch

    from zoo.api.film_entry import FilmEntry
    from zoo.cli.console import Console, Table
    from zoo.matching.pdq_hashes import HashedFilm
    from zoo.matching.scene_search import FilmMatch

FULL_WIDTH = 80
"""Terminal width in columns below which the table of scenes is narrow."""
_VERDICTS = {
    "whole": "match: the suspect holds the film",
    "excerpt": "match: the suspect is taken from the film",
    "scenes": "no match as a whole, but for some scenes",
    "none": "no match",
    "too little": "undecided: too few frames show enough to be compared",
}


def match(
    original: Annotated[str, typer.Argument(help="A video file, or a film in the catalogue.")],
    suspect: Annotated[str, typer.Argument(help="The film that may contain it, or parts of it.")],
    every: Annotated[
        int, typer.Option("--every", help="Look up only every Nth frame of each film.")
    ] = 1,
    as_json: opt.JsonOption = False,
    device: opt.DeviceOption = "auto",
) -> None:
    """Find which scenes of one film appear in another, and where, by PDQ hashes of their frames.

    The films match if 80 % of the frames of either, counting only those of quality 50 or more,
    are within distance 31 of 256 of a frame in the other. Exits with 0 whether or not they match.
    """
    from zoo.base.devices import choose_device
    from zoo.base.json_output import print_json
    from zoo.base.workspace import Workspace
    from zoo.cli.console import Console
    from zoo.films.catalogue import Catalogue
    from zoo.films.video_file import VideoFile
    from zoo.matching.scene_search import search
    from zoo.training.settings import whole_number

    whole_number(every, "--every")
    chosen = choose_device(device)
    catalogue = Catalogue.open(Workspace.here())
    entries = [_entry(catalogue.choose(word), word) for word in (original, suspect)]
    for path in (path for entry in entries for path in entry.files):
        # Report an invalid second file before the first one is decoded.
        with VideoFile.open(path):
            continue
    errors = Console(stderr=True)
    films = [_hashed(errors, entry, chosen) for entry in entries]
    answer = search(films[0], films[1], every)
    if as_json:
        print_json(**_as_json(entries, answer, every))
        return
    console = Console()
    console.print(_table(answer, narrow=console.width < FULL_WIDTH))
    for line in _summary(answer):
        console.print(line, markup=False, highlight=False, soft_wrap=True)


def _entry(entries: list[FilmEntry], word: str) -> FilmEntry:
    from zoo.base.errors import BadInput

    if len(entries) != 1:
        raise BadInput(f"each argument must name one film; {word!r} names {len(entries)}")
    return entries[0]


def _hashed(console: Console, entry: FilmEntry, device: torch.device) -> HashedFilm:
    """Hash a film, with a progress bar on standard error."""
    from zoo.cli.progress import frames_bar
    from zoo.matching.pdq_hashes import hash_files

    with frames_bar(console, f"hashing {opt.file_names(entry)}") as bar:
        return hash_files(entry, device, bar.ingesting)


def _table(answer: FilmMatch, narrow: bool) -> Table:
    """Lay out a row per scene; in a narrow terminal, a range's end is below its beginning."""
    from zoo.cli.console import Table

    # Without rules, four time codes fit into 80 columns, and two above two into 40.
    table = Table(box=None, padding=(0, 1), pad_edge=False)
    headings = ("scene", "from", "to", "frames", "in place", "suspect from", "to")
    for heading in ("scene", "from\nto", "in\nplace", "suspect from\nto") if narrow else headings:
        table.add_column(heading, justify="right")
    for number, scene in enumerate(answer.scenes, start=1):
        where = [_time(scene.start), _time(scene.stop)]
        there = [_time(scene.suspect_start), _time(scene.suspect_stop)]
        shares = [str(scene.asked), _percent(scene.in_place)]
        if narrow:
            table.add_row(str(number), "\n".join(where), shares[1], "\n".join(there))
        else:
            table.add_row(str(number), *where, *shares, *there)
    return table


def _summary(answer: FilmMatch) -> list[str]:
    from zoo.base.numbers import counted

    found = sum(scene.found for scene in answer.scenes)
    return [
        f"of the original, {_percent(answer.matched)} of {counted(answer.asked, 'frame')} "
        f"are in the suspect, and {found} of {counted(len(answer.scenes), 'scene')}",
        f"of the suspect, {_percent(answer.suspect_matched)} of "
        f"{counted(answer.suspect_asked, 'frame')} are in the original",
        _VERDICTS[answer.verdict],
    ]


def _time(seconds: float | None) -> str:
    from zoo.base.time_code import format_time_code

    return "-" if seconds is None else format_time_code(seconds)


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{share:.0%}"


def _as_json(entries: list[FilmEntry], answer: FilmMatch, every: int) -> dict[str, Any]:
    """The answer for JSON: times in seconds, shares from 0 to 1."""
    from zoo.matching.pdq_hashes import LEAST_QUALITY, MATCHES_WITHIN
    from zoo.matching.takedown import FILM_MATCHES_FROM

    files = [[str(path) for path in entry.files] for entry in entries]
    return {
        "original": files[0],
        "suspect": files[1],
        "every": every,
        "distance": MATCHES_WITHIN,
        "quality": LEAST_QUALITY,
        "share": FILM_MATCHES_FROM,
        "matches": answer.matches,
        **dataclasses.asdict(answer),
    }
