"""Decode a film file into frames, and into a video."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from zoo.api.autoencoder import Autoencoder
from zoo.api.samples_and_latents import BATCH, FilmSamples
from zoo.base.errors import BadInput
from zoo.base.frame_size import FrameSize
from zoo.base.prefetch import prefetch
from zoo.base.safe_text import one_line
from zoo.base.time_code import TICKS, Ticks, ends_of, unpack_ticks
from zoo.base.workspace import Workspace
from zoo.evaluation.latents import Latents, Quantiser, unpack_levels
from zoo.plugins.model_building import build, on_meta_device, parse_options, placed
from zoo.plugins.registry import registry
from zoo.reconstruct.film_file import Container, most_level_bytes, open_container
from zoo.reconstruct.film_file_description import Description
from zoo.reconstruct.frame_conversion import Pixels, Scaler
from zoo.reconstruct.model_loader import TrainedModel
from zoo.reconstruct.reconstruct_film import WrittenVideo
from zoo.reconstruct.video_writers import Chapter, EncoderSettings, video_file
from zoo.reconstruct.write_sound import Sound, SoundFile
from zoo.training.checkpoint import weights_fingerprint
from zoo.training.run_folder import RunFolder, TrainingConfig
from zoo.training.runs import Run, bundled_runs, find_runs
from zoo.training.trained_models import load_model

_MOST_OTHERS, _TIMES_AS_MUCH = 256 << 20, 16
"""Limits for weights that are not in the file: bytes, or a multiple of the bytes in the file."""


@dataclass(frozen=True)
class ZooFile:
    """A film file, read and checked except for its decoder."""

    container: Container
    latents: Latents
    samples: FilmSamples
    """Which latents decode to which frames."""
    ticks: Ticks
    """When each frame is shown (N,)."""
    sound: SoundFile | None
    """The sound as stored in the file, not yet checked."""

    @classmethod
    def open(cls, path: Path) -> ZooFile:
        """Read a film file; raises BadInput if it is damaged, malicious or of another kind."""
        container = open_container(path)
        description, content = container.description, container.content()
        film, latent = description.film, description.latent
        frames, numbers = film.frames, content.lowest.size
        quantiser = Quantiser(
            torch.from_numpy(content.lowest.copy()),
            torch.from_numpy(content.step.copy()),
            latent.bits,
            latent.codes,
        )
        try:
            samples = latent.samples(frames)
        except ValueError as error:
            raise BadInput(f"{path}: {error}") from None
        if len(samples) * numbers * quantiser.width > most_level_bytes(content.latents.size):
            raise BadInput(f"{path} claims {frames:,} frames, more than its latents can hold")
        try:
            packed = content.latents.tobytes()
            levels = unpack_levels(packed, len(samples), numbers, quantiser.width)
            packed_ticks = None if content.times is None else content.times.tobytes()
            ticks = unpack_ticks(packed_ticks, frames, film.fps, film.first_tick)
        except BadInput as error:
            raise BadInput(f"{path}: {error}") from None
        if latent.codes is not None and levels.max(initial=0) >= latent.codes:
            raise BadInput(f"{path} has codes outside the {latent.codes:,} it declares")
        signed = levels if quantiser.width == 1 else levels.astype(np.int32)
        latents = Latents(torch.from_numpy(signed), latent.shape, quantiser, frames)
        sound = None if content.sound is None else SoundFile(content.sound.tobytes())
        return cls(container, latents, samples, ticks, sound)

    @property
    def description(self) -> Description:
        """The description in the file."""
        return self.container.description

    def checked_sound(self) -> Sound:
        """Check the sound; it is left out if it cannot be copied into an MP4."""
        if self.sound is None or self.description.sound is None:
            return Sound(None, "", "not in the file")
        codec = self.description.sound.codec
        try:
            self.sound.check()
        except BadInput as error:
            return Sound(None, codec, f"left out: {error}")
        return Sound(self.sound, codec, self.description.sound.summary)

    def __len__(self) -> int:
        return len(self.ticks)


def find_decoder(
    film: ZooFile, workspace: Workspace, device: torch.device, on_message: Callable[[str], None]
) -> TrainedModel:
    """Load the model that decodes the film, from the file or from a run with the same weights.

    `on_message` gets a line that names the source. Raises BadInput if there is neither.
    """
    description, path = film.description, film.container.path
    config = description.model.config
    if film.container.decoder_names:
        tensors = film.container.decoder(str(device))
        model = model_from_decoder(config, tensors, device, str(path))
        on_message(f"model: {config.model}, from {path.name}")
        here = registry().origins[config.model]
        if here != config.origin:
            on_message(f"it was encoded with {config.origin} and is decoded with {here}")
        folder = RunFolder(workspace.runs / description.model.run)
    else:
        run = _find_run(description, workspace, path)
        folder = run.folder
        model = load_model(folder, config, device)
        on_message(f"model: run {run.name}")
    return TrainedModel(model, film.latents.quantiser.to(device), folder, config, device)


def model_from_decoder(
    config: TrainingConfig, tensors: Mapping[str, Tensor], device: torch.device, where: str
) -> Autoencoder:
    """Build a model that can decode from its decoder's tensors, in evaluation mode on the device.

    The model is first built on the meta device, where even a trillion weights take no memory, and
    compared with the tensors. Tensors that the file lacks stay there if the model allows it. Raises
    BadInput, beginning with `where`, if tensors do not fit or the others need far more memory.
    """
    architecture = registry().architecture(config.model)
    options = parse_options(architecture, config.options)
    size = FrameSize.parse(config.size)
    try:
        with on_meta_device():
            model = architecture(size, options)
    except Exception:
        # Some models read their own tensors in the constructor, which the meta device cannot do.
        model = _built(config, where)
    expected = model.state_dict()
    for name, tensor in tensors.items():
        wanted = expected.get(name)
        if wanted is None or (wanted.shape, wanted.dtype) != (tensor.shape, tensor.dtype):
            raise BadInput(f"{where}: its weights do not fit the {config.model} installed here")
    held = sum(tensor.nbytes for tensor in tensors.values())
    others = sum(tensor.nbytes for name, tensor in expected.items() if name not in tensors)
    if others > max(_MOST_OTHERS, _TIMES_AS_MUCH * held):
        raise BadInput(f"{where}: its model would take {others:,} bytes besides its weights")
    ready = {name: _in_memory_format(tensor, device) for name, tensor in tensors.items()}
    computed = set(dict(model.named_buffers())) - expected.keys()
    if computed or not _is_meta(model):
        model = placed(_built(config, where), device)
    model.load_state_dict(ready, strict=False, assign=True)
    return model.eval()


def _built(config: TrainingConfig, where: str) -> Autoencoder:
    architecture = registry().architecture(config.model)
    try:
        return build(architecture, FrameSize.parse(config.size), config.options)
    except (RuntimeError, TypeError, MemoryError, OverflowError) as error:
        why = " ".join(str(error).split())[:200]
        raise BadInput(f"{where}: its {config.model} cannot be built: {why}") from None


def _is_meta(model: Autoencoder) -> bool:
    return all(tensor.is_meta for tensor in model.state_dict().values())


def _in_memory_format(tensor: Tensor, device: torch.device) -> Tensor:
    """Use the same memory format as a run's model: kernels, and so the last bits, depend on it."""
    form = torch.channels_last if tensor.dim() == 4 else torch.contiguous_format
    return tensor.to(device).contiguous(memory_format=form)


def _find_run(description: Description, workspace: Workspace, path: Path) -> Run:
    """Find the run with the file's weights, in the workspace or among the bundled runs."""
    config, wanted = description.model.config, description.model
    same_model = [
        run for run in [*find_runs(workspace), *bundled_runs()] if run.model == config.model
    ]
    unreadable = []
    # Try the run of that name first, because fingerprints of weights are slow.
    for run in sorted(same_model, key=lambda run: run.name != wanted.run):
        its = run.description.config if run.description else None
        if run.status != "finished" or its is None:
            continue
        if (its.options, its.size) != (config.options, config.size):
            continue
        try:
            if weights_fingerprint(run.folder.weights) == wanted.weights:
                return run
        except BadInput as error:  # another run may have these weights
            unreadable.append(one_line(str(error)))
    retrained = any(run.name == wanted.run for run in same_model)
    raise BadInput(
        f"{path} needs {config.model} trained on {config.film}, with weights "
        f"{wanted.weights[:12]}…: "
        + (
            unreadable[0]
            if unreadable
            else f"{wanted.run} has other weights now"
            if retrained
            else "no run here has them"
        )
        + f"; restore {wanted.run}, or encode the film again using --with-decoder"
    )


def decoded_frames(film: ZooFile, trained: TrainedModel) -> Generator[Pixels, None, None]:
    """Yield the film's frames in order, uint8 (H, W, 3), RGB, decoded ahead in a thread.

    Batches are the same as in `zoo reconstruct`, so the frames are bit-equal to its frames.
    Raises BadInput if the latents do not fit the model.
    """
    with closing(prefetch(_decoded_batches(film, trained), 1)) as batches:
        for batch in batches:
            yield from batch


def _decoded_batches(film: ZooFile, trained: TrainedModel) -> Iterator[Pixels]:
    path, window = film.container.path, film.samples.sampling.window
    if window != trained.model.window:
        raise BadInput(
            f"{path} has {window} frames per latent; {trained.config.model} here has "
            f"{trained.model.window}"
        )
    latents = replace(film.latents, quantiser=trained.quantiser)
    for start in range(0, len(film), BATCH):
        span = slice(start, min(start + BATCH, len(film)))
        try:
            frames = trained.decode_frames(film.samples, span, latents)
        except (RuntimeError, ValueError, TypeError, IndexError, BadInput) as error:
            why = " ".join(str(error).split())[:200]
            raise BadInput(
                f"{path}: {trained.config.model} cannot decode its latents: {why}"
            ) from None
        yield frames


def decode(
    film: ZooFile,
    trained: TrainedModel,
    path: Path,
    *,
    size: FrameSize | None = None,
    scale_by: str = "lanczos",
    settings: EncoderSettings | None = None,
    progress: Callable[[int], None] | None = None,
) -> WrittenVideo:
    """Decode the film into an MP4 like that of `zoo reconstruct`.

    `size` is the frame size of the video; None means the film's own. Damaged sound is left out.
    Raises BadInput like `decoded_frames`, and ZooError if the file cannot be written; in both cases
    no file remains.
    """
    description = film.description
    own = FrameSize.parse(description.model.config.size)
    scale = Scaler(own, size or own, scale_by)
    sound = film.checked_sound()
    with (
        video_file(
            path,
            size or own,
            description.film.fps,
            settings=settings,
            tags=description.tags,
            chapters=[Chapter(one.start, one.stop, one.title) for one in description.chapters],
            sound=sound.track,
            ends=ends_of(film.ticks, description.film.fps),
        ) as video,
        closing(decoded_frames(film, trained)) as frames,
    ):
        for frame, tick in zip(frames, film.ticks.tolist(), strict=True):
            video.write(scale(frame), tick / TICKS)
            if progress:
                progress(video.frames)
    return WrittenVideo(path, video.size, video.frames, video.seconds, sound)
