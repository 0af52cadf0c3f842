"""Trained models from Python: `m = zoo.load("bigbuckbunny-vae")`, then encode and decode.

    from zoo import load

    m = load("bigbuckbunny-vae")            # or load(MODEL, film=FILM)
    frames = m.film.store.array[100:110]    # uint8 (N, H, W, 3)
    z = m.encode(frames)                    # float32 (N, ...), a tensor
    y = m.decode(z)                         # uint8 (N, H, W, 3)

The results equal those of `zoo reconstruct`: the same run is found, frames are encoded and decoded
in the same batches, and rounded to 8 bits per colour.
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
    """A trained model, ready to encode and decode. `load` makes it.

    It takes frames as uint8, RGB, an array or a tensor, (N, H, W, 3) or (N, 3, H, W); or as a float
    tensor (N, 3, H, W) in [0, 1]; of the size that the model was trained at. It returns frames as a
    uint8 array (N, H, W, 3), and latents as float32 tensors (M, ...) on the model's device.

    A model with a window or a context takes the frames as one shot: in order, without a cut. With a
    window of T there is one latent for T frames, the last window padded with the last frame; every
    other model has one latent per frame.
    """

    trained: TrainedModel
    workspace: Workspace
    holdout: float
    run: Run | None = None
    """The run that it was loaded from; None if it was loaded from a folder or the hub."""
    loaded_film: Film | None = None

    @property
    def film(self) -> Film:
        """The film that it was loaded for, at its size; `film.store.array` holds the frames.

        Raises BadInput if it was loaded from a folder or the hub, for no film.
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
        """How it was trained."""
        return self.trained.config

    @property
    def size(self) -> FrameSize:
        """Of the frames that it takes and returns."""
        return self.trained.model.size

    @property
    def device(self) -> torch.device:
        """The device that it runs on."""
        return self.trained.device

    @property
    def quantiser(self) -> Quantiser:
        """The quantiser of its latents: 8 bits over the range that its film spans."""
        return self.trained.quantiser

    def __repr__(self) -> str:
        return f"<{self.config.model} trained on {self.config.film}, {self.size}>"

    @torch.no_grad()
    def encode(self, frames: Frames, *, quantise: bool = False) -> Tensor:
        """Latents of frames: float32 (M, ...).

        With `quantise` they are rounded to the levels at which every score is measured. Raises
        ValueError on frames of another form, and BadInput if a latent is not what the model
        declares.
        """
        numbers = torch.cat([encode_samples(self.network, some) for some in self._batches(frames)])
        numbers = self.quantiser.round_trip(numbers) if quantise else numbers
        return numbers.unflatten(1, latent_spec(self.network).shape)

    @torch.inference_mode()
    def decode(self, latents: Tensor | npt.NDArray[np.floating[Any]]) -> Pixels:
        """Frames decoded from latents (M, ...) alone: uint8 (N, H, W, 3).

        With a window of T, N is M times T: the padding of a last window is decoded, too. Raises
        ValueError on latents of another form.
        """
        given = torch.as_tensor(latents, dtype=torch.float32, device=self.device)
        wanted = self.trained.numbers
        if given.dim() < 2 or not len(given) or given[0].numel() != wanted:
            raise ValueError(f"latents are (N, ...), {wanted} numbers each; not {given.shape}")
        count = max(1, BATCH // self.network.window)
        return np.concatenate([decode_to_pixels(self.network, some) for some in given.split(count)])

    def reconstruct(self, frames: Frames) -> Pixels:
        """Frames encoded, quantised and decoded: uint8 (N, H, W, 3)."""
        return self.decode(self.encode(frames, quantise=True))[: len(frames)]

    def latents(self, film: str | Path | None = None) -> Latents:
        """Quantised latents of a whole film; by default the film that the model was loaded for.

        `film` is a name in the catalogue or a path. `levels` is uint8 (N, L); `dequantised(slice)`
        is what `decode` takes. Raises BadInput if there is no such film.
        """
        if film is None:
            return self.trained.film_latents(self.film)
        entry = one_film(Catalogue.open(self.workspace), str(film), "one film is encoded")
        opened = open_film(entry, self.size, self.workspace, holdout=self.holdout)
        return self.trained.film_latents(opened)

    def sample(self, count: int, *, seed: int = 0) -> Tensor:
        """Samples of the model's prior: latents, float32 (count, ...).

        The same seed gives the same latents on every machine. Raises BadInput if the model has no
        prior.
        """
        return prior_sample(self.network, count, seed).to(self.device)

    def _batches(self, frames: Frames) -> Iterator[Tensor]:
        """Samples as `encode` takes them, about 32 frames at a time: float, on the device."""
        # torch's tensors are writable, so a read-only array, such as a film's own, is copied.
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
    """Load a trained model for a film, as `zoo reconstruct MODEL --film FILM` finds it.

    `model` is a model, a run as `zoo runs` names it, such as the bundled `bigbuckbunny-vae`, or
    `hf://user/repo`, which `zoo push` published. Of a model's finished runs on the film it is the
    one trained on most frames, of equals the newest. `run` names a run as well; `trained_on` takes
    a run on another film. `film` is a name in the catalogue or a path, by default the film that the
    run was trained on. `folder`, in place of model and film, is a published one. `workspace` is a
    folder, by default the current one; `device` is auto, cpu, cuda or cuda:1; `holdout` is the
    share of the film that was held out. `on_message` gets a line about whatever takes time or
    matters.

    Raises BadInput, saying what there is, if there is no such film, run or folder.
    """
    place = Workspace(Path(workspace).absolute()) if workspace is not None else Workspace.here()
    chosen = choose_device(device)
    if folder is not None:
        if model or film or run or trained_on:
            raise BadInput("a folder names its model itself: give no model, film or run beside it")
        return Loaded(load_folder(Path(folder), chosen), place, holdout)

    def ingest(entry: FilmEntry, size: FrameSize) -> Film:
        return open_film(entry, size, place, holdout=holdout)

    if model and model.startswith(PREFIX):
        if run or trained_on:
            raise BadInput(f"{model} names its run itself: give no run or trained_on beside it")
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
    """Samples of a model's prior: latents, float32 (count, ...), on the CPU.

    Raises BadInput if the model has none.
    """
    found = network.sample_prior(count, torch.Generator().manual_seed(seed))
    if found is None:
        raise BadInput(
            f"{network.name} has no prior: nothing says how likely a latent is; zoo walk drifts "
            "through the latents of a film with any model"
        )
    return found.float()
