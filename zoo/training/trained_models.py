"""Trained models: train or resume the run of a configuration, load it, start from it."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Collection, Mapping
from dataclasses import replace

import torch

from zoo.api.autoencoder import Autoencoder
from zoo.api.film_entry import FilmEntry
from zoo.api.recipe_and_events import Values
from zoo.api.samples_and_latents import Sampling
from zoo.base import devices
from zoo.base.errors import BadInput, ZooError
from zoo.base.frame_size import FrameSize
from zoo.base.interrupts import Interrupted, StopRequest
from zoo.base.locks import IN_FOLDER, WaitStopped, exclusive_lock, print_waiting
from zoo.base.safe_text import error_line
from zoo.base.untrusted_files import file_sha256
from zoo.base.workspace import Workspace
from zoo.films.ingested_film import Film
from zoo.plugins.model_building import build, fits_directly, placed, without_memory
from zoo.plugins.registry import registry
from zoo.training.checkpoint import check_fit, load_weights, save_weights
from zoo.training.distributed import broadcast_from_rank_zero, rank, world_size
from zoo.training.engine import Callback, ignore_event, train
from zoo.training.run_folder import InitialWeights, RunFile, RunFolder, TrainingConfig
from zoo.training.runs import Run, choose_run, find_runs, remove_run
from zoo.training.settings import Settings
from zoo.training.training_frames import TrainingFrames
from zoo.training.validation import PERCEPTUAL, Scorer, write_preview


def ensure_trained(
    workspace: Workspace,
    config: TrainingConfig,
    film: Film,
    device: torch.device,
    *,
    callback: Callback = ignore_event,
    stop: StopRequest | None = None,
    overwrite: bool = False,
    measure_peak: bool = False,
    initial_weights: InitialWeights | None = None,
) -> RunFolder:
    """Return the finished run of `config`; trains or resumes it if needed.

    `overwrite` trains again; an earlier run is replaced when the new one is finished.
    `measure_peak` is passed to `train`. If another process is training the run, this waits for
    that process, so nothing is trained twice.
    """
    folder = RunFolder.of(workspace, config)

    def fits() -> bool:
        return fits_directly(registry().architecture(config.model))

    def make(new: RunFolder) -> None:
        if fits():
            _fit(new, config, film, device)
            return
        train(
            new,
            config,
            film,
            device,
            callback=callback,
            stop=stop,
            measure_peak=measure_peak,
            initial_weights=initial_weights,
        )

    if rank() > 0:
        # Rank 0 holds the lock for all ranks, decides whether to train, and alone writes.
        if broadcast_from_rank_zero(False, device, config.precision, config.batch):
            make(folder.to_train(overwrite))
        return folder
    distributed = world_size() > 1
    finished = not overwrite and folder.state == "finished" and not folder.checkpoint.exists()
    if finished and not distributed:
        return folder
    asked = (lambda: stop.asked) if stop else (lambda: False)
    try:
        with exclusive_lock(
            folder.path / IN_FOLDER, str(folder.path), waiting=print_waiting, stop=asked
        ):
            making = folder.to_train(overwrite)
            if overwrite and making == folder:
                folder.clear()
            needed = making.state != "finished"
            if distributed:
                # A model that is fitted directly is fitted by rank 0 alone.
                shared = needed and not fits()
                broadcast_from_rank_zero(shared, device, config.precision, config.batch)
            if needed:
                make(making)
            # A process killed right after the final run.json leaves the checkpoint behind.
            making.checkpoint.unlink(missing_ok=True)
            if making != folder:
                folder.replace(making)
    except WaitStopped as error:
        raise Interrupted(str(error)) from None
    return folder


def _fit(folder: RunFolder, config: TrainingConfig, film: Film, device: torch.device) -> None:
    architecture = registry().architecture(config.model)
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
            environment=devices.describe(device, config.precision),
            frames_fingerprint=film.store.manifest.fingerprint,
            score=scorer.final(score, film),
        )
    )


def score_references(
    workspace: Workspace,
    settings: Settings,
    architecture: type[Autoencoder],
    film: Film,
    *,
    metrics: Collection[str],
    on_fit: Callable[[str], None],
) -> dict[str, Mapping[str, Values] | str]:
    """Score the fitted references on the frames that a training of `architecture` is scored on.

    Returns, by name, means by part and metric, or the reason why there are none. A reference fitted
    to these frames before is loaded; any other is fitted, after a call of `on_fit`, in the run that
    a comparison would look for. `metrics` are those of the training's score.
    """
    scorer = Scorer(film, Sampling.of(architecture), settings.device)
    if PERCEPTUAL in metrics:
        scorer.add_lpips()
    found: dict[str, Mapping[str, Values] | str] = {}
    for name, reference in registry().references.items():
        fitted = fits_directly(reference) and Sampling.of(reference).stills
        if not fitted or reference.pretrained or name == architecture.name:
            continue
        try:
            chosen = replace(settings, precision="32-true", compile="none")
            config = chosen.config(reference, film)
            folder = _fitted_before(workspace, config) or _fitted(
                workspace, config, film, settings.device, on_fit
            )
            scores = scorer.of_reference(load_model(folder, config, settings.device))
            found[name] = {
                part: {metric: value for metric, value in values.items() if metric in metrics}
                for part, values in scores.items()
            }
        except Interrupted:
            raise
        except Exception as error:
            # If a reference cannot be fitted, only its own line is lost: the training is done.
            found[name] = str(error) if isinstance(error, ZooError) else error_line(error)
    return found


def _fitted(
    workspace: Workspace,
    config: TrainingConfig,
    film: Film,
    device: torch.device,
    on_fit: Callable[[str], None],
) -> RunFolder:
    """Fit a model; a folder in which nothing could be fitted is removed again."""
    on_fit(config.model)
    try:
        return ensure_trained(workspace, config, film, device)
    except Exception:
        remove_unfinished(RunFolder.of(workspace, config), workspace)
        raise


def remove_unfinished(folder: RunFolder, workspace: Workspace) -> None:
    """Remove a run's folder if training left no run.json in it, so that it is not listed."""
    if folder.path.is_dir() and not folder.file.exists():
        name = folder.path.relative_to(workspace.runs).as_posix()
        remove_run(Run(folder, name, "damaged"), workspace)


def _fitted_before(workspace: Workspace, config: TrainingConfig) -> RunFolder | None:
    """Find a finished run of a directly fitted model, for any budget, batch, seed and precision."""
    unused = {"budget": "", "batch": 0, "seed": 0, "precision": ""}
    here = RunFolder.of(workspace, config).path
    for path in [here, *sorted(here.parent.glob("*"))]:
        try:
            run = RunFolder(path).read()
        except (BadInput, OSError):  # damaged, and listed as such
            continue
        if run is None or run.state != "finished":
            continue
        if run.config.model_copy(update=unused) == config.model_copy(update=unused):
            return RunFolder(path)
    return None


def load_model(
    folder: RunFolder, config: TrainingConfig, device: torch.device, film: FilmEntry | None = None
) -> Autoencoder:
    """The trained model of a finished run, in evaluation mode on the device.

    `film` is its training film, if known, for error messages: a path may be its only name.
    """
    architecture = registry().architecture(config.model)
    model = build(architecture, FrameSize.parse(config.size), config.options)
    try:
        load_weights(folder.weights, model)
    except BadInput as error:
        word = film.word if film else shlex.quote(config.film)
        again = f"zoo train {config.model} --film {word} --overwrite"
        raise BadInput(f"{error}; `{again}`, with its options, makes the run again") from None
    return placed(model, device).eval()


def warm_start(
    name: str, architecture: type[Autoencoder], settings: Settings, workspace: Workspace
) -> InitialWeights:
    """Return the weights of a finished run that the user names, to start a training from.

    `name` is a run's, as in `zoo runs`, or a film's. A film stands for the run of this architecture
    at this frame size that was trained on most frames. Raises BadInput if there is no such run, or
    if its weights do not fit.
    """
    model = architecture.name
    if fits_directly(architecture):
        raise BadInput(f"{model} is fitted directly, and takes no initial weights")
    run = _named_run(name, model, settings, workspace)
    config = run.description.config if run.description else None
    if run.status != "finished" or config is None:
        raise BadInput(f"{run.name} is {run.status}; --init-from takes a finished run")
    if config.model != model:
        raise BadInput(f"{run.name} is a run of {config.model}; --init-from needs one of {model}")
    if config.size != str(settings.size):
        raise BadInput(
            f"{run.name} was trained at {config.size}, and this training is at {settings.size}: "
            f"--size {config.size}"
        )
    options = settings.options_of(architecture).model_dump(mode="json")
    differing = [
        f"{key}={value}" for key, value in config.options.items() if options.get(key) != value
    ]
    try:
        untrained = without_memory(lambda: build(architecture, settings.size, options))
        check_fit(run.folder.weights, untrained)
    except BadInput as error:
        hint = f"; it was trained with {', '.join(differing)}" if differing else ""
        raise BadInput(f"--init-from {name}: {error}{hint}") from None
    weights = run.folder.weights
    return InitialWeights(run.name, weights, file_sha256(weights))


def _named_run(name: str, model: str, settings: Settings, workspace: Workspace) -> Run:
    runs = find_runs(workspace)
    on_film = [
        run for run in runs if (run.film, run.model, run.status) == (name, model, "finished")
    ]
    same_size = [
        run
        for run in on_film
        if run.description and run.description.config.size == str(settings.size)
    ]
    if on_film:
        return max(same_size or on_film, key=lambda run: (run.frames or 0, run.modified or 0.0))
    return choose_run(runs, name, workspace)
