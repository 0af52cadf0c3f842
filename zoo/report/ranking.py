"""Who is better: the order of tables, and which differences are more than chance."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from zoo.records import MetricInfo, Part, Results
from zoo.report.standings import Measure, Standing, Value, score
from zoo.report.text import one_line

DISTORTION = "psnr"
"""The metric that counts errors of pixels."""
PERCEPTUAL = "lpips"
"""The metric that tables are sorted by, where it could be measured."""
PRINCIPAL = (PERCEPTUAL, DISTORTION, "ssim")
"""The metrics of the first tables; all others stand in second ones."""
OWN_PARTS: tuple[Part, ...] = ("seen", "held_out")
PART_NAMES: dict[Part, str] = {"seen": "seen", "held_out": "held out", "other": "other film"}
DEVIATIONS = 2.0
"""Standard deviations over seeds within which a difference may be chance."""


def principal(results: Results) -> list[MetricInfo]:
    """The metrics of the first tables, at most three; the first ones where those are not there."""
    named = [m for name in PRINCIPAL for m in results.metrics if m.name == name]
    if any(metric.unavailable is None for metric in named):
        return named
    others = [m for m in results.metrics if m not in named and m.unavailable is None]
    return named + others[: len(PRINCIPAL)]


def measured(results: Results, metric: MetricInfo, part: Part, film: str | None = None) -> bool:
    """Whether any record has this metric over this part."""
    return any(
        score(metric.name, part)(record) is not None
        for record in results.records
        if film is None or record.watched == film
    )


@dataclass(frozen=True)
class Ranking:
    """What rows are ordered by."""

    metric: MetricInfo
    part: Part

    @property
    def measure(self) -> Measure:
        """The number that the order goes by."""
        return score(self.metric.name, self.part)

    @property
    def label(self) -> str:
        """The metric's name in full."""
        return one_line(self.metric.label, 40)

    @property
    def short(self) -> str:
        """The label without what stands in brackets, where the reader has met it in full."""
        return self.label.split(" (")[0]

    @property
    def unit(self) -> str:
        """The unit behind a space, or nothing."""
        return f" {one_line(self.metric.unit, 20)}" if self.metric.unit else ""

    def key(self, mean: float) -> float:
        """A key that is smaller for what is better."""
        if self.metric.better == "one":
            return abs(math.log(mean)) if mean > 0 else math.inf
        return mean if self.metric.better == "lower" else -mean

    def margin(self, *values: Value) -> float:
        """How far keys of these values must lie apart to be no chance; 0 if that is not known."""
        return max(DEVIATIONS * self._spread(value) for value in values)

    def _spread(self, value: Value) -> float:
        if not value.spread:
            return 0.0
        relative = self.metric.better == "one"
        return value.spread / value.mean if relative and value.mean > 0 else value.spread

    def beats(self, one: Value, other: Value) -> bool:
        """Whether the first is better by more than the spread over seeds explains."""
        ahead = self.key(other.mean) - self.key(one.mean)
        return ahead > 0 and ahead >= self.margin(one, other)


def arrow(metric: MetricInfo) -> str:
    """Which way is better."""
    return {"higher": "↑", "lower": "↓", "one": "→ 1"}[metric.better]


def ranking_by(results: Results, metric: MetricInfo, film: str | None = None) -> Ranking | None:
    """Rank by a metric on held-out frames, or on seen ones where nothing was held out."""
    parts: tuple[Part, ...] = ("held_out", "seen")
    for part in parts:
        if metric.unavailable is None and measured(results, metric, part, film):
            return Ranking(metric, part)
    return None


def ranking(results: Results, film: str | None = None) -> Ranking | None:
    """The order of the tables: the perceptual metric, or the first that could be measured."""
    for metric in sorted(results.metrics, key=lambda metric: metric.name != PERCEPTUAL):
        found = ranking_by(results, metric, film)
        if found:
            return found
    return None


def in_order(rows: Iterable[Standing], rank: Ranking | None, films: int) -> list[Standing]:
    """Models before references; the best first; what did not get through every film last.

    A mean over fewer films is a mean over other films, and not to be set beside the rest.
    """

    def key(row: Standing) -> tuple[bool, bool, bool, float, str]:
        value = row.value(rank.measure) if rank else None
        return (
            row.role != "model",
            len(row.films) < films,
            value is None,
            rank.key(value.mean) if rank and value else 0.0,
            row.name,
        )

    return sorted(rows, key=key)


def valued(rows: Iterable[Standing], rank: Ranking) -> list[tuple[Standing, Value]]:
    """Rows that have the number, the best first."""
    present = [(row, value) for row in rows if (value := row.value(rank.measure)) is not None]
    return sorted(present, key=lambda pair: (rank.key(pair[1].mean), pair[0].name))
