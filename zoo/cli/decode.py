"""`zoo decode`: a film drawn from its numbers."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from zoo.cli import options as opt


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
    from zoo.cli.output import Console, bar, check_free, teller
    from zoo.environment import choose_device
    from zoo.films.time_code import format_time_code
    from zoo.frame_size import FrameSize
    from zoo.reconstruct.ordering import parse_scale
    from zoo.training.jobs import whole_number
    from zoo.video.convert import libswscale_name
    from zoo.video.writer import Coding
    from zoo.workspace import Workspace

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
