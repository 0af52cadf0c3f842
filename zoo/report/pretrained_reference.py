"""Findings: whether training on these films is worth it, beside a network that saw none of them.

A pretrained reference has a latent of its own size, which is often a thousand times as large as
those of the models, so every sentence says at how many bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from zoo.base.records import Results
from zoo.base.text import one_line
from zoo.report.aggregate import ResultRow, Value, bytes_per_frame
from zoo.report.ranking import PART_NAMES, SIMILAR_BYTES, Ranking
from zoo.report.table import mean_value

RankedRows = list[tuple[ResultRow, Value]]
Ranked = Callable[[Results, Sequence[ResultRow], Ranking], RankedRows]
"""Rows in the order of a metric, as `zoo.report.findings` ranks them."""
Said = Callable[[ResultRow, Value, Ranking, ResultRow | None], str]
"""A value with its bytes, as `zoo.report.findings` writes them."""


def is_pretrained(row: ResultRow) -> bool:
    """Whether a reference learned nothing from the films."""
    return any(record.pretrained for record in row.records)


def worth_of_training(
    results: Results,
    models: Sequence[ResultRow],
    references: Sequence[ResultRow],
    ranks: Sequence[Ranking],
    ranked: Ranked,
    value_at_bytes: Said,
) -> list[str]:
    """A sentence for each pretrained reference, by every metric: is training worth it?"""
    films = one_line(results.films[0].name, 60) if len(results.films) == 1 else "these films"
    sentences = []
    for row in filter(is_pretrained, references):
        verdicts = [
            _verdict(rank, best[0], own[0], value_at_bytes)
            for rank in ranks
            if (best := ranked(results, models, rank)) and (own := ranked(results, [row], rank))
        ]
        if verdicts:
            sentences.append(
                f"Is training on {films} worth it, beside {row.name}, a network that was trained "
                f"on other pictures? {' '.join(verdicts)}"
            )
    return sentences


def _verdict(
    rank: Ranking,
    model: tuple[ResultRow, Value],
    reference: tuple[ResultRow, Value],
    value_at_bytes: Said,
) -> str:
    (best, own), (row, value) = model, reference
    beside = (
        f"{best.name} has {value_at_bytes(best, own, rank, None)}, and {row.name} "
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
