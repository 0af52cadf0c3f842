"""Bjontegaard differences of every model against every codec, where there are curves for them."""

from __future__ import annotations

from zoo.records import FilmInfo, MetricInfo, Results
from zoo.report import numbers
from zoo.report.ranking import DISTORTION, PERCEPTUAL
from zoo.report.rates import FEWEST, Curve, curves, difference
from zoo.report.table import Cell, Row, Table


def rate_metrics(results: Results) -> list[MetricInfo]:
    """The metrics that rate is set against: perceptual, then errors of pixels."""
    found = [
        metric
        for name in (PERCEPTUAL, DISTORTION)
        for metric in results.metrics
        if metric.name == name and metric.unavailable is None
    ]
    return found or [metric for metric in results.metrics if metric.unavailable is None][:1]


def difference_table(results: Results, film: FilmInfo) -> Table | str | None:
    """Differences at equal bytes and at equal quality, or in words why there are none.

    None where the film has no codec or no model to compare.
    """
    by_metric = {metric.name: curves(results, film, metric) for metric in rate_metrics(results)}
    if not any(_sides(found)[1] and _sides(found)[0] for found in by_metric.values()):
        return None
    columns: list[tuple[str, ...]] = [("",)]
    cells: dict[tuple[str, str], list[Cell]] = {}
    told = False
    for metric in rate_metrics(results):
        models, codecs = _sides(by_metric[metric.name])
        for codec in codecs:
            unit = f"Δ {metric.label.split(' (')[0]} {metric.unit}".rstrip()
            columns.append((f"{codec.name}:", f"{unit} /", "Δ bytes"))
            for model in models:
                found = difference(codec, model, metric.better)
                told = told or found.quality is not None or found.rate is not None
                quality = _signed(found.quality, metric.digits)
                rate = _signed(found.rate, 0)
                text = f"{quality} /\n{rate}{'' if found.rate is None else '%'}"
                cells.setdefault((model.name, model.role), []).append(Cell(text))
    if not told:
        return _why_none(by_metric)
    width = len(columns) - 1
    rows = tuple(
        Row(name if role == "model" else f"{name} (reference)", role, tuple(found))
        for (name, role), found in cells.items()
        if len(found) == width
    )
    return Table(tuple(columns), rows)


def _sides(found: list[Curve]) -> tuple[list[Curve], list[Curve]]:
    return [c for c in found if not c.codec], [c for c in found if c.codec]


def _signed(value: float | None, digits: int) -> str:
    return numbers.NOT_APPLICABLE if value is None else numbers.signed(value, digits)


def _why_none(by_metric: dict[str, list[Curve]]) -> str:
    codecs = [curve for found in by_metric.values() for curve in found if curve.codec]
    most = max(len(curve.points) for curve in codecs)
    if most < FEWEST:
        return (
            f"No Bjontegaard differences: they need a codec at {FEWEST} rates, and there "
            f"{numbers.verb(most, 'is', 'are')} {numbers.counted(most, 'rate')} here. --latents "
            f"with {FEWEST} or more sizes gives as many."
        )
    return (
        f"No Bjontegaard differences: no model has a curve of {FEWEST} points that overlaps a "
        "codec's curve in bytes or in quality."
    )
