"""A trained model with the scale of its latents, and how it is loaded for a film."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from zoo.api.autoencoder import Autoencoder
from zoo.api.sampling import Sampling
from zoo.base.atomic_files import kept_if_possible
from zoo.base.errors import BadInput
from zoo.base.frame_size import FrameSize
from zoo.base.untrusted_files import check_tensors
from zoo.base.workspace import Workspace
from zoo.evaluation import latents as latents_file
from zoo.evaluation.evaluate import LATENTS
from zoo.evaluation.latents import Encoded, Latents, Quantiser
from zoo.evaluation.watch import check_latents, drawn, encode_film, samples_at_once
from zoo.films.catalogue import FilmEntry
from zoo.films.film import Film
from zoo.films.ingest import open_film
from zoo.plugins.model_building import latent_spec
from zoo.reconstruct.video.frame_conversion import Pixels
from zoo.training.jobs import load_model
from zoo.training.run_folder import RunFolder, TrainingConfig
from zoo.training.runs import Run


@dataclass(frozen=True)
class Eyes:
    """A network that has seen one film, and the scale of its latents on that film."""

    model: Autoencoder
    quantiser: Quantiser
    folder: RunFolder
    config: TrainingConfig
    device: torch.device

    @property
    def numbers(self) -> int:
        """Numbers in a latent."""
        return self.quantiser.lowest.numel()

    @torch.inference_mode()
    def see(self, samples: Tensor) -> Latents:
        """Samples as `encode` takes them, float in [0, 1], as quantised latents.

        No more are encoded at once than have 32 frames. Raises BadInput if a latent is not what the
        model declares.
        """
        pieces = samples.split(samples_at_once(Sampling.of(self.model)))
        numbers = torch.cat(
            [check_latents(self.model, self.model.encode(some), len(some)) for some in pieces]
        )
        frames = len(numbers) * self.model.window
        shape = latent_spec(self.model).shape
        return Encoded(numbers, shape, frames).quantised(self.quantiser)

    @torch.inference_mode()
    def draw(self, latents: Latents) -> Pixels:
        """All frames that these latents draw, as they are shown: uint8 (B, H, W, 3), RGB."""
        return drawn(self.model, latents.restored(slice(None)))

    def kept(self, film: Film) -> Latents | None:
        """The latents of a film that an evaluation left; None where there are none of its frames.

        Raises BadInput if they are damaged.
        """
        path = self.folder.evaluation(film.name) / LATENTS
        if not path.exists() or not _is_of(path, film.fingerprint):
            return None
        return latents_file.load(path, film.fingerprint, self.device)


def open_eyes(
    run: Run,
    device: torch.device,
    film_as_trained: Callable[[], Film],
    told: Callable[[str], None],
) -> Eyes:
    """Load the network of a finished run, with the scale of its latents.

    The scale is what an evaluation left. Where there was none, the network watches the film it was
    trained on, `film_as_trained`, and its latents are kept in the run's `evaluation` folder, where
    that can be written to; `told` hears of it. Raises what `film_as_trained` raises.
    """
    assert run.description is not None, "a finished run has a description"
    config = run.description.config
    model = load_model(run.folder, config, device)
    path = run.folder.evaluation(config.film) / LATENTS
    if not path.exists():
        film = film_as_trained()
        told(f"{config.model} watches {config.film}, to learn the scale of its latents")
        encoded = encode_film(model, film, device)
        latents = encoded.quantised(Quantiser.of(latent_spec(model), encoded.numbers))
        scale = latents.quantiser
        with kept_if_possible("the latents of the film"):
            latents_file.save(path, latents, config.film_fingerprint)
    else:
        scale = latents_file.load(path, config.film_fingerprint, device).quantiser
    return Eyes(model, scale, run.folder, config, device)


def as_trained(
    entry: FilmEntry, config: TrainingConfig, workspace: Workspace, film: Film
) -> Film | None:
    """The film with the frames and the split of a training; None if it has others by now.

    `film` is the entry as it is now, at the training's size. Which frames are held out is part of
    what a run knows its film by, so every share that this film was opened with is tried.
    """
    for share in film.store.manifest.splits:
        one = open_film(entry, film.size, workspace, holdout=float(share))
        if one.fingerprint == config.film_fingerprint:
            return one
    return None


def _is_of(path: Path, fingerprint: str) -> bool:
    try:
        check_tensors(path)
        with safe_open(path, "pt") as file:
            return (file.metadata() or {}).get("film") == fingerprint
    except (OSError, SafetensorError, BadInput) as error:
        raise BadInput(f"{path} holds no latents: {error}") from None


def run_size(run: Run) -> FrameSize:
    """The size of frames that a run was trained on."""
    assert run.description is not None, "a finished run has a description"
    return FrameSize.parse(run.description.config.size)


@dataclass(frozen=True)
class Opener:
    """Opens runs for films.

    `ingest` opens a film at a size; `told` hears, in a line, what takes time or is worth knowing.
    """

    workspace: Workspace
    device: torch.device
    ingest: Callable[[FilmEntry, FrameSize], Film]
    told: Callable[[str], None]

    def open(
        self, run: Run, entry: FilmEntry, trained_on: FilmEntry | None = None
    ) -> tuple[Film, Eyes]:
        """The film at the size of a finished run, and the run's network with its scale.

        `trained_on` is the film that the run was trained on, where it is another; it is opened only
        if nobody has evaluated the run yet. Raises BadInput where it is needed and not given, or
        is no longer what the run was trained on.
        """
        assert run.description is not None, "a finished run has a description"
        config = run.description.config
        size = run_size(run)
        film = self.ingest(entry, size)
        frames = run.description.frames_fingerprint
        own = entry.name == config.film or frames == film.store.manifest.fingerprint
        unchanged = as_trained(entry, config, self.workspace, film)

        def film_as_trained() -> Film:
            if unchanged is not None or (own and trained_on in (None, entry)):
                found = unchanged
            elif trained_on is None:
                raise BadInput(
                    f"the scale of {run.name} is not known before its network has watched "
                    f"{config.film} once, and no film is called that here: --trained-on takes a "
                    "path too"
                )
            else:
                at_size = self.ingest(trained_on, size)
                found = as_trained(trained_on, config, self.workspace, at_size)
            if found is None:
                now = (trained_on or entry).word
                raise BadInput(
                    f"{config.film} is not what {run.name} was trained on: its files, range, crop, "
                    "fit or rate are others by now, or another share is held out. `zoo train "
                    f"{config.model} --film {now}` trains on it as it is; --holdout takes the "
                    "share of then"
                )
            return found

        eyes = open_eyes(run, self.device, film_as_trained, self.told)
        if own and unchanged is None:
            self.told(
                f"{entry.name} has other frames than when {run.name} was trained, or holds out "
                "others: it is drawn as any other film"
            )
        return unchanged or film, eyes
