"""Stage `smoke`: every model takes steps, is resumed, evaluated and reconstructs on the device."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from safetensors.torch import load_file

from benchmarks.gpu.material import (
    architectures,
    ingested,
    longest_film,
    metric_set,
    part_of,
    settings,
    trained_model_of,
)
from benchmarks.gpu.waiting import what_waits
from benchmarks.gpu.worker import Here, Work, traceback_lines
from zoo.api.film_entry import FilmEntry
from zoo.api.recipe_and_events import TrainingEvent
from zoo.api.samples_and_latents import Sampling
from zoo.base.errors import ZooError
from zoo.base.gpu_records import Item, Resume, SmokeResult
from zoo.base.interrupts import Interrupted, StopRequest
from zoo.base.workspace import Workspace
from zoo.evaluation.evaluate import evaluate
from zoo.films.ingested_film import Film
from zoo.plugins.model_building import build_to_train, placed
from zoo.reconstruct.reconstruct_film import Reconstruction, film_range, reconstruct
from zoo.training.distributed import launch
from zoo.training.engine import train
from zoo.training.run_folder import RunFolder, TrainingConfig
from zoo.training.step import TrainingStep
from zoo.training.training_frames import BatchLoader, TrainingFrames

SECONDS = 1.5
"""Seconds of the film on which every model is evaluated and which it writes as a video."""
KERNELS_TRIED = 1
"""Kernels that cuDNN tries per convolution in a short training, which is not timed."""
WARM_STEPS, STEPS = 2, 3
"""Numbers of first steps, which may choose kernels and compile, and of steps without waits."""
RESUMED_STEPS, STOPPED_AT = 6, 3
BATCH = 8


class Trial:
    """What all models are tried on."""

    def __init__(self, here: Here) -> None:
        self.here = here
        self.entry: FilmEntry = part_of(longest_film(here), SECONDS)
        self.metric_set = metric_set(here.device, "psnr" if here.tiny else "default")

    def film(self, preset: str) -> Film:
        """The film at a preset's size."""
        return ingested(self.here, self.entry, settings(self.here, preset).size)


def works(here: Here) -> dict[str, Work]:
    """An item for each model."""
    trial = Trial(here)
    return {name: _tried(trial, name) for name in architectures(here)}


def _tried(trial: Trial, name: str) -> Work:
    def work(item: Item[SmokeResult]) -> None:
        result = item.result = SmokeResult(model=name, checks={})

        def check(what: str, call: Callable[[], object]) -> None:
            """Make one check; checks that need a trained run are skipped without one."""
            try:
                call()
                result.checks[what] = "ok"
            except (Exception, SystemExit) as error:
                lines = traceback_lines(error)
                result.checks[what] = lines[-1]
                item.error += [f"{what}:", *lines]
                error.__traceback__ = None
            trial.here.save()

        def stepped() -> None:
            waits = take_steps(trial, name)
            if trial.here.device.type == "cuda":
                result.checks["no waiting"] = waits or "ok"
                item.error += [f"a step waits: {waits}"] if waits else []

        check("step", stepped)
        runs: list[tuple[RunFolder, TrainingConfig]] = []

        def trained() -> None:
            runs.append(train_once(trial.here, trial.film("quick"), name, "run"))

        check("train", trained)
        if not runs:
            return
        folder, config = runs[0]

        def resumed() -> None:
            result.resume = resume(trial, name, folder)
            if not result.resume.equal and result.resume.repeatable:
                raise ZooError(f"resumed weights differ by up to {result.resume.difference:.3g}")

        def evaluated() -> None:
            film = trial.film("quick")
            workspace = Workspace(trial.here.work)
            evaluate(workspace, folder, config, film, trial.metric_set, trial.here.device)

        def reconstructed() -> None:
            result.frames_reconstructed = write_video(trial, folder, config)

        check("resume", resumed)
        check("evaluate", evaluated)
        if result.checks["evaluate"] == "ok":
            check("reconstruct", reconstructed)

    return work


def take_steps(trial: Trial, name: str) -> str | None:
    """Take steps at the `film` preset; return what made one of the last wait for the device.

    Raises ZooError if a loss is not a number.
    """
    here = trial.here
    film = trial.film("film")
    architecture = architectures(here)[name]
    chosen = settings(here, "film", batch=min(BATCH, settings(here, "film").batch))
    config = chosen.config(architecture, film)
    fabric = launch(here.device, config.precision, config.batch)
    # Trainings leave it on; the search would take longer than these steps.
    torch.backends.cudnn.benchmark = False
    torch.manual_seed(0)
    model = build_to_train(architecture, film.size, config.options)
    model = placed(model, here.device)
    model.prepare(TrainingFrames(film))
    step = TrainingStep(model.train(), fabric, recipe=config.recipe)
    loader = BatchLoader(film, config.batch, 0, here.device, sampling=Sampling.of(architecture))
    with loader.from_step(0) as batch_at:
        for number in range(WARM_STEPS):
            step(batch_at(number), 0.5)

        def settled() -> None:
            for number in range(WARM_STEPS, WARM_STEPS + STEPS):
                step(batch_at(number), 0.5)

        waits = what_waits(here.device, settled)
    fault = step.loss_averager.first_non_finite()
    if fault:
        raise ZooError("at step {}, {}'s loss {!r} was not finite".format(*fault))
    return waits


def train_once(
    here: Here,
    film: Film,
    name: str,
    folder: str,
    *,
    preset: str = "quick",
    stop_at: int | None = None,
) -> tuple[RunFolder, TrainingConfig]:
    """Train for a few steps by the engine, in a run folder of this name.

    With `stop_at` it is stopped after that many steps, saves, and is resumed from there.
    """
    chosen = settings(here, preset, budget=f"{RESUMED_STEPS}steps")
    config = chosen.config(architectures(here)[name], film)
    run = RunFolder(Workspace(here.work).runs / film.name / name / folder)
    stop = StopRequest()

    def on_event(event: TrainingEvent) -> None:
        stop.asked = event.step == stop_at

    with deterministic():
        try:
            train(run, config, film, here.device, callback=on_event, stop=stop)
        except Interrupted:
            train(run, config, film, here.device)
        else:
            if stop_at is not None:
                raise ZooError(f"the training did not stop at step {stop_at}")
    return run, config


def resume(trial: Trial, name: str, whole: RunFolder) -> Resume:
    """Compare a run with one that was stopped and resumed.

    If they differ, the run is also compared with a second uninterrupted one.
    """
    here, film = trial.here, trial.film("quick")
    stopped, _ = train_once(here, film, name, "stopped", stop_at=STOPPED_AT)
    equal, repeatable = _digest(whole.weights) == _digest(stopped.weights), None
    if not equal:
        again, _ = train_once(here, film, name, "again")
        repeatable = _digest(whole.weights) == _digest(again.weights)
    return Resume(
        steps=RESUMED_STEPS,
        stopped_at=STOPPED_AT,
        equal=equal,
        repeatable=repeatable,
        difference=_difference(whole.weights, stopped.weights),
    )


@contextmanager
def deterministic() -> Iterator[None]:
    """Run a block with kernels that add in a fixed order, where such kernels exist.

    cuDNN does not search for the fastest kernels in it.
    """
    cudnn = torch.backends.cudnn
    before = torch.are_deterministic_algorithms_enabled()
    cudnn_before = cudnn.deterministic, cudnn.benchmark_limit
    torch.use_deterministic_algorithms(True, warn_only=True)
    cudnn.deterministic, cudnn.benchmark_limit = True, KERNELS_TRIED
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before)
        cudnn.deterministic, cudnn.benchmark_limit = cudnn_before


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _difference(one: Path, other: Path) -> float:
    """Return the largest difference between two files of weights."""
    first, second = load_file(one), load_file(other)
    return max(
        float((tensor.double() - second[name].double()).abs().max())
        for name, tensor in first.items()
        if tensor.numel()
    )


def write_video(trial: Trial, folder: RunFolder, config: TrainingConfig) -> int:
    """Reconstruct the film as a video; returns its frames."""
    film = trial.film("quick")
    panel = Reconstruction(film, config.model, trained_model_of(trial.here, folder, config))
    path = trial.here.work / f"{config.model}.mp4"
    return reconstruct(trial.entry, [panel], film_range(trial.entry, film), path).frames
