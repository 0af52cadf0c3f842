"""MLflow: to the address in MLFLOW_TRACKING_URI, which may be a folder."""

from __future__ import annotations

import re
import time
from typing import Any, ClassVar

import zoo
from zoo import BadInput, TrainingEvent, hookimpl
from zoo.base.extras import missing_extra

EXPERIMENT = "film-zoo"
TAG = "film_zoo.run"
"""Has the name of a run, by which a resumed training finds it."""
_NOT_IN_NAMES = re.compile(r"[^\w\-. /:]", re.ASCII)
LONGEST_PARAMETER = 500


class MLflow(zoo.TrainingCallback):
    """Logs losses, logged values, scores and speeds; a resumed training goes on with its run."""

    name: ClassVar[str] = "mlflow"
    summary: ClassVar[str] = "MLflow, at MLFLOW_TRACKING_URI"
    _client: Any = None
    _id = ""

    @classmethod
    def check(cls) -> None:
        """Raise BadInput if the package is not installed."""
        _client_class()

    def __call__(self, event: TrainingEvent) -> None:
        """Log the scalars of one report."""
        from mlflow.entities import Metric

        if self._client is None:
            self._client = _client_class()()
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
        experiment = client.get_experiment_by_name(EXPERIMENT)
        known = experiment.experiment_id if experiment else client.create_experiment(EXPERIMENT)
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


def _client_class() -> type[Any]:
    try:
        from mlflow import MlflowClient
    except ImportError:
        raise BadInput(missing_extra("mlflow", "--track mlflow")) from None
    return MlflowClient  # type: ignore[no-any-return,unused-ignore]


@hookimpl
def zoo_training_callbacks() -> list[type[zoo.TrainingCallback]]:
    """MLflow."""
    return [MLflow]
