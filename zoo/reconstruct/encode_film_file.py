"""Encode a film into a film file."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from zoo.api.autoencoder import Autoencoder
from zoo.api.film_entry import FilmEntry
from zoo.api.recipe_and_events import FULL
from zoo.api.samples_and_latents import BITS
from zoo.base.errors import BadInput, ZooError
from zoo.base.safe_text import one_line
from zoo.base.time_code import TICKS, pack_ticks, rate_fraction
from zoo.evaluation.inference import samples_of
from zoo.evaluation.model_summary import decoder_tensors
from zoo.films.ingested_film import Film
from zoo.films.source_files import bytes_of
from zoo.plugins.model_building import inference_state, latent_spec
from zoo.reconstruct.film_file import (
    LARGEST_LEVELS,
    Bytes,
    Container,
    Content,
    check_description_size,
    decoder_parts,
    most_level_bytes,
    open_container,
    write_container,
)
from zoo.reconstruct.film_file_description import (
    LONGEST_TEXT,
    MOST_FRAMES,
    ChapterPart,
    DecoderBits,
    Description,
    FilmPart,
    LatentPart,
    ModelPart,
    SoundPart,
)
from zoo.reconstruct.model_loader import TrainedModel
from zoo.reconstruct.reconstruct_film import FilmRange, film_range, film_sound
from zoo.reconstruct.tags_and_chapters import (
    LONGEST_TITLE,
    reconstruction_tags,
    source_chapters,
    source_file_names,
    source_tags,
)
from zoo.reconstruct.write_sound import Sound
from zoo.training.checkpoint import weights_fingerprint


def encode(
    entry: FilmEntry,
    film: Film,
    trained: TrainedModel,
    path: Path,
    *,
    run: str,
    bits: int = BITS,
    decoder_bits: DecoderBits | None = None,
    with_sound: bool = False,
    progress: Callable[[int], None] | None = None,
    on_message: Callable[[str], None] = lambda line: None,
) -> Container:
    """Encode a whole film into a film file; `run` is the name of the model's run.

    With `decoder_bits`, the file includes the decoder, with matrices and kernels in this many bits.
    `progress` is called with the number of frames encoded so far, and `on_message` with a line
    about the sound if it is included. Raises BadInput before encoding if the latents need more
    bits, the film's texts are too long or its frames are days apart; raises ZooError if there are
    too many latents or any is not finite.
    """
    if not 1 <= bits <= BITS:
        raise BadInput(f"latents must have from 1 to {BITS} bits per number; not {bits}")
    spec = latent_spec(trained.model)
    if bits != BITS and spec.codes is not None:
        raise BadInput(
            f"the latents of {trained.config.model} are codes of {spec.bits_per_number} bits "
            "each, which cannot be rounded to fewer levels; leave out --bits"
        )
    too_long = f"{film.name} is too long for a film file: {len(film):,} frames"
    size = len(samples_of(film, trained.model)) * trained.numbers * trained.quantiser.width
    if len(film) > MOST_FRAMES or size > LARGEST_LEVELS:
        raise ZooError(too_long)
    span = film_range(entry, film)
    ticks = np.rint((film.frame_seconds - span.start_seconds) * TICKS).astype(np.int64)
    description = _description(entry, film, trained, span, int(ticks[0]), run, bits)
    check_description_size(description, film.name)
    try:
        packed_ticks = pack_ticks(ticks, description.film.fps)
    except ValueError as error:
        raise BadInput(f"{film.name} does not fit into a film file: {error}") from None
    with ExitStack() as stack:
        sound = None
        if with_sound:
            sound = stack.enter_context(film_sound(entry, film, span, path))
            on_message(f"sound: {sound.summary}")
        if bits == BITS:
            latents = trained.film_latents(film, progress)
        else:
            coarser = replace(trained, quantiser=trained.quantiser.coarser(bits))
            latents = coarser.encode_film(film, progress)
        if latents.array.nbytes > most_level_bytes(len(latents.packed)):
            raise ZooError(too_long)
        content = Content(
            latents=_bytes(latents.packed),
            lowest=latents.quantiser.lowest.float().cpu().numpy(),
            step=latents.quantiser.step.float().cpu().numpy(),
            times=None if packed_ticks is None else _bytes(packed_ticks),
            sound=_sound_bytes(sound),
        )
        decoder = decoder_tensors_of(trained.model, latents.dequantised(slice(0, 2)))
        parts = decoder_parts(decoder, decoder_bits or FULL)
        window = trained.model.window
        description = description.model_copy(
            update={
                "latent": LatentPart(
                    shape=latents.shape,
                    bits=latents.quantiser.bits,
                    codes=latents.quantiser.codes,
                    window=window,
                    shots=[len(shot) for shot in film.shots] if window > 1 else [],
                ),
                "model": description.model.model_copy(
                    update={
                        "decoder_bytes": sum(part.nbytes for part in parts.values()),
                        "decoder_bits": decoder_bits or FULL,
                    }
                ),
                "sound": _sound_part(sound),
            }
        )
        write_container(path, description, content, parts if decoder_bits else {})
    return open_container(path)


def _description(
    entry: FilmEntry,
    film: Film,
    trained: TrainedModel,
    span: FilmRange,
    first_tick: int,
    run: str,
    bits: int,
) -> Description:
    """The description, as far as known before the film is encoded; shortens long texts."""
    starts = [part.starts for part in film.store.manifest.parts]
    rate = rate_fraction(film.fps)
    tags = reconstruction_tags(film, entry, [trained], source_tags(entry.files[0]))
    weights = weights_fingerprint(trained.folder.weights)
    return Description(
        made_by=f"film-zoo {importlib.metadata.version('film-zoo')}",
        film=FilmPart(
            name=film.name,
            title=one_line(entry.shown_title, LONGEST_TITLE),
            licence=film.licence and one_line(film.licence, LONGEST_TITLE),
            source=source_file_names(entry),
            source_bytes=sum(map(bytes_of, entry.files)),
            fingerprint=film.fingerprint,
            frames=len(film),
            rate=(rate.numerator, rate.denominator),
            first_tick=first_tick,
        ),
        latent=LatentPart(shape=(trained.numbers,), bits=bits),
        model=ModelPart(run=run, config=trained.config, weights=weights),
        sound=None,
        tags={name: text[:LONGEST_TEXT] for name, text in tags.items()},
        chapters=[
            ChapterPart(start=one.start, stop=one.stop, title=one.title)
            for one in source_chapters(entry.files, starts, span.start_seconds, film.times.ends)
        ],
    )


def decoder_tensors_of(model: Autoencoder, latent: Tensor) -> dict[str, Tensor]:
    """The tensors that `decode` needs, by their names in the model, contiguous on the CPU.

    `latent` holds latents of some frames, (B, ...). It is tested whether the other tensors are
    unused: with NaN in all of them, results must not change. If they do, all tensors are returned.
    """
    whole = {
        name: t.detach().cpu().contiguous().clone() for name, t in inference_state(model).items()
    }
    # Autograd does not reach integer tensors, such as a table of codes.
    reached = decoder_tensors(model, latent[:1].clone())
    needed = {n: t for n, t in whole.items() if n in reached or not t.is_floating_point()}
    expected = _decoded(model, latent)
    unused = {name: t for name, t in whole.items() if name not in needed}
    try:
        model.load_state_dict({n: torch.full_like(t, torch.nan) for n, t in unused.items()}, False)
        same = torch.equal(_decoded(model, latent), expected)
    finally:
        model.load_state_dict(unused, strict=False)
    return needed if same else whole


@torch.inference_mode()
def _decoded(model: Autoencoder, latent: Tensor) -> Tensor:
    return model.decode(latent)


def _sound_part(sound: Sound | None) -> SoundPart | None:
    return SoundPart(codec=sound.codec, summary=sound.summary) if sound and sound.track else None


def _sound_bytes(sound: Sound | None) -> Bytes | None:
    """The sound file, memory-mapped because hours of sound are large."""
    if sound is None or sound.track is None:
        return None
    assert isinstance(sound.track.content, Path)
    return np.memmap(sound.track.content, np.uint8, mode="c")


def _bytes(data: bytes) -> Bytes:
    return np.frombuffer(bytearray(data), dtype=np.uint8)
