"""A film into a film file."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import torch

from zoo.archive.container import (
    Bytes,
    Container,
    Content,
    most_levels,
    open_container,
    write_container,
)
from zoo.archive.description import (
    MOST_FRAMES,
    TICKS,
    ChapterPart,
    Description,
    FilmPart,
    LatentPart,
    ModelPart,
    SoundPart,
)
from zoo.archive.sound import sound_bytes
from zoo.archive.timing import pack_ticks
from zoo.archive.weights import decoder_of, fingerprint
from zoo.errors import BadInput, ZooError
from zoo.evaluation.watch import batches, film_batch
from zoo.films.catalogue import FilmEntry
from zoo.films.film import Film
from zoo.latents.latents import Latents
from zoo.latents.packing import pack
from zoo.latents.quantise import BITS, Quantiser, are_codes
from zoo.reconstruct.eyes import Eyes
from zoo.reconstruct.panels import Redrawn
from zoo.reconstruct.reconstruct import stretch_of
from zoo.reconstruct.saying import tags_of
from zoo.video.origin import source_chapters, source_tags
from zoo.video.sound import sound_of


def encode(
    entry: FilmEntry,
    film: Film,
    eyes: Eyes,
    path: Path,
    *,
    run: str,
    bits: int = BITS,
    with_decoder: bool = False,
    with_sound: bool = False,
    progress: Callable[[int], None] | None = None,
) -> Container:
    """Write a whole film as its numbers; `run` is the name of the run that the eyes are of.

    `progress` is called with the number of frames encoded so far. Raises BadInput if the latents
    cannot have so few bits, and ZooError if they are not finite or there are too many.
    """
    if not 1 <= bits <= BITS:
        raise BadInput(f"latents have from 1 to {BITS} bits a number; not {bits}")
    latents = _latents(film, eyes, bits, progress)
    coded = pack(latents.levels.cpu().numpy())
    if len(film) > MOST_FRAMES or latents.levels.numel() > most_levels(len(coded)):
        raise ZooError(f"{film.name} is too long for a film file: {len(film):,} frames")
    stretch = stretch_of(entry, film)
    starts = [part.starts for part in film.store.manifest.parts]
    sound = sound_of(entry.files, starts, stretch.begins, stretch.ends) if with_sound else None
    until = film.times.ends
    rate = Fraction(film.fps).limit_denominator(1001)
    ticks = np.rint((film.time_codes - stretch.begins) * TICKS).astype(np.int64)
    described = Description(
        made_by=f"film-zoo {importlib.metadata.version('film-zoo')}",
        film=FilmPart(
            name=film.name,
            title=entry.shown_title,
            licence=film.licence,
            source=film.source,
            source_bytes=sum(file.stat().st_size for file in entry.files),
            fingerprint=film.fingerprint,
            frames=len(film),
            rate=(rate.numerator, rate.denominator),
            first_tick=int(ticks[0]),
        ),
        latent=LatentPart(shape=latents.shape, bits=bits),
        model=ModelPart(run=run, config=eyes.config, weights=fingerprint(eyes.folder.weights)),
        sound=SoundPart(codec=sound.codec, told=sound.told) if sound else None,
        tags=tags_of(film, entry, [Redrawn(film, eyes.config.model, eyes)], _tags(entry)),
        chapters=[
            ChapterPart(start=one.start, stop=one.stop, title=one.title)
            for one in source_chapters(entry.files, starts, stretch.begins, until)
        ],
    )
    packed = pack_ticks(ticks, rate)
    content = Content(
        latents=_bytes(coded),
        lowest=latents.quantiser.lowest.float().cpu().numpy(),
        step=latents.quantiser.step.float().cpu().numpy(),
        times=None if packed is None else _bytes(packed),
        sound=_bytes(sound_bytes(sound)) if sound else None,
    )
    few = latents.restored(slice(0, 2))
    write_container(path, described, content, decoder_of(eyes.model, few) if with_decoder else {})
    return open_container(path)


def coarser(quantiser: Quantiser, bits: int) -> Quantiser:
    """The same range in fewer levels."""
    finest, levels = 2**quantiser.bits - 1, 2**bits - 1
    return Quantiser(quantiser.lowest, quantiser.step * (finest / levels), bits)


def _latents(film: Film, eyes: Eyes, bits: int, progress: Callable[[int], None] | None) -> Latents:
    kept = eyes.kept(film) if bits == BITS else None
    if kept is not None:
        return kept
    if bits != BITS:
        eyes = replace(eyes, quantiser=coarser(eyes.quantiser, bits))
    parts: list[Latents] = []
    for span in batches(film):
        frames = film_batch(film, span, eyes.device)
        if bits != BITS and not parts:
            _refuse_codes(eyes, frames)
        parts.append(eyes.see(frames))
        if progress:
            progress(span.stop)
    return replace(parts[0], levels=torch.cat([part.levels for part in parts]))


@torch.inference_mode()
def _refuse_codes(eyes: Eyes, frames: torch.Tensor) -> None:
    """Raise BadInput if latents name codes: on fewer levels they would name others."""
    if are_codes(eyes.model.encode(frames)):
        raise BadInput(f"the latents of {eyes.config.model} are codes, which take {BITS} bits each")


def _tags(entry: FilmEntry) -> dict[str, str]:
    return {name[:200]: text[:5000] for name, text in source_tags(entry.files[0]).items()}


def _bytes(data: bytes) -> Bytes:
    return np.frombuffer(data, dtype=np.uint8)
