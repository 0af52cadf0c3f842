"""The same networks in another library's trainers: `pythae` 0.1.2, from the `bench` extra.

Each side trains in a process of its own, as its user would run it, and the two take turns, one
epoch each. An epoch is timed from edge to edge of the trainers' own loops; neither trainer is
changed.
"""

from __future__ import annotations

import logging
import multiprocessing
import os
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Literal

import torch

from zoo.base import devices
from zoo.base.frame_size import FrameSize
from zoo.base.interrupts import Interrupted, StopRequest
from zoo.conformance.fixtures import scene_as_film
from zoo.films.ingested_film import Film
from zoo.plugins.model_building import build_to_train
from zoo.plugins.registry import registry
from zoo.training.engine import train
from zoo.training.run_folder import RunFolder, TrainingConfig

SIZE = FrameSize(64, 64)
LATENT = 64
Side = Literal["film-zoo", "pythae"]
Edge = Callable[[], bool]
"""Called at each epoch's edge; waits for its turn. False when there is to be no other epoch."""


@dataclass(frozen=True)
class Race:
    """What both sides train: a model by its name here, at one width and batch."""

    model: str
    width: int
    batch: int
    frames: int
    device: str = "cpu"

    @property
    def options(self) -> dict[str, Any]:
        """Options of our model; frames are not augmented, because pythae does not augment them."""
        return {"latent": LATENT, "width": self.width, "warps": 0}


@dataclass(frozen=True)
class Epoch:
    """How long an epoch took."""

    seconds: float
    cpu_seconds: float
    """CPU time of all threads, which other work on the machine does not lengthen."""


def film_of_race(race: Race) -> Film:
    """A film whose training frames fill whole batches; none are held out."""
    film = scene_as_film(SIZE, count=race.frames)
    split = type(film.split)(race.frames, [], 0)
    return type(film)(**{**vars(film), "split": split})


def train_here(race: Race, folder: Path, edge: Edge) -> None:
    """Train by `zoo.training.engine.train`, with its log, averages, previews and checkpoints."""
    film = film_of_race(race)
    device = devices.choose_device(race.device)
    config = TrainingConfig(
        model=race.model,
        origin=registry().origins[race.model],
        options=race.options,
        film=film.name,
        film_fingerprint=film.fingerprint,
        size=str(SIZE),
        budget="1000epochs",
        batch=race.batch,
        seed=0,
        precision="32-true",
    )

    class AtEdges(StopRequest):
        """Read by the loop before each step."""

        def __init__(self) -> None:
            self.looks = 0

        @property
        def asked(self) -> bool:  # type: ignore[override]
            at_edge = self.looks % (race.frames // race.batch) == 0
            self.looks += 1
            if at_edge and device.type == "cuda":
                torch.cuda.synchronize(device)
            return at_edge and not edge()

    with suppress(Interrupted):
        train(RunFolder(folder), config, film, device, stop=AtEdges())


def train_there(race: Race, folder: Path, edge: Edge) -> None:
    """Train the same networks with pythae's trainer for such a model."""
    warnings.simplefilter("ignore")
    from pythae.data.datasets import BaseDataset
    from pythae.trainers import (
        BaseTrainer,
        BaseTrainerConfig,
        CoupledOptimizerAdversarialTrainer,
        CoupledOptimizerAdversarialTrainerConfig,
    )
    from pythae.trainers.training_callbacks import TrainingCallback

    for name in list(logging.root.manager.loggerDict):
        if name.startswith("pythae"):
            logging.getLogger(name).setLevel(logging.ERROR)

    film = film_of_race(race)
    # As pythae's users do: all frames as one float tensor in memory.
    frames = torch.from_numpy(film.store.array / 255.0).permute(0, 3, 1, 2).float().contiguous()

    class NoMore(Exception):
        """Ends a training at an epoch's edge."""

    class AtEdges(TrainingCallback):  # type: ignore[misc]
        def on_epoch_begin(self, training_config: Any, **_: Any) -> None:
            if torch.cuda.is_available() and not training_config.no_cuda:
                torch.cuda.synchronize()
            if not edge():
                raise NoMore

    shared: dict[str, Any] = {
        "output_dir": str(folder),
        "per_device_train_batch_size": race.batch,
        "num_epochs": 1000,
        "no_cuda": race.device == "cpu",
    }
    # Our optimiser, at the same rates; their trainer has no schedule and does not clip.
    adam = {"betas": (0.9, 0.99)}
    if race.model == "vae":
        config = BaseTrainerConfig(
            **shared, optimizer_cls="AdamW", optimizer_params=adam, learning_rate=1e-4
        )
        trainer = BaseTrainer
    else:
        players = ("encoder", "decoder", "discriminator")
        config = CoupledOptimizerAdversarialTrainerConfig(
            **shared,
            **{f"{player}_optimizer_cls": "AdamW" for player in players},
            **{f"{player}_optimizer_params": adam for player in players},
        )
        trainer = CoupledOptimizerAdversarialTrainer
    data = BaseDataset(frames, torch.zeros(len(frames)))
    with suppress(NoMore):
        trainer(
            as_pythae(race),
            train_dataset=data,
            training_config=config,
            callbacks=[AtEdges()],
        ).train()


def as_pythae(race: Race, **config: Any) -> Any:
    """Our encoder, decoder and discriminator inside pythae's VAE or VAEGAN."""
    from pythae.models import VAE, VAEGAN, VAEConfig, VAEGANConfig
    from pythae.models.base.base_utils import ModelOutput
    from pythae.models.nn import BaseDecoder, BaseDiscriminator, BaseEncoder

    torch.manual_seed(0)
    ours: Any = build_to_train(registry().models[race.model], SIZE, race.options)

    class Encoder(BaseEncoder):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.network = ours.encoder

        def forward(self, x: torch.Tensor) -> Any:
            mean, log_variance = self.network(x).chunk(2, dim=1)
            return ModelOutput(embedding=mean, log_covariance=log_variance.clamp(-12, 6))

    class Decoder(BaseDecoder):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.network = ours.decoder

        def forward(self, z: torch.Tensor) -> Any:
            return ModelOutput(reconstruction=self.network(z))

    class Discriminator(BaseDiscriminator):  # type: ignore[misc]
        """Level n is the n-th convolution's features; the last level is the probability."""

        def __init__(self) -> None:
            super().__init__()
            self.network = ours.discriminator
            self.depth = len(self.network.stages)

        def forward(self, x: torch.Tensor, output_layer_levels: list[int] | None = None) -> Any:
            logits, features = self.network(x)
            output = ModelOutput(embedding=torch.sigmoid(logits))
            for level in output_layer_levels or ():
                output[f"embedding_layer_{level}"] = features[level - 1]
            return output

    shape = (3, SIZE.height, SIZE.width)
    if race.model == "vae":
        return VAE(VAEConfig(shape, LATENT, **config), Encoder(), Decoder())
    return VAEGAN(
        VAEGANConfig(input_dim=shape, latent_dim=LATENT, **config),
        Encoder(),
        Decoder(),
        Discriminator(),
    )


TRAINERS: dict[Side, Callable[[Race, Path, Edge], None]] = {
    "film-zoo": train_here,
    "pythae": train_there,
}


def _run(side: Side, race: Race, folder: Path, turns: Connection) -> None:
    """Train in a process of its own, one epoch per turn."""
    began: tuple[float, float] | None = None

    def edge() -> bool:
        nonlocal began
        if began:
            wall, cpu = time.perf_counter() - began[0], time.process_time() - began[1]
            turns.send(Epoch(wall, cpu))
        go_on: bool = turns.recv()
        began = time.perf_counter(), time.process_time()
        return go_on

    # Hides all output of the trainers, such as pythae's progress bar.
    with open(os.devnull, "w") as nowhere, suppress(EOFError):  # noqa: PTH123
        os.dup2(nowhere.fileno(), 1)
        os.dup2(nowhere.fileno(), 2)
        TRAINERS[side](race, folder, edge)


@contextmanager
def sides(race: Race, folder: Path) -> Iterator[dict[Side, Callable[[], Epoch]]]:
    """Yield, for each side, a function that lets it train for one more epoch."""
    context = multiprocessing.get_context("spawn")
    ends: dict[Side, Connection] = {}
    processes = []
    for side in TRAINERS:
        here, there = context.Pipe()
        process = context.Process(target=_run, args=(side, race, folder / side, there))
        process.start()
        there.close()
        ends[side] = here
        processes.append(process)

    def turn(side: Side) -> Epoch:
        ends[side].send(True)
        epoch: Epoch = ends[side].recv()
        return epoch

    def turn_of(side: Side) -> Callable[[], Epoch]:
        return lambda: turn(side)

    try:
        yield {side: turn_of(side) for side in TRAINERS}
    finally:
        for end in ends.values():
            with suppress(OSError):
                end.send(False)
            end.close()
        for process in processes:
            process.join(timeout=30)
            if process.is_alive():
                process.kill()
