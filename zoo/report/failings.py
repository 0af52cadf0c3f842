"""Where the models fail, in sentences that state their rules.

Every sentence is computed from the records; none knows a model by its name.
"""

from __future__ import annotations

from collections.abc import Sequence

from zoo.records import FilmInfo, Results
from zoo.report import numbers
from zoo.report.ranking import Ranking, ranking
from zoo.report.standings import Standing
from zoo.report.table import mean
from zoo.report.weaknesses import (
    PLAIN,
    TRAITS,
    Trait,
    at_end,
    colour,
    differing,
    plain_error,
    still_ratio,
    weak_rows,
)

FAR = 25.5
"""A plain frame fails where its root mean square error, in levels, is above this: under 20 dB."""
COLLAPSED = 0.5
"""Still shots have collapsed where less than this share of their spread is left."""
WORSE = 1.25
"""One end of a trait is worse where its error is more than this many times that of the other."""
CHANGED = 0.01
"""A frame depends on its batch where more than this share of samples changes by over a level."""


def failings(results: Results, film: FilmInfo) -> list[str]:
    """Where the models fail on what they were trained on, and where none does."""
    rank = ranking(results, film.name)
    models = [row for row in weak_rows(results, film) if row.role == "model"]
    if not models or not rank:
        return []
    seen = Ranking(rank.metric, "seen")
    return [
        *_on_plain_frames(models),
        *(sentence for trait in TRAITS for sentence in _worse_end(models, seen, trait)),
        *_collapsed(models),
        *_changed(models),
    ]


def _on_plain_frames(models: Sequence[Standing]) -> list[str]:
    found, well = [], []
    for name in PLAIN:
        errors = [(mean(row, plain_error(name)), row) for row in models]
        known = [(error, row) for error, row in errors if error is not None]
        failing = [f"{row.name} (rgb {colour(row, name)})" for error, row in known if error > FAR]
        if failing:
            found.append(
                f"{_of(failing, known, 'fails', 'fail')} on a {name} frame, with a PSNR under "
                f"20 dB: {numbers.listed(failing)}."
            )
        elif known:
            well.append(f"a {name}")
    if well:
        found.append(
            f"No model fails on {numbers.listed(well, 'or')} frame: PSNR is 20 dB or more."
        )
    return found


def _of(some: Sequence[object], known: Sequence[object], one: str, several: str) -> str:
    """How many models, as the subject of a sentence: `All 4 models fail`, `1 of 4 models fails`."""
    if len(some) == len(known) > 1:
        return f"{'Both' if len(known) == 2 else f'All {len(known)}'} models {several}"
    counted = numbers.counted(len(known), "model")
    return f"{len(some)} of {counted} {numbers.verb(len(some), one, several)}"


def _worse_end(models: Sequence[Standing], rank: Ranking, trait: Trait) -> list[str]:
    if rank.metric.better != "lower":
        # A ratio of decibels or of similarities says nothing.
        return []
    ratios = []
    for row in models:
        low, high = (
            mean(row, at_end(rank, trait.name, "low")),
            mean(row, at_end(rank, trait.name, "high")),
        )
        if low and high:
            ratios.append((low / high, row))
    found = []
    for power, here, there in ((1, trait.low, trait.high), (-1, trait.high, trait.low)):
        worse = [(ratio**power, row) for ratio, row in ratios if ratio**power > WORSE]
        if worse:
            times, most = max(worse, key=lambda pair: pair[0])
            example = f"{numbers.times(times)} for {most.name}"
            found.append(
                f"{_of(worse, ratios, 'does', 'do')} worse on {here} than on {there}: more "
                f"than {WORSE:g} times the {rank.short} "
                f"({example if len(worse) == 1 else f'up to {example}'})."
            )
    return found


def _collapsed(models: Sequence[Standing]) -> list[str]:
    known = [
        (value, row) for row in models if (value := mean(row, still_ratio, ratio=True)) is not None
    ]
    flat = [f"{row.name} ({numbers.percent(value)})" for value, row in known if value < COLLAPSED]
    if flat:
        return [
            f"Still shots collapse towards a single picture, with less than {COLLAPSED:.0%} of "
            f"the source's spread left, in {len(flat)} of "
            f"{numbers.counted(len(known), 'model')}: {numbers.listed(flat)}."
        ]
    kept = f"every model keeps {COLLAPSED:.0%} or more of the source's spread."
    return [f"Still shots do not collapse: {kept}"] if known else []


def _changed(models: Sequence[Standing]) -> list[str]:
    known = [(value, row) for row in models if (value := mean(row, differing)) is not None]
    changed = [f"{row.name} ({numbers.percent(value)})" for value, row in known if value > CHANGED]
    if changed:
        return [
            "The reconstruction of a frame depends on the frames in its batch for "
            f"{numbers.listed(changed)}: that share of its samples changes by more than one level."
        ]
    return ["No reconstruction depends on the other frames in its batch."] if known else []
