"""The trained model of a configuration: train or resume its run, load it, start from it."""

from __future__ import annotations

import hashlib
import warnings

import torch

from zoo.api.autoencoder import Autoencoder
from zoo.api.sampling import Sampling
from zoo.base import environment
from zoo.base.atomic_files import remove
from zoo.base.errors import BadInput
from zoo.base.frame_size import FrameSize
from zoo.base.interrupts import StopRequest
from zoo.base.locks import IN_FOLDER, GaveUp, Waiting, alone, is_lock, say
from zoo.base.workspace import Workspace
from zoo.films.film import Film
from zoo.films.training_frames import TrainingFrames
from zoo.plugins.model_building import build, fits_directly
from zoo.plugins.registry import registry
from zoo.training.callbacks import Interrupted, Watcher, nobody
from zoo.training.checkpoint import check_fit, load_weights, save_weights
from zoo.training.distributed import from_first_rank, rank, ranks
from zoo.training.engine import train
from zoo.training.run_folder import RunFile, RunFolder, Start, TrainingConfig
from zoo.training.runs import Run, choose_run, find_runs
from zoo.training.settings import Settings
from zoo.training.validation import Scorer, write_preview


def ensure_trained(
    workspace: Workspace,
    config: TrainingConfig,
    film: Film,
    device: torch.device,
    *,
    watch: Watcher = nobody,
    stop: StopRequest | None = None,
    overwrite: bool = False,
    measure_peak: bool = False,
    waiting: Waiting | None = say,
    start: Start | None = None,
) -> RunFolder:
    """Return the finished run of `config`, training it or going on with it where needed.

    `overwrite` deletes an earlier training; `measure_peak` is `train`'s. Where another process is
    training the same run, `waiting` is told who, and what it trains is waited for: nothing is
    trained twice. With a `waiting` of None raises Held.
    """
    folder = RunFolder.of(workspace, config)
    if rank() > 0:
        # Rank 0 holds the lock for all of them, alone writes, and says whether there is work.
        if from_first_rank(False, device, config.precision, config.batch):
            _fit(folder, config, film, device, watch, stop, measure_peak, start)
        return folder
    several = ranks() > 1
    finished = not overwrite and folder.state == "finished" and not folder.checkpoint.exists()
    if finished and not several:
        return folder
    asked = (lambda: stop.asked) if stop else (lambda: False)
    try:
        with alone(folder.path / IN_FOLDER, str(folder.path), waiting=waiting, stop=asked):
            if overwrite:
                empty(folder)
            needed = folder.state != "finished"
            if several:
                # What is fitted directly is no work to share.
                shared = needed and not fits_directly(registry().architecture(config.model))
                from_first_rank(shared, device, config.precision, config.batch)
            if needed:
                _fit(folder, config, film, device, watch, stop, measure_peak, start)
            # A kill right after the last word leaves it.
            folder.checkpoint.unlink(missing_ok=True)
    except GaveUp as error:
        raise Interrupted(str(error)) from None
    return folder


def empty(folder: RunFolder) -> None:
    """Remove all that a run's folder holds but its lock, which the caller holds."""
    # First, so that a removal cut short leaves nothing that passes for a finished run.
    folder.file.unlink(missing_ok=True)
    for path in folder.path.iterdir():
        if not is_lock(path):
            remove(path)


def _fit(
    folder: RunFolder,
    config: TrainingConfig,
    film: Film,
    device: torch.device,
    watch: Watcher,
    stop: StopRequest | None,
    measure_peak: bool,
    start: Start | None,
) -> None:
    architecture = registry().architecture(config.model)
    if not fits_directly(architecture):
        train(
            folder,
            config,
            film,
            device,
            watch=watch,
            stop=stop,
            measure_peak=measure_peak,
            start=start,
        )
        return
    torch.manual_seed(config.seed)
    model = build(architecture, FrameSize.parse(config.size), config.options).to(device)
    model.fit(TrainingFrames(film))
    save_weights(folder.weights, model)
    scorer = Scorer(film, Sampling.of(model), device)
    score, strip = scorer(model.eval(), 0)
    write_preview(folder.preview, *strip)
    folder.write(
        RunFile(
            state="finished",
            config=config,
            environment=environment.describe(device, config.precision),
            frames_fingerprint=film.store.manifest.fingerprint,
            score=scorer.final(score, film),
        )
    )


def load_model(folder: RunFolder, config: TrainingConfig, device: torch.device) -> Autoencoder:
    """The trained model of a finished run, in evaluation mode on the device."""
    architecture = registry().architecture(config.model)
    model = build(architecture, FrameSize.parse(config.size), config.options)
    load_weights(folder.weights, model)
    model = model.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    return model.eval()


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
