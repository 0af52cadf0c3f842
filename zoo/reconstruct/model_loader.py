"""Load a trained model, with the quantiser of its latents, from a finished run."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from zoo.api.autoencoder import Autoencoder
from zoo.api.film_entry import FilmEntry
from zoo.api.samples_and_latents import FilmSamples, Sampling
from zoo.base.atomic_files import best_effort
from zoo.base.errors import BadInput
from zoo.base.frame_size import FrameSize
from zoo.base.workspace import Workspace
from zoo.evaluation.film_scores import LATENTS
from zoo.evaluation.inference import (
    decode_to_pixels,
    encode_batches,
    encode_film,
    encode_samples,
    reconstruct_frames,
    samples_per_batch,
    to_pixels,
)
from zoo.evaluation.latents import (
    EncodedFilm,
    Latents,
    Quantiser,
    latents_are_of,
    load_latents,
    quantiser_of_training,
    save_latents,
)
from zoo.films.ingest import open_film
from zoo.films.ingested_film import Film
from zoo.plugins.model_building import latent_spec
from zoo.reconstruct.frame_conversion import Pixels
from zoo.training.run_folder import RunFolder, TrainingConfig
from zoo.training.runs import Run
from zoo.training.trained_models import load_model


@dataclass(frozen=True)
class TrainedModel:
    """A model trained on one film, and the quantiser of its latents on that film."""

    model: Autoencoder
    quantiser: Quantiser
    folder: RunFolder
    config: TrainingConfig
    device: torch.device

    @property
    def numbers(self) -> int:
        """The number of numbers in a latent."""
        return self.quantiser.lowest.numel()

    @torch.inference_mode()
    def encode(self, samples: Tensor) -> Latents:
        """Encode samples for the model's `encode`, float in [0, 1], to quantised latents.

        About 32 frames are encoded at a time. Raises BadInput if a latent differs from what the
        model declares.
        """
        pieces = samples.split(samples_per_batch(Sampling.of(self.model)))
        numbers = torch.cat([encode_samples(self.model, some) for some in pieces])
        shape, frames = latent_spec(self.model).shape, len(numbers) * self.model.window
        return EncodedFilm(numbers, shape, frames).quantised(self.quantiser)

    @torch.inference_mode()
    def decode(self, latents: Latents) -> Pixels:
        """Decode all frames of these latents, rounded to 8 bits: uint8 (B, H, W, 3), RGB."""
        return decode_to_pixels(self.model, latents.dequantised(slice(None)))

    def decode_frames(self, samples: FilmSamples, frames: slice, latents: Latents) -> Pixels:
        """Decode some frames of a film from its latents: uint8 (B, H, W, 3), RGB."""
        return to_pixels(reconstruct_frames(self.model, samples, frames, latents))

    def saved_latents(self, film: Film) -> Latents | None:
        """Read the latents of a film that an evaluation saved; None if there are none.

        Latents of other frames do not count. Raises BadInput if they are damaged.
        """
        path = self.folder.evaluation(film.name) / LATENTS
        if not path.exists() or not latents_are_of(path, film.fingerprint):
            return None
        return load_latents(path, film.fingerprint, self.device)

    def encode_film(self, film: Film, progress: Callable[[int], None] | None = None) -> Latents:
        """Encode a whole film; `progress` gets the number of frames encoded so far.

        Raises BadInput if a latent differs from what the model declares.
        """
        parts = []
        for done, numbers in encode_batches(self.model, film, self.device):
            parts.append(self.quantiser.quantise(numbers))
            if progress:
                progress(done)
        shape = latent_spec(self.model).shape
        return Latents(torch.cat(parts), shape, self.quantiser, len(film))

    def film_latents(self, film: Film, progress: Callable[[int], None] | None = None) -> Latents:
        """Quantised latents of a whole film: the scored ones if saved, else encoded now."""
        saved = self.saved_latents(film)
        return self.encode_film(film, progress) if saved is None else saved


def load_trained_model(
    run: Run,
    device: torch.device,
    film_as_trained: Callable[[], Film],
    on_message: Callable[[str], None],
    trained_on: FilmEntry | None = None,
) -> TrainedModel:
    """Load the model of a finished run, and the quantiser of its latents.

    The quantiser comes from latents that an evaluation saved, or from a published run. Without
    either, the training film from `film_as_trained` is encoded, with a line to `on_message`, and
    its latents are saved in the run's `evaluation` folder if that is writable. Raises the errors of
    `film_as_trained`. Messages name the film as in `trained_on`.
    """
    assert run.description is not None, "a finished run has a description"
    config = run.description.config
    model = load_model(run.folder, config, device, trained_on)
    path = run.folder.evaluation(config.film) / LATENTS
    quantiser = quantiser_of_training(path, run.folder.scale, config.film_fingerprint, device)
    if quantiser is None:
        film = film_as_trained()
        on_message(f"{config.model} is encoding {config.film} to find the range of its latents")
        encoded = encode_film(model, film, device)
        quantiser = Quantiser.of(latent_spec(model), encoded.numbers)
        with best_effort("the latents of the film"):
            save_latents(path, encoded.quantised(quantiser), config.film_fingerprint)
    return TrainedModel(model, quantiser, run.folder, config, device)


def training_film(
    entry: FilmEntry, config: TrainingConfig, workspace: Workspace, film: Film
) -> Film | None:
    """The film with the frames and the split of a training; None if these have changed.

    `film` is the entry as it is now, at the training's size. The run's fingerprint includes the
    split, so every held-out share that this film was opened with is tried.
    """
    for share in film.store.manifest.splits:
        one = open_film(entry, film.size, workspace, holdout=float(share))
        if one.fingerprint == config.film_fingerprint:
            return one
    return None


def run_size(run: Run) -> FrameSize:
    """The frame size that a run was trained at."""
    assert run.description is not None, "a finished run has a description"
    return FrameSize.parse(run.description.config.size)


@dataclass(frozen=True)
class ModelLoader:
    """Loads finished runs for films.

    `ingest` opens a film at a size; `on_message` gets lines about slow steps and other events.
    """

    workspace: Workspace
    device: torch.device
    ingest: Callable[[FilmEntry, FrameSize], Film]
    on_message: Callable[[str], None]

    def load(
        self, run: Run, entry: FilmEntry, trained_on: FilmEntry | None = None
    ) -> tuple[Film, TrainedModel]:
        """Load the film at the frame size of a finished run, and the run's model.

        `trained_on` is the run's training film if it is another film; it is opened only if the run
        was never evaluated. Raises BadInput if this film is needed but not given, or has changed
        since the training.
        """
        assert run.description is not None, "a finished run has a description"
        config = run.description.config
        size = run_size(run)
        film = self.ingest(entry, size)
        frames = run.description.frames_fingerprint
        own = entry.name == config.film or frames == film.store.manifest.fingerprint
        unchanged = training_film(entry, config, self.workspace, film)

        def film_as_trained() -> Film:
            if unchanged is not None or (own and trained_on in (None, entry)):
                found = unchanged
            elif trained_on is None:
                raise BadInput(
                    f"the range of the latents of {run.name} is not known until its model has "
                    f"encoded {config.film} once, and no film is called that here: --trained-on "
                    "also takes a path"
                )
            else:
                at_size = self.ingest(trained_on, size)
                found = training_film(trained_on, config, self.workspace, at_size)
            if found is None:
                now = (trained_on or entry).word
                raise BadInput(
                    f"{config.film} is not what {run.name} was trained on: its files, range, crop, "
                    "fit or rate have changed, or another share is held out. `zoo train "
                    f"{config.model} --film {now}` trains on it as it is now; to "
                    "use the share held out in training, pass --holdout"
                )
            return found

        source = trained_on or (entry if own else None)
        trained = load_trained_model(run, self.device, film_as_trained, self.on_message, source)
        if own and unchanged is None:
            self.on_message(
                f"{entry.name} no longer has the frames that {run.name} was trained on, or holds "
                "out others: it is reconstructed like any other film"
            )
        return unchanged or film, trained
