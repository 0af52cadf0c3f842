"""Which rows are better: the order of tables, and the significance of differences."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from scipy.special import stdtrit

from zoo.base.records import FilmInfo, MetricInfo, Part, Results
from zoo.base.safe_text import one_line
from zoo.report.aggregate import Measure, ResultRow, Value, bytes_per_frame, score

DISTORTION = "psnr"
"""The metric of pixel errors."""
PERCEPTUAL = "lpips"
"""The metric that tables are sorted by, or by the next one if it was not measured."""
PRINCIPAL = (PERCEPTUAL, DISTORTION, "ssim")
"""The metrics of the main tables; all others are in further tables."""
OWN_PARTS: tuple[Part, ...] = ("seen", "held_out")
PART_NAMES: dict[Part, str] = {"seen": "seen", "held_out": "held out", "other": "other film"}
CONFIDENCE = 0.95
"""Confidence of t intervals; a difference outside its interval is more than chance."""
SIMILAR_BYTES = 1.25
"""Rows are of similar size if none takes more than this many times the bytes of another."""


def principal_first(metrics: Iterable[MetricInfo]) -> list[MetricInfo]:
    """Sort metrics: those of the main tables first, in their order there."""
    places = {name: place for place, name in enumerate(PRINCIPAL)}
    return sorted(metrics, key=lambda metric: places.get(metric.name, len(places)))


def principal_metrics(results: Results) -> list[MetricInfo]:
    """The metrics of the main tables, at most three; others if those are missing."""
    named = [m for m in principal_first(results.metrics) if m.name in PRINCIPAL]
    if any(metric.unavailable is None for metric in named):
        return named
    others = [m for m in results.metrics if m not in named and m.unavailable is None]
    return named + others[: len(PRINCIPAL)]


def is_measured(results: Results, metric: MetricInfo, part: Part, film: str | None = None) -> bool:
    """Whether any record has this metric on this part of `film`, or of any listed film."""
    films = {film} if film is not None else {each.name for each in results.films}
    return any(
        score(metric.name, part)(record) is not None
        for record in results.records
        if record.evaluated_on in films
    )


@dataclass(frozen=True)
class Ranking:
    """A metric on one part of the films, by which rows are ordered."""

    metric: MetricInfo
    part: Part

    @property
    def measure(self) -> Measure:
        """The measure that gives a record's ranked number."""
        return score(self.metric.name, self.part)

    @property
    def label(self) -> str:
        """The metric's full name."""
        return one_line(self.metric.label, 40)

    @property
    def short(self) -> str:
        """The label without its brackets, for use after the full name."""
        return self.label.split(" (")[0]

    @property
    def unit(self) -> str:
        """The unit with a leading space, or an empty string."""
        return f" {one_line(self.metric.unit, 20)}" if self.metric.unit else ""

    def key(self, mean: float) -> float:
        """A sort key: smaller is better."""
        if self.metric.better == "one":
            return abs(math.log(mean)) if mean > 0 else math.inf
        return mean if self.metric.better == "lower" else -mean

    @property
    def ratio(self) -> bool:
        """Whether the metric is a ratio, whose means are geometric."""
        return self.metric.better == "one"

    def value(self, row: ResultRow) -> Value | None:
        """The row's number: a mean over seeds and films."""
        return row.value(self.measure, self.ratio)

    def same(self, one: Value, other: Value) -> bool:
        """Whether two means are equal at the printed precision."""
        return round(one.mean, self.metric.digits) == round(other.mean, self.metric.digits)

    def beats(self, one: Value, other: Value) -> bool:
        """Whether the first is better, by more than the spread over seeds explains (Welch's t).

        If either spread is unknown, any difference at the printed precision counts; the report
        states such a lead with the number of seeds and does not call it a win.
        """
        ahead = self.key(other.mean) - self.key(one.mean)
        if ahead <= 0 or self.same(one, other):
            return False
        return not (one.spread_known and other.spread_known) or ahead > self._margin(one, other)

    def _margin(self, one: Value, other: Value) -> float:
        """How far apart two keys may be by chance: half of Welch's 95% interval."""
        parts = [
            (self.deviation(value) ** 2 / value.seeds, value.seeds - 1)
            for value in (one, other)
            if not value.exact
        ]
        variance = sum(part for part, _ in parts)
        if not variance:
            return 0.0
        freedom = variance**2 / sum(part**2 / left for part, left in parts)
        return t_quantile(freedom) * math.sqrt(variance)

    def deviation(self, value: Value) -> float:
        """The spread of the key over seeds; 0 where it is unknown."""
        if not value.spread:
            return 0.0
        return value.spread / value.mean if self.ratio and value.mean > 0 else value.spread


def t_quantile(degrees_of_freedom: float) -> float:
    """Student's t for a two-sided interval of `CONFIDENCE`."""
    return float(stdtrit(degrees_of_freedom, (1 + CONFIDENCE) / 2))


def best_rows(rows: Iterable[ResultRow], rank: Ranking) -> set[str]:
    """The rows in bold: the best, and those that the spread cannot distinguish from it.

    All rows share one spread, pooled over rows with several seeds: with a spread of its own, a row
    that varies widely would be level with every other. All rows above a bold row are bold too.
    """
    every = list(rows)
    # A mean over fewer films than others have cannot be compared with them.
    most = max((value.films for row in every if (value := rank.value(row))), default=1)
    ordered = ranked_rows(every, rank, most)
    if not ordered:
        return set()
    spread, freedom = _pooled([value for _, value in ordered], rank)
    (first_row, first), *others = ordered
    found = {first_row.name}
    for row, value in others:
        behind = rank.key(value.mean) - rank.key(first.mean)
        # Even if no seed finished every film, a mean has at least one run on each film.
        share = sum(1 / max(1, one.seeds) for one in (first, value) if not one.exact)
        margin = t_quantile(freedom) * spread * math.sqrt(share) if spread else 0.0
        if behind > margin and not rank.same(first, value):
            break
        found.add(row.name)
    # If all rows are level, none is best.
    return found if len(found) < len(ordered) else set()


def _pooled(values: Iterable[Value], rank: Ranking) -> tuple[float, float]:
    """The standard deviation over seeds of a typical row, and its degrees of freedom."""
    known = [value for value in values if value.spread is not None and not value.exact]
    freedom = sum(value.seeds - 1 for value in known)
    squares = sum((value.seeds - 1) * rank.deviation(value) ** 2 for value in known)
    return (math.sqrt(squares / freedom), freedom) if freedom else (0.0, 0.0)


def arrow(metric: MetricInfo) -> str:
    """An arrow that shows which direction is better."""
    return {"higher": "↑", "lower": "↓", "one": "→ 1"}[metric.better]


def ranking_by(results: Results, metric: MetricInfo, film: str | None = None) -> Ranking | None:
    """Rank by a metric on held-out frames, or on seen frames if nothing was held out."""
    parts: tuple[Part, ...] = ("held_out", "seen")
    for part in parts:
        if metric.unavailable is None and is_measured(results, metric, part, film):
            return Ranking(metric, part)
    return None


def ranking(results: Results, film: str | None = None) -> Ranking | None:
    """The ranking that orders the tables, by the first metric that was measured.

    The perceptual metric is tried first, metrics outside the main tables last.
    """
    for metric in principal_first(results.metrics):
        found = ranking_by(results, metric, film)
        if found:
            return found
    return None


def sort_rows(rows: Iterable[ResultRow], rank: Ranking | None, films: int) -> list[ResultRow]:
    """Sort models before references, then by bytes per frame, then by metric, best first.

    Rows of similar bytes are grouped. Rows that did not finish every film come last in their role,
    because their mean over fewer films cannot be compared with the others.
    """
    every = list(rows)
    found = {row.name: row.value(bytes_per_frame) for row in every}
    sizes = size_classes({name: value.mean if value else None for name, value in found.items()})

    def key(row: ResultRow) -> tuple[bool, bool, bool, int, float, str]:
        value = rank.value(row) if rank else None
        return (
            row.role != "model",
            len(row.films) < films,
            value is None,
            sizes[row.name],
            rank.key(value.mean) if rank and value else 0.0,
            row.name,
        )

    return sorted(every, key=key)


def size_classes(sizes: Mapping[str, float | None]) -> dict[str, int]:
    """Assign a class number to each name by bytes per frame; similar bytes share a class."""
    classes: dict[float, int] = {}
    least, number = -1.0, 0
    for size in sorted({size for size in sizes.values() if size is not None}):
        if least < 0 or size > SIMILAR_BYTES * least:
            least, number = size, number + 1
        classes[size] = number
    return {name: 0 if size is None else classes[size] for name, size in sizes.items()}


def ranked_films(results: Results, rank: Ranking) -> list[FilmInfo]:
    """The films on which any row has the ranked number; comparable means cover all of them."""
    found = {
        record.evaluated_on
        for record in results.records
        if record.trained_on == record.evaluated_on and rank.measure(record) is not None
    }
    return [film for film in results.films if film.name in found]


def ranked_rows(
    rows: Iterable[ResultRow], rank: Ranking, films: int = 1
) -> list[tuple[ResultRow, Value]]:
    """The rows with the ranked number on at least `films` films, and the number, best first."""
    present = [
        (row, value)
        for row in rows
        if (value := rank.value(row)) is not None and value.films >= films
    ]
    return sorted(present, key=lambda pair: (rank.key(pair[1].mean), pair[0].name))


def ranked_on_all_films(
    results: Results, rows: Iterable[ResultRow], rank: Ranking
) -> list[tuple[ResultRow, Value]]:
    """The rows with a number on every film of `ranked_films`, best first."""
    return ranked_rows(rows, rank, len(ranked_films(results, rank)))
