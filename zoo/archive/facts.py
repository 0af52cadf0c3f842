"""What a film file comes to, in numbers."""

from __future__ import annotations

import pydantic

from zoo.archive.container import DECODER, Container
from zoo.archive.description import TICKS
from zoo.archive.timing import unpack_ticks
from zoo.frame_size import FrameSize


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
    frames_a_second: float
    numbers: int
    """Numbers a frame."""
    bits: int
    """Bits a number."""
    bytes: int
    latent_bytes: int
    scale_bytes: int
    time_bytes: int
    decoder_bytes: int | None
    """Null where the decoder is not inside."""
    sound_bytes: int | None
    sound: str | None
    bytes_a_frame: float
    latent_bytes_a_frame: float
    kilobits_a_second: float
    latent_kilobits_a_second: float
    source_bytes: int
    share_of_source: float | None
    """Of the source's files, sound included; null where their size is not known."""
    share_of_raw: float
    """Of the frames as the network saw them, three bytes a pixel."""


def facts(container: Container) -> Facts:
    """Count up an open film file; raises BadInput where its parts do not fit one another."""
    said, sizes = container.description, container.sizes
    film, config = said.film, said.model.config
    content = container.content()
    packed = None if content.times is None else content.times.tobytes()
    ticks = unpack_ticks(packed, film.frames, film.fps, film.first_tick)
    seconds = float(ticks[-1] - ticks[0]) / TICKS + float(1 / film.fps)
    whole, latents = container.size, sizes["latents"]
    decoder = sum(size for name, size in sizes.items() if name.startswith(DECODER))
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
        frames_a_second=float(film.fps),
        numbers=content.lowest.size,
        bits=said.latent.bits,
        bytes=whole,
        latent_bytes=latents,
        scale_bytes=sizes["lowest"] + sizes["step"],
        time_bytes=sizes.get("times", 0),
        decoder_bytes=decoder or None,
        sound_bytes=sizes.get("sound"),
        sound=said.sound.told if said.sound else None,
        bytes_a_frame=whole / film.frames,
        latent_bytes_a_frame=latents / film.frames,
        kilobits_a_second=whole * 8 / seconds / 1000,
        latent_kilobits_a_second=latents * 8 / seconds / 1000,
        source_bytes=film.source_bytes,
        share_of_source=whole / film.source_bytes if film.source_bytes else None,
        share_of_raw=whole / raw,
    )
