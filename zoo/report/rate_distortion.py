"""Rate and distortion: quality by bytes per frame, and Bjontegaard differences from the codecs.

Codecs code every frame, so all numbers here are on frames that were seen in training. A model's
decoder is needed once per film: each model's first curve leaves it out, and the second spreads its
bytes over the film's frames.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.text import Annotation
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter

from zoo.base import numbers
from zoo.base import picture_style as style
from zoo.base.records import FilmInfo, MetricInfo, Record, Results
from zoo.base.safe_text import one_line
from zoo.report.aggregate import (
    SIZE_OPTIONS,
    RowKey,
    machine_key,
    machines,
    row_names,
    training_precision,
)
from zoo.report.figure import (
    NAME_LENGTH,
    Point,
    add_legend,
    axis_label,
    label_curve_ends,
    new_figure,
    save_figure,
    set_title,
    spread_labels,
    style_axes,
)
from zoo.report.ranking import DISTORTION, PERCEPTUAL
from zoo.report.table import Cell, Row, Table

MIN_POINTS = 4
"""Minimum points of a curve for a Bjontegaard difference, which fits a cubic."""


@dataclass(frozen=True)
class CurvePoint:
    """The quality of a film at one rate."""

    bytes_per_frame: float
    value: float
    latent: float | None
    """Latent numbers per frame; None for a codec."""
    bits: int | None
    """Bits per latent number."""
    latent_bytes: float = 0.0
    """Bytes per frame of the latents alone, if `bytes_per_frame` includes the decoder."""


@dataclass(frozen=True)
class Curve:
    """One model, reference or codec at several rates, in ascending order of bytes."""

    name: str
    role: str
    codec: bool
    points: tuple[CurvePoint, ...]
    with_decoder: tuple[CurvePoint, ...] = ()
    """Points that include the decoder, at 32 and fewer bits per weight."""

    def front(self, better: str) -> list[CurvePoint]:
        """The points that no other point beats in both bytes and quality, by ascending bytes."""
        return front_of(self.points, better)


def front_of(points: Sequence[CurvePoint], better: str) -> list[CurvePoint]:
    """Keep points that no other beats in both bytes and quality; `points` ascend in bytes."""
    kept: list[CurvePoint] = []
    sign = -1.0 if better == "lower" else 1.0
    for point in points:
        if not kept or sign * point.value > sign * kept[-1].value:
            kept.append(point)
    return kept


@dataclass(frozen=True)
class BjontegaardDifference:
    """Mean differences between a model and a codec, over the range that both reach."""

    quality: float | None
    """Mean difference of the metric at equal bytes, in its unit (BD-PSNR for PSNR)."""
    rate: float | None
    """Mean difference of bytes at equal quality, in percent (BD-rate)."""


def curves(results: Results, film: FilmInfo, metric: MetricInfo) -> list[Curve]:
    """Every curve of a film; each size uses the first seed that succeeded."""
    letters = machines(results)
    first: dict[RowKey, Record] = {}
    for record in results.records:
        if record.trained_on == record.evaluated_on == film.name and record.status == "ok":
            key = _key(record, record.options, letters)
            if key not in first or record.seed < first[key].seed:
                first[key] = record
    grouped: dict[RowKey, list[Record]] = {}
    for record in first.values():
        rate_free = {k: v for k, v in record.options.items() if k not in SIZE_OPTIONS}
        grouped.setdefault(_key(record, rate_free, letters), []).append(record)
    names = row_names([*grouped])
    found = []
    for key, records in grouped.items():
        points = _sorted(point for record in records for point in _rate_points(record, metric))
        if points:
            spread = (
                point
                for record in records
                for point in _points_with_decoder(record, metric, film.frames)
            )
            codec = any(record.kind == "codec" for record in records)
            found.append(Curve(names[key], key[0], codec, points, _sorted(spread)))
    return found


def _key(
    record: Record, options: Mapping[str, Any], letters: Mapping[tuple[str, ...], str]
) -> RowKey:
    machine = letters[machine_key(record.environment)]
    as_text = json.dumps(options, sort_keys=True, default=str)
    return record.role, record.model, as_text, machine, training_precision(record)


def _sorted(points: Iterable[CurvePoint]) -> tuple[CurvePoint, ...]:
    return tuple(sorted(points, key=lambda point: (point.bytes_per_frame, point.value)))


def _points_with_decoder(record: Record, metric: MetricInfo, frames: int) -> list[CurvePoint]:
    """Points at full latent bits, with each decoder's bytes spread over `frames` frames."""
    whole = _rate_points(record, metric)[:1]
    if not whole or not record.latent or not record.latent.decoder_bytes:
        return []
    decoders = [(record.latent.decoder_bytes, whole[0].value)] + [
        (point.decoder_bytes, value)
        for point in record.rounded_decoders
        if (value := point.scores.get(metric.name, {}).get("seen")) is not None
    ]
    latents = whole[0].bytes_per_frame
    return [
        replace(
            whole[0], bytes_per_frame=latents + size / frames, value=value, latent_bytes=latents
        )
        for size, value in decoders
    ]


def _rate_points(record: Record, metric: MetricInfo) -> list[CurvePoint]:
    latent = record.latent.numbers if record.latent else None
    if not record.rate:
        summary = record.scores.get(metric.name, {}).get("seen")
        size = record.latent.coded_bytes if record.latent else None
        if not summary or summary.mean is None or not size:
            return []
        return [CurvePoint(size, summary.mean, latent, None)]
    return [
        CurvePoint(point.coded_bytes, value, latent, point.bits)
        for point in record.rate
        if point.coded_bytes
        and (value := point.scores.get(metric.name, {}).get("seen")) is not None
    ]


def bjontegaard_difference(anchor: Curve, test: Curve, better: str) -> BjontegaardDifference:
    """Bjontegaard's differences of `test` from `anchor` (VCEG-M33, 2001; piecewise cubics).

    Both are None if the front of either curve has fewer than four points; either is None if the
    curves do not overlap in bytes (quality difference) or in quality (rate difference).
    """
    sides = [curve.front(better) for curve in (anchor, test)]
    if min(len(side) for side in sides) < MIN_POINTS:
        return BjontegaardDifference(None, None)
    rates = [np.array([point.bytes_per_frame for point in side]) for side in sides]
    sign = -1.0 if better == "lower" else 1.0
    values = [sign * np.array([point.value for point in side]) for side in sides]
    # Imported here, because the library also imports plotting code and is slow to load.
    import bjontegaard

    arguments = rates[0], values[0], rates[1], values[1]
    shared: dict[str, object] = {"method": "pchip", "require_matching_points": False}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # It warns of a small overlap, which is acceptable.
        quality = _finite(bjontegaard.bd_psnr(*arguments, **shared)) if _meet(rates) else None
        rate = _finite(bjontegaard.bd_rate(*arguments, **shared)) if _meet(values) else None
    return BjontegaardDifference(None if quality is None else sign * quality, rate)


def _meet(sides: Sequence[np.ndarray]) -> bool:
    """Whether two ranges overlap by more than a point."""
    return bool(min(side.max() for side in sides) > max(side.min() for side in sides))


def _finite(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None


def rate_metrics(results: Results) -> list[MetricInfo]:
    """The metrics to plot over rate: the perceptual one, then pixel errors."""
    found = [
        metric
        for name in (PERCEPTUAL, DISTORTION)
        for metric in results.metrics
        if metric.name == name and metric.unavailable is None
    ]
    return found or [metric for metric in results.metrics if metric.unavailable is None][:1]


def bjontegaard_table(results: Results, film: FilmInfo) -> Table | str | None:
    """The table of differences at equal bytes and at equal quality, or why there are none.

    None if the film has no codec or no model to compare.
    """
    by_metric = {metric.name: curves(results, film, metric) for metric in rate_metrics(results)}
    if not any(_sides(found)[1] and _sides(found)[0] for found in by_metric.values()):
        return None
    columns: list[tuple[str, ...]] = [("",)]
    cells: dict[tuple[str, str], list[Cell]] = {}
    any_difference = False
    for metric in rate_metrics(results):
        models, codecs = _sides(by_metric[metric.name])
        for codec in codecs:
            unit = f"Δ {metric.label.split(' (')[0]} {metric.unit}".rstrip()
            columns.append((f"{codec.name}:", f"{unit} /", "Δ bytes"))
            for model in models:
                found = bjontegaard_difference(codec, model, metric.better)
                any_difference = (
                    any_difference or found.quality is not None or found.rate is not None
                )
                quality = _signed(found.quality, metric.digits)
                rate = _signed(found.rate, 0)
                text = f"{quality} /\n{rate}{'' if found.rate is None else '%'}"
                cells.setdefault((model.name, model.role), []).append(Cell(text))
    if not any_difference:
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
    if most < MIN_POINTS:
        return (
            f"No Bjontegaard differences: they need a codec at {MIN_POINTS} rates, and there "
            f"{numbers.verb(most, 'is', 'are')} only {numbers.counted(most, 'rate')}. Compare "
            f"{MIN_POINTS} or more sizes with --latents to get them."
        )
    return (
        f"No Bjontegaard differences: no model has a curve of {MIN_POINTS} points that overlaps a "
        "codec's curve in bytes or in quality."
    )


_WIDTHS: dict[str, Any] = {"linewidth": 1.4, "markeredgewidth": 1.4}
_MODEL: dict[str, Any] = {"linestyle": "-", "marker": "o", "markersize": 5, **_WIDTHS}
_HOLLOW: dict[str, Any] = {"fillstyle": "none", "markersize": 6, **_WIDTHS}
_REFERENCE: dict[str, Any] = {"linestyle": ":", "marker": "D", **_HOLLOW}
_CODEC: dict[str, Any] = {"linestyle": "--", "marker": "s", **_HOLLOW}
_SPREAD: dict[str, Any] = {"linestyle": "-.", "marker": "v", **_HOLLOW, "linewidth": 0.8}
_BEATEN: dict[str, Any] = {"linestyle": "", "marker": ".", "markersize": 4, "alpha": 0.7}


def plot_rate_distortion(results: Results, film: FilmInfo, path: Path) -> str | None:
    """Plot the curves of one film; return the alternative text, None if there is no curve.

    Models have curves over bit depths and latent sizes, codecs over their requested bytes.
    """
    panels = [
        (metric, found)
        for metric in rate_metrics(results)
        if (found := curves(results, film, metric))
    ]
    if not panels:
        return None
    most = max(len(found) for _, found in panels)
    figure, canvas = new_figure(11.0 if len(panels) > 1 else 6.5, 3.9 + 0.1 * most)
    all_axes = figure.subplots(1, len(panels), squeeze=False)[0]
    styles = _styles([curve for _, found in panels for curve in found])
    names = [
        _draw_panel(axes, metric, found, styles)
        for axes, (metric, found) in zip(all_axes, panels, strict=True)
    ]
    add_legend(figure, _legend_handles(), 3)
    # The first rendering settles the layout, so that labels can be placed in pixels.
    canvas.draw()
    figure.set_layout_engine("none")
    for axes, written in zip(all_axes, names, strict=True):
        spread_labels(canvas.get_renderer(), axes, written)
    save_figure(figure, path)
    labels = " and ".join(one_line(metric.label, 40) for metric, _ in panels)
    curve_names = dict.fromkeys(curve.name for _, found in panels for curve in found)
    return (
        f"{labels} on seen frames of {film.name} over bytes per frame, on a logarithmic axis: "
        f"curves of {', '.join(curve_names)}. A model's points differ in bits per latent number or "
        "in latent size; the line joins the points that no other point beats in both bytes and "
        "quality. Triangles add the decoder, spread over the film's frames, at each number of bits "
        "per weight."
    )


def _styles(found: list[Curve]) -> dict[tuple[str, str], str]:
    """A colour for every curve; references are grey."""
    models = dict.fromkeys(curve.name for curve in found if curve.role == "model")
    colours = {("model", n): style.LINES[i % len(style.LINES)] for i, n in enumerate(models)}
    return colours | {
        (curve.role, curve.name): style.REFERENCE for curve in found if curve.role != "model"
    }


def _line(curve: Curve) -> dict[str, Any]:
    if curve.codec:
        return _CODEC
    return _MODEL if curve.role == "model" else _REFERENCE


def _legend_handles() -> list[Line2D]:
    signs = (
        ("model", style.LINES[0], _MODEL),
        ("reference", style.REFERENCE, _REFERENCE),
        ("codec", style.REFERENCE, _CODEC),
        ("with its decoder, spread over the film", style.REFERENCE, _SPREAD),
        ("beaten by another point of the same row", style.REFERENCE, _BEATEN),
    )
    return [Line2D([], [], color=colour, label=label, **how) for label, colour, how in signs]


def logarithmic_bytes(axes: Axes) -> None:
    """Make the horizontal axis logarithmic, in bytes, once everything is drawn.

    Up to two decades have ticks at 1, 2 and 5 times powers of ten, longer ranges at a few powers.
    """
    axes.set_xscale("log")
    low, high = axes.get_xlim()
    few = high / low <= 100
    locator = LogLocator(subs=(1.0, 2.0, 5.0), numticks=12) if few else LogLocator(numticks=4)
    axes.xaxis.set_major_locator(locator)
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.xaxis.set_major_formatter(
        FuncFormatter(lambda value, _: f"{value:,.0f}" if value >= 1 else f"{value:g}")
    )


def _draw_panel(
    axes: Axes, metric: MetricInfo, found: list[Curve], styles: dict[tuple[str, str], str]
) -> list[Annotation]:
    """Plot the curves of one metric; return their labels, for `spread_labels` to move apart."""
    style_axes(axes)
    set_title(axes, axis_label(metric, upright=True))
    ends = []
    for curve in found:
        colour = styles[curve.role, curve.name]
        front = curve.front(metric.better)
        beaten = [point for point in curve.points if point not in front]
        spread = curve.with_decoder
        joined = front_of(spread, metric.better)
        lines = (
            *((front, _line(curve)), (beaten, _BEATEN)),
            *((joined, _SPREAD | {"marker": ""}), (spread, _SPREAD | {"linestyle": ""})),
        )
        for points, how in lines:
            axes.plot(
                [point.bytes_per_frame for point in points],
                [point.value for point in points],
                color=colour,
                **how,
            )
        last = front[-1]
        name = style.picture_text(curve.name, NAME_LENGTH)
        ends.append(Point(name, last.bytes_per_frame, last.value, colour))
    axes.margins(x=0.06, y=0.08)
    logarithmic_bytes(axes)
    axes.yaxis.set_major_locator(MaxNLocator(6))
    axes.grid(color=style.RULE, linewidth=0.5, alpha=0.6)
    axes.set_xlabel("bytes per frame   ← smaller", color=style.QUIET)
    return label_curve_ends(axes, ends)
