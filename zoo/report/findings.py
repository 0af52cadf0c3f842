"""What the numbers of a report say, as sentences: who wins, by how much, and why in this order.

Every sentence is computed from the records; none knows a model by its name.
"""

from __future__ import annotations

import statistics
from itertools import combinations

from zoo.records import Cost, FilmInfo, Part, Results
from zoo.report import numbers
from zoo.report.standings import (
    DISTORTION,
    PERCEPTUAL,
    Ranking,
    Standing,
    Value,
    bytes_a_frame,
    in_order,
    ranking,
    ranking_by,
    score,
    standings,
)
from zoo.report.tables import PART_NAMES, throughput, with_spread
from zoo.report.text import one_line

UNSTEADY = 0.2
"""Timings whose quartiles lie further apart than this share of their median prove nothing."""
SMALL = 0.02
"""A lead of less than this share of the better number is called small."""


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
    """The winners in a few sentences, with what is known of chance."""
    ranks = rankings(results)
    if not ranks:
        return ["No metric could be measured, so there is no winner."]
    models = complete(results, "model")
    if not models:
        return ["No model got through every film, so there is no winner."]
    sentences = []
    for rank in ranks:
        sentences += _winner(results, models, rank)
    incomplete = [
        row.name
        for row in standings(results)
        if row.role == "model" and len(row.films) < len(results.films)
    ]
    if incomplete:
        sentences.append(
            f"Left out, for not every film was finished: {numbers.listed(incomplete)}."
        )
    single = [row.name for row in models if len(row.seeds) == 1]
    if single:
        who = "Every model" if len(single) == len(models) else numbers.listed(single)
        sentences.append(
            f"{who} ran with one seed: no spread is known, and a small lead may be chance."
        )
    return sentences


def _winner(results: Results, models: list[Standing], rank: Ranking) -> list[str]:
    ordered = _valued(models, rank)
    if not ordered:
        return []
    metric = rank.metric
    first, best = ordered[0]
    over = over_films(results)
    word = "lowest" if metric.better == "lower" else "highest"
    lead = (
        f"On {_frames(rank)} frames {first.name} has the {word} {_label(rank)}, "
        f"{_value(best, rank)} ({over})"
    )
    if len(ordered) == 1:
        return [f"{lead}; it is the only model with this number."]
    second, next_best = ordered[1]
    sentences = [f"{lead}, before {second.name} with {_value(next_best, rank)}."]
    if len(results.films) > 1:
        won = sum(_leads(models, first, film, rank) for film in results.films)
        sentences.append(f"It leads on {won} of {numbers.counted(len(results.films), 'film')}.")
        if not won:
            sentences.append("A mean over films that is led on none of them names no winner.")
    sentences += _doubt(best, next_best, rank)
    return sentences


def _doubt(best: Value, other: Value, rank: Ranking) -> list[str]:
    difference = abs(best.mean - other.mean)
    shown = numbers.fixed(difference, rank.metric.digits)
    spread = max(best.spread or 0.0, other.spread or 0.0)
    if spread and difference < 2 * spread:
        return [
            f"The lead of {shown} is within two standard deviations over seeds "
            f"({numbers.fixed(2 * spread, rank.metric.digits)}): it may be chance."
        ]
    if difference < SMALL * max(abs(best.mean), 1e-12):
        return [f"The lead of {shown} is small, less than {SMALL:.0%}."]
    return []


def _leads(models: list[Standing], first: Standing, film: FilmInfo, rank: Ranking) -> bool:
    ordered = _valued([row.on(film.name) for row in models], rank)
    return bool(ordered) and ordered[0][0].name == first.name


def order(results: Results) -> list[str]:
    """Why the models come in this order, as far as these numbers tell."""
    models = complete(results, "model")
    ranks = rankings(results)
    if not ranks or not models:
        return []
    sentences = []
    if len(ranks) == 2 and len(models) > 1:
        sentences += _trade(models, ranks[0], ranks[1])
    sentences += _gap(models, ranks[0])
    sentences += _references(results, models, ranks)
    sentences += _time(models)
    return sentences


def _trade(models: list[Standing], rank: Ranking, other: Ranking) -> list[str]:
    by_rank, by_other = _valued(models, rank), _valued(models, other)
    if not by_rank or not by_other:
        return []
    winner, loser = by_rank[0][0], by_other[0][0]
    a, b = _short(rank), _short(other)
    if winner.name == loser.name:
        sentences = [f"{winner.name} leads by {a} and by {b}."]
    else:
        values = [_value_of(winner, rank), _value_of(loser, rank)]
        others = [_value_of(winner, other), _value_of(loser, other)]
        if None in values or None in others:
            return []
        gained = numbers.fixed(abs(_difference(values)), rank.metric.digits)
        paid = numbers.fixed(abs(_difference(others)), other.metric.digits)
        sentences = [
            f"{winner.name} has the best {a} and {loser.name} the best {b}: beside "
            f"{loser.name}, {winner.name} is better by {gained} in {a} and worse by "
            f"{paid}{_unit(other)} in {b}."
        ]
        if (rank.metric.name, other.metric.name) == (PERCEPTUAL, DISTORTION):
            sentences.append(
                f"The two do not ask the same: {b} counts squared errors of pixels, and where a "
                f"network is in doubt the mean of what is possible, a blur, has the fewest; {a} "
                "compares what a network trained on photographs sees, and a blur is far from a "
                "picture to it."
            )
    pairs = list(combinations([row for row, _ in by_rank], 2))
    agreed = sum(_agree(pair, rank, other) for pair in pairs)
    if len(pairs) > 1:
        sentences.append(
            f"Of {len(pairs)} pairs of models, {a} and {b} put {agreed} in the same order."
        )
    return sentences


def _difference(values: list[float | None]) -> float:
    first, second = values
    return (first or 0.0) - (second or 0.0)


def _agree(pair: tuple[Standing, Standing], rank: Ranking, other: Ranking) -> bool:
    signs = []
    for by in (rank, other):
        values = [_value_of(row, by) for row in pair]
        if None in values:
            return False
        signs.append(by.key(values[0] or 0.0) < by.key(values[1] or 0.0))
    return signs[0] == signs[1]


def _gap(models: list[Standing], rank: Ranking) -> list[str]:
    """How much is lost on what was never seen: the mark of memory against understanding."""
    if rank.part != "held_out":
        return []
    gaps = []
    for row in in_order(models, rank, films=0):
        seen = row.value(score(rank.metric.name, "seen"))
        held_out = row.value(rank.measure)
        if seen and held_out:
            gaps.append((row.name, held_out.mean - seen.mean))
    if not gaps:
        return []
    told = ", ".join(f"{name} {numbers.signed(gap, rank.metric.digits)}" for name, gap in gaps)
    direction = "higher is worse" if rank.metric.better == "lower" else "lower is worse"
    return [f"{_short(rank)} on held-out frames less that on seen ones ({direction}): {told}."]


def _references(results: Results, models: list[Standing], ranks: list[Ranking]) -> list[str]:
    sentences = []
    for row in in_order(complete(results, "reference"), ranks[0], films=0):
        beaten = []
        for rank in ranks:
            own = _value_of(row, rank)
            values = [value for value in (_value_of(m, rank) for m in models) if value is not None]
            if own is None or not values:
                continue
            lost = sum(rank.key(value) < rank.key(own) for value in values)
            beaten.append(f"{lost} of {len(values)} models are better by {_short(rank)}")
        if beaten:
            sentences.append(f"Beside the {_reference(row)}, {' and '.join(beaten)}.")
    return sentences


def _reference(row: Standing) -> str:
    """A reference with its kind, and a codec with what its frames take."""
    if not row.codec:
        return f"reference {row.name}"
    spent = row.value(bytes_a_frame)
    size = f"{numbers.significant(spent.mean)} bytes a frame, " if spent else ""
    return f"codec {row.name} ({size}held-out frames coded too)"


def beside_references(results: Results, film: FilmInfo) -> list[str]:
    """How many models are better than each reference on one film, seen and held out apart."""
    rows = [row for row in standings(results, film.name) if row.records]
    models = [row for row in rows if row.role == "model"]
    metrics = [m for m in results.metrics if m.name in (PERCEPTUAL, DISTORTION)]
    parts: tuple[Part, ...] = ("seen", "held_out")
    sentences = []
    for reference in (row for row in rows if row.role == "reference"):
        counts = []
        for rank in (Ranking(metric, part) for metric in metrics for part in parts):
            own = _value_of(reference, rank)
            values = [v for v in (_value_of(row, rank) for row in models) if v is not None]
            if own is None or not values:
                continue
            better = sum(rank.key(value) < rank.key(own) for value in values)
            counts.append(
                f"{better} of {len(values)} by {_short(rank)} on {PART_NAMES[rank.part]} frames"
            )
        if counts:
            name = f"the {_reference(reference)}" if reference.codec else reference.name
            sentences.append(f"Models better than {name}: {', '.join(counts)}.")
    return sentences


def _unsteady(cost: Cost | None) -> bool:
    """Whether timings of training scattered so widely that no ratio should be made of them."""
    train = cost.train if cost else None
    if not train or not train.median or train.lower_quartile is None:
        return False
    return ((train.upper_quartile or 0.0) - train.lower_quartile) / train.median > UNSTEADY


def _time(models: list[Standing]) -> list[str]:
    """Equal frames are not equal time, and a reader may care for either."""
    if len({row.machine for row in models}) > 1:
        return []
    timed = []
    for row in models:
        if any(_unsteady(record.cost) for record in row.records):
            return []
        speed = row.value(throughput("train"))
        if speed:
            timed.append((speed.mean, row.name))
    if len(timed) < 2:
        return []
    (slow, slowest), (fast, fastest) = min(timed), max(timed)
    if slow <= 0 or fast < 1.1 * slow:
        return []
    return [
        "Equal numbers of training frames are not equal times: a training frame of "
        f"{slowest} takes {numbers.significant(fast / slow, 2)} times as long as one of {fastest}."
    ]


def latent_notes(results: Results) -> list[str]:
    """A warning for each film that is short for the size of its latents."""
    notes = []
    for film in results.films:
        sizes = {
            record.latent.numbers
            for record in results.records
            if record.watched == film.name and record.latent and record.latent.numbers
        }
        large = sorted(size for size in sizes if size > film.seen_frames / 10)
        if large:
            notes.append(
                f"{one_line(film.name, 60)}: a latent of "
                f"{numbers.listed([f'{size:,}' for size in large])} numbers is more than a tenth "
                f"of the {numbers.counted(film.seen_frames, 'training frame')}. Even a linear "
                "projection to so many numbers can come close to storing the film, so only "
                "held-out numbers can tell models apart here."
            )
    return notes


def training(results: Results) -> list[str]:
    """What training each model received, and whether it was the same for all."""
    sentences = []
    for film in results.films:
        spent: dict[int, list[str]] = {}
        seconds = []
        for row in standings(results, film.name):
            if row.role != "model":
                continue
            for record in row.records:
                if record.spent:
                    names = spent.setdefault(record.spent.frames, [])
                    if row.name not in names:
                        names.append(row.name)
                    if record.spent.seconds is not None:
                        seconds.append(record.spent.seconds)
        name = one_line(film.name, 60)
        if len(spent) == 1:
            told = f"{name}: {next(iter(spent)):,} training frames for every model"
        elif spent:
            told = f"{name}: not the same number of training frames: " + "; ".join(
                f"{frames:,} for {numbers.listed(names)}" for frames, names in spent.items()
            )
        else:
            continue
        if seconds:
            middle = numbers.duration(statistics.median(seconds))
            told += f", in {middle} at the median"
            if len(seconds) > 1:
                told += (
                    f" (from {numbers.duration(min(seconds))} to {numbers.duration(max(seconds))})"
                )
        sentences.append(told + ".")
    return sentences


def _valued(rows: list[Standing], rank: Ranking) -> list[tuple[Standing, Value]]:
    """Rows that have the number, the best first."""
    valued = [(row, row.value(rank.measure)) for row in rows]
    present = [(row, value) for row, value in valued if value is not None]
    return sorted(present, key=lambda pair: (rank.key(pair[1].mean), pair[0].name))


def _value_of(row: Standing, rank: Ranking) -> float | None:
    value = row.value(rank.measure)
    return value.mean if value else None


def _label(rank: Ranking) -> str:
    return one_line(rank.metric.label, 40)


def _short(rank: Ranking) -> str:
    """The label without what stands in brackets: by then the reader has met it in full."""
    return _label(rank).split(" (")[0]


def _unit(rank: Ranking) -> str:
    return f" {one_line(rank.metric.unit, 20)}" if rank.metric.unit else ""


def _value(value: Value, rank: Ranking) -> str:
    return with_spread(value, rank.metric.digits) + _unit(rank)


def _frames(rank: Ranking) -> str:
    return PART_NAMES[rank.part].replace(" ", "-")
