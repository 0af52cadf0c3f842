"""Who wins, by how much, and whether that is more than chance: at most three sentences.

Every sentence is computed from the records; none knows a model by its name.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from zoo.records import FilmInfo, Results
from zoo.report import numbers
from zoo.report.ranking import (
    DISTORTION,
    OWN_PARTS,
    PART_NAMES,
    PERCEPTUAL,
    Ranking,
    in_order,
    measured,
    ranking,
    ranking_by,
    valued,
)
from zoo.report.standings import Standing, Value, bytes_a_frame, standings
from zoo.report.table import Column, Table, draw, mean, said
from zoo.report.text import one_line

SMALL = 0.02
"""A lead of less than this share of the better number is called small."""
MOST_NAMED = 4


def rankings(results: Results) -> list[Ranking]:
    """What winners are named by: the order of the tables, then the errors of pixels."""
    found = [ranking(results)]
    found += [ranking_by(results, m) for m in results.metrics if m.name == DISTORTION]
    kept: list[Ranking] = []
    for rank in found:
        if rank and all(rank.metric.name != other.metric.name for other in kept):
            kept.append(rank)
    return kept


def over_films(results: Results) -> str:
    """What the numbers across films are: `mean over 3 films`, or the one film there is."""
    if len(results.films) == 1:
        return f"on {one_line(results.films[0].name, 60)}"
    return f"mean over {numbers.counted(len(results.films), 'film')}"


def complete(results: Results, role: str) -> list[Standing]:
    """The models or references that got through every film: their means can be compared."""
    return [
        row
        for row in standings(results)
        if row.role == role and len(row.films) == len(results.films)
    ]


def winners(results: Results) -> list[str]:
    """The winners in at most three sentences, with what is known of chance."""
    ranks = rankings(results)
    if not ranks:
        return ["No metric could be measured, so there is no winner."]
    models = complete(results, "model")
    if not models:
        return ["No model got through every film, so there is no winner."]
    sentences = [sentence for rank in ranks if (sentence := _winner(results, models, rank))]
    return [*sentences, *_caution(results, models)]


def _winner(results: Results, models: list[Standing], rank: Ranking) -> str | None:
    ordered = valued(models, rank)
    if not ordered:
        return None
    first, best = ordered[0]
    over = over_films(results)
    frames = PART_NAMES[rank.part].replace(" ", "-")
    verb = {"lower": "has the lowest", "higher": "has the highest", "one": "is nearest to 1 in"}
    lead = f"On {frames} frames {first.name} {verb[rank.metric.better]} {rank.label}"
    lead += f", {said(best, rank)} ({over})"
    if len(ordered) == 1:
        return f"{lead}; it is the only model with this number."
    even = [(row, value) for row, value in ordered[1:] if not rank.beats(best, value)]
    if even and rank.margin(best, even[0][1]):
        return f"{lead}, but wins nothing: {_even(even, rank)}."
    second, next_best = ordered[1]
    lead += f", before {second.name} with {said(next_best, rank)}"
    difference = abs(best.mean - next_best.mean)
    if difference < SMALL * max(abs(best.mean), 1e-12):
        shown = numbers.fixed(difference, rank.metric.digits)
        lead += f"; the lead of {shown} is small, less than {SMALL:.0%}"
    if len(results.films) > 1:
        won = sum(_leads(models, first, film, rank) for film in results.films)
        films = numbers.counted(len(results.films), "film")
        lead += f", and leads on {won} of {films}" if won else f"; but it leads on none of {films}"
    return lead + "."


def _even(even: Sequence[tuple[Standing, Value]], rank: Ranking) -> str:
    names = [f"{row.name} ({said(value, rank)})" for row, value in even[:MOST_NAMED]]
    if len(even) > MOST_NAMED:
        names.append(f"{len(even) - MOST_NAMED} more")
    verb = "is" if len(even) == 1 else "are"
    return f"{numbers.listed(names)} {verb} within two standard deviations over seeds of it"


def _leads(models: list[Standing], first: Standing, film: FilmInfo, rank: Ranking) -> bool:
    """Whether a model is ahead of all others on one film, by more than the spread there."""
    ordered = valued([row.on(film.name) for row in models], rank)
    if not ordered or ordered[0][0].name != first.name:
        return False
    return len(ordered) < 2 or rank.beats(ordered[0][1], ordered[1][1])


def _caution(results: Results, models: list[Standing]) -> list[str]:
    """One sentence of what the numbers cannot say, if there is anything."""
    parts = []
    single = [row.name for row in models if len(row.seeds) == 1]
    if single:
        who = "Every model" if len(single) == len(models) else numbers.listed(single)
        parts.append(f"{who} ran with one seed: no spread is known, and a small lead may be chance")
    incomplete = [
        row.name
        for row in standings(results)
        if row.role == "model" and len(row.films) < len(results.films)
    ]
    if incomplete:
        left = numbers.listed(incomplete)
        word = "left out" if parts else "Left out"
        parts.append(f"{word}, for not every film was finished: {left}")
    return [f"{'; '.join(parts)}."] if parts else []


def beside_references(results: Results, film: FilmInfo | None = None) -> Table | None:
    """How many models are better than each reference, on one film or over all; None of none."""
    if film:
        rows = [row for row in standings(results, film.name) if row.records]
        models = [row for row in rows if row.role == "model"]
        references = in_order(
            (row for row in rows if row.role != "model"), ranking(results, film.name), films=1
        )
    else:
        models = complete(results, "model")
        references = in_order(complete(results, "reference"), ranking(results), films=0)
    metrics = sorted(
        (m for m in results.metrics if m.name in (PERCEPTUAL, DISTORTION)),
        key=lambda metric: metric.name != PERCEPTUAL,
    )
    where = film.name if film else None
    ranks = [
        Ranking(metric, part)
        for metric in metrics
        for part in OWN_PARTS
        if metric.unavailable is None and measured(results, metric, part, where)
    ]
    if not models or not references or not ranks:
        return None
    columns = [
        Column(("bytes", "a frame"), lambda row: numbers.significant(mean(row, bytes_a_frame))),
        *(
            Column((f"by {rank.short}", PART_NAMES[rank.part]), _better_than(models, rank))
            for rank in ranks
        ),
    ]
    return draw(references, columns, [film] if film else results.films)


def _better_than(models: list[Standing], rank: Ranking) -> Callable[[Standing], str]:
    def text(reference: Standing) -> str:
        own = reference.value(rank.measure)
        others = [value for _, value in valued(models, rank)]
        if own is None or not others:
            return numbers.NOT_AVAILABLE
        better = sum(rank.beats(value, own) for value in others)
        even = len(others) - better - sum(rank.beats(own, value) for value in others)
        shown = f"{better} of {len(others)}"
        if even:
            shown += f", {even} even"
        # In brackets, as everywhere: a codec saw the frames that were held out of models.
        return f"({shown})" if reference.codec and rank.part == "held_out" else shown

    return text
