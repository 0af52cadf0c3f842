"""A codec codes a film as a whole: the run it leaves, and the record of it.

The run's folder has, beside what every evaluation leaves, `run.json` and the stream itself, which
plays as it is: `film.h264`, say. It is coded again only for another film, size, number of bytes or
options, or by another version of the codec or of its source; `coding.log` has what it said.
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
from torch import Tensor

from zoo.api.codec import TOLERANCE, CodecOptions, CodedFilm, CodingTerms, FilmCodec, made
from zoo.api.latent_spec import BITS
from zoo.api.sampling import BATCH
from zoo.base import environment
from zoo.base.environment import usual_priority
from zoo.base.errors import BadInput, ZooError, validated
from zoo.base.frame_size import FrameSize
from zoo.base.locks import IN_FOLDER, Waiting, alone, say
from zoo.base.records import Cost, Environment, LatentInfo, Number, Record, Throughput, write_json
from zoo.base.text import named, one_line
from zoo.base.untrusted_files import read_json
from zoo.base.workspace import Workspace, written_aside
from zoo.evaluation.film_scores import Kept, judge
from zoo.evaluation.metrics import Judges
from zoo.films.film import Film
from zoo.plugins.registry import registry
from zoo.plugins.source_digest import source_digest
from zoo.training.budget import Budget
from zoo.training.jobs import Settings, empty
from zoo.training.run_folder import RunFile, RunFolder, TrainingConfig

ASKED = "bytes_per_frame"
"""The option of a codec's cell and run that says how many bytes it may spend."""
CODING, LOG = "coding.json", "coding.log"


class Coding(pydantic.BaseModel):
    """`coding.json`: what the codec said of the stream beside it."""

    seconds: Number
    note: str


def bytes_for(settings: Settings) -> int:
    """What a codec may spend on a frame: what its settings say.

    Else the bytes of a latent of as many numbers as they say, with each in 8 bits.
    """
    return int(settings.options.get(ASKED) or max(1, settings.latent * BITS // 8))


def coding_config(codec: type[FilmCodec], film: Film, settings: Settings) -> TrainingConfig:
    """What decides a coding; raises BadInput on bad options.

    Where a codec does not train, no seed and no budget of training does: they read the same.
    """
    wanted = bytes_for(settings)
    options = codec_options(codec, settings).model_dump(mode="json")
    return TrainingConfig(
        model=codec.name,
        origin=registry().origins[codec.name],
        source=source_digest(codec),
        options={ASKED: wanted, **options},
        film=film.name,
        film_fingerprint=film.fingerprint,
        size=str(film.size),
        budget=str(settings.budget) if codec.trains else f"{wanted}bytes",
        batch=settings.batch if codec.trains else 1,
        seed=settings.seed if codec.trains else 0,
        precision="8-bit",
    )


def codec_options(codec: type[FilmCodec], settings: Settings) -> CodecOptions:
    """A codec's options; those that it does not have are meant for others.

    Raises BadInput on a value that one of them cannot have.
    """
    known = codec.Options.model_fields
    own = {name: value for name, value in settings.options.items() if name in known}
    return validated(codec.name, codec.Options, own)


def codec_of(name: str, options: Mapping[str, Any], size: FrameSize) -> FilmCodec:
    """A codec with the options that a run or a record has of it.

    Raises BadInput if no plugin brings it, or it has other options now.
    """
    codec = registry().codecs.get(name)
    if codec is None:
        raise BadInput(f"no plugin brings the codec {name}")
    return made(codec, size, {key: value for key, value in options.items() if key != ASKED})


def ensure_coded(
    workspace: Workspace,
    config: TrainingConfig,
    film: Film,
    overwrite: bool = False,
    waiting: Waiting | None = say,
    device: torch.device | None = None,
    told: Callable[[str], None] | None = None,
) -> RunFolder:
    """Return the finished run of `config`, coding the film where that is needed.

    `overwrite` throws away what an earlier coding left. `waiting` is `ensure_trained`'s. What the
    codec says on the way is in `coding.log`, and is told.
    """
    folder = RunFolder.of(workspace, config)
    here = _processor()
    with alone(folder.path / IN_FOLDER, str(folder.path), waiting=waiting):
        if not overwrite and _still_holds(folder, here):
            return folder
        empty(folder)
        codec = codec_of(config.model, config.options, film.size)
        with usual_priority(), (folder.path / LOG).open("w", encoding="utf-8") as log:

            def note(line: str) -> None:
                log.write(f"{one_line(line)}\n")
                log.flush()
                if told:
                    told(one_line(line))

            # Built-in codecs see to their priority frame by frame; a stranger's may not.
            coded = codec.code(film, _terms(config, codec, device, note))
        _keep(folder, codec, check_coded(type(codec), coded))
        folder.write(RunFile(state="finished", config=config, environment=here))
    return folder


def _terms(
    config: TrainingConfig,
    codec: FilmCodec,
    device: torch.device | None,
    note: Callable[[str], None],
) -> CodingTerms:
    asked = config.options[ASKED]
    if not codec.trains:
        return CodingTerms(asked, device=torch.device("cpu"), say=note)
    return CodingTerms(
        asked,
        seed=config.seed,
        budget=Budget.parse(config.budget),
        batch=config.batch,
        device=device or torch.device("cpu"),
        say=note,
    )


def check_coded(codec: type[FilmCodec], coded: object) -> CodedFilm:
    """What a codec returned, if it is a coded film; raises ZooError naming what it is instead."""
    if not isinstance(coded, CodedFilm):
        raise ZooError(f"{codec.name}: code returned {named(coded)}; it is to be a zoo.CodedFilm")
    for field_name, kind in (("stream", bytes), ("note", str)):
        if not isinstance(value := getattr(coded, field_name), kind):
            raise ZooError(
                f"{codec.name}: the {field_name} of its zoo.CodedFilm is {named(value)}; it is to "
                f"be {kind.__name__}"
            )
    if not coded.stream:
        raise ZooError(f"{codec.name}: the stream is empty")
    return coded


def _processor() -> Environment:
    """Where codecs run, whatever device the models use."""
    processor = torch.device("cpu")
    return environment.describe(processor, environment.default_precision(processor))


def _still_holds(folder: RunFolder, here: Environment) -> bool:
    """Whether a coding is there that these versions of the libraries made."""
    run = folder.read()
    if run is None or run.state != "finished":
        return False
    then = run.environment
    return (then.pyav, then.ffmpeg) == (here.pyav, here.ffmpeg)


def stream_path(folder: RunFolder, codec: FilmCodec) -> Path:
    """Where a coding's stream lies; it plays as it is."""
    return folder.path / f"film.{codec.suffix}"


def _keep(folder: RunFolder, codec: FilmCodec, coded: CodedFilm) -> None:
    with written_aside(stream_path(folder, codec)) as aside:
        aside.write_bytes(coded.stream)
    write_json(folder.path / CODING, Coding(seconds=coded.seconds, note=coded.note))


def evaluate_coding(
    workspace: Workspace,
    folder: RunFolder,
    config: TrainingConfig,
    film: Film,
    judges: Judges,
    device: torch.device,
) -> Record:
    """Judge the film that a codec draws from its stream as models are judged, frame by frame.

    Leaves what `evaluate` leaves for a model. Raises ZooError if the stream gives other frames
    than the film has.
    """
    codec = codec_of(config.model, config.options, film.size)
    stream = stream_path(folder, codec).read_bytes()
    coding = read_json(folder.path / CODING, Coding)
    decode_seconds = _time_to_decode(codec, stream)

    out = folder.evaluation(film.name)
    here = _processor()
    kept = Kept.of(out, film, here)
    drawn = _batches(checked_frames(codec, stream, film), device)
    judged = judge(film, drawn, film.name, kept.still_to_measure(judges), device)
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
        note=_off_target(len(stream) / len(film), config.options[ASKED], coding.note),
        run=folder.path.relative_to(workspace.root).as_posix(),
        latent=LatentInfo(
            numbers=None, bits=None, coded_bytes=len(stream) / len(film), decoder_bytes=None
        ),
        scores=judged.summaries,
        failure_analysis=judged.failure_analysis(film, film.name),
        cost=Cost(
            batch=None,
            encode=_once(len(film), coding.seconds),
            decode=_once(len(film), decode_seconds),
        ),
        environment=here,
    )
    return kept.write(out, judged, record)


def _off_target(spent: float, asked: float, reason: str) -> str | None:
    """What the record says where a stream is further from its target than the tolerance."""
    if abs(spent / asked - 1) <= TOLERANCE:
        return None
    return f"{reason or f'{spent:.1f} bytes a frame'}; {asked:g} were asked for"


def _time_to_decode(codec: FilmCodec, stream: bytes) -> float:
    began = time.perf_counter()
    for _ in codec.decode(stream):
        pass
    return time.perf_counter() - began


def _once(frames: int, seconds: float | None) -> Throughput | None:
    """A throughput that was timed once: it has no quartiles."""
    if not seconds:
        return None
    return Throughput(median=frames / seconds, lower_quartile=None, upper_quartile=None, repeats=1)


def checked_frames(codec: FilmCodec, stream: bytes, film: Film) -> Iterator[npt.NDArray[np.uint8]]:
    """The decoded frames; ZooError if they are not as many or as large as the film's."""
    shape = (film.size.height, film.size.width, 3)
    count = 0
    for frame in codec.decode(stream):
        if not isinstance(frame, np.ndarray):
            raise ZooError(f"{codec.name} gave {named(frame)} for a frame, not an array")
        if frame.shape != shape or frame.dtype != np.uint8:
            raise ZooError(
                f"{codec.name} gave a frame {frame.dtype} {frame.shape}, not uint8 {shape}"
            )
        count += 1
        if count <= len(film):
            yield frame
    if count != len(film):
        raise ZooError(f"{codec.name} gave back {count:,} frames of {len(film):,}")


def _batches(frames: Iterator[npt.NDArray[np.uint8]], device: torch.device) -> Iterator[Tensor]:
    """Frames in the batches that metrics get, float (B, 3, H, W)."""
    while batch := list(itertools.islice(frames, BATCH)):
        yield torch.from_numpy(np.stack(batch)).to(device).permute(0, 3, 1, 2).float() / 255
