"""Why the models come in the order they do, as sentences computed from the records."""

from __future__ import annotations

from itertools import combinations

from zoo.records import Cost, Results
from zoo.report import numbers
from zoo.report.ranking import DISTORTION, PERCEPTUAL, Ranking, in_order, valued
from zoo.report.standings import Standing
from zoo.report.table import bytes_beside, throughput
from zoo.report.winners import complete, rankings

UNSTEADY = 0.2
"""Timings whose quartiles lie further apart than this share of their median prove nothing."""


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
    sentences += _time(models)
    return sentences


def _trade(models: list[Standing], rank: Ranking, other: Ranking) -> list[str]:
    by_rank, by_other = valued(models, rank), valued(models, other)
    if not by_rank or not by_other:
        return []
    winner, loser = by_rank[0][0], by_other[0][0]
    a, b = rank.short, other.short
    sentences = []
    if winner.name == loser.name:
        sentences.append(f"{winner.name} is the best of the models in both {a} and {b}.")
    elif _surely(winner, loser, rank) and _surely(loser, winner, other):
        gained = numbers.fixed(_apart(winner, loser, rank), rank.metric.digits)
        paid = numbers.fixed(_apart(winner, loser, other), other.metric.digits)
        beside = bytes_beside(winner, loser)
        sentences.append(
            f"Of the models, {winner.name} has the best {a} and {loser.name} the best {b}: "
            f"{winner.name} is better by {gained}{rank.unit} in {a} and worse by "
            f"{paid}{other.unit} in {b} than {loser.name}" + (f", in {beside}." if beside else ".")
        )
        if (rank.metric.name, other.metric.name) == (PERCEPTUAL, DISTORTION):
            sentences.append(
                f"The two measure different things. {b} counts squared errors of pixels, so where "
                "a model is unsure a blur, the mean of what is possible, scores best. "
                f"{a} compares features of a network trained on photographs, to which a blur looks "
                "unlike any picture."
            )
    pairs = [
        [_surely(one, two, by) - _surely(two, one, by) for by in (rank, other)]
        for one, two in combinations(models, 2)
    ]
    told = [signs for signs in pairs if all(signs)]
    if len(told) > 1:
        agreed = sum(first == second for first, second in told)
        sentences.append(
            f"{a} and {b} order {agreed} of {len(told)} pairs of models the same way{_rest(pairs)}."
        )
    return sentences


def _rest(pairs: list[list[int]]) -> str:
    """How many pairs are in no order by at least one of the two metrics."""
    level = sum(not all(signs) for signs in pairs)
    if not level:
        return ""
    counted, verb = numbers.counted(level, "other pair"), numbers.verb(level, "is", "are")
    return f"; {counted} {verb} level by at least one of them"


def _surely(one: Standing, other: Standing, rank: Ranking) -> bool:
    """Whether the first is better, by more than the spread over seeds explains."""
    values = rank.value(one), rank.value(other)
    return values[0] is not None and values[1] is not None and rank.beats(values[0], values[1])


def _apart(one: Standing, other: Standing, rank: Ranking) -> float:
    found = [value.mean if (value := rank.value(row)) else 0.0 for row in (one, other)]
    return abs(found[0] - found[1])


def _gap(models: list[Standing], rank: Ranking) -> list[str]:
    """How much is lost on frames that were never seen: memory against generalisation."""
    if rank.part != "held_out" or rank.metric.better == "one":
        return []
    gaps = []
    for row in in_order(models, rank, films=0):
        seen = Ranking(rank.metric, "seen").value(row)
        held_out = rank.value(row)
        if seen and held_out:
            gaps.append((row.name, held_out.mean - seen.mean))
    if not gaps:
        return []
    told = [f"{numbers.signed(gap, rank.metric.digits)} for {name}" for name, gap in gaps]
    worse = "positive" if rank.metric.better == "lower" else "negative"
    return [
        f"From seen to held-out frames {rank.short} changes by {numbers.listed(told)} "
        f"({worse} is worse)."
    ]


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
        f"Equal numbers of training frames do not take equal time: {slowest} takes "
        f"{numbers.times(fast / slow)} as long per frame as {fastest}."
    ]
