"""What a film file comes to, in numbers."""

from __future__ import annotations

import pydantic

from zoo.archive.container import DECODER, Container
from zoo.archive.description import TICKS
from zoo.archive.timing import ends_of, unpack_ticks
from zoo.base.frame_size import FrameSize


class Facts(pydantic.BaseModel):
    """Sizes in bytes; rates are those of the file as a whole, and of its latents alone."""

    film: str
    title: str
    licence: str | None
    model: str
    origin: str
    """Package and version that brought the model."""
    trained_on: str
    run: str
    weights: str
    """Fingerprint of the network's weights."""
    size: str
    frames: int
    seconds: float
    frames_per_second: float
    numbers: int
    """Numbers a frame."""
    bits: int
    """Bits a number."""
    bytes: int
    header_bytes: int
    """The description, and the names and sizes of all parts."""
    latent_bytes: int
    scale_bytes: int
    time_bytes: int
    decoder_bytes: int | None
    """Null where the decoder is not inside."""
    bytes_with_decoder: int | None
    """Of the file and the decoder it needs; null where nobody says how large that is."""
    sound_bytes: int | None
    sound: str | None
    bytes_per_frame: float
    latent_bytes_per_frame: float
    kilobits_per_second: float
    latent_kilobits_per_second: float
    source_bytes: int
    share_of_source: float | None
    """`bytes_with_decoder` over the source's files, sound included; null where one is not known."""
    share_of_raw: float | None
    """The same over the frames as the network saw them, three bytes a pixel."""


def facts(container: Container) -> Facts:
    """Count up an open film file; raises BadInput where its parts do not fit one another."""
    said, sizes = container.description, container.sizes
    film, config = said.film, said.model.config
    content = container.content()
    packed = None if content.times is None else content.times.tobytes()
    ticks = unpack_ticks(packed, film.frames, film.fps, film.first_tick)
    seconds = ends_of(ticks, film.fps) - float(ticks[0]) / TICKS
    whole, latents = container.size, sizes["latents"]
    decoder = sum(size for name, size in sizes.items() if name.startswith(DECODER))
    needed = said.model.decoder_bytes
    with_decoder = whole if decoder else None if needed is None else whole + needed
    raw = film.frames * FrameSize.parse(config.size).pixels * 3
    return Facts(
        film=film.name,
        title=film.title,
        licence=film.licence,
        model=config.model,
        origin=config.origin,
        trained_on=config.film,
        run=said.model.run,
        weights=said.model.weights,
        size=config.size,
        frames=film.frames,
        seconds=seconds,
        frames_per_second=float(film.fps),
        numbers=content.lowest.size,
        bits=said.latent.bits,
        bytes=whole,
        header_bytes=whole - sum(sizes.values()),
        latent_bytes=latents,
        scale_bytes=sizes["lowest"] + sizes["step"],
        time_bytes=sizes.get("times", 0),
        decoder_bytes=decoder or None,
        bytes_with_decoder=with_decoder,
        sound_bytes=sizes.get("sound"),
        sound=said.sound.told if said.sound else None,
        bytes_per_frame=whole / film.frames,
        latent_bytes_per_frame=latents / film.frames,
        kilobits_per_second=whole * 8 / seconds / 1000,
        latent_kilobits_per_second=latents * 8 / seconds / 1000,
        source_bytes=film.source_bytes,
        share_of_source=_share(with_decoder, film.source_bytes),
        share_of_raw=_share(with_decoder, raw),
    )


def _share(part: int | None, whole: int) -> float | None:
    return part / whole if part is not None and whole else None
