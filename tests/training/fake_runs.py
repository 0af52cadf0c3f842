"""Run folders as a training would leave them, without training."""

from __future__ import annotations

import json
from pathlib import Path

from tests.report.synthetic_results import ENVIRONMENT, bare_record
from zoo.base.atomic_files import write_json
from zoo.base.records import Summary, TrainingReceived
from zoo.base.workspace import Workspace
from zoo.training.run_folder import RunFile, RunFolder, RunState, TrainingConfig
from zoo.training.runs import Run, find_runs

HERE = ENVIRONMENT.model_copy(update={"device_name": "Abacus"})


class RunMaker:
    """Writes run folders as a training would."""

    def __init__(self, root: Path) -> None:
        self.workspace = Workspace(root)

    def run(
        self,
        film: str = "bikes",
        model: str = "ae",
        seed: int = 0,
        state: RunState = "finished",
        scores: dict[str, dict[str, float]] | None = None,
    ) -> RunFolder:
        config = TrainingConfig(
            origin="a test 0",
            model=model,
            options={"latent": 4},
            film=film,
            film_fingerprint="f",
            size="32x32",
            budget="80frames",
            batch=8,
            seed=seed,
            precision="32-true",
        )
        folder = RunFolder.of(self.workspace, config)
        received = TrainingReceived(frames=80, steps=10, epochs=2.0, seconds=61.4)
        folder.path.mkdir(parents=True)
        folder.write(
            RunFile(
                state=state,
                config=config,
                environment=HERE,
                training=received,
            )
        )
        entry = {
            "step": 7,
            "frames": 56,
            "seconds": 43.0,
            "losses": {"autoencoder": {"pixel": 0.25}},
        }
        folder.log.write_text(json.dumps(entry) + "\n")
        (folder.path / ".lock").touch()
        if scores:
            record = bare_record(
                model,
                film,
                origin=config.origin,
                evaluation_fingerprint=config.film_fingerprint,
                seed=seed,
                environment=HERE,
                scores={
                    metric: {
                        part: Summary(frames=9, mean=mean, sd=0.1, lowest=0, highest=1)
                        for part, mean in parts.items()
                    }
                    for metric, parts in scores.items()
                },
            )
            write_json(folder.evaluation(film) / "record.json", record)
        return folder

    @property
    def found(self) -> dict[str, Run]:
        return {run.name: run for run in find_runs(self.workspace)}


def name_of(folder: RunFolder) -> str:
    return "/".join(folder.path.parts[-3:])


def row(listed: str, *words: str) -> list[str]:
    (line,) = (line for line in listed.splitlines() if all(word in line for word in words))
    return line.split()
