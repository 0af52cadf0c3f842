"""Trained models from Python: `m = zoo.load(MODEL, film="bikes")`, then encode and decode.

    from zoo import load

    m = load("my_model", film="bikes")
    frames = m.film.store.array[100:110]    # uint8 (N, H, W, 3)
    z = m.encode(frames)                    # float32 (N, ...), a tensor
    y = m.decode(z)                         # uint8 (N, H, W, 3)

What is returned is what `zoo reconstruct` draws: the same runs are found, frames pass the network
in the same batches, and pictures are rounded to 8 bits a colour.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from zoo.api.autoencoder import Autoencoder
from zoo.api.sampling import FilmSamples, Sampling
from zoo.base.environment import choose_device
from zoo.base.errors import BadInput
from zoo.base.frame_size import FrameSize
from zoo.base.workspace import Workspace
from zoo.evaluation.latents import Latents, Quantiser
from zoo.evaluation.watch import (
    BATCH,
    check_latents,
    drawn,
    sample_batch,
    sample_batches,
    samples_of,
)
from zoo.films.catalogue import Catalogue, FilmEntry
from zoo.films.film import Film
from zoo.films.ingest import open_film
from zoo.reconstruct.find_run import find_run, one_film
from zoo.reconstruct.hub import read_folder
from zoo.reconstruct.trained_model import Eyes, Opener
from zoo.training.run_folder import TrainingConfig
from zoo.training.runs import Run

Pixels = npt.NDArray[np.uint8]
Frames = Pixels | Tensor

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class Loaded:
    """A trained model, ready to encode and decode. `load` makes it.

    Frames are given as uint8, RGB, an array or a tensor, (N, H, W, 3) or (N, 3, H, W); or as a
    float tensor (N, 3, H, W) in [0, 1]; of the size that the model was trained at. They come back
    as a uint8 array (N, H, W, 3). Latents are float32 tensors (M, ...) on the model's device.

    A model with a window or a context takes the frames as a shot of a film: in order, without a cut
    among them. With a window of T there is a latent for every T frames, the last window padded with
    the last frame; every other model has one for each frame.
    """

    eyes: Eyes
    workspace: Workspace
    holdout: float
    run: Run | None = None
    """The run that it is of; None where it was loaded from a folder."""
    evaluated_on: Film | None = None

    @property
    def film(self) -> Film:
        """The film that it was loaded for, at its size; `film.store.array` are the frames.

        Raises BadInput if it was loaded from a folder, for no film.
        """
        if self.evaluated_on is None:
            raise BadInput("this model was loaded from a folder, without a film; name one")
        return self.evaluated_on

    @property
    def network(self) -> Autoencoder:
        """The network itself, in evaluation mode."""
        return self.eyes.model

    @property
    def config(self) -> TrainingConfig:
        """How it was trained."""
        return self.eyes.config

    @property
    def size(self) -> FrameSize:
        """Of the frames that it takes and draws."""
        return self.eyes.model.size

    @property
    def device(self) -> torch.device:
        """Where it computes."""
        return self.eyes.device

    @property
    def quantiser(self) -> Quantiser:
        """The scale of its latents: 8 bits over the range that its film spans."""
        return self.eyes.quantiser

    def __repr__(self) -> str:
        return f"<{self.config.model} trained on {self.config.film}, {self.size}>"

    @torch.no_grad()
    def encode(self, frames: Frames, *, quantise: bool = False) -> Tensor:
        """Latents of frames: float32 (M, ...).

        With `quantise` they are rounded to the levels at which every score is measured. Raises
        ValueError on frames of another form, and BadInput
        if a latent is not what the model declares.
        """
        parts = []
        for some in self._as_taken(frames):
            if quantise:
                parts.append(self.eyes.see(some).restored(slice(None)))
            else:
                encoded = self.network.encode(some)
                numbers = check_latents(self.network, encoded, len(some))
                parts.append(numbers.view(encoded.shape))
        return torch.cat(parts)

    @torch.inference_mode()
    def decode(self, latents: Tensor | npt.NDArray[np.floating[Any]]) -> Pixels:
        """What the network draws from latents (M, ...) alone: uint8 (N, H, W, 3).

        With a window of T, N is M times T: the padding of a last window is drawn, too.

        Raises ValueError on latents of another form.
        """
        given = torch.as_tensor(latents, dtype=torch.float32, device=self.device)
        wanted = self.eyes.quantiser.lowest.numel()
        if given.dim() < 2 or not len(given) or given[0].numel() != wanted:
            raise ValueError(f"latents are (N, ...), {wanted} numbers each; not {given.shape}")
        count = max(1, BATCH // self.network.window)
        return np.concatenate([drawn(self.network, some) for some in given.split(count)])

    def reconstruct(self, frames: Frames) -> Pixels:
        """Frames as the network draws them from quantised latents: uint8 (N, H, W, 3)."""
        return self.decode(self.encode(frames, quantise=True))[: len(frames)]

    def latents(self, film: str | Path | None = None) -> Latents:
        """A whole film in quantised numbers; by default the film that the model was loaded for.

        `film` is one of the catalogue or a path. `levels` are uint8 (N, L); `restored(slice)` are
        what `decode` takes. Raises BadInput if there is no such film.
        """
        if film is None:
            evaluated_on = self.film
        else:
            entry = one_film(Catalogue.open(self.workspace), str(film), "one film is watched")
            evaluated_on = open_film(entry, self.size, self.workspace, holdout=self.holdout)
        return film_latents(evaluated_on, self.eyes)

    def sample(self, count: int, *, seed: int = 0) -> Tensor:
        """Latents drawn from the model's prior: float32 (count, ...).

        The same seed draws the same on every machine. Raises BadInput if the model has no prior.
        """
        return prior_sample(self.network, count, seed).to(self.device)

    def _as_taken(self, frames: Frames) -> Iterator[Tensor]:
        """Batches as the network takes them: float (B, 3, H, W), channels last, on the device."""
        # Read-only arrays, such as a film's own, are copied: torch's tensors can be written to.
        if isinstance(frames, np.ndarray):
            frames = torch.from_numpy(frames if frames.flags.writeable else frames.copy())
        width, height = self.size
        rows_first, colours_first = (height, width, 3), (3, height, width)
        is_bytes, shape = frames.dtype == torch.uint8, tuple(frames.shape[1:])
        fits = shape == colours_first or (is_bytes and shape == rows_first)
        if not (is_bytes or frames.is_floating_point()) or not fits:
            raise ValueError(
                f"frames are uint8 (N, {height}, {width}, 3), or uint8 or float "
                f"(N, 3, {height}, {width}); not {frames.dtype} {tuple(frames.shape)}"
            )
        given = frames.permute(0, 2, 3, 1) if is_bytes and shape != rows_first else frames
        if not len(given):
            raise ValueError("there are no frames")
        samples = FilmSamples.of(Sampling.of(self.network), [len(given)])
        for which in sample_batches(samples):
            some = given[torch.from_numpy(samples.indices[which].reshape(-1))]
            if is_bytes:
                floats = some.to(self.device).permute(0, 3, 1, 2).float() / 255
            else:
                floats = some.to(self.device, torch.float32)
            floats = floats.contiguous(memory_format=torch.channels_last)
            yield samples.sampling.shaped(floats)


def load(
    model: str | None = None,
    film: str | Path = "",
    *,
    run: str | None = None,
    trained_on: str | None = None,
    folder: str | Path | None = None,
    workspace: str | Path | None = None,
    device: str = "auto",
    holdout: float = 0.1,
    told: Callable[[str], None] = _LOG.info,
) -> Loaded:
    """Load a trained model for a film, as `zoo reconstruct MODEL --film FILM` finds it.

    The network is that of a finished run on the film; of several the one trained on most frames,
    of equals the newest. `run` names another, as `zoo runs` does; `trained_on` takes one that knows
    another film. `film` is one of the catalogue or a path. `folder`, in place of model and film, is
    one that `zoo push` published. The workspace is a folder, by default the current one; `device`
    is auto, cpu, cuda or cuda:1; `holdout` is the share of the film that was held out. What takes
    time or is worth knowing is said to `told`, a line each.

    Raises BadInput, saying what there is, if there is no such film, run or folder.
    """
    place = Workspace(Path(workspace).absolute()) if workspace is not None else Workspace.here()
    chosen = choose_device(device)
    if folder is not None:
        if model or film or run or trained_on:
            raise BadInput("a folder says itself which model it holds: name nothing beside it")
        return Loaded(read_folder(Path(folder), chosen), place, holdout)
    request = find_run(place, model, str(film), trained_on=trained_on, run=run)

    def ingest(entry: FilmEntry, size: FrameSize) -> Film:
        return open_film(entry, size, place, holdout=holdout)

    opener = Opener(place, chosen, ingest, told)
    opened, eyes = opener.open(request.run, request.entry, request.trained_on)
    return Loaded(eyes, place, holdout, request.run, opened)


def film_latents(film: Film, eyes: Eyes) -> Latents:
    """A whole film in quantised numbers: those that were scored, where there are some."""
    kept = eyes.kept(film)
    if kept is not None:
        return kept
    samples = samples_of(film, eyes.model)
    parts = [
        eyes.see(sample_batch(film, samples, which, eyes.device))
        for which in sample_batches(samples)
    ]
    return replace(parts[0], levels=torch.cat([part.levels for part in parts]), frames=len(film))


def prior_sample(network: Autoencoder, count: int, seed: int) -> Tensor:
    """Latents from a model's prior: float32 (count, ...), on the CPU.

    Raises BadInput if the model has none.
    """
    found = network.sample_prior(count, torch.Generator().manual_seed(seed))
    if found is None:
        raise BadInput(
            f"{network.name} has no prior: nothing says how likely a latent is; zoo walk drifts "
            "through the latents of a film with any model"
        )
    return found.float()
