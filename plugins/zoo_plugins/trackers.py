"""Programs that keep experiments and follow a training: TensorBoard, Weights & Biases, MLflow."""

from __future__ import annotations

import hashlib
import re
import time
from typing import Any, ClassVar

import zoo
from zoo import BadInput, FollowedRun, TrainingEvent, hookimpl
from zoo.base.extras import missing_extra

SECONDS_BETWEEN_WRITES = 10
"""Of TensorBoard."""
PROJECT = "film-zoo"
"""Of Weights & Biases, unless WANDB_PROJECT names another, and the experiment of MLflow."""
TAG = "film_zoo.run"
"""Has the name of a run, by which a resumed training finds it in MLflow."""
LONGEST_PARAMETER = 500
_NOT_IN_NAMES = re.compile(r"[^\w\-. /:]", re.ASCII)
"""What the names of MLflow's metrics may not have."""


class TensorBoard(zoo.TrainingCallback):
    """Writes losses, logged values, scores and speeds.

    Steps that an earlier training wrote again are hidden, so that a run that was killed and resumed
    has one curve.
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
            # Opened at the first event: only then is the run's folder cleared, and the first step
            # known that an earlier training may have written already.
            self._writer = _tensorboard_writer()(
                str(self._folder), purge_step=event.step, flush_secs=SECONDS_BETWEEN_WRITES
            )
        for name, value in event.scalars().items():
            self._writer.add_scalar(name, value, event.step)

    def close(self) -> None:
        """Write what is left."""
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
                # Of the whole name, which has letters that an identifier may not have.
                id=hashlib.sha256(self.run.name.encode()).hexdigest()[:16],
                resume="allow",
                # It keeps everything in its folder `wandb/`.
                dir=str(self.run.folder),
                config=dict(self.run.config),
                settings=settings,
            )
        self._session.log(event.scalars(), step=event.step)

    def close(self) -> None:
        """Send or write what is left."""
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
        """The identifier of the run: that of an earlier part of this training, or a new one."""
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
