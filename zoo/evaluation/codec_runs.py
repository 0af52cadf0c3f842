"""Codec runs: encode a film with a codec, and evaluate the decoded stream.

In addition to the files of every evaluation, the run's folder has `run.json` and the stream itself,
which players can open, such as `film.h264`. A film is encoded again only if the film, size, number
of bytes or options differ, or the version of the codec or its libraries. `coding.log` has the
codec's messages. While a codec trains, it saves the state to resume from in `state.safetensors`.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pydantic
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from zoo.api.codec import TOLERANCE, CodecOptions, CodedFilm, CodingTerms, FilmCodec, make_codec
from zoo.api.samples_and_latents import BATCH, BITS
from zoo.base import devices
from zoo.base.atomic_files import atomic_write, write_json
from zoo.base.encoder_priority import usual_priority
from zoo.base.errors import BadInput, ZooError
from zoo.base.frame_size import FrameSize
from zoo.base.locks import IN_FOLDER, exclusive_lock, print_waiting
from zoo.base.option_validation import validated
from zoo.base.presets_and_budgets import Budget
from zoo.base.records import Cost, Environment, LatentInfo, Number, Record, Throughput
from zoo.base.safe_text import describe_value, one_line
from zoo.base.untrusted_files import check_tensors, read_json
from zoo.base.workspace import Workspace
from zoo.evaluation.film_scores import ScoreCache, score_film
from zoo.evaluation.metrics import MetricSet
from zoo.films.ingested_film import Film
from zoo.plugins.registry import registry
from zoo.plugins.source_digest import source_digest
from zoo.training.run_folder import RunFile, RunFolder, TrainingConfig
from zoo.training.settings import Settings

BYTES_OPTION = "bytes_per_frame"
"""The option of a codec's cell and run that sets its number of bytes per frame."""
ENCODING, LOG, STATE = "coding.json", "coding.log", "state.safetensors"


class Encoding(pydantic.BaseModel):
    """`coding.json`: what the codec reported about the stream beside it."""

    seconds: Number
    note: str


def target_bytes(settings: Settings) -> int:
    """Bytes per frame for a codec, from its settings.

    The default is the size of a latent with these settings at 8 bits per number.
    """
    return int(settings.options.get(BYTES_OPTION) or max(1, settings.latent * BITS // 8))


def codec_config(codec: type[FilmCodec], film: Film, settings: Settings) -> TrainingConfig:
    """The configuration of a codec's run; raises BadInput on bad options.

    For a codec that does not train, seed and budget are constant.
    """
    wanted = target_bytes(settings)
    options = codec_options(codec, settings).model_dump(mode="json")
    return TrainingConfig(
        model=codec.name,
        origin=registry().origins[codec.name],
        source=source_digest(codec),
        options={BYTES_OPTION: wanted, **options},
        film=film.name,
        film_fingerprint=film.fingerprint,
        size=str(film.size),
        budget=str(settings.budget) if codec.trains else f"{wanted}bytes",
        batch=settings.batch if codec.trains else 1,
        seed=settings.seed if codec.trains else 0,
        precision="8-bit",
    )


def codec_options(codec: type[FilmCodec], settings: Settings) -> CodecOptions:
    """A codec's options; settings that it does not have are ignored.

    Raises BadInput on an invalid value.
    """
    fields = codec.Options.model_fields
    own = {name: value for name, value in settings.options.items() if name in fields}
    return validated(codec.name, codec.Options, own)


def build_codec(name: str, options: Mapping[str, Any], size: FrameSize) -> FilmCodec:
    """Build a codec with the options of a run or a record.

    Raises BadInput if no plugin provides it, or its options have changed.
    """
    codec = registry().codecs.get(name)
    if codec is None:
        raise BadInput(f"no plugin provides the codec {name}")
    return make_codec(
        codec, size, {key: value for key, value in options.items() if key != BYTES_OPTION}
    )


def ensure_encoded(
    workspace: Workspace,
    config: TrainingConfig,
    film: Film,
    overwrite: bool = False,
    device: torch.device | None = None,
    notify: Callable[[str], None] | None = None,
) -> RunFolder:
    """Return the finished run of `config`, encoding the film if needed.

    `overwrite` encodes it again; an earlier run is replaced when that is done. Messages of the
    codec are written to `coding.log` and passed to `notify`. An interrupted codec gets back the
    state that it saved.
    """
    folder = RunFolder.of(workspace, config)
    here = _cpu_environment()
    with exclusive_lock(folder.path / IN_FOLDER, str(folder.path), waiting=print_waiting):
        if not overwrite and _is_valid(folder, here) and has_stream(folder, config.model):
            return folder
        making = folder.to_train(overwrite=True)
        resumes = making.read() is None and not (overwrite and making == folder)
        making.clear(*([STATE] if resumes else []))
        codec = build_codec(config.model, config.options, film.size)
        with usual_priority(), (making.path / LOG).open("w", encoding="utf-8") as log:

            def note(line: str) -> None:
                log.write(f"{one_line(line)}\n")
                log.flush()
                if notify:
                    notify(one_line(line))

            # Built-in codecs set their priority frame by frame; those of plugins may not.
            coded = codec.code(film, _coding_terms(making, config, codec, device, note))
        check_coded_film(type(codec), coded)
        with atomic_write(stream_path(making, codec)) as temporary:
            temporary.write_bytes(coded.stream)
        write_json(making.path / ENCODING, Encoding(seconds=coded.seconds, note=coded.note))
        making.write(RunFile(state="finished", config=config, environment=here))
        (making.path / STATE).unlink(missing_ok=True)
        if making != folder:
            folder.replace(making)
    return folder


def _coding_terms(
    folder: RunFolder,
    config: TrainingConfig,
    codec: FilmCodec,
    device: torch.device | None,
    note: Callable[[str], None],
) -> CodingTerms:
    wanted = config.options[BYTES_OPTION]
    if not codec.trains:
        return CodingTerms(wanted, device=torch.device("cpu"), say=note)
    state = folder.path / STATE
    return CodingTerms(
        wanted,
        seed=config.seed,
        budget=Budget.parse(config.budget),
        batch=config.batch,
        device=device or torch.device("cpu"),
        say=note,
        save=lambda tensors: _save_state(state, codec, tensors),
        load=lambda: _load_state(state),
    )


def _save_state(path: Path, codec: FilmCodec, state: Mapping[str, Tensor]) -> None:
    """Write the state of a codec that trains, atomically."""
    if not (isinstance(state, Mapping) and all(isinstance(t, Tensor) for t in state.values())):
        raise ZooError(
            f"{codec.name}: terms.save takes tensors by name, not {describe_value(state)}"
        )
    # Copied, since tensors of a model may share memory.
    kept = {name: t.detach().to("cpu", copy=True).contiguous() for name, t in state.items()}
    with atomic_write(path) as temporary:
        save_file(kept, temporary)


def _load_state(path: Path) -> dict[str, Tensor] | None:
    """The saved state of a codec; None if there is none. Raises BadInput if it is damaged."""
    if not path.exists():
        return None
    try:
        check_tensors(path)
        return dict(load_file(path))
    except (SafetensorError, OSError, BadInput) as error:
        raise BadInput(f"{path} is damaged: {error}; delete it to start over") from None


def check_coded_film(codec: type[FilmCodec], coded: object) -> CodedFilm:
    """Check that a codec returned a valid CodedFilm; raises ZooError if not."""
    if not isinstance(coded, CodedFilm):
        raise ZooError(
            f"{codec.name}: code returned {describe_value(coded)}; it must be a zoo.CodedFilm"
        )
    for field_name, kind in (("stream", bytes), ("note", str)):
        if not isinstance(value := getattr(coded, field_name), kind):
            raise ZooError(
                f"{codec.name}: the {field_name} of its zoo.CodedFilm is {describe_value(value)}; "
                f"it must be {kind.__name__}"
            )
    if not coded.stream:
        raise ZooError(f"{codec.name}: the stream is empty")
    return coded


def _cpu_environment() -> Environment:
    """The environment of codecs, which run on the CPU whatever device the models use."""
    processor = torch.device("cpu")
    return devices.describe(processor, devices.default_precision(processor))


def _is_valid(folder: RunFolder, here: Environment) -> bool:
    """Whether there is a finished run by the installed versions of the libraries."""
    run = folder.read()
    if run is None or run.state != "finished":
        return False
    then = run.environment
    return (then.pyav, then.ffmpeg) == (here.pyav, here.ffmpeg)


def stream_path(folder: RunFolder, codec: FilmCodec | type[FilmCodec]) -> Path:
    """The path of a run's stream."""
    return folder.path / f"film.{codec.suffix}"


def has_stream(folder: RunFolder, codec: str) -> bool:
    """Whether a run has its stream; without it, the codec's run is not finished."""
    kind = registry().codecs.get(codec)
    return kind is not None and stream_path(folder, kind).is_file()


def evaluate_codec(
    workspace: Workspace,
    folder: RunFolder,
    config: TrainingConfig,
    film: Film,
    metric_set: MetricSet,
    device: torch.device,
) -> Record:
    """Evaluate the decoded stream of a codec's run, frame by frame as models are evaluated.

    Writes what `evaluate` writes for a model. Raises ZooError if the stream has other frames than
    the film.
    """
    codec = build_codec(config.model, config.options, film.size)
    stream = stream_path(folder, codec).read_bytes()
    encoding = read_json(folder.path / ENCODING, Encoding)
    decode_seconds = _time_to_decode(codec, stream)

    out = folder.evaluation(film.name)
    here = _cpu_environment()
    cache = ScoreCache.load(out, film, here)
    frames = _tensor_batches(decoded_frames(codec, stream, film), device)
    film_scores = score_film(film, frames, film.name, cache.missing(metric_set), device)
    record = Record(
        model=config.model,
        summary=codec.summary,
        role=codec.role,
        kind="codec",
        origin=config.origin,
        trained_on=film.name,
        evaluated_on=film.name,
        evaluation_fingerprint=film.fingerprint,
        seed=config.seed,
        options=config.options,
        status="ok",
        note=_off_target(len(stream) / len(film), config.options[BYTES_OPTION], encoding.note),
        run=folder.path.relative_to(workspace.root).as_posix(),
        latent=LatentInfo(
            numbers=None, bits=None, coded_bytes=len(stream) / len(film), decoder_bytes=None
        ),
        scores=film_scores.summaries,
        failure_analysis=film_scores.failure_analysis(film, film.name),
        cost=Cost(
            batch=None,
            encode=_single_timing(len(film), encoding.seconds),
            decode=_single_timing(len(film), decode_seconds),
        ),
        environment=here,
    )
    return cache.write(out, film_scores, record)


def _off_target(spent: float, target: float, reason: str) -> str | None:
    """The note of a record whose stream misses its target by more than the tolerance."""
    if abs(spent / target - 1) <= TOLERANCE:
        return None
    return f"{reason or f'{spent:.1f} bytes per frame'}; {target:g} were asked for"


def _time_to_decode(codec: FilmCodec, stream: bytes) -> float:
    began = time.perf_counter()
    for _ in codec.decode(stream):
        pass
    return time.perf_counter() - began


def _single_timing(frames: int, seconds: float | None) -> Throughput | None:
    """A throughput that was measured once: it has no quartiles."""
    if not seconds:
        return None
    return Throughput(median=frames / seconds, lower_quartile=None, upper_quartile=None, repeats=1)


def decoded_frames(codec: FilmCodec, stream: bytes, film: Film) -> Iterator[npt.NDArray[np.uint8]]:
    """Decode a stream; ZooError if its frames differ in number or size from the film's."""
    shape = (film.size.height, film.size.width, 3)
    count = 0
    for frame in codec.decode(stream):
        if not isinstance(frame, np.ndarray):
            raise ZooError(f"{codec.name} gave {describe_value(frame)} for a frame, not an array")
        if frame.shape != shape or frame.dtype != np.uint8:
            raise ZooError(
                f"{codec.name} gave a frame {frame.dtype} {frame.shape}, not uint8 {shape}"
            )
        count += 1
        if count <= len(film):
            yield frame
    if count != len(film):
        raise ZooError(f"{codec.name} gave back {count:,} frames of {len(film):,}")


def _tensor_batches(
    frames: Iterator[npt.NDArray[np.uint8]], device: torch.device
) -> Iterator[Tensor]:
    """Batches of frames as metrics take them, float (B, 3, H, W)."""
    while batch := list(itertools.islice(frames, BATCH)):
        yield torch.from_numpy(np.stack(batch)).to(device).permute(0, 3, 1, 2).float() / 255
