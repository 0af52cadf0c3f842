"""A film into a film file."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import torch

from zoo.api.latent_spec import BITS
from zoo.base.errors import BadInput, ZooError
from zoo.base.text import one_line
from zoo.evaluation.latents import Latents, Quantiser
from zoo.evaluation.watch import sample_batch, sample_batches, samples_of
from zoo.films.catalogue import FilmEntry
from zoo.films.film import Film
from zoo.plugins.model_building import latent_spec
from zoo.reconstruct.archive.container import (
    LARGEST_LEVELS,
    Bytes,
    Container,
    Content,
    check_words,
    most_levels,
    open_container,
    write_container,
)
from zoo.reconstruct.archive.decoder_weights import decoder_of, fingerprint
from zoo.reconstruct.archive.description import (
    LONGEST_TEXT,
    MOST_FRAMES,
    TICKS,
    ChapterPart,
    Description,
    FilmPart,
    LatentPart,
    ModelPart,
    SoundPart,
    Ticks,
    pack_ticks,
)
from zoo.reconstruct.reconstruct_film import Stretch, film_sound, stretch_of
from zoo.reconstruct.tags_and_chapters import (
    LONGEST_TITLE,
    source_chapters,
    source_names,
    source_tags,
    tags_of,
)
from zoo.reconstruct.trained_model import Eyes
from zoo.reconstruct.video.sound import Sound


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
    told: Callable[[str], None] = lambda line: None,
) -> Container:
    """Write a whole film as its numbers; `run` is the name of the run that the eyes are of.

    `progress` is called with the number of frames encoded so far, `told` with a line about the
    sound where it is asked for. Raises BadInput if the latents cannot have so few bits or the
    film's words are too long, before anything is encoded, and ZooError if the latents are not
    finite or there are too many.
    """
    if not 1 <= bits <= BITS:
        raise BadInput(f"latents have from 1 to {BITS} bits a number; not {bits}")
    if bits != BITS and latent_spec(eyes.model).codes is not None:
        exact = latent_spec(eyes.model).bits_per_number
        raise BadInput(
            f"the latents of {eyes.config.model} are codes, which take {exact} bits each: on fewer "
            "levels they would be other codes; leave out --bits"
        )
    too_long = f"{film.name} is too long for a film file: {len(film):,} frames"
    taken = len(samples_of(film, eyes.model)) * eyes.numbers * eyes.quantiser.width
    if len(film) > MOST_FRAMES or taken > LARGEST_LEVELS:
        raise ZooError(too_long)
    described = _description(entry, film, eyes, stretch_of(entry, film), run, bits)
    check_words(described, film.name)
    with ExitStack() as stack:
        sound = None
        if with_sound:
            sound = stack.enter_context(film_sound(entry, film, stretch_of(entry, film), path))
            told(f"sound: {sound.told}")
        latents = _latents(film, eyes, bits, progress)
        coded = latents.packed
        if latents.array.nbytes > most_levels(len(coded)):
            raise ZooError(too_long)
        ticks = _ticks(entry, film)
        packed = pack_ticks(ticks, described.film.fps)
        content = Content(
            latents=_bytes(coded),
            lowest=latents.quantiser.lowest.float().cpu().numpy(),
            step=latents.quantiser.step.float().cpu().numpy(),
            times=None if packed is None else _bytes(packed),
            sound=_sound_bytes(sound),
        )
        decoder = decoder_of(eyes.model, latents.restored(slice(0, 2)))
        taken = sum(tensor.nbytes for tensor in decoder.values())
        described = described.model_copy(
            update={
                "latent": LatentPart(
                    shape=latents.shape,
                    bits=latents.quantiser.bits,
                    codes=latents.quantiser.codes,
                    window=eyes.model.window,
                    shots=[len(shot) for shot in film.shots] if eyes.model.window > 1 else [],
                ),
                "model": described.model.model_copy(update={"decoder_bytes": taken}),
                "sound": _sound_part(sound),
            }
        )
        write_container(path, described, content, decoder if with_decoder else {})
    return open_container(path)


def _description(
    entry: FilmEntry, film: Film, eyes: Eyes, stretch: Stretch, run: str, bits: int
) -> Description:
    """All that is said of a film before it is encoded; long texts are cut."""
    starts = [part.starts for part in film.store.manifest.parts]
    until = film.times.ends
    rate = Fraction(film.fps).limit_denominator(1001)
    tags = tags_of(film, entry, [eyes], source_tags(entry.files[0]))
    return Description(
        made_by=f"film-zoo {importlib.metadata.version('film-zoo')}",
        film=FilmPart(
            name=film.name,
            title=one_line(entry.shown_title, LONGEST_TITLE),
            licence=film.licence and one_line(film.licence, LONGEST_TITLE),
            source=source_names(entry),
            source_bytes=sum(file.stat().st_size for file in entry.files),
            fingerprint=film.fingerprint,
            frames=len(film),
            rate=(rate.numerator, rate.denominator),
            first_tick=int(_ticks(entry, film)[0]),
        ),
        latent=LatentPart(shape=(eyes.numbers,), bits=bits),
        model=ModelPart(run=run, config=eyes.config, weights=fingerprint(eyes.folder.weights)),
        sound=None,
        tags={name: text[:LONGEST_TEXT] for name, text in tags.items()},
        chapters=[
            ChapterPart(start=one.start, stop=one.stop, title=one.title)
            for one in source_chapters(entry.files, starts, stretch.begins, until)
        ],
    )


def _ticks(entry: FilmEntry, film: Film) -> Ticks:
    begins = stretch_of(entry, film).begins
    return np.rint((film.time_codes - begins) * TICKS).astype(np.int64)


def _sound_part(sound: Sound | None) -> SoundPart | None:
    return SoundPart(codec=sound.codec, told=sound.told) if sound and sound.track else None


def _sound_bytes(sound: Sound | None) -> Bytes | None:
    """The file of the sound, read where it lies: it may be as large as hours of sound are."""
    if sound is None or sound.track is None:
        return None
    assert isinstance(sound.track.content, Path)
    return np.memmap(sound.track.content, np.uint8, mode="c")


def coarser(quantiser: Quantiser, bits: int) -> Quantiser:
    """The same range in fewer levels."""
    finest, levels = 2**quantiser.bits - 1, 2**bits - 1
    return Quantiser(quantiser.lowest, quantiser.step * (finest / levels), bits)


def _latents(film: Film, eyes: Eyes, bits: int, progress: Callable[[int], None] | None) -> Latents:
    if bits != BITS:
        eyes = replace(eyes, quantiser=coarser(eyes.quantiser, bits))
    elif (kept := eyes.kept(film)) is not None:
        return kept
    samples = samples_of(film, eyes.model)
    parts: list[Latents] = []
    for which in sample_batches(samples):
        parts.append(eyes.see(sample_batch(film, samples, which, eyes.device)))
        if progress:
            progress(min(len(film), int(samples.indices[which][-1].max()) + 1))
    return replace(parts[0], levels=torch.cat([part.levels for part in parts]), frames=len(film))


def _bytes(data: bytes) -> Bytes:
    return np.frombuffer(bytearray(data), dtype=np.uint8)
