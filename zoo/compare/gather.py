"""From the records of a comparison to its results: one folder that stands on its own."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from pathlib import Path

import torch

from zoo.base.records import MetricInfo, Record, Results
from zoo.base.workspace import Workspace
from zoo.compare.pictures import chosen_frames
from zoo.compare.series import with_series
from zoo.compare.takedowns import with_overlaps, with_takedowns
from zoo.compare.videos import LONGEST, with_pictures_and_videos
from zoo.evaluation.watch import Judges
from zoo.films.film import Film
from zoo.plugins.registry import registry
from zoo.training.jobs import Settings

CHOOSES = "lpips"
"""The metric that chooses the pictures, where it could be measured."""


def gather(
    workspace: Workspace,
    films: Sequence[Film],
    records: Sequence[Record],
    settings: Settings,
    judges: Judges,
    command: str,
    folder: Path,
    device: torch.device,
    longest: float = LONGEST,
) -> Results:
    """Everything that a report is made from; what is no number is written into `folder`.

    Pictures are drawn on `device`, and of each film `longest` seconds as videos.
    """
    metrics = _described(judges, records)
    measured = [metric for metric in metrics if metric.unavailable is None]
    chooses = min(measured, key=lambda metric: metric.name != CHOOSES, default=None)
    searched = with_takedowns(workspace, records, films, device)
    chosen = chosen_frames(workspace, searched, films, chooses)
    described = with_series(workspace, films, searched, measured, folder)
    described = with_overlaps(described, films, device)
    shown, final = with_pictures_and_videos(
        workspace, films, described, searched, chosen, folder, device, longest
    )
    return Results(
        created=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        command=command,
        preset=settings.preset,
        budget=str(settings.budget),
        batch=settings.batch,
        films=shown,
        metrics=metrics,
        records=final,
    )


def _described(judges: Judges, records: Sequence[Record]) -> list[MetricInfo]:
    """The metrics that were asked for, and those that were measured when they could be."""
    wanted = {metric.name for metric in judges.asked}
    wanted |= {name for record in records for name in record.scores}
    return [
        MetricInfo(
            name=metric.name,
            label=metric.label,
            unit=metric.unit,
            better=metric.better,
            digits=min(max(metric.digits, 0), 15),
            source=metric.source,
            unavailable=judges.unavailable.get(metric.name),
        )
        for metric in registry().metrics.values()
        if metric.name in wanted
    ]
