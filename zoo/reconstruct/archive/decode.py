"""A film drawn from a film file."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from zoo.api.sampling import FilmSamples
from zoo.base.errors import BadInput
from zoo.base.frame_size import FrameSize
from zoo.base.workspace import Workspace
from zoo.evaluation.latents import Latents, Quantiser, unpack
from zoo.evaluation.watch import BATCH
from zoo.films.overlap import made_ahead
from zoo.plugins.registry import registry
from zoo.reconstruct.archive.container import Container, most_levels, open_container
from zoo.reconstruct.archive.decoder_weights import fingerprint, model_of
from zoo.reconstruct.archive.description import TICKS, Description, Ticks, ends_of, unpack_ticks
from zoo.reconstruct.trained_model import Eyes
from zoo.reconstruct.video.frame_conversion import Pixels, Scaler
from zoo.reconstruct.video.mp4_writer import Chapter, Coding, video_file
from zoo.reconstruct.video.sound_file import SoundFile
from zoo.training.jobs import load_model
from zoo.training.run_folder import RunFolder
from zoo.training.runs import find_runs


@dataclass(frozen=True)
class Decoded:
    """What was written of a film file."""

    size: FrameSize
    frames: int
    seconds: float
    sound: str
    """What became of its sound, in a line."""


@dataclass(frozen=True)
class FilmFile:
    """A film file that was read whole, apart from its decoder."""

    container: Container
    latents: Latents
    samples: FilmSamples
    """Which latents draw which frames."""
    ticks: Ticks
    """When each frame is shown (N,)."""
    sound: SoundFile | None
    """As it is in the file, not yet checked."""

    @classmethod
    def open(cls, path: Path) -> FilmFile:
        """Read a film file; raises BadInput in one line if it is damaged, foreign or hostile."""
        container = open_container(path)
        said, content = container.description, container.content()
        frames, numbers = said.film.frames, content.lowest.size
        quantiser = Quantiser(
            torch.from_numpy(content.lowest.copy()),
            torch.from_numpy(content.step.copy()),
            said.latent.bits,
            said.latent.codes,
        )
        try:
            samples = said.latent.samples(frames)
        except ValueError as error:
            raise BadInput(f"{path}: {error}") from None
        if len(samples) * numbers * quantiser.width > most_levels(content.latents.size):
            raise BadInput(f"{path} claims {frames:,} frames, which its latents cannot hold")
        try:
            levels = unpack(content.latents.tobytes(), len(samples), numbers, quantiser.width)
            packed = None if content.times is None else content.times.tobytes()
            ticks = unpack_ticks(packed, frames, said.film.fps, said.film.first_tick)
        except BadInput as error:
            raise BadInput(f"{path}: {error}") from None
        if said.latent.codes is not None and levels.max(initial=0) >= said.latent.codes:
            raise BadInput(f"{path} has other codes than the {said.latent.codes:,} it declares")
        whole = levels if quantiser.width == 1 else levels.astype(np.int32)
        latents = Latents(torch.from_numpy(whole), said.latent.shape, quantiser, frames)
        sound = None if content.sound is None else SoundFile(content.sound.tobytes())
        return cls(container, latents, samples, ticks, sound)

    @property
    def said(self) -> Description:
        """What it says of itself."""
        return self.container.description

    def checked_sound(self) -> tuple[SoundFile | None, str]:
        """The sound if it can be copied into an MP4, and what is to be said of it, in a line."""
        if self.sound is None or self.said.sound is None:
            return None, "not in the file"
        try:
            self.sound.check()
        except BadInput as error:
            return None, f"left out: {error}"
        return self.sound, self.said.sound.told

    def __len__(self) -> int:
        return len(self.ticks)


def eyes_of(
    film: FilmFile, workspace: Workspace, device: torch.device, told: Callable[[str], None]
) -> Eyes:
    """The network that draws the film: out of the file, or of the run that has its weights.

    `told` hears, in a line, which it is. Raises BadInput if neither is there.
    """
    said, path = film.said, film.container.path
    if film.container.decoder_names:
        tensors = film.container.decoder(str(device))
        model = model_of(said.model.config, tensors, device, str(path))
        told(f"network: {said.model.config.model}, from {path.name}")
        here = registry().origins[said.model.config.model]
        if here != said.model.config.origin:
            told(f"it was encoded with {said.model.config.origin} and is drawn with {here}")
        folder = RunFolder(workspace.runs / said.model.run)
    else:
        folder = _folder_of(said, workspace, path)
        model = load_model(folder, said.model.config, device)
        told(f"network: run {folder.path.relative_to(workspace.runs).as_posix()}")
    scale = film.latents.quantiser
    scale = replace(scale, lowest=scale.lowest.to(device), step=scale.step.to(device))
    return Eyes(model, scale, folder, said.model.config, device)


def _folder_of(said: Description, workspace: Workspace, path: Path) -> RunFolder:
    """The run with the file's weights, wherever it lies in the workspace."""
    config = said.model.config
    same = [run for run in find_runs(workspace) if run.model == config.model]
    # The run of that name first: weights take a while to read.
    for run in sorted(same, key=lambda run: run.name != said.model.run):
        kept = run.description.config if run.description else None
        if run.standing != "finished" or kept is None:
            continue
        if (kept.options, kept.size) != (config.options, config.size):
            continue
        if fingerprint(run.folder.weights) == said.model.weights:
            return run.folder
    retrained = any(run.name == said.model.run for run in same)
    raise BadInput(
        f"{path} is drawn by {config.model} trained on {config.film}, weights "
        f"{said.model.weights[:12]}…: "
        + (f"{said.model.run} has others by now" if retrained else "no run here has them")
        + f"; bring back {said.model.run}, or encode the film --with-decoder"
    )


def pictures(film: FilmFile, eyes: Eyes) -> Generator[Pixels, None, None]:
    """The film's frames in order, uint8 (H, W, 3), RGB, while the next ones are drawn.

    Drawn in the batches in which `zoo reconstruct` draws them: they are equal to the bit. Raises
    BadInput if the latents are not of this network.
    """
    with closing(made_ahead(_drawn(film, eyes), 1)) as batches:
        for batch in batches:
            yield from batch


def _drawn(film: FilmFile, eyes: Eyes) -> Iterator[Pixels]:
    where = film.container.path
    samples = film.samples
    if samples.sampling.window != eyes.model.window:
        raise BadInput(
            f"{where} has {samples.sampling.window} frames to a latent; {eyes.config.model} here "
            f"has {eyes.model.window}"
        )
    for start in range(0, len(film), BATCH):
        span = slice(start, min(start + BATCH, len(film)))
        parts = []
        for which, wanted in samples.drawing(span):
            levels = film.latents.levels[torch.from_numpy(which)].to(eyes.device)
            some = replace(film.latents, levels=levels, quantiser=eyes.quantiser)
            try:
                drawn = eyes.draw(some)
            except (RuntimeError, ValueError, TypeError, IndexError, BadInput) as error:
                why = " ".join(str(error).split())[:200]
                raise BadInput(
                    f"{where}: {eyes.config.model} cannot draw its latents: {why}"
                ) from None
            parts.append(drawn if len(drawn) == len(wanted) else drawn[wanted])
        yield parts[0] if len(parts) == 1 else np.concatenate(parts)


def decode(
    film: FilmFile,
    eyes: Eyes,
    path: Path,
    *,
    size: FrameSize | None = None,
    scale_by: str = "lanczos",
    coding: Coding | None = None,
    progress: Callable[[int], None] | None = None,
) -> Decoded:
    """Write the film as an MP4, as `zoo reconstruct` writes it; returns what was written.

    `size` is that of the picture in the video, None for the film's own. Sound that is damaged is
    left out. Raises BadInput as `pictures` does, and ZooError where the file cannot be written;
    nothing is left then.
    """
    said = film.said
    own = FrameSize.parse(said.model.config.size)
    scale = Scaler(own, size or own, scale_by)
    sound, sound_told = film.checked_sound()
    with (
        video_file(
            path,
            size or own,
            said.film.fps,
            coding=coding,
            tags=said.tags,
            chapters=_chapters(said),
            sound=sound,
            ends=ends_of(film.ticks, said.film.fps),
        ) as video,
        closing(pictures(film, eyes)) as drawn,
    ):
        for picture, tick in zip(drawn, film.ticks.tolist(), strict=True):
            video.write(scale(picture), tick / TICKS)
            if progress:
                progress(video.frames)
    return Decoded(video.size, video.frames, video.seconds, sound_told)


def _chapters(said: Description) -> Sequence[Chapter]:
    return [Chapter(one.start, one.stop, one.title) for one in said.chapters]
