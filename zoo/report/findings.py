"""Findings: who is ahead, by how much, whether that is more than chance, and why.

References count: if a reference is ahead of every model, the first sentence says so. Every sentence
is computed from the records; none of the rules depends on a model's name.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

from zoo.base import numbers
from zoo.base.records import FilmInfo, Results
from zoo.base.safe_text import one_line
from zoo.report.aggregate import (
    MIN_SEEDS,
    ResultRow,
    Value,
    bytes_per_frame,
    complete_rows,
    counted,
    result_rows,
)
from zoo.report.costs import training_time
from zoo.report.cross_film_matrix import overlap_sentences
from zoo.report.protocol import tuning_sentences
from zoo.report.ranking import (
    DISTORTION,
    PART_NAMES,
    PERCEPTUAL,
    Ranking,
    ranked_films,
    ranked_on_all_films,
    ranked_rows,
    ranking,
    ranking_by,
    size_classes,
    sort_rows,
)
from zoo.report.table import (
    bytes_relative_to,
    mean_value,
    several_sizes,
    value_at_bytes,
)
from zoo.report.worth_of_training import is_pretrained, worth_of_training

SMALL = 0.02
"""A lead is called small if it is less than this share of the better number."""
MOST_NAMED = 4

_Rows = list[tuple[ResultRow, Value]]


def rankings(results: Results) -> list[Ranking]:
    """The metrics that decide who is ahead: the one that orders the tables, then pixel errors."""
    found = [ranking(results)]
    found += [ranking_by(results, m) for m in results.metrics if m.name == DISTORTION]
    kept: list[Ranking] = []
    for rank in found:
        if rank and all(rank.metric.name != other.metric.name for other in kept):
            kept.append(rank)
    return kept


def _of_films(results: Results, rank: Ranking) -> str:
    """Name the films, to follow the word `frames`: `of demo`, or `(mean over 3 films)`.

    Films without such frames, or without a score on them, are left out of the mean.
    """
    films, all_films = ranked_films(results, rank), len(results.films)
    if len(films) == 1:
        only = f" (the only one of {all_films} films where any were scored)"
        return f"of {one_line(films[0].name, 60)}{only if all_films > 1 else ''}"
    if len(films) < all_films:
        return f"(mean over the {len(films)} of {all_films} films where any were scored)"
    return f"(mean over {numbers.counted(all_films, 'film')})"


def who_is_ahead(results: Results) -> list[str]:
    """Sentences on who is ahead in each of the two metrics, and whether it may be chance.

    A metric in which a reference is ahead of every model comes first.
    """
    alone = sum(row.role == "model" for row in result_rows(results)) == 1
    tuning, whole, results = tuning_sentences(results), results, counted(results)
    ranks = rankings(results)
    if not ranks:
        return ["No metric could be measured, so nothing can be ranked."]
    models, references = (complete_rows(results, role) for role in ("model", "reference"))
    if not models:
        return ["No model finished every film, so no model can be ranked."]
    found = [
        _finding(results, ordered, ranked_on_all_films(results, references, rank), rank, alone)
        for rank in ranks
        if (ordered := ranked_on_all_films(results, models, rank))
    ]
    found.sort(key=lambda pair: not pair[0])  # False is before True.
    return [
        *(sentence for _, sentence in found),
        *worth_of_training(results, models, references, ranks),
        *_best_at_each_size(results, models, ranks),
        *_codecs_saw_held_out_frames(references, ranks),
        *_references_ahead_on_seen_frames(results, models, references, ranks),
        *_few_seeds(models, _on_counted_films(results, whole)),
        *_caveats(results, [*models, *references], ranks),
        *tuning,
        *overlap_sentences(results),
    ]


def _finding(
    results: Results, models: _Rows, references: _Rows, rank: Ranking, alone: bool
) -> tuple[bool, str]:
    """A sentence on who is ahead, and whether a reference is ahead of or level with all models.

    `alone` means that only one model was compared, on any film.
    """
    best = models[0][1]
    ahead = [(row, value) for row, value in references if rank.beats(value, best)]
    level = [
        (row, value)
        for row, value in references
        if not rank.beats(value, best) and not rank.beats(best, value)
    ]
    frames = f"On {PART_NAMES[rank.part].replace(' ', '-')} frames {_of_films(results, rank)}"
    what = rank.label
    among = _among_models(results, models, rank, alone)
    name, value = models[0][0].name, value_at_bytes(*models[0], rank)
    first = models[0][0]
    if ahead:
        verb = numbers.verb(len(ahead), "is", "are")
        return True, (
            f"{frames} {_names_with_values(ahead, rank, first)} {verb} ahead of every model in "
            f"{what}. The best model is {name} with {value}{among}."
        )
    if level:
        verb = numbers.verb(len(level), "is", "are")
        return True, (
            f"{frames} no model is ahead of every reference in {what}: "
            f"{_names_with_values(level, rank, first)} {verb} level with the best model, {name} "
            f"with {value}{among}."
        )
    verb = {"lower": "has the lowest", "higher": "has the highest", "one": "is nearest to 1 in"}[
        rank.metric.better
    ]
    beyond = ", ahead of every reference" if references else ""
    every = sum(row.role == "reference" for row in result_rows(results))
    if references and len(references) < every:
        beyond = f", ahead of {_few([row.name for row, _ in references])}"
    return False, f"{frames} {name} {verb} {what}, {value}{beyond}{among}."


def _best_at_each_size(
    results: Results, models: list[ResultRow], ranks: Sequence[Ranking]
) -> list[str]:
    """A sentence on which model is best at each size; empty if all are of one size."""
    if not several_sizes(models):
        return []
    sizes = {row.name: mean_value(row, bytes_per_frame) for row in models}
    known = {name: size for name, size in sizes.items() if size}
    least, most = min(known, key=known.__getitem__), max(known, key=known.__getitem__)
    classes = size_classes(known)
    lists = []
    for rank in ranks:
        first: dict[int, str] = {}
        for row, value in ranked_on_all_films(results, models, rank):
            if row.name in classes:
                first.setdefault(
                    classes[row.name],
                    f"{row.name} ({value_at_bytes(row, value, rank)})",
                )
        if first:
            best = numbers.listed([first[size] for size in sorted(first)][:MOST_NAMED])
            lists.append(f"in {rank.short} {best}")
    if not lists:
        return []
    return [
        f"The models differ in size: {least} takes {numbers.significant(known[least])} bytes "
        f"per frame and {most} {numbers.significant(known[most])}, and more bytes alone make a "
        f"model better. The best at similar bytes per frame, smallest first: {'; '.join(lists)}."
    ]


def _codecs_saw_held_out_frames(references: list[ResultRow], ranks: Sequence[Ranking]) -> list[str]:
    """A sentence stating that codecs also coded the held-out frames; empty if not relevant."""
    codecs = [row.name for row in references if row.codec]
    if not codecs or all(rank.part != "held_out" for rank in ranks):
        return []
    return [
        f"{numbers.listed(codecs)} coded the held-out frames too; only the models never saw them."
    ]


def _among_models(results: Results, models: _Rows, rank: Ranking, alone: bool) -> str:
    """How the best model compares with the others: the end of the sentence that names it."""
    (first, best), *others = models
    films_of_rank = ranked_films(results, rank)
    if alone:
        return "; it is the only model"
    if not others:
        several = len(films_of_rank) > 1
        where = "every film" if several else one_line(films_of_rank[0].name, 60)
        return f"; no other model has a score on {where}"
    level = [(row, value) for row, value in others if not rank.beats(best, value)]
    second, next_best = others[0]
    if level:
        verb = numbers.verb(len(level), "is", "are")
        text = f"; {_names_with_values(level, rank, first)} {verb} level with it"
    else:
        text = f"; next is {second.name} with {value_at_bytes(second, next_best, rank, first)}"
        difference = abs(best.mean - next_best.mean)
        if difference < SMALL * max(abs(best.mean), 1e-12):
            shown = numbers.fixed(difference, rank.metric.digits)
            text += f", a small lead of {shown}{rank.unit}"
    if len(films_of_rank) > 1:
        rows = [row for row, _ in models]
        won = sum(_leads_on_film(rows, first, film, rank) for film in films_of_rank)
        films = numbers.counted(len(films_of_rank), "film")
        where = f"{won} of {films}" if won else "no single film"
        text += f". Among the models {first.name} leads on {where}"
    return text


def _names_with_values(rows: _Rows, rank: Ranking, best: ResultRow) -> str:
    """List rows with their values, the first few by name; `best` is the best model.

    Facts that all rows share are stated once: that they are codecs, and how their bytes compare.
    """
    beside = {bytes_relative_to(row, best) for row, _ in rows}
    alike = len(rows) > 1 and len(beside) == 1
    codecs = 1 < len(rows) <= MOST_NAMED and all(row.codec for row, _ in rows)
    names = []
    for row, value in rows:
        size = value_at_bytes(row, value, rank, None if alike else best)
        names.append(f"{'the codec ' * (row.codec and not codecs)}{row.name} ({size})")
    compared = f", each at {beside.pop()}," if alike and any(beside) else ""
    return f"{'the codecs ' * codecs}{_few(names)}{compared}"


def _few(names: Sequence[str]) -> str:
    """List the first few names, and how many more there are."""
    left_out = len(names) - MOST_NAMED
    return numbers.listed([*names[:MOST_NAMED], *([f"{left_out} more"] if left_out > 0 else [])])


def _leads_on_film(
    models: list[ResultRow], first: ResultRow, film: FilmInfo, rank: Ranking
) -> bool:
    """Whether a model is ahead of all others on one film, by more than that film's spread."""
    ordered = ranked_rows([row.on(film.name) for row in models], rank)
    if not ordered or ordered[0][0].name != first.name:
        return False
    return len(ordered) < 2 or rank.beats(ordered[0][1], ordered[1][1])


def _references_ahead_on_seen_frames(
    results: Results, models: list[ResultRow], references: list[ResultRow], ranks: Sequence[Ranking]
) -> list[str]:
    """Sentences on references that are ahead of models even on the models' training frames."""
    found: dict[str, list[str]] = {}
    for row in [row for row in references if not row.codec and not is_pretrained(row)]:
        behind: dict[str, list[str]] = {}
        for rank in [Ranking(r.metric, "seen") for r in ranks if r.part != "seen"]:
            own, others = (
                ranked_on_all_films(results, [row], rank),
                ranked_on_all_films(results, models, rank),
            )
            names = [m.name for m, other in others if own and rank.beats(own[0][1], other)]
            if names:
                who = "every model" if len(names) == len(others) else numbers.listed(names)
                behind.setdefault(who, []).append(rank.short)
        if behind:
            behind_what = [f"{who} in {numbers.listed(metrics)}" for who, metrics in behind.items()]
            found.setdefault(numbers.listed(behind_what, "and of"), []).append(row.name)
    return [
        f"On the frames that the models were trained on, {numbers.listed(names)} "
        f"{numbers.verb(len(names), 'is', 'are')} ahead of {behind_what}."
        for behind_what, names in found.items()
    ]


def _seeds(row: ResultRow) -> int:
    """Count a row's seeds; if they suffice for a spread, only those that finished every film."""
    every = row.value(lambda _: 0.0)
    return len(row.seeds) if every is None or len(row.seeds) < MIN_SEEDS else max(1, every.seeds)


def _on_counted_films(results: Results, whole: Results) -> str:
    """Name the films that count, for a sentence in a report that has others; else empty."""
    names = [one_line(film.name, 60) for film in results.films]
    return f" on {numbers.listed(names)}" if len(names) < len(whole.films) else ""


def _few_seeds(models: list[ResultRow], where: str) -> list[str]:
    """A sentence on models with too few seeds for a spread; empty if all have enough."""
    few = {row.name: count for row in models if (count := _seeds(row)) < MIN_SEEDS}
    if not few:
        return []
    counts = sorted({*few.values()})
    who = "Every model" if len(few) == len(models) else numbers.listed([*few])
    verb = "was" if len(few) == len(models) else numbers.verb(len(few), "was", "were")
    seeds = numbers.listed([numbers.counted(count, "seed") for count in counts], "or")
    return [
        f"{who} {verb} trained with {seeds}{where}. It takes at least {MIN_SEEDS} seeds to "
        "estimate the spread, so a small lead may be chance."
    ]


def _caveats(results: Results, complete: list[ResultRow], ranks: Sequence[Ranking]) -> list[str]:
    """Sentences on what else limits these findings: unfinished films, missing numbers."""
    sentences = []
    incomplete = [row.name for row in result_rows(results) if len(row.films) < len(results.films)]
    if incomplete:
        verb = numbers.verb(len(incomplete), "is", "are")
        sentences.append(
            f"{numbers.listed(incomplete)} {verb} not included, because some of the films were not "
            "finished."
        )
    for rank in ranks:
        ranked = {row.name for row, _ in ranked_on_all_films(results, complete, rank)}
        lacking = [row.name for row in complete if row.name not in ranked]
        if lacking:
            verb = numbers.verb(len(lacking), "is", "are")
            sentences.append(
                f"{_few(lacking)} {verb} not ranked in {rank.short}, which is missing on some film."
            )
    return sentences


def why_in_this_order(results: Results) -> list[str]:
    """Sentences that explain the order of the models, as far as the numbers show."""
    results = counted(results)
    models = complete_rows(results, "model")
    ranks = rankings(results)
    if not ranks or not models:
        return []
    sentences = []
    ranked = [{row.name for row, _ in ranked_on_all_films(results, models, rank)} for rank in ranks]
    if len(ranks) == 2 and len(models) > 1:
        both = [row for row in models if all(row.name in names for names in ranked)]
        sentences += _trade_off(both, ranks[0], ranks[1])
    sentences += _generalisation_gap(results, models, ranks[0])
    sentences += training_time(models)
    return sentences


def _trade_off(models: list[ResultRow], rank: Ranking, other: Ranking) -> list[str]:
    if len(models) < 2:
        return []
    (winner, second), (loser, next_loser) = (
        [row for row, _ in ranked_rows(models, by)[:2]] for by in (rank, other)
    )
    a, b = rank.short, other.short
    sentences = []
    if winner.name == loser.name:
        # If another model is level in either metric, `who_is_ahead` already says so.
        if _beats(winner, second, rank) and _beats(winner, next_loser, other):
            sentences.append(f"{winner.name} is the best of the models in both {a} and {b}.")
    elif _beats(winner, loser, rank) and _beats(loser, winner, other):
        gained = numbers.fixed(_difference(winner, loser, rank), rank.metric.digits)
        paid = numbers.fixed(_difference(winner, loser, other), other.metric.digits)
        beside = bytes_relative_to(winner, loser)
        sentences.append(
            f"Of the models, {winner.name} has the best {a} and {loser.name} the best {b}: "
            f"{winner.name} is better by {gained}{rank.unit} in {a} and worse by "
            f"{paid}{other.unit} in {b} than {loser.name}" + (f", in {beside}." if beside else ".")
        )
        if (rank.metric.name, other.metric.name) == (PERCEPTUAL, DISTORTION):
            sentences.append(
                f"The two measure different things. {b} measures squared pixel errors, so where a "
                "model is unsure, a blur scores best: it is the mean of all possibilities. "
                f"{a} compares features of a network trained on photographs, and for that "
                "network a blur is unlike any photograph."
            )
    pairs = [
        [_beats(one, two, by) - _beats(two, one, by) for by in (rank, other)]
        for one, two in combinations(models, 2)
    ]
    decided = [signs for signs in pairs if all(signs)]
    if len(decided) > 1:
        agreed = sum(first == second for first, second in decided)
        sentences.append(
            f"{a} and {b} agree on the better model in {agreed} of {len(decided)} pairs"
            f"{_level_pairs(pairs)}."
        )
    return sentences


def _level_pairs(pairs: list[list[int]]) -> str:
    """State how many pairs are level by at least one of the two metrics."""
    level = sum(not all(signs) for signs in pairs)
    if not level:
        return ""
    counted, verb = numbers.counted(level, "other pair"), numbers.verb(level, "is", "are")
    return f"; {counted} {verb} level by at least one of them"


def _beats(one: ResultRow, other: ResultRow, rank: Ranking) -> bool:
    """Whether the first is better, by more than the spread over seeds explains."""
    values = rank.value(one), rank.value(other)
    return values[0] is not None and values[1] is not None and rank.beats(values[0], values[1])


def _difference(one: ResultRow, other: ResultRow, rank: Ranking) -> float:
    found = [value.mean if (value := rank.value(row)) else 0.0 for row in (one, other)]
    return abs(found[0] - found[1])


def _generalisation_gap(results: Results, models: list[ResultRow], rank: Ranking) -> list[str]:
    """A sentence on how much worse held-out frames are than seen frames."""
    if rank.part != "held_out" or rank.metric.better == "one":
        return []
    gaps = []
    films = {film.name for film in ranked_films(results, rank)}
    for row in sort_rows(
        (row for row, _ in ranked_on_all_films(results, models, rank)), rank, films=0
    ):
        row = row.filtered(lambda record: record.evaluated_on in films)
        seen = Ranking(rank.metric, "seen").value(row)
        held_out = rank.value(row)
        if seen and held_out:
            gaps.append((row.name, held_out.mean - seen.mean))
    if not gaps:
        return []
    changes = [f"{numbers.signed(gap, rank.metric.digits)} for {name}" for name, gap in gaps]
    worse = "positive" if rank.metric.better == "lower" else "negative"
    return [
        f"From seen to held-out frames {rank.short} changes by {numbers.listed(changes)} "
        f"({worse} is worse)."
    ]
