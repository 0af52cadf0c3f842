"""A whole feature film: drawn, ingested, trained on, killed, resumed and finished.

    python -m benchmarks.feature_film --device cuda

is the 2016 workload: 168,000 frames at 256x144, six epochs. It says how long that took, in how
much memory, at what share of the device's measured rate of multiplying matrices, and how much
of a step is waiting for the film; its record is strict JSON, `benchmarks/results/<device>.json`.
With `--work FOLDER` the film and its store are kept, and a second call goes on from them.
"""

from __future__ import annotations

import argparse
import re
import signal
import tempfile
import time
from contextlib import nullcontext
from pathlib import Path
from typing import Any, Literal

import pydantic
import torch

from benchmarks.film_costs import Costs, measure_costs
from benchmarks.long_film import draw_film
from benchmarks.watched import Memory, begin, watched
from zoo import environment
from zoo.architectures import build, parse_options
from zoo.films.catalogue import FilmEntry
from zoo.films.film import Film
from zoo.films.ingest import open_film
from zoo.frame_size import FrameSize
from zoo.plugins import registry
from zoo.records import Environment, read_json, write_json
from zoo.training.compiling import choose_mode
from zoo.training.curves import read_log
from zoo.training.engine import train
from zoo.training.run_folder import RunFolder, TrainingConfig
from zoo.training.watching import Moment
from zoo.workspace import Workspace

RESULTS = Path(__file__).parent / "results"
PROTOCOL = " ".join((__doc__ or "").split())
KILLED_AFTER = 0.3
"""Share of the budget, or when the first checkpoint is there, whichever comes later."""


class _Typed(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(extra="forbid", allow_inf_nan=False)


class PhaseRecord(_Typed):
    """One process of the way: how long it took after its imports, and what memory it had."""

    phase: str
    seconds: float
    megabytes_after_imports: float
    megabytes_of_the_work: float
    megabytes_of_files_mapped: float

    @classmethod
    def of(cls, phase: str, seconds: float, memory: Memory) -> PhaseRecord:
        """Put together what was measured from outside."""
        return cls(
            phase=phase,
            seconds=seconds,
            megabytes_after_imports=memory.interpreter,
            megabytes_of_the_work=memory.of_the_work,
            megabytes_of_files_mapped=memory.mapped,
        )


class FeatureRecord(_Typed):
    """What became of a whole feature."""

    schema_version: Literal[1] = 1
    protocol: str = PROTOCOL
    environment: Environment
    config: TrainingConfig
    parameters: int
    frames: int
    phases: list[PhaseRecord]
    killed: bool
    training_seconds: float
    """Of both trainings, without what the kill threw away: as the run itself counts them."""
    frames_trained: int
    frames_per_second: float
    costs: Costs
    utilisation: float
    """Of the whole training: its operations a second over the measured rate of a product."""
    waiting_for_frames: float
    """Of the whole training: the share of its time in which the loop waited for a batch."""


def main() -> None:
    """Go all the way, or, as a child, one phase of it."""
    asked = _parser().parse_args()
    if asked.phase:
        _phase(asked)
        return
    with tempfile.TemporaryDirectory() if not asked.work else nullcontext(asked.work) as folder:
        asked.work = Path(folder)
        asked.work.mkdir(parents=True, exist_ok=True)
        record = run(asked)
    name = re.sub(r"[^a-z0-9]+", "-", record.environment.device_name.lower()).strip("-")
    path = asked.results / f"{name}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    write_json(path, record)
    print(  # noqa: T201
        f"{record.frames_trained:,} frames in {record.training_seconds:.0f} s "
        f"({record.frames_per_second:.0f} a second), {record.utilisation:.1%} of the "
        f"{record.costs.matmul_tflops:.2f} TFLOP/s measured; data stall "
        f"{record.costs.data_stall:.1%}, {record.waiting_for_frames:.1%} of the training spent "
        f"waiting for frames; written to {path}"
    )


def run(asked: argparse.Namespace) -> FeatureRecord:
    """All phases, one after another."""
    source = asked.film or asked.work / "feature.mp4"
    if not source.exists():
        _say(f"drawing {asked.frames:,} frames at {asked.size}")
        draw_film(source, asked.frames, FrameSize.parse(asked.size))
    phases = []
    folder = RunFolder(asked.work / "run")
    killed = False

    def child(phase: str, kill: bool = False) -> None:
        nonlocal killed
        _say(phase)
        with watched(_arguments(asked, phase)) as (process, memory):
            started = time.monotonic()
            assert process.stdout
            for line in process.stdout:
                if asked.verbose:
                    _say(line.rstrip())
                if kill and float(line) > KILLED_AFTER and folder.checkpoint.exists():
                    process.send_signal(signal.SIGKILL)
                    killed = True
                    break
        if process.wait() != (-signal.SIGKILL if kill and killed else 0):
            raise SystemExit(f"the phase {phase!r} failed")
        phases.append(PhaseRecord.of(phase, time.monotonic() - started, memory))

    child("ingest")
    child("train", kill=True)
    if killed:
        child("resume")
    child("measure")

    description = folder.read()
    assert description is not None and description.state == "finished"
    assert description.spent is not None and description.data_stall is not None
    steps = [entry.step for entry in read_log(folder.log)]
    assert steps == sorted(set(steps)), "the log is not that of one training"
    costs = read_json(asked.work / "costs.json", Costs)
    seconds, trained = description.spent.seconds or 0.0, description.spent.frames
    operations = costs.operations_per_frame * trained / seconds
    model = build(registry().models[asked.model], FrameSize.parse(asked.size), _options(asked))
    return FeatureRecord(
        environment=description.environment,
        config=description.config,
        parameters=sum(p.numel() for p in model.parameters() if p.requires_grad),
        frames=asked.frames,
        phases=phases,
        killed=killed,
        training_seconds=seconds,
        frames_trained=trained,
        frames_per_second=trained / seconds,
        costs=costs,
        utilisation=operations / (costs.matmul_tflops * 1e12),
        waiting_for_frames=description.data_stall,
    )


def _phase(asked: argparse.Namespace) -> None:
    """One phase, in a process of its own."""
    device = environment.choose_device(asked.device)
    begin()
    film = _film(asked)
    if asked.phase == "ingest":
        return
    config = _config(asked, film, device)
    if asked.phase == "measure":
        write_json(asked.work / "costs.json", measure_costs(config, film, device))
        return

    def watch(moment: Moment) -> None:
        print(moment.progress, flush=True)  # noqa: T201 - read by the process that watches

    train(
        RunFolder(asked.work / "run"),
        config,
        film,
        device,
        watch=watch,
        checkpoint_every=asked.checkpoint_every,
    )


def _film(asked: argparse.Namespace) -> Film:
    source = asked.film or asked.work / "feature.mp4"
    entry = FilmEntry(name="feature", files=(source.resolve(),))
    return open_film(entry, FrameSize.parse(asked.size), Workspace(asked.work), holdout=0)


def _options(asked: argparse.Namespace) -> dict[str, Any]:
    settings = dict(word.split("=", 1) for word in asked.set)
    model = registry().models[asked.model]
    options = parse_options(model, {"latent": asked.latent, **settings})
    return options.model_dump(mode="json")


def _config(asked: argparse.Namespace, film: Film, device: torch.device) -> TrainingConfig:
    return TrainingConfig(
        model=asked.model,
        origin=registry().origins[asked.model],
        options=_options(asked),
        film=film.name,
        film_fingerprint=film.fingerprint,
        size=asked.size,
        budget=asked.budget,
        batch=asked.batch,
        seed=0,
        precision=environment.default_precision(device),
        compile=choose_mode(asked.compile, asked.cuda_graphs, device),
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--device", default="auto")
    parser.add_argument("--film", type=Path, help="a film of your own instead of a drawn one")
    parser.add_argument("--frames", type=int, default=168_000)
    parser.add_argument("--size", default="256x144")
    parser.add_argument("--model", default="vaegan")
    parser.add_argument("--latent", type=int, default=200)
    parser.add_argument("--set", action="append", default=[], metavar="OPTION=VALUE")
    parser.add_argument("--budget", default="6epochs")
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--compile", action="store_true", help="as of zoo train")
    parser.add_argument("--cuda-graphs", action="store_true", help="as of zoo train")
    parser.add_argument("--checkpoint-every", type=int, help="steps; the clock decides if left out")
    parser.add_argument("--work", type=Path, help="where film, store and run are kept")
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--verbose", action="store_true")
    parser.add_argument("--phase", help=argparse.SUPPRESS)
    return parser


def _arguments(asked: argparse.Namespace, phase: str) -> list[str]:
    """The words of a child that does one phase."""
    words = ["-m", "benchmarks.feature_film", "--phase", phase, "--work", str(asked.work.resolve())]
    for name in ("device", "frames", "size", "model", "latent", "budget", "batch"):
        words += [f"--{name}", str(getattr(asked, name))]
    if asked.film:
        words += ["--film", str(asked.film.resolve())]
    if asked.checkpoint_every:
        words += ["--checkpoint-every", str(asked.checkpoint_every)]
    words += ["--compile"] * asked.compile + ["--cuda-graphs"] * asked.cuda_graphs
    for word in asked.set:
        words += ["--set", word]
    return words


def _say(text: str) -> None:
    print(text, flush=True)  # noqa: T201


if __name__ == "__main__":
    main()
