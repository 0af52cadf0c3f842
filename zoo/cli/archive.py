"""`zoo encode`, `zoo decode` and `zoo info`: a film as its latents, in one `.zoo` file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

from zoo.cli import options as opt

if TYPE_CHECKING:
    from zoo.reconstruct.archive.container import FileSummary
    from zoo.reconstruct.archive.description import DecoderBits


def encode(
    film: opt.FilmOfRunOption = None,
    model: opt.ModelArgument = None,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="The file; else <film>-<model>.zoo.")
    ] = None,
    bits: Annotated[int, typer.Option("--bits", help="Bits per number, 1 to 8.")] = 8,
    with_decoder: Annotated[
        bool, typer.Option("--with-decoder", help="Include the weights that decoding needs.")
    ] = False,
    decoder_bits: Annotated[
        int,
        typer.Option("--decoder-bits", help="Bits per weight of that decoder: 32, 16 or 8."),
    ] = 32,
    sound: Annotated[
        bool, typer.Option("--sound", help="Include the sound of the source.")
    ] = False,
    run: opt.RunOption = None,
    trained_on: opt.TrainedOnOption = None,
    overwrite: opt.OverwriteOption = False,
    holdout: opt.HoldoutOption = 0.1,
    threads: opt.ThreadsOption = None,
    device: opt.DeviceOption = "auto",
) -> None:
    """Write a film as its latents and nothing else: the numbers, their scale, time codes.

    `zoo decode` reconstructs it, with the weights in the file or those of the run here that it was
    encoded with. docs/film-files.md has the format.
    """
    from zoo.base.numbers import scaled
    from zoo.cli.console import Console, check_free
    from zoo.cli.progress import frames_bar
    from zoo.reconstruct.archive.container import summarise
    from zoo.reconstruct.archive.encode import encode as write

    kept = _decoder_bits(decoder_bits, with_decoder)
    console = Console()

    def output_path(film: str, model: str, knows: str) -> Path:
        other = [knows] if knows != film else []
        return check_free(out or Path("-".join([film, model, *other]) + ".zoo"), ".zoo", overwrite)

    opened = opt.open_run(
        console, model, film, output_path, run, trained_on, holdout, threads, device
    )
    with frames_bar(console, f"encoding {opened.film.name}", len(opened.film)) as bar:
        container = write(
            opened.entry,
            opened.film,
            opened.trained,
            opened.out,
            run=opened.run.name,
            bits=bits,
            decoder_bits=kept,
            with_sound=sound,
            progress=bar.update,
            on_message=console.print_line,
        )
    found = summarise(container)
    console.print_line(
        f"wrote {opened.out}: {found.frames:,} frames in {scaled(found.bytes, 'B')}, "
        f"{found.latent_bytes_per_frame:.1f} bytes of latents per frame"
    )


def _decoder_bits(bits: int, with_decoder: bool) -> DecoderBits | None:
    """The bits per weight of the decoder to include; None if it stays out."""
    from zoo.base.errors import BadInput

    if bits not in (32, 16, 8):
        raise BadInput(f"a decoder has 32, 16 or 8 bits per weight; not {bits}")
    if bits != 32 and not with_decoder:
        raise BadInput(f"--decoder-bits {bits} rounds the decoder in the file: add --with-decoder")
    return cast("DecoderBits", bits) if with_decoder else None


def decode(
    film: Annotated[Path, typer.Argument(help="A film file, as `zoo encode` writes it.")],
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="The MP4; else named after the film file.")
    ] = None,
    overwrite: opt.OverwriteOption = False,
    codec: opt.CodecOption = "libx264",
    crf: opt.CrfOption = None,
    speed: opt.EncoderPresetOption = None,
    scale: opt.ScaleToOption = None,
    scale_by: opt.FilterOption = "lanczos",
    threads: opt.ThreadsOption = None,
    device: opt.DeviceOption = "auto",
) -> None:
    """Reconstruct a film from a film file, with its sound where it is inside.

    The network is the one in the file, or that of the run here with the same weights.
    """
    from zoo.base.devices import choose_device
    from zoo.base.frame_size import FrameSize
    from zoo.base.workspace import Workspace
    from zoo.cli.console import Console, check_free
    from zoo.cli.progress import frames_bar
    from zoo.reconstruct.archive.decode import ZooFile, find_decoder
    from zoo.reconstruct.archive.decode import decode as write
    from zoo.reconstruct.video.frame_conversion import libswscale_name, parse_scale
    from zoo.reconstruct.video.mp4_writer import EncoderSettings

    settings = EncoderSettings(codec, crf, speed)
    libswscale_name(scale_by)
    chosen = choose_device(device)
    out = check_free(out or Path(f"{film.stem or film}.mp4"), ".mp4", overwrite)
    opt.set_threads(threads)
    console = Console()
    file = ZooFile.open(film)
    trained = find_decoder(file, Workspace.here(), chosen, console.print_line)
    own = FrameSize.parse(file.description.model.config.size)
    with frames_bar(console, f"decoding {film.name}", len(file)) as bar:
        written = write(
            file,
            trained,
            out,
            size=parse_scale(scale, own) if scale else own,
            scale_by=scale_by,
            settings=settings,
            progress=bar.update,
        )
    opt.print_written(console, written)


def info(
    film: Annotated[Path, typer.Argument(help="A film file, as `zoo encode` writes it.")],
    as_json: opt.JsonOption = False,
) -> None:
    """Show which film is in a file, which model decodes it, and how small it is.

    The whole file is read and checked against its hash; no network is loaded.
    """
    from zoo.base.json_output import print_json
    from zoo.reconstruct.archive.container import open_container, summarise

    found = summarise(open_container(film))
    if as_json:
        print_json(**found.model_dump())
        return
    rows = _rows(found)
    width = max(map(len, rows))
    for name, said in rows.items():
        typer.echo(f"{name:<{width}}  {said}")


def _rows(found: FileSummary) -> dict[str, str]:
    from zoo.base.numbers import rate, scaled, significant
    from zoo.base.text import one_line
    from zoo.base.time_code import format_time_code

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
    outside = None if found.bytes_with_decoder is None else found.bytes_with_decoder - found.bytes
    if found.decoder_bytes:
        decoder, what = f"inside, {found.decoder_bits} bits per weight", "this file is"
    else:
        size = f", {scaled(outside, 'B')}" if outside is not None else ""
        decoder = f"not inside; weights {found.weights[:12]}{size}"
        what = "this file with its decoder is"
    rows = {
        "film": f"{found.title} ({found.film})",
        "licence": found.licence or "not stated",
        "length": (
            f"{format_time_code(found.seconds)}, {found.frames:,} frames of {found.size}, "
            f"{rate(found.frames_per_second)} frames/s"
        ),
        "model": f"{found.model}, trained on {found.trained_on} ({found.origin})",
        "run": found.run,
        "decoder": decoder,
        "sound": found.sound or "none",
        "latents": f"{found.numbers} numbers per frame, {found.bits} bits each",
        "size": f"{scaled(found.bytes, 'B')}: "
        + ", ".join(f"{name} {scaled(size, 'B')}" for name, size in inside.items() if size),
        "per frame": (
            f"{significant(found.bytes_per_frame)} bytes, "
            f"{significant(found.latent_bytes_per_frame)} of them latents"
        ),
        "per second": (
            f"{significant(found.kilobits_per_second)} kbit, "
            f"{significant(found.latent_kilobits_per_second)} of them latents"
        ),
        "source": f"{scaled(found.source_bytes, 'B')}; {what} {times(found.share_of_source)}",
        "raw frames": f"{what} {times(found.share_of_raw)}",
    }
    return {name: one_line(said, 400) for name, said in rows.items()}
