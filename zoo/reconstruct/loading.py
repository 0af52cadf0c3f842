"""Trained models from Python: `m = zoo.load("bigbuckbunny-vae")`, then encode and decode.

    from zoo import load

    m = load("bigbuckbunny-vae")            # or load(MODEL, film=FILM)
    frames = m.film.store.array[100:110]    # uint8 (N, H, W, 3)
    z = m.encode(frames)                    # float32 (N, ...), a tensor
    y = m.decode(z)                         # uint8 (N, H, W, 3)

The results equal those of `zoo reconstruct`: it finds the same run, encodes and decodes in the same
batches, and rounds to 8 bits per colour.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from zoo.api.autoencoder import Autoencoder
from zoo.api.film_entry import FilmEntry
from zoo.api.samples_and_latents import BATCH, FilmSamples, Sampling
from zoo.base.devices import choose_device
from zoo.base.errors import BadInput
from zoo.base.frame_size import FrameSize
from zoo.base.workspace import Workspace
from zoo.evaluation.inference import decode_to_pixels, encode_samples, sample_slices
from zoo.evaluation.latents import Latents, Quantiser
from zoo.films.catalogue import Catalogue
from zoo.films.ingest import open_film
from zoo.films.ingested_film import Film
from zoo.plugins.model_building import latent_spec
from zoo.reconstruct.find_run import find_run, one_film
from zoo.reconstruct.hub import PREFIX, fetched, load_folder
from zoo.reconstruct.model_loader import ModelLoader, TrainedModel
from zoo.training.run_folder import TrainingConfig
from zoo.training.runs import Run

Pixels = npt.NDArray[np.uint8]
Frames = Pixels | Tensor

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class Loaded:
    """A trained model that is ready to encode and decode; made by `load`.

    It accepts RGB frames of the size that the model was trained at: uint8 arrays or tensors
    (N, H, W, 3) or (N, 3, H, W), or float tensors (N, 3, H, W) in [0, 1]. It returns frames as
    uint8 arrays (N, H, W, 3), and latents as float32 tensors (M, ...) on the model's device.

    A model with a window or a context treats the frames as one shot: in order, without a cut. With
    a window of T, there is one latent per T frames, and the last window is padded with the last
    frame. Other models have one latent per frame.
    """

    trained: TrainedModel
    workspace: Workspace
    holdout: float
    run: Run | None = None
    """The run that the model was loaded from; None if from a folder or the hub."""
    loaded_film: Film | None = None

    @property
    def film(self) -> Film:
        """The film that the model was loaded for, at its size; `film.store.array` has the frames.

        Raises BadInput if the model was loaded from a folder or the hub, without a film.
        """
        if self.loaded_film is None:
            raise BadInput("this model was loaded without a film; name one")
        return self.loaded_film

    @property
    def network(self) -> Autoencoder:
        """The network itself, in evaluation mode."""
        return self.trained.model

    @property
    def config(self) -> TrainingConfig:
        """The configuration of its training."""
        return self.trained.config

    @property
    def size(self) -> FrameSize:
        """The size of the frames that it accepts and returns."""
        return self.trained.model.size

    @property
    def device(self) -> torch.device:
        """The device that the model runs on."""
        return self.trained.device

    @property
    def quantiser(self) -> Quantiser:
        """The quantiser of its latents: 8 bits over the range of its training film."""
        return self.trained.quantiser

    def __repr__(self) -> str:
        return f"<{self.config.model} trained on {self.config.film}, {self.size}>"

    @torch.no_grad()
    def encode(self, frames: Frames, *, quantise: bool = False) -> Tensor:
        """Encode frames to latents, float32 (M, ...).

        With `quantise`, latents are rounded to the levels that are used for all scores. Raises
        ValueError on frames of another form, and BadInput if a latent differs from what the model
        declares.
        """
        numbers = torch.cat([encode_samples(self.network, some) for some in self._batches(frames)])
        numbers = self.quantiser.round_trip(numbers) if quantise else numbers
        return numbers.unflatten(1, latent_spec(self.network).shape)

    @torch.inference_mode()
    def decode(self, latents: Tensor | npt.NDArray[np.floating[Any]]) -> Pixels:
        """Decode latents (M, ...) to frames, uint8 (N, H, W, 3).

        With a window of T, N is M times T, including any padding of the last window. Raises
        ValueError on latents of another form.
        """
        given = torch.as_tensor(latents, dtype=torch.float32, device=self.device)
        wanted = self.trained.numbers
        if given.dim() < 2 or not len(given) or given[0].numel() != wanted:
            raise ValueError(f"latents must be (N, ...), {wanted} numbers each; not {given.shape}")
        count = max(1, BATCH // self.network.window)
        return np.concatenate([decode_to_pixels(self.network, some) for some in given.split(count)])

    def reconstruct(self, frames: Frames) -> Pixels:
        """Encode, quantise and decode frames: uint8 (N, H, W, 3)."""
        return self.decode(self.encode(frames, quantise=True))[: len(frames)]

    def latents(self, film: str | Path | None = None) -> Latents:
        """Quantised latents of a whole film, by default the film that the model was loaded for.

        `film` is a name in the catalogue or a path. The result's `levels` are uint8 (N, L), and its
        `dequantised(slice)` is the input for `decode`. Raises BadInput if there is no such film.
        """
        if film is None:
            return self.trained.film_latents(self.film)
        entry = one_film(Catalogue.open(self.workspace), str(film), "only one film can be encoded")
        opened = open_film(entry, self.size, self.workspace, holdout=self.holdout)
        return self.trained.film_latents(opened)

    def sample(self, count: int, *, seed: int = 0) -> Tensor:
        """Draw latents from the model's prior, float32 (count, ...).

        The same seed gives the same latents on every machine. Raises BadInput if the model has no
        prior.
        """
        return prior_sample(self.network, count, seed).to(self.device)

    def _batches(self, frames: Frames) -> Iterator[Tensor]:
        """Yield float samples for `encode` on the device, about 32 frames at a time."""
        # A read-only array, such as a film's own, is copied, because tensors are writable.
        if isinstance(frames, np.ndarray):
            frames = torch.from_numpy(frames if frames.flags.writeable else frames.copy())
        width, height = self.size
        rows_first, colours_first = (height, width, 3), (3, height, width)
        is_bytes, shape = frames.dtype == torch.uint8, tuple(frames.shape[1:])
        fits = shape == colours_first or (is_bytes and shape == rows_first)
        if not (is_bytes or frames.is_floating_point()) or not fits:
            raise ValueError(
                f"frames must be uint8 (N, {height}, {width}, 3), or uint8 or float "
                f"(N, 3, {height}, {width}); not {frames.dtype} {tuple(frames.shape)}"
            )
        given = frames.permute(0, 2, 3, 1) if is_bytes and shape != rows_first else frames
        if not len(given):
            raise ValueError("there are no frames")
        samples = FilmSamples.of(Sampling.of(self.network), [len(given)])
        for which in sample_slices(samples):
            some = given[torch.from_numpy(samples.indices[which].reshape(-1))]
            if is_bytes:
                floats = some.to(self.device).permute(0, 3, 1, 2).float() / 255
            else:
                floats = some.to(self.device, torch.float32)
            floats = floats.contiguous(memory_format=torch.channels_last)
            yield samples.sampling.shaped(floats)


def load(
    model: str | None = None,
    film: str | Path | None = None,
    *,
    run: str | None = None,
    trained_on: str | None = None,
    folder: str | Path | None = None,
    workspace: str | Path | None = None,
    device: str = "auto",
    holdout: float = 0.1,
    on_message: Callable[[str], None] = _LOG.info,
) -> Loaded:
    """Load a trained model for a film, found like in `zoo reconstruct MODEL --film FILM`.

    `model` is the name of a model, a run's name as in `zoo runs`, such as the bundled
    `bigbuckbunny-vae`, or `hf://user/repo`, published by `zoo push`. Of a model's finished runs on
    the film, the one trained on the most frames is used; of equal ones, the newest. `run` also
    names a run; `trained_on` selects a run on another film. `film` is a name in the catalogue or a
    path, by default the run's training film. `folder` is a published folder, in place of model and
    film. `workspace` is a folder, by default the current one; `device` is auto, cpu, cuda or
    cuda:1; `holdout` is the held-out share of the film. `on_message` gets lines about slow steps
    and other important events.

    Raises BadInput, listing what exists, if there is no such film, run or folder.
    """
    place = Workspace(Path(workspace).absolute()) if workspace is not None else Workspace.here()
    chosen = choose_device(device)
    if folder is not None:
        if model or film or run or trained_on:
            raise BadInput("a folder already names its model: leave out model, film and run")
        return Loaded(load_folder(Path(folder), chosen), place, holdout)

    def ingest(entry: FilmEntry, size: FrameSize) -> Film:
        return open_film(entry, size, place, holdout=holdout)

    if model and model.startswith(PREFIX):
        if run or trained_on:
            raise BadInput(f"{model} already names its run: leave out run and trained_on")
        entry = one_film(Catalogue.open(place), str(film), "a model has one film") if film else None
        with fetched(
            model.removeprefix(PREFIX), f"loading {model}", on_message=on_message
        ) as published:
            for name, digest in published.sha256.items():
                on_message(f"sha256 {digest} {name}")
            trained = load_folder(published.folder, chosen)
        film_here = ingest(entry, trained.model.size) if entry else None
        return Loaded(trained, place, holdout, None, film_here)
    found = find_run(place, model, str(film) if film else None, trained_on=trained_on, run=run)
    loader = ModelLoader(place, chosen, ingest, on_message)
    opened, trained = loader.load(found.run, found.entry, found.trained_on)
    return Loaded(trained, place, holdout, found.run, opened)


def prior_sample(network: Autoencoder, count: int, seed: int) -> Tensor:
    """Draw latents from a model's prior, float32 (count, ...), on the CPU.

    Raises BadInput if the model has no prior.
    """
    found = network.sample_prior(count, torch.Generator().manual_seed(seed))
    if found is None:
        raise BadInput(
            f"{network.name} has no prior to draw latents from; zoo walk drifts "
            "through the latents of a film with any model"
        )
    return found.float()
