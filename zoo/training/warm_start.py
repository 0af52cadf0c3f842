"""Which weights a training begins with, where it does not begin anew."""

from __future__ import annotations

import hashlib
import warnings

import torch

from zoo.api.autoencoder import Autoencoder
from zoo.base.errors import BadInput
from zoo.base.workspace import Workspace
from zoo.plugins.model_building import build, fits_directly
from zoo.training.checkpoint import check_fit
from zoo.training.jobs import Settings
from zoo.training.run_folder import Start
from zoo.training.runs import Run, choose_run, find_runs

_CHUNK = 1 << 20


def warm_start(
    word: str, architecture: type[Autoencoder], settings: Settings, workspace: Workspace
) -> Start:
    """The weights of a finished run that a user names, for a training of an architecture.

    A word is a run's, as `zoo runs` has it, or that of a film on which this model was trained: of
    several such runs at this frame size the one that was trained on most frames. Raises BadInput
    where there is none, or where its weights do not fit.
    """
    name = architecture.name
    if fits_directly(architecture):
        raise BadInput(f"{name} is fitted directly, and begins with no weights")
    run = _meant(word, name, settings, workspace)
    config = run.description.config if run.description else None
    if run.standing != "finished" or config is None:
        raise BadInput(f"{run.name} is {run.standing}; --init-from takes a finished run")
    if config.model != name:
        raise BadInput(f"{run.name} is a run of {config.model}; --init-from needs one of {name}")
    if config.size != str(settings.size):
        raise BadInput(
            f"{run.name} was trained at {config.size}, and this training is at {settings.size}: "
            f"--size {config.size}"
        )
    options = settings.options_of(architecture).model_dump(mode="json")
    other = [f"{key}={value}" for key, value in config.options.items() if options.get(key) != value]
    try:
        check_fit(run.folder.weights, _shape_of(architecture, settings, options))
    except BadInput as error:
        hint = f"; it was trained with {', '.join(other)}" if other else ""
        raise BadInput(f"--init-from {word}: {error}{hint}") from None
    return Start(run.name, run.folder.weights, _digest(run))


def _meant(word: str, model: str, settings: Settings, workspace: Workspace) -> Run:
    runs = find_runs(workspace)
    on_film = [
        run
        for run in runs
        if (run.film, run.model, run.standing) == (word, model, "finished") and run.description
    ]
    same = [run for run in on_film if run.description.config.size == str(settings.size)]  # type: ignore[union-attr]
    if on_film:
        return max(same or on_film, key=lambda run: (run.frames or 0, run.touched or 0.0))
    return choose_run(runs, word, workspace)


def _shape_of(
    architecture: type[Autoencoder], settings: Settings, options: dict[str, object]
) -> Autoencoder:
    try:
        with torch.device("meta"), warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)
            return build(architecture, settings.size, options)
    except (RuntimeError, NotImplementedError):
        # Some networks read their own numbers while they are built.
        return build(architecture, settings.size, options)


def _digest(run: Run) -> str:
    hashed = hashlib.sha256()
    with run.folder.weights.open("rb") as file:
        while chunk := file.read(_CHUNK):
            hashed.update(chunk)
    return hashed.hexdigest()
