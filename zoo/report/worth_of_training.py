"""Whether training on these films is worth it, compared with pretrained networks and codecs.

The latents of a pretrained reference are often a thousand times as large as those of the models, so
every sentence states the bytes.

In the comparison with a codec, a model's decoder counts. It is stored once per film, so the model
takes fewer bytes beyond a certain length of film. The codec's rate at the model's quality is
interpolated between its measured points. Outside their range, the rate is only known to be higher
or lower, so the length is given as bounds.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from zoo.base import numbers
from zoo.base.records import FilmInfo, Results
from zoo.base.safe_text import one_line
from zoo.report.aggregate import ResultRow, Value, bytes_per_frame
from zoo.report.ranking import PART_NAMES, SIMILAR_BYTES, Ranking, ranked_on_all_films
from zoo.report.rate_distortion import Curve, CurvePoint, curves, rate_metrics
from zoo.report.table import mean_value, value_at_bytes


def is_pretrained(row: ResultRow) -> bool:
    """Whether a reference was pretrained, so that it learned nothing from the films."""
    return any(record.pretrained for record in row.records)


def worth_of_training(
    results: Results,
    models: Sequence[ResultRow],
    references: Sequence[ResultRow],
    ranks: Sequence[Ranking],
) -> list[str]:
    """For each pretrained reference, a sentence on whether training is worth it, by metric."""
    films = one_line(results.films[0].name, 60) if len(results.films) == 1 else "these films"
    sentences = []
    for row in filter(is_pretrained, references):
        verdicts = [
            _verdict(rank, best[0], own[0])
            for rank in ranks
            if (best := ranked_on_all_films(results, models, rank))
            and (own := ranked_on_all_films(results, [row], rank))
        ]
        if verdicts:
            sentences.append(
                f"Is training on {films} worth it, beside {row.name}, a network that was trained "
                f"on other pictures? {' '.join(verdicts)}"
            )
    return sentences


def _verdict(
    rank: Ranking, model: tuple[ResultRow, Value], reference: tuple[ResultRow, Value]
) -> str:
    (best, own), (row, value) = model, reference
    beside = (
        f"{best.name} has {value_at_bytes(best, own, rank)}, and {row.name} "
        f"{value_at_bytes(row, value, rank, best)}"
    )
    size, own_size = mean_value(row, bytes_per_frame), mean_value(best, bytes_per_frame)
    larger = bool(size and own_size and size > SIMILAR_BYTES * own_size)
    if rank.beats(own, value):
        answer = "yes, and at fewer bytes" if larger else "yes"
    elif rank.beats(value, own):
        answer = "it buys fewer bytes, not quality" if larger else "no"
    else:
        answer = "it buys fewer bytes at the same quality" if larger else "it makes no difference"
    part = PART_NAMES[rank.part].replace(" ", "-")
    return f"In {rank.short} on {part} frames {answer}: {beside}."


@dataclass(frozen=True)
class Bounds:
    """Bounds on a number; both are infinite if no number exists."""

    lowest: float
    highest: float


def film_lengths(results: Results, film: FilmInfo) -> list[str]:
    """State the film length beyond which each model and its decoder beat each codec in bytes.

    The first sentence introduces the others. Empty if there is nothing to compare.
    """
    metric = rate_metrics(results)[0] if rate_metrics(results) else None
    found = curves(results, film, metric) if metric else []
    models = [curve for curve in found if curve.role == "model" and curve.with_decoder]
    codecs = [curve for curve in found if curve.codec]
    if metric is None or not models or not codecs:
        return []
    rounded = any(record.rounded_decoders for record in results.records)
    label = one_line(metric.label, 40).split(" (")[0]
    bits = (
        "32, 16 or 8 bits per weight, whichever needs the shortest film,"
        if rounded
        else "32 bits per weight"
    )

    def length(model: Curve, codec: Curve) -> str:
        return _as_text(pays_from(model, codec, film.frames, metric.better), film.fps)

    return [
        "How long must a film be before a model's latents and decoder together take fewer bytes "
        f"than a codec of equal {label} on seen frames? At {numbers.rate(film.fps)} frames/s and "
        f"{bits} if quality and bytes per frame stay the same:",
        *(
            _sentence(model.name, {codec.name: length(model, codec) for codec in codecs})
            for model in models
        ),
    ]


def _sentence(model: str, lengths: Mapping[str, str]) -> str:
    """State the length against each codec, or once if it is the same against all."""
    if len(lengths) > 1 and len(set(lengths.values())) == 1:
        (same,) = set(lengths.values())
        return f"{model}: {same}, against each of {numbers.listed([*lengths])}."
    against = [f"against {codec} {text}" for codec, text in lengths.items()]
    return f"{model}: {numbers.listed(against)}."


def pays_from(model: Curve, codec: Curve, frames: int, better: str) -> Bounds:
    """Frames beyond which a model and its decoder take fewer bytes than an equally good codec.

    The curve's decoder bytes are spread over `frames` frames. The result is the lowest over the
    model's points, because the model can be stored at any of its sizes.
    """
    found = [
        _frames_to_pay(point, codec_bytes(codec.front(better), point.value, better), frames)
        for point in model.with_decoder
    ]
    return Bounds(min(each.lowest for each in found), min(each.highest for each in found))


def codec_bytes(front: Sequence[CurvePoint], value: float, better: str) -> Bounds:
    """Bytes per frame that a codec needs for a quality, from points in ascending order."""
    sign = -1.0 if better == "lower" else 1.0
    values = [sign * point.value for point in front]
    if sign * value < values[0]:
        return Bounds(0, front[0].bytes_per_frame)
    if sign * value > values[-1]:
        return Bounds(front[-1].bytes_per_frame, math.inf)
    logarithms = [math.log(point.bytes_per_frame) for point in front]
    between = math.exp(float(np.interp(sign * value, values, logarithms)))
    return Bounds(between, between)


def _frames_to_pay(point: CurvePoint, needed: Bounds, frames: int) -> Bounds:
    decoder = (point.bytes_per_frame - point.latent_bytes) * frames

    def length(codec: float) -> float:
        saved = codec - point.latent_bytes
        return decoder / saved if saved > 0 else math.inf

    return Bounds(length(needed.highest), length(needed.lowest))


def _as_text(frames: Bounds, fps: float | None) -> str:
    def length(count: float) -> str:
        return numbers.duration(count / fps) if fps else f"{math.ceil(count):,} frames"

    low, high = frames.lowest, frames.highest
    if math.isinf(low):
        return "never"
    if math.isinf(high):
        return f"not before {length(low)}" if low else "unknown (no rate of it here is as good)"
    if low == high:
        return f"from {length(high)}"
    return f"from {length(high)} at the latest" + (f", not before {length(low)}" if low else "")
