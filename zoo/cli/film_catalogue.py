"""`zoo films add`, `remove`, `hide` and `unhide`: commands that change the film catalogue."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated

import typer

from zoo.base.errors import BadInput
from zoo.base.safe_text import one_line

if TYPE_CHECKING:
    from zoo.base.workspace import Workspace
    from zoo.cli.console import Console
    from zoo.films.source_files import FilmSource

Names = Annotated[
    list[str], typer.Argument(metavar="FILM", help="Names of films, as in `zoo films`.")
]

_ENDING = re.compile(r"\.[A-Za-z][A-Za-z0-9]{1,4}$")
"""The suffix of a file name; a film's name may contain dots, but seldom looks like this."""


def add(
    paths: Annotated[
        list[str],
        typer.Argument(
            metavar="PATH",
            help="Video files, folders of pictures, playlists or URLs; each becomes a film.",
        ),
    ],
    name: Annotated[
        str | None, typer.Option("--name", help="Name of the film; only with a single path.")
    ] = None,
    as_one: Annotated[
        str | None,
        typer.Option("--as-one", metavar="NAME", help="Join all paths, in order, into one film."),
    ] = None,
    title: Annotated[str | None, typer.Option("--title", help="Title of the film.")] = None,
    licence: Annotated[str | None, typer.Option("--licence", help="Licence of the film.")] = None,
    notes: Annotated[str | None, typer.Option("--notes", help="Notes on the film.")] = None,
    start: Annotated[
        str | None, typer.Option("--from", help="Start at this time code, HH:MM:SS.mmm.")
    ] = None,
    stop: Annotated[str | None, typer.Option("--to", help="End at this time code.")] = None,
    crop: Annotated[
        str | None,
        typer.Option("--crop", help="Crop: auto (removes bars), none, or WIDTHxHEIGHT+LEFT+TOP."),
    ] = None,
    fit: Annotated[
        str | None, typer.Option("--fit", help="How to fit frames to the frame size: crop or pad.")
    ] = None,
    fps: Annotated[
        str | None,
        typer.Option(
            "--fps",
            help="Resample to this rate, such as 24 or 24000/1001; for pictures, their frame rate.",
        ),
    ] = None,
) -> None:
    """Add films to films.toml: each path becomes a film named after it.

    A path is a video file, a GIF, a folder of numbered pictures, a pattern such as
    frames/%04d.png, or a playlist (.m3u). --as-one NAME joins several into one film. A URL is
    downloaded once, into downloads/.
    """
    from zoo.base.workspace import Workspace
    from zoo.cli.console import Console
    from zoo.films.catalogue import Catalogue
    from zoo.films.source_files import FilmSource, is_url

    chosen = _chosen_name(paths, name, as_one)
    workspace = Workspace.here()
    catalogue = Catalogue.open(workspace)
    if chosen is not None:
        catalogue.check_free(chosen)
    elif title is not None and len(paths) > 1:
        raise BadInput("--title applies to one film, but each of these files is a film")
    fields = {
        "title": title,
        "licence": licence,
        "notes": notes,
        "from": start,
        "to": stop,
        "crop": crop,
        "fit": fit,
        "fps": fps,
    }
    catalogue.check_fields(fields)
    console = Console()

    def check(source: FilmSource) -> float | None:
        seconds = _check_film(source, is_whole=as_one is None)
        if as_one is None:
            _check_start(start, seconds, source.files[0].name)
        return seconds

    local = {path: FilmSource.read(path) for path in paths if not is_url(path)}
    lengths = {path: check(source) for path, source in local.items()}
    if as_one is not None and all(path in local for path in paths):
        _check_start(start, _total([lengths[path] for path in paths]), as_one)
    # Nothing is downloaded if a local file is invalid.
    sources = [local.get(path) or _downloaded(path, workspace, check, console) for path in paths]
    above = None if workspace.catalogue.exists() else workspace.above
    if chosen is not None:
        files = [file for source in sources for file in source.files]
        added = [(catalogue.add(chosen, files, **fields), True)]
    else:
        added = catalogue.add_each(sources, **fields)
    for entry, new in added:
        console.print_line(
            f"{entry.name} is in {workspace.catalogue.name}{'' if new else ' already'}"
        )
    if above:
        console.print_line(
            f"this folder is a workspace of its own now; the one above it is {above}"
        )


def _check_film(source: FilmSource, is_whole: bool) -> float | None:
    """Raise BadInput unless a film's files can be opened; return their stated duration in seconds.

    `is_whole` means that they are the whole film, which a single picture cannot be. None if a file
    states no duration, or consists of pictures, whose rate is set by `--fps`.
    """
    from zoo.films.video_file import VideoFile

    lengths: list[float | None] = []
    for path in source.files:
        with VideoFile.open(path) as file:
            if file.pictures:
                file.pictures.check_sizes()
            if file.is_image and is_whole and len(source.files) == 1:
                raise BadInput(
                    f"{one_line(path.name)} is a single picture: `zoo films add FOLDER` adds "
                    "numbered pictures as a film, --as-one NAME joins pictures in the order given"
                )
            lengths.append(None if file.pictures or file.is_image else file.duration)
    return _total(lengths)


def _total(lengths: list[float | None]) -> float | None:
    """The sum of durations; None if one is unknown."""
    known = [each for each in lengths if each is not None]
    return sum(known) if len(known) == len(lengths) else None


def _check_start(start: str | None, seconds: float | None, name: str) -> None:
    """Raise BadInput if a film would begin after the end of its files, if that is known."""
    from zoo.base.time_code import format_time_code, parse_time_code

    if start is not None and seconds is not None and parse_time_code(start) >= seconds:
        raise BadInput(
            f"{one_line(name)} ends at {format_time_code(seconds)}, before --from "
            f"{one_line(start, 40)}"
        )


def _downloaded(
    url: str, workspace: Workspace, check: Callable[[FilmSource], object], console: Console
) -> FilmSource:
    """Download a film from a URL, with a progress bar in megabytes."""
    from zoo.cli.progress import frames_bar
    from zoo.films.film_download import check_address, download_film

    check_address(url)
    console.print_line(f"downloading {one_line(url, 100)} to {workspace.downloads.name}/")
    with frames_bar(console, "downloading (MB)") as bar:

        def show(came: int, total: int | None) -> None:
            bar.update(came // 1_000_000, total and total // 1_000_000)

        return download_film(url, workspace.downloads, check, show)


def _chosen_name(paths: list[str], name: str | None, as_one: str | None) -> str | None:
    """The name for the film from the options; None if films are named after their paths.

    Raises BadInput if the first word is not a path but a film's name, with the command that sets
    this name.
    """
    from zoo.api.film_entry import is_film_name, normalised_name
    from zoo.films.source_files import is_there

    if name is not None and as_one is not None:
        raise BadInput("--name is for a film in one file, --as-one for one in several; give one")
    if name is not None and len(paths) > 1:
        raise BadInput(f"--name names one film, not {len(paths)}; --as-one NAME joins several")
    if name is not None or as_one is not None:
        return as_one or name
    first, *others = paths
    if is_film_name(normalised_name(first)) and not is_there(first) and not _ENDING.search(first):
        option = "--name" if len(others) <= 1 else "--as-one"
        words = shlex.join([option, first, *(others[:2] or ["FILE"])])
        more = " ..." if len(others) > 2 else ""
        raise BadInput(
            f"{first!r} is not a file here; to name a film, use `zoo films add {words}{more}`"
        )
    return None


def remove(name: Annotated[str, typer.Argument(help="A film in films.toml.")]) -> None:
    """Remove a film from films.toml and delete its decoded frames; keep its files and runs."""
    from zoo.base.numbers import scaled
    from zoo.base.workspace import Workspace
    from zoo.films.catalogue import Catalogue
    from zoo.films.cleanup import check_not_in_use, remove_stores

    workspace = Workspace.here()
    catalogue = Catalogue.open(workspace)
    check_not_in_use(catalogue.film(name).name, workspace)
    entry = catalogue.remove(name)
    freed = remove_stores(entry.name, workspace)
    typer.echo(f"{entry.name} is removed; {scaled(freed, 'B')} of decoded frames are deleted")


def hide(names: Names) -> None:
    """Hide films, such as the demo's clips, from `zoo films` and `all`; nothing is deleted.

    A hidden film can still be used by name.
    """
    _set_hidden(names, hidden=True)


def unhide(names: Names) -> None:
    """Show hidden films in `zoo films` and `all` again."""
    _set_hidden(names, hidden=False)


def _set_hidden(names: list[str], hidden: bool) -> None:
    from zoo.base.workspace import Workspace
    from zoo.films.catalogue import Catalogue

    Catalogue.open(Workspace.here()).hide(names, hidden)
    typer.echo(f"{', '.join(names)}: {'hidden' if hidden else 'shown'}")
