"""What stages work on: clips, sizes, settings, trained runs."""

from __future__ import annotations

import dataclasses
import functools
from typing import Any

import torch

from benchmarks.gpu.worker import Here
from zoo.api.autoencoder import Autoencoder
from zoo.api.film_entry import FilmEntry
from zoo.base.frame_size import FrameSize
from zoo.base.workspace import Workspace
from zoo.evaluation import latents as latents_file
from zoo.evaluation.film_scores import LATENTS
from zoo.evaluation.metrics import MetricSet
from zoo.films.catalogue import Catalogue
from zoo.films.ingest import open_film
from zoo.films.ingested_film import Film
from zoo.films.video_file import VideoFile
from zoo.plugins.registry import registry
from zoo.reconstruct.model_loader import TrainedModel
from zoo.training.run_folder import RunFolder, TrainingConfig
from zoo.training.settings import Settings
from zoo.training.trained_models import load_model

TINY = {"preset": "quick", "size": "64x36", "latent": 8, "batch": 4}
MAIN = ("vaegan", "perceptual", "coded_pca", "vae", "ae")
"""The models to try first, because the time may not suffice for all."""
FILM_SECONDS = {False: 75.0, True: 1.5}
"""Seconds of the film that models are trained on, by whether the run is tiny."""
BEGINNING = 0.1
"""Share at the beginning of a film that is skipped because it has titles."""


def architectures(here: Here) -> dict[str, type[Autoencoder]]:
    """The models to try, by name, the main ones first; without references."""
    known = registry().models
    asked = here.setup.models or list(known)
    names = [name for name in MAIN if name in asked]
    names += [name for name in asked if name not in names]
    return {name: known[name] for name in names}


def settings(here: Here, preset: str, **chosen: Any) -> Settings:
    """Make the settings of `zoo train` for a preset, or tiny ones to try the script."""
    values = {"preset": preset, **(TINY if here.tiny else {}), **chosen}
    return Settings.choose(**values, device=here.device)


def longest_film(here: Here) -> FilmEntry:
    """Return the longest of the given films, or of the embedded clips if none were given."""
    catalogue = Catalogue.open(Workspace(here.work))
    if here.setup.films:
        entries = [catalogue.choose(str(path))[0] for path in here.setup.films]
        licence = here.setup.licence
        entries = [dataclasses.replace(each, licence=licence or each.licence) for each in entries]
    else:
        entries = list(catalogue.from_plugins.values())
    return max(entries, key=duration)


def duration(entry: FilmEntry) -> float:
    """Seconds of a film's files, as they state them; 0 where they state none."""
    total = 0.0
    for path in entry.files:
        with VideoFile.open(path, threads=1) as source:
            total += source.duration or 0.0
    return total


def part_of(entry: FilmEntry, seconds: float) -> FilmEntry:
    """Return so many seconds of a film, after its titles; all of it if it is not longer."""
    whole = duration(entry)
    if whole <= seconds:
        return entry
    start = min(BEGINNING * whole, whole - seconds)
    return dataclasses.replace(entry, start=start, stop=start + seconds)


def main_part(here: Here) -> FilmEntry:
    """The part of the film to train on: short enough to ingest, evaluate and keep in a minute."""
    return part_of(longest_film(here), FILM_SECONDS[here.tiny])


@functools.cache
def metric_set(device: torch.device, names: str = "default") -> MetricSet:
    """Metrics on a device, loaded once in a process: LPIPS alone takes seconds."""
    return MetricSet.load(device, names)


def ingested(here: Here, entry: FilmEntry, size: FrameSize) -> Film:
    """A film's frames, decoded at most once in a run."""
    return open_film(entry, size, Workspace(here.work))


def trained_model_of(here: Here, folder: RunFolder, config: TrainingConfig) -> TrainedModel:
    """The network of a run that was evaluated, with the scale of its latents."""
    model = load_model(folder, config, here.device)
    path = folder.evaluation(config.film) / LATENTS
    scale = latents_file.load_latents(path, config.film_fingerprint, here.device).quantiser
    return TrainedModel(model, scale, folder, config, here.device)
