"""`zoo encode`: a film as its numbers, in one file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from zoo.cli import options as opt


def encode(
    film: Annotated[
        str, typer.Option("--film", help="The film to encode: of the catalogue, or a path.")
    ],
    model: Annotated[
        str | None, typer.Argument(help="A model that was trained; --run names a run instead.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="The file; else <film>-<model>.zoo.")
    ] = None,
    bits: Annotated[int, typer.Option("--bits", help="Bits a number, 1 to 8.")] = 8,
    with_decoder: Annotated[
        bool, typer.Option("--with-decoder", help="Put in the weights that drawing needs.")
    ] = False,
    sound: Annotated[bool, typer.Option("--sound", help="Put in the source's sound.")] = False,
    run: Annotated[
        str | None, typer.Option("--run", help="This run, named as `zoo runs` names it.")
    ] = None,
    trained_on: Annotated[
        str | None,
        typer.Option("--trained-on", help="The film that the network knows, if it is another."),
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the file.")] = False,
    holdout: opt.HoldoutOption = 0.1,
    threads: opt.ThreadsOption = None,
    device: opt.DeviceOption = "auto",
) -> None:
    """Write a film as its numbers and nothing else: latents, their scale, time codes.

    `zoo decode` draws it again, with the weights in the file or those of the run here that it was
    encoded with. docs/film-files.md has the format.
    """
    from zoo.archive.encode import encode as write
    from zoo.archive.facts import facts
    from zoo.cli.output import Console, bar, check_free, teller
    from zoo.cli.run_choice import open_run
    from zoo.report.numbers import scaled

    console = Console()
    tell = teller(console)

    def place(film: str, model: str, knows: str) -> Path:
        other = [knows] if knows != film else []
        return check_free(out or Path("-".join([film, model, *other]) + ".zoo"), ".zoo", overwrite)

    opened = open_run(console, model, film, place, run, trained_on, holdout, threads, device)
    with bar(console, f"encoding {opened.film.name}", len(opened.film)) as progress:
        container = write(
            opened.entry,
            opened.film,
            opened.eyes,
            opened.out,
            run=opened.run.name,
            bits=bits,
            with_decoder=with_decoder,
            with_sound=sound,
            progress=progress,
            told=tell,
        )
    found = facts(container)
    tell(
        f"wrote {opened.out}: {found.frames:,} frames in {scaled(found.bytes, 'B')}, "
        f"{found.latent_bytes_a_frame:.1f} bytes of latents a frame"
    )
