"""`zoo encode`, `zoo decode` and `zoo info`: a film as its latents, in one `.zoo` file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from zoo.cli import options as opt

if TYPE_CHECKING:
    from zoo.archive.facts import Facts


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
    from zoo.cli.console import Console, bar, check_free, teller
    from zoo.report.numbers import scaled

    console = Console()
    tell = teller(console)

    def place(film: str, model: str, knows: str) -> Path:
        other = [knows] if knows != film else []
        return check_free(out or Path("-".join([film, model, *other]) + ".zoo"), ".zoo", overwrite)

    opened = opt.open_run(console, model, film, place, run, trained_on, holdout, threads, device)
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


def decode(
    film: Annotated[Path, typer.Argument(help="A film file, as `zoo encode` writes it.")],
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="The MP4; else named after the film file.")
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the MP4.")] = False,
    codec: Annotated[
        str, typer.Option("--codec", help="libx264, libx265 or libsvtav1.")
    ] = "libx264",
    crf: Annotated[
        float | None, typer.Option("--crf", help="Quality: higher is coarser; libx264: 18.")
    ] = None,
    speed: Annotated[
        str | None,
        typer.Option("--encoder-preset", help="The encoder's own preset; libx264: medium."),
    ] = None,
    scale: Annotated[
        str | None, typer.Option("--scale", help="Size of the video: 1280x720 or 2x.")
    ] = None,
    scale_by: Annotated[
        str,
        typer.Option("--filter", help="nearest, bilinear, bicubic, lanczos, spline or area."),
    ] = "lanczos",
    threads: opt.ThreadsOption = None,
    device: opt.DeviceOption = "auto",
) -> None:
    """Draw a film from a film file, with its sound where it is inside.

    The network is the one in the file, or that of the run here with the same weights.
    """
    import torch

    from zoo.archive.decode import FilmFile, eyes_of
    from zoo.archive.decode import decode as draw
    from zoo.base.environment import choose_device
    from zoo.base.frame_size import FrameSize
    from zoo.base.workspace import Workspace
    from zoo.cli.console import Console, bar, check_free, teller
    from zoo.films.time_code import format_time_code
    from zoo.reconstruct.ordering import parse_scale
    from zoo.training.jobs import whole_number
    from zoo.video.convert import libswscale_name
    from zoo.video.writer import Coding

    coding = Coding(codec, crf, speed)
    libswscale_name(scale_by)
    chosen = choose_device(device)
    out = check_free(out or Path(f"{film.stem or film}.mp4"), ".mp4", overwrite)
    if threads is not None:
        torch.set_num_threads(whole_number(threads, "--threads"))
    console = Console()
    tell = teller(console)
    file = FilmFile.open(film)
    eyes = eyes_of(file, Workspace.here(), chosen, tell)
    own = FrameSize.parse(file.said.model.config.size)
    with bar(console, f"drawing {film.name}", len(file)) as progress:
        written = draw(
            file,
            eyes,
            out,
            size=parse_scale(scale, own) if scale else own,
            scale_by=scale_by,
            coding=coding,
            progress=progress,
        )
    tell(f"sound: {written.sound}")
    tell(
        f"wrote {out}: {written.size}, {written.frames:,} frames, "
        f"{format_time_code(written.seconds)}"
    )


def info(
    film: Annotated[Path, typer.Argument(help="A film file, as `zoo encode` writes it.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print it as strict JSON.")] = False,
) -> None:
    """Say what film is in a file, what draws it, and how small it is.

    The whole file is read and checked against its hash; no network is loaded.
    """
    from zoo.archive.container import open_container
    from zoo.archive.facts import facts

    found = facts(open_container(film))
    if as_json:
        typer.echo(found.model_dump_json(indent=1))
        return
    rows = _rows(found)
    width = max(map(len, rows))
    for name, said in rows.items():
        typer.echo(f"{name:<{width}}  {said}")


def _rows(found: Facts) -> dict[str, str]:
    from zoo.base.text import one_line
    from zoo.films.time_code import format_time_code
    from zoo.report.numbers import rate, scaled, significant

    def times(share: float | None) -> str:
        if share is None:
            return "n/a (the size of the decoder is not stated)"
        if share < 1:
            return f"{significant(1 / share)} times smaller"
        return f"{significant(share)} times as large"

    inside = {
        "latents": found.latent_bytes,
        "header": found.header_bytes,
        "scale": found.scale_bytes,
        "time codes": found.time_bytes,
        "decoder": found.decoder_bytes,
        "sound": found.sound_bytes,
    }
    elsewhere = None if found.bytes_with_decoder is None else found.bytes_with_decoder - found.bytes
    if found.decoder_bytes:
        decoder, what = "inside", "this file is"
    else:
        size = f", {scaled(elsewhere, 'B')}" if elsewhere is not None else ""
        decoder = f"not inside; weights {found.weights[:12]}{size}"
        what = "this file with its decoder is"
    rows = {
        "film": f"{found.title} ({found.film})",
        "licence": found.licence or "not stated",
        "length": (
            f"{format_time_code(found.seconds)}, {found.frames:,} frames of {found.size}, "
            f"{rate(found.frames_a_second)} a second"
        ),
        "model": f"{found.model}, trained on {found.trained_on} ({found.origin})",
        "run": found.run,
        "decoder": decoder,
        "sound": found.sound or "none",
        "latents": f"{found.numbers} numbers a frame, {found.bits} bits each",
        "size": f"{scaled(found.bytes, 'B')}: "
        + ", ".join(f"{name} {scaled(size, 'B')}" for name, size in inside.items() if size),
        "a frame": (
            f"{significant(found.bytes_a_frame)} bytes, "
            f"{significant(found.latent_bytes_a_frame)} of them latents"
        ),
        "a second": (
            f"{significant(found.kilobits_a_second)} kbit, "
            f"{significant(found.latent_kilobits_a_second)} of them latents"
        ),
        "source": f"{scaled(found.source_bytes, 'B')}; {what} {times(found.share_of_source)}",
        "raw frames": f"{what} {times(found.share_of_raw)}",
    }
    return {name: one_line(said, 400) for name, said in rows.items()}
