"""`zoo films`: the catalogue, and what is known about each film."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from zoo.base.errors import BadInput, ZooError
from zoo.cli import film_catalogue
from zoo.cli import options as opt

if TYPE_CHECKING:
    from zoo.api.film_entry import FilmEntry
    from zoo.base.workspace import Workspace
    from zoo.films.frame_store import Bars, Part
    from zoo.films.ingested_film import Film

app = typer.Typer(help="List, add, describe, decode, hide and remove films.", rich_markup_mode=None)
app.command("add", cls=opt.Command)(film_catalogue.add)
app.command("remove")(film_catalogue.remove)
app.command("hide", cls=opt.Command)(film_catalogue.hide)
app.command("unhide", cls=opt.Command)(film_catalogue.unhide)

Name = Annotated[str, typer.Argument(help="A film in the catalogue, or a path such as ./clip.mkv.")]
Size = Annotated[str, typer.Option("--size", help="Frame size, WIDTHxHEIGHT.")]
Holdout = Annotated[float, typer.Option("--holdout", help="Share of frames to hold out, 0 to 0.5.")]
Hwaccel = Annotated[
    str | None, typer.Option("--hwaccel", help="Decode on this device, such as cuda.")
]


@opt.lists(app)
def list_films(as_json: opt.JsonOption = False) -> None:
    """List the films in the catalogue."""
    from zoo.base.json_output import print_json
    from zoo.base.workspace import Workspace
    from zoo.cli.console import Console, Table, escaped
    from zoo.films.catalogue import Catalogue

    workspace = Workspace.here()
    table = Table("film", "title", "files", "licence", "ingested at")
    found: list[dict[str, object]] = []
    catalogue = Catalogue.open(workspace)
    for entry in catalogue.entries.values():
        sizes, problem = _ingested(entry, workspace)
        found.append(
            {
                "name": entry.name,
                "title": entry.shown_title,
                "files": [str(path) for path in entry.files],
                "licence": entry.licence,
                "ingested": sizes,
                "problem": problem,
                "hidden": entry.name in catalogue.hidden,
            }
        )
        if entry.name in catalogue.hidden:
            continue
        row = (
            entry.name,
            entry.shown_title,
            opt.file_names(entry),
            entry.licence or "not stated",
            problem or ", ".join(sizes) or "-",
        )
        table.add_row(*map(escaped, row))
    if as_json:
        print_json(films=found)
        return
    console = Console()
    console.print(table)
    if catalogue.hidden:
        names = ", ".join(sorted(catalogue.hidden))
        console.print_line(f"hidden, but still usable by name: {names} (`zoo films unhide NAME`)")


@app.command("clean", cls=opt.Command)
def clean(
    names: Annotated[
        list[str] | None, typer.Argument(metavar="FILM", help="Only the frames of these films.")
    ] = None,
    every: Annotated[
        bool, typer.Option("--all", help="Also delete frames that are still needed.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask for confirmation.")] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="List them, but delete nothing.")
    ] = False,
) -> None:
    """List decoded frames with their sizes, and delete those that are no longer needed.

    These are frames of older files or settings, frames of films that are not in the catalogue,
    such as films given by path, and leftovers of killed processes. Frames in use are never
    deleted, and deleted frames are decoded again when needed.
    """
    import sys

    from zoo.base.locks import LockHeld
    from zoo.base.numbers import scaled
    from zoo.base.safe_text import one_line
    from zoo.base.workspace import Workspace
    from zoo.films.catalogue import Catalogue
    from zoo.films.cleanup import find_stored_frames

    found = find_stored_frames(Catalogue.open(Workspace.here()), names or ())
    chosen = [one for one in found if every or one.unneeded]
    for one in found:
        why = one.unneeded or "needed"
        mark = "delete" if one in chosen else "keep"
        typer.echo(
            f"{mark:6}  {scaled(one.bytes, 'B'):>7}  {one_line(one.film)}: {one.what}; {why}"
        )
    size = scaled(sum(one.bytes for one in chosen), "B")
    if not chosen or dry_run:
        typer.echo(f"{size} can be freed")
        return
    if not yes:
        if not sys.stdin.isatty():
            raise BadInput("no terminal to ask for confirmation; --yes deletes without asking")
        if not typer.confirm(f"Delete {size} of decoded frames?"):
            typer.echo("nothing was deleted")
            raise typer.Exit(1)
    freed = 0
    for one in chosen:
        try:
            one.remove()
            freed += one.bytes
        except LockHeld as held:
            typer.echo(f"kept: {held}")
    typer.echo(f"{scaled(freed, 'B')} freed")


@app.command("ingest")
def ingest(
    name: Name, size: Size = "256x144", holdout: Holdout = 0.1, hwaccel: Hwaccel = None
) -> None:
    """Decode films now instead of on first use; NAME may be all, mine or a,b.

    Cropping, fitting and resampling are set with `zoo films add` or in films.toml.
    """
    for film in _opened(name, size, holdout, hwaccel):
        for line in _summary(film):
            typer.echo(line)


@app.command("info")
def info(name: Name, size: Size = "256x144") -> None:
    """Show what is known about a film, with shots and exact counts once it is ingested."""
    from zoo.base.frame_size import FrameSize
    from zoo.base.numbers import scaled
    from zoo.base.workspace import Workspace
    from zoo.cli.console import Console, Table, escaped
    from zoo.cli.progress import naming, of_each
    from zoo.films.catalogue import Catalogue
    from zoo.films.frame_store import FrameStore
    from zoo.films.ingest import known_frames, locate_store
    from zoo.films.probe import frames_in_words, probe_files, sound_tracks

    workspace = Workspace.here()
    frame = FrameSize.parse(size)
    console = Console()

    def table_of(entry: FilmEntry) -> Table:
        with naming(entry):
            place = locate_store(entry, frame, workspace)
            table = Table(show_header=False, box=None, title=escaped(entry.shown_title))
            rows = [
                ("name", entry.name),
                ("licence", entry.licence or "not stated"),
                *_setting_rows(entry),
            ]
            if entry.notes:
                rows.append(("notes", entry.notes))
            store, estimated = FrameStore.find(place.folder), False
            if store:
                parts, frames = store.manifest.parts, store.manifest.frames
                counted = [
                    ("shots", str(len(store.manifest.shots))),
                    ("frames", f"{frames:,} at {store.manifest.fps:.3f} frames/s"),
                    ("damage", store.manifest.damage.summary or "none"),
                ]
            else:
                probes = probe_files(entry, place.settings)
                known = known_frames(entry, workspace)
                words = frames_in_words(probes, known)
                estimated = words.startswith("about")
                parts = [one.part for one in probes]
                frames = known or sum(one.expected for one in probes)
                counted = [
                    (
                        "shots",
                        f"not known yet; `zoo films ingest {entry.word} --size {size}` finds them",
                    ),
                    ("frames", words.rpartition(" ")[0] or "not known before ingest"),
                ]
            for part, path in zip(parts, entry.files, strict=True):
                rows += _part_rows(part)
                rows += [("  sound", track) for track in sound_tracks(path) or ["none"]]
        size_on_disk = scaled(frames * frame.pixels * 3, "B")
        about = "about " if estimated else ""
        needed = f"{about}{size_on_disk} needed" if frames else "not known before ingest"
        counted.append((f"store at {size}", f"{size_on_disk} on disk" if store else needed))
        for key, value in rows + counted:
            table.add_row(key, escaped(value))
        return table

    failed: list[ZooError] = []
    for table in of_each(Catalogue.open(workspace).choose(name), table_of, failed):
        console.print(table, soft_wrap=True)
    if failed:
        raise typer.Exit(failed[0].exit_code)


@app.command("sheet")
def sheet(
    name: Name,
    size: Size = "256x144",
    holdout: Holdout = 0.1,
    out: Annotated[
        Path, typer.Option("--out", "-o", help="Folder to write the pictures to.")
    ] = Path(),
) -> None:
    """Write a contact sheet, with one frame and time code per shot, and the film's barcode."""
    from zoo.base.atomic_files import atomic_write, check_writable
    from zoo.base.workspace import Workspace
    from zoo.cli.console import check_not_source
    from zoo.films.catalogue import Catalogue
    from zoo.films.contact_sheet import barcode, contact_sheet

    check_writable(out)
    entries, kinds = Catalogue.open(Workspace.here()).choose(name), ("sheet", "barcode")
    check_not_source(
        (out / f"{entry.name}-{kind}.png" for entry in entries for kind in kinds), entries
    )
    for film in _opened(name, size, holdout, None):
        for kind, picture in zip(kinds, (contact_sheet(film), barcode(film)), strict=True):
            path = out / f"{film.name}-{kind}.png"
            with atomic_write(path) as temporary:
                picture.save(temporary, format="PNG")
            typer.echo(f"wrote {path}")


def _opened(name: str, size: str, holdout: float, hwaccel: str | None) -> Iterator[Film]:
    """Open the named films one after another, ingesting each with a progress bar if necessary.

    Raises Exit after the last film if one of several could not be used.
    """
    from contextlib import nullcontext

    from zoo.base.frame_size import FrameSize
    from zoo.base.interrupts import resumable
    from zoo.base.workspace import Workspace
    from zoo.cli.console import Console
    from zoo.cli.progress import ingest_with_progress, of_each
    from zoo.films.catalogue import Catalogue

    workspace, frame = Workspace.here(), FrameSize.parse(size)
    console = Console(stderr=True)
    failed: list[ZooError] = []
    entries = opt.choose_films(console, Catalogue.open(workspace), name)
    # Films that are decoded are kept; a partly decoded one starts again.
    with nullcontext() if len(entries) == 1 else resumable():
        yield from of_each(
            entries,
            lambda entry: ingest_with_progress(console, entry, frame, workspace, holdout, hwaccel),
            failed,
        )
    if failed:
        raise typer.Exit(failed[0].exit_code)


def _ingested(entry: FilmEntry, workspace: Workspace) -> tuple[list[str], str | None]:
    """The sizes at which the film's current files are ingested, and any problem with the files."""
    from zoo.films.ingest import list_stores, locate_store
    from zoo.films.source_files import is_present

    if not all(map(is_present, entry.files)):
        return [], "file is missing"
    try:
        sizes = [
            str(store.size)
            for store in list_stores(entry, workspace)
            if locate_store(entry, store.size, workspace).folder == store.folder
        ]
    except BadInput:
        return [], "file cannot be read"
    return list(dict.fromkeys(sizes)), None


def _summary(film: Film) -> list[str]:
    """Describe the result of an ingest, in lines."""
    from zoo.base.numbers import counted

    manifest = film.store.manifest
    seen, out = len(film.split.seen), len(film.split.held_out)
    shots, runs = len(film.shots), len(film.split.held_out_runs)
    lines = [
        f"{film.name}: {len(film):,} frames at {film.size}, {film.fps:.3f} frames/s"
        f"{' on average' if manifest.variable_rate else ''}, {counted(shots, 'shot')}; "
        f"{seen:,} frames to train on, {out:,} held out in {counted(runs, 'run')}, "
        f"{film.split.in_gaps:,} in gaps between"
    ]
    if manifest.resampled:
        dropped, repeated = manifest.resampled.dropped, manifest.resampled.repeated
        lines.append(f"{film.name}: resampled, {dropped:,} dropped and {repeated:,} repeated")
    if manifest.damage.summary:
        lines.append(f"{film.name}: damaged: {manifest.damage.summary}")
    return lines


def _sides(bars: Bars) -> str:
    if not any(bars.model_dump().values()):
        return "none"
    return f"left {bars.left}, top {bars.top}, right {bars.right}, bottom {bars.bottom}"


def _setting_rows(entry: FilmEntry) -> list[tuple[str, str]]:
    """Describe which part of its files a film uses, and how its frames are made from them."""
    from zoo.base.time_code import format_time_code

    begin = "the beginning" if entry.start is None else format_time_code(entry.start)
    end = "the end" if entry.stop is None else format_time_code(entry.stop)
    whole = entry.start is None and entry.stop is None
    rate = "that of the file" if entry.fps is None else f"{float(entry.fps):g} frames/s"
    return [
        ("range", "the whole film" if whole else f"from {begin} to {end}"),
        ("frames/s", rate),
        ("crop", "black bars" if entry.crop == "auto" else entry.crop),
        ("fit", entry.fit),
    ]


def _part_rows(part: Part) -> list[tuple[str, str]]:
    duration = "not stated" if part.duration is None else f"{part.duration:.3f} s"
    rate = "not stated" if part.rate is None else f"{part.rate:.3f} frames/s"
    turned = ", mirrored" if part.mirrored else ""
    turned += f", turned {part.rotation} degrees" if part.rotation else ""
    cropped = any(part.cropping.model_dump().values())
    interlaced = ", interlaced" if part.interlaced else ""
    return [
        ("file", part.file),
        ("  codec", part.codec),
        ("  size", f"{part.width}x{part.height}, pixel aspect {part.pixel_aspect}{turned}"),
        ("  rate", rate + interlaced),
        ("  duration", duration),
        (
            "  colour",
            f"{part.pixel_format}, {part.range} range, matrix {part.matrix}, "
            f"primaries {part.primaries}, transfer {part.transfer}",
        ),
        *([("  cropped", f"by its header: {_sides(part.cropping)}")] if cropped else []),
        ("  letterbox", _sides(part.bars)),
        *(("  note", note) for note in part.notes),
    ]
