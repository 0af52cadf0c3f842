"""`zoo reconstruct`, `encode`, `decode` and `info`: a film as a video, or as latents in a file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

from zoo.cli import options as opt

if TYPE_CHECKING:
    from zoo.reconstruct.film_file import FileSummary
    from zoo.reconstruct.film_file_description import DecoderBits
    from zoo.reconstruct.find_run import FoundRun


def reconstruct(
    model: Annotated[
        str | None,
        typer.Argument(
            metavar="RUN|MODEL",
            help="A trained model, or a run as named by `zoo runs`; --models takes several.",
        ),
    ] = None,
    film: opt.FilmOfRunOption = None,
    models: Annotated[
        str | None, typer.Option("--models", help="Show several models in a labelled grid: a,b,c.")
    ] = None,
    beside: Annotated[
        bool, typer.Option("--beside", help="Put the original next to the reconstruction.")
    ] = False,
    run: opt.RunOption = None,
    trained_on: opt.TrainedOnOption = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            "-o",
            help="The MP4 or silent WebP to write; default: <film>-<model>.mp4 or -beside.mp4.",
        ),
    ] = None,
    overwrite: opt.OverwriteOption = False,
    begin: Annotated[
        str | None, typer.Option("--from", help="Start at this time code, HH:MM:SS.mmm.")
    ] = None,
    end: Annotated[str | None, typer.Option("--to", help="End at this time code.")] = None,
    codec: opt.CodecOption = "libx264",
    crf: opt.CrfOption = None,
    speed: opt.EncoderPresetOption = None,
    scale: opt.ScaleToOption = None,
    scale_by: opt.FilterOption = "lanczos",
    holdout: opt.HoldoutOption = 0.1,
    threads: opt.ThreadsOption = None,
    device: opt.DeviceOption = "auto",
) -> None:
    """Reconstruct a whole film from its latents, with the time codes and sound of the source.

    Uses the model's finished run on this film; if there are several, the one trained on the most
    frames, then the newest. With --trained-on, uses a model trained only on another film.
    """
    from zoo.base.devices import choose_device
    from zoo.base.errors import BadInput
    from zoo.base.time_code import parse_time_code
    from zoo.base.workspace import Workspace
    from zoo.cli.console import Console, check_free
    from zoo.cli.progress import frames_bar, ingest_with_progress
    from zoo.reconstruct.find_run import find_run
    from zoo.reconstruct.frame_conversion import libswscale_name, parse_scale
    from zoo.reconstruct.model_loader import ModelLoader, run_size
    from zoo.reconstruct.reconstruct_film import (
        Original,
        Panel,
        Reconstruction,
        default_name,
        film_range,
    )
    from zoo.reconstruct.reconstruct_film import reconstruct as write
    from zoo.reconstruct.video_writers import WEBP, EncoderSettings

    settings = EncoderSettings(codec, crf, speed)
    if out and out.suffix.lower() == WEBP and settings != EncoderSettings():
        raise BadInput(
            "--codec, --crf and --encoder-preset are for MP4 only; a WebP has none of them"
        )
    libswscale_name(scale_by)
    chosen_device = choose_device(device)
    first, last = (None if text is None else parse_time_code(text) for text in (begin, end))
    if first is not None and last is not None and first >= last:
        raise BadInput(f"--from {begin} must be before --to {end}: there are no frames between")
    console = Console()
    workspace = Workspace.here()
    names = _models(model, models, run)
    requests = [find_run(workspace, name, film, trained_on=trained_on, run=run) for name in names]
    entry, runs = requests[0].entry, [each.run for each in requests]
    models_of_runs = [each.model for each in runs]
    other = requests[0].other_film
    out = out or Path(
        default_name(entry.name, models_of_runs, other, beside=beside, begin=first, end=last)
    )
    suffix = out.suffix.lower()
    if suffix not in (".mp4", WEBP):
        raise BadInput(
            f"the output is an MP4 or a WebP: its name must end in .mp4 or .webp; not {out.name!r}"
        )
    check_free(out, suffix, overwrite, [film for each in requests for film in each.films])
    size = max((run_size(each) for each in runs), key=lambda one: one.pixels)
    size = parse_scale(scale, size) if scale else size
    opt.set_threads(threads)

    loader = ModelLoader(
        workspace,
        chosen_device,
        lambda one, size: ingest_with_progress(console, one, size, workspace, holdout),
        console.print_line,
    )
    # Check the range before evaluating anything: the film may end before --from.
    film_range(entry, loader.ingest(entry, run_size(runs[0])), first, last)
    panels: list[Panel] = []
    for each, request in zip(runs, requests, strict=True):
        console.print_line(f"run: {each.name}")
        its_film, trained = loader.load(each, entry, request.trained_on)
        name = f"{each.model}, knows {request.other_film}" if request.other_film else each.model
        panels.append(Reconstruction(its_film, name, trained))
    largest = max((panel.film for panel in panels), key=lambda one: one.size.pixels)
    if beside:
        panels.insert(0, Original(largest))
    span = film_range(entry, largest, first, last)
    joins = sum(len(part.joins) for part in largest.store.manifest.parts)
    # Where the source's clock jumps, sound and pictures are joined at the same point.
    if largest.store.manifest.damage.times > joins:
        console.print_line(
            "time codes of this film were repaired; sound may be out of step after a repair"
        )
    with frames_bar(console, f"reconstructing {entry.name}", span.stop - span.start) as bar:
        written = write(
            entry,
            panels,
            span,
            out,
            size=size,
            scale_by=scale_by,
            settings=settings,
            progress=bar.update,
        )
    opt.print_written(console, written)


def _models(model: str | None, models: str | None, run: str | None) -> list[str | None]:
    """The given names, each once; a single None if only a run is given."""
    from zoo.base.errors import BadInput

    if model and models:
        raise BadInput("name one model, or several with --models; not both")
    if run and models:
        raise BadInput("--run names one run, but --models finds one for each model")
    if not model and not models:
        if not run:
            raise BadInput("name a model, several with --models, or a run with --run")
        return [None]
    names = [word.strip() for word in (models or model or "").split(",") if word.strip()]
    return list(dict.fromkeys(names))


def encode(
    film: opt.FilmOfRunOption = None,
    model: opt.ModelArgument = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="The file to write; default: <film>-<model>.zoo."),
    ] = None,
    bits: Annotated[int, typer.Option("--bits", help="Bits per number, 1 to 8.")] = 8,
    with_decoder: Annotated[
        bool, typer.Option("--with-decoder", help="Include the weights needed for decoding.")
    ] = False,
    decoder_bits: Annotated[
        int,
        typer.Option(
            "--decoder-bits", help="Bits per weight of the included decoder: 32, 16 or 8."
        ),
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
    """Write only the latents of a film: the numbers, their scale and the time codes.

    `zoo decode` reconstructs the film, using the weights in the file or in the run here that
    encoded it. docs/film-files.md describes the format.
    """
    from zoo.base.numbers import scaled
    from zoo.cli.console import Console, check_free
    from zoo.cli.progress import frames_bar
    from zoo.reconstruct.encode_film_file import encode as write
    from zoo.reconstruct.film_file import summarise

    kept = _decoder_bits(decoder_bits, with_decoder)
    console = Console()

    def output_path(found: FoundRun) -> Path:
        names = [found.entry.name, found.run.model]
        if found.other_film and found.other_film != found.entry.name:
            names.append(found.other_film)
        return check_free(out or Path("-".join(names) + ".zoo"), ".zoo", overwrite, found.films)

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
    """The bits per weight of the decoder to include; None to leave the decoder out."""
    from zoo.base.errors import BadInput

    if bits not in (32, 16, 8):
        raise BadInput(f"a decoder must have 32, 16 or 8 bits per weight; not {bits}")
    if bits != 32 and not with_decoder:
        raise BadInput(f"--decoder-bits {bits} rounds the decoder in the file: add --with-decoder")
    return cast("DecoderBits", bits) if with_decoder else None


def decode(
    film: Annotated[Path, typer.Argument(help="A film file written by `zoo encode`.")],
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="The MP4 to write; by default named after the film file."),
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
    """Reconstruct a film from a film file, with its sound if the file contains it.

    Uses the network in the file, or in a run here with the same weights.
    """
    from zoo.base.devices import choose_device
    from zoo.base.frame_size import FrameSize
    from zoo.base.workspace import Workspace
    from zoo.cli.console import Console, check_free
    from zoo.cli.progress import frames_bar
    from zoo.reconstruct.decode_film_file import ZooFile, find_decoder
    from zoo.reconstruct.decode_film_file import decode as write
    from zoo.reconstruct.frame_conversion import libswscale_name, parse_scale
    from zoo.reconstruct.video_writers import EncoderSettings

    settings = EncoderSettings(codec, crf, speed)
    libswscale_name(scale_by)
    chosen = choose_device(device)
    out = check_free(out or Path(f"{film.stem or film}.mp4"), ".mp4", overwrite, reads=[film])
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
    film: Annotated[Path, typer.Argument(help="A film file written by `zoo encode`.")],
    as_json: opt.JsonOption = False,
) -> None:
    """Show which film is in a file, which model decodes it, and how small the file is.

    The whole file is read and checked against its hash; no network is loaded.
    """
    from zoo.base.json_output import print_json
    from zoo.reconstruct.film_file import open_container, summarise

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
    from zoo.base.safe_text import one_line
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
