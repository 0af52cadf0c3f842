"""Rate and distortion: quality by bytes a frame, and Bjontegaard differences against the codecs.

Codecs code every frame, so all of this is about frames that were seen in training. The bytes of a
model's decoder are not in them: they stand in the tables.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from zoo.records import FilmInfo, MetricInfo, Record, Results
from zoo.report.sizes import SIZES
from zoo.report.standings import machine_key, machines
from zoo.report.text import one_line

FEWEST = 4
"""Points that a curve needs for a Bjontegaard difference: it is fitted by a cubic."""


@dataclass(frozen=True)
class Point:
    """A film at one rate."""

    bytes_a_frame: float
    value: float
    latent: float | None
    """Numbers a frame; None for a codec."""
    bits: int | None
    """Bits a number."""


@dataclass(frozen=True)
class Curve:
    """One model, reference or codec at several rates, by rising bytes."""

    name: str
    role: str
    codec: bool
    points: tuple[Point, ...]

    def front(self, better: str) -> list[Point]:
        """The points that no other beats in both bytes and quality, by rising bytes."""
        kept: list[Point] = []
        sign = -1.0 if better == "lower" else 1.0
        for point in self.points:
            if not kept or sign * point.value > sign * kept[-1].value:
                kept.append(point)
        return kept


@dataclass(frozen=True)
class Difference:
    """How a model stands beside a codec over the rates or qualities that both reach."""

    quality: float | None
    """Mean difference of the metric at equal bytes, in its unit (BD-PSNR for PSNR)."""
    rate: float | None
    """Mean difference of bytes at equal quality, in percent (BD-rate)."""


def curves(results: Results, film: FilmInfo, metric: MetricInfo) -> list[Curve]:
    """Every curve of a film, from the first seed of each machine."""
    letters = machines(results)
    first_seeds: dict[str, int] = {}
    for record in results.records:
        letter = letters[machine_key(record.environment)]
        first_seeds[letter] = min(record.seed, first_seeds.get(letter, record.seed))
    grouped: dict[tuple[str, str, str, str], list[Record]] = {}
    for record in results.records:
        letter = letters[machine_key(record.environment)]
        own = record.trained_on == record.watched == film.name
        if own and record.status == "ok" and record.seed == first_seeds[letter]:
            options = {k: v for k, v in record.options.items() if k not in SIZES}
            apart = json.dumps(options, sort_keys=True, default=str)
            grouped.setdefault((record.role, record.model, letter, apart), []).append(record)
    found = []
    for (role, model, letter, _), records in grouped.items():
        points = sorted(
            (point for record in records for point in _points(record, metric)),
            key=lambda point: (point.bytes_a_frame, point.value),
        )
        if points:
            codec = any(record.kind == "codec" for record in records)
            elsewhere = any(key[1] == model and key[2] != letter for key in grouped)
            name = one_line(model, 60) + (f" on {letter}" if elsewhere else "")
            found.append(Curve(name, role, codec, tuple(points)))
    return found


def _points(record: Record, metric: MetricInfo) -> list[Point]:
    latent = record.latent.numbers if record.latent else None
    if not record.rate:
        summary = record.scores.get(metric.name, {}).get("seen")
        size = record.latent.coded_bytes if record.latent else None
        if not summary or summary.mean is None or not size:
            return []
        return [Point(size, summary.mean, latent, None)]
    return [
        Point(point.coded_bytes, value, latent, point.bits)
        for point in record.rate
        if point.coded_bytes
        and (value := point.scores.get(metric.name, {}).get("seen")) is not None
    ]


def difference(anchor: Curve, test: Curve, better: str) -> Difference:
    """Bjontegaard's differences of `test` from `anchor` (VCEG-M33, 2001; piecewise cubics).

    A figure is None where a curve has fewer than four points that improve on one another, or where
    the two share no bytes or no quality.
    """
    sides = [curve.front(better) for curve in (anchor, test)]
    if min(len(side) for side in sides) < FEWEST:
        return Difference(None, None)
    rates = [np.array([point.bytes_a_frame for point in side]) for side in sides]
    sign = -1.0 if better == "lower" else 1.0
    values = [sign * np.array([point.value for point in side]) for side in sides]
    # The library draws plots too, and so takes a while to import.
    import bjontegaard

    arguments = rates[0], values[0], rates[1], values[1]
    shared: dict[str, object] = {"method": "pchip", "require_matching_points": False}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Of a small overlap, which is asked for below.
        quality = _finite(bjontegaard.bd_psnr(*arguments, **shared)) if _meet(rates) else None
        rate = _finite(bjontegaard.bd_rate(*arguments, **shared)) if _meet(values) else None
    return Difference(None if quality is None else sign * quality, rate)


def _meet(sides: Sequence[np.ndarray]) -> bool:
    """Whether two ranges overlap by more than a point."""
    return bool(min(side.max() for side in sides) > max(side.min() for side in sides))


def _finite(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None
