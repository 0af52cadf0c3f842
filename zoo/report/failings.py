"""What the table of weak points says, by rules that are stated with what they find.

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
"""One end of a trait is worse where its error is more than so many times that of the other."""
CHANGED = 0.01
"""Company in a batch matters where more than this share of samples changes by over a level."""


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
                f"{_of(failing, known)} on a {name} frame, PSNR under 20 dB: "
                f"{numbers.listed(failing)}."
            )
        elif known:
            well.append(name)
    if well:
        found.append(f"No model fails on a {' or a '.join(well)} frame: PSNR is 20 dB or more.")
    return found


def _of(failing: Sequence[object], known: Sequence[object]) -> str:
    verb = "fails" if len(failing) == 1 else "fail"
    return f"{len(failing)} of {numbers.counted(len(known), 'model')} {verb}"


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
            found.append(
                f"{rank.short} in {here} is more than {WORSE:g} times that in {there} for "
                f"{len(worse)} of {numbers.counted(len(ratios), 'model')}, most for {most.name} "
                f"({numbers.significant(times, 2)} times)."
            )
    return found


def _collapsed(models: Sequence[Standing]) -> list[str]:
    known = [(value, row) for row in models if (value := mean(row, still_ratio)) is not None]
    flat = [f"{row.name} ({numbers.percent(value)})" for value, row in known if value < COLLAPSED]
    if flat:
        return [
            f"Still shots have collapsed towards one picture, less than {COLLAPSED:.0%} of the "
            f"source's spread being left, for {len(flat)} of "
            f"{numbers.counted(len(known), 'model')}: {numbers.listed(flat)}."
        ]
    kept = f"every model keeps {COLLAPSED:.0%} or more of their spread."
    return [f"Still shots have not collapsed: {kept}"] if known else []


def _changed(models: Sequence[Standing]) -> list[str]:
    known = [(value, row) for row in models if (value := mean(row, differing)) is not None]
    changed = [f"{row.name} ({numbers.percent(value)})" for value, row in known if value > CHANGED]
    if changed:
        return [
            f"A frame's company in a batch changes more than {CHANGED:.0%} of its samples by over "
            f"a level for {numbers.listed(changed)}."
        ]
    return ["No model draws a frame otherwise for its company in a batch."] if known else []
