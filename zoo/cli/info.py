"""`zoo info`: what is in a film file, and what it comes to."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from zoo.archive.facts import Facts


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
    from zoo.films.time_code import format_time_code
    from zoo.report.numbers import rate, scaled, significant
    from zoo.report.text import one_line

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
