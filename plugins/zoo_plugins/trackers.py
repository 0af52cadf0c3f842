"""Experiment trackers: TensorBoard, Weights & Biases and MLflow."""

from __future__ import annotations

import hashlib
import re
import time
from typing import Any, ClassVar

import zoo
from zoo import BadInput, FollowedRun, TrainingEvent, hookimpl
from zoo.base.extras import missing_extra

SECONDS_BETWEEN_WRITES = 10
"""How often TensorBoard writes its file, in seconds."""
PROJECT = "film-zoo"
"""Project of Weights & Biases (unless WANDB_PROJECT is set), and experiment of MLflow."""
TAG = "film_zoo.run"
"""The MLflow tag with the run's name, by which a resumed training finds its run."""
LONGEST_PARAMETER = 500
_NOT_IN_NAMES = re.compile(r"[^\w\-. /:]", re.ASCII)
"""Characters that MLflow does not allow in names of metrics."""


class TensorBoard(zoo.TrainingCallback):
    """Writes losses, logged values, scores and speeds.

    After a killed run is resumed, steps that it repeats are hidden in the earlier data, so that the
    run has one curve.
    """

    name: ClassVar[str] = "tensorboard"
    summary: ClassVar[str] = "scalars in the run's folder tensorboard/"

    def __init__(self, run: FollowedRun) -> None:
        super().__init__(run)
        self._folder = run.place("tensorboard")
        self._writer: Any = None

    @classmethod
    def check(cls) -> None:
        """Raise BadInput if the package is not installed."""
        _tensorboard_writer()

    def __call__(self, event: TrainingEvent) -> None:
        """Write the scalars of one report."""
        if self._writer is None:
            # Opened at the first event: before it, the run's folder may not yet be cleared, and the
            # first step that can repeat earlier data is not known.
            self._writer = _tensorboard_writer()(
                str(self._folder), purge_step=event.step, flush_secs=SECONDS_BETWEEN_WRITES
            )
        for name, value in event.scalars().items():
            self._writer.add_scalar(name, value, event.step)

    def close(self) -> None:
        """Write the remaining data."""
        if self._writer is not None:
            self._writer.close()


class WeightsAndBiases(zoo.TrainingCallback):
    """Logs losses, logged values, scores and speeds; a resumed training continues its run."""

    name: ClassVar[str] = "wandb"
    summary: ClassVar[str] = "Weights & Biases; WANDB_MODE=offline needs no account"
    _session: Any = None

    @classmethod
    def check(cls) -> None:
        """Raise BadInput if the package is not installed."""
        _wandb()

    def __call__(self, event: TrainingEvent) -> None:
        """Log the scalars of one report."""
        if self._session is None:
            wandb = _wandb()
            settings = wandb.Settings(console="off", silent=True)
            self._session = wandb.init(
                project=settings.project or PROJECT,
                name=self.run.name,
                # A hash, because the name has characters that an identifier may not have.
                id=hashlib.sha256(self.run.name.encode()).hexdigest()[:16],
                resume="allow",
                # The library writes into `wandb/` in this folder.
                dir=str(self.run.folder),
                config=dict(self.run.config),
                settings=settings,
            )
        self._session.log(event.scalars(), step=event.step)

    def close(self) -> None:
        """Send or write the remaining data."""
        if self._session is not None:
            self._session.finish()


class MLflow(zoo.TrainingCallback):
    """Logs losses, logged values, scores and speeds; a resumed training continues its run."""

    name: ClassVar[str] = "mlflow"
    summary: ClassVar[str] = "MLflow, at MLFLOW_TRACKING_URI"
    _client: Any = None
    _id = ""

    @classmethod
    def check(cls) -> None:
        """Raise BadInput if the package is not installed."""
        _mlflow_client()

    def __call__(self, event: TrainingEvent) -> None:
        """Log the scalars of one report."""
        from mlflow.entities import Metric

        if self._client is None:
            self._client = _mlflow_client()()
            self._id = self._begin()
        now = int(time.time() * 1000)
        metrics = [
            Metric(_NOT_IN_NAMES.sub("_", name), value, now, event.step)
            for name, value in event.scalars().items()
        ]
        self._client.log_batch(self._id, metrics=metrics)

    def _begin(self) -> str:
        """Find or create the MLflow run of this training; return its identifier."""
        client, name = self._client, self.run.name
        experiment = client.get_experiment_by_name(PROJECT)
        known = experiment.experiment_id if experiment else client.create_experiment(PROJECT)
        quoted = name.replace("'", "\\'")
        earlier = client.search_runs([known], f"tags.`{TAG}` = '{quoted}'", max_results=1)
        if earlier:
            client.set_terminated(earlier[0].info.run_id, "RUNNING")
            return str(earlier[0].info.run_id)
        run_id = str(client.create_run(known, tags={TAG: name}, run_name=name).info.run_id)
        for key, value in self.run.config.items():
            client.log_param(run_id, key, str(value)[:LONGEST_PARAMETER])
        return run_id

    def close(self) -> None:
        """Mark the run as ended."""
        if self._id:
            self._client.set_terminated(self._id)


def _tensorboard_writer() -> type[Any]:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        raise BadInput(missing_extra("tensorboard", "--track tensorboard")) from None
    return SummaryWriter


def _wandb() -> Any:
    try:
        import wandb
    except ImportError:
        raise BadInput(missing_extra("wandb", "--track wandb")) from None
    return wandb


def _mlflow_client() -> type[Any]:
    try:
        from mlflow import MlflowClient
    except ImportError:
        raise BadInput(missing_extra("mlflow", "--track mlflow")) from None
    return MlflowClient  # type: ignore[no-any-return,unused-ignore]


@hookimpl
def zoo_training_callbacks() -> list[type[zoo.TrainingCallback]]:
    """TensorBoard, Weights & Biases and MLflow."""
    return [TensorBoard, WeightsAndBiases, MLflow]
