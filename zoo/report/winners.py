"""Who is ahead, by how much, and whether that is more than chance.

References count: where one is ahead of every model, the first sentence says so. Every sentence is
computed from the records; none knows a model by its name.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from zoo.records import FilmInfo, Results
from zoo.report import numbers
from zoo.report.crossing import overlap_sentences
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
    size_classes,
    valued,
)
from zoo.report.standings import LEAST_SEEDS, Standing, Value, bytes_a_frame, standings
from zoo.report.table import (
    Column,
    Table,
    bracketed,
    bytes_beside,
    bytes_column,
    draw,
    mean,
    said,
    several_sizes,
)
from zoo.report.text import one_line

SMALL = 0.02
"""A lead of less than this share of the better number is called small."""
MOST_NAMED = 4

_Rows = list[tuple[Standing, Value]]


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


def _of_films(results: Results) -> str:
    """What the numbers are of, after `frames`: `of demo`, or `(mean over 3 films)`."""
    over = over_films(results)
    return f"({over})" if len(results.films) > 1 else over.replace("on ", "of ", 1)


def complete(results: Results, role: str) -> list[Standing]:
    """The models or references that got through every film: their means can be compared."""
    return [
        row
        for row in standings(results)
        if row.role == role and len(row.films) == len(results.films)
    ]


def winners(results: Results) -> list[str]:
    """Who is ahead by each of the two metrics, and what is known of chance.

    Where a reference is ahead of every model, that comes first.
    """
    ranks = rankings(results)
    if not ranks:
        return ["No metric could be measured, so nothing can be said to be ahead."]
    models, references = complete(results, "model"), complete(results, "reference")
    if not models:
        return ["No model got through every film, so none can be said to be ahead."]
    found = [
        _ahead(results, ordered, valued(references, rank), rank)
        for rank in ranks
        if (ordered := valued(models, rank))
    ]
    # False sorts before True: what a reference is ahead in comes first.
    found.sort(key=lambda pair: not pair[0])
    return [
        *(told for _, told in found),
        *_by_size(models, ranks),
        *_coded_too(references, ranks),
        *_on_seen_frames(models, references, ranks),
        *_caution(results, models),
        *overlap_sentences(results),
    ]


def _ahead(results: Results, models: _Rows, references: _Rows, rank: Ranking) -> tuple[bool, str]:
    """Whether a reference is ahead of or level with the best model, and who is ahead in words."""
    best = models[0][1]
    ahead = [(row, value) for row, value in references if rank.beats(value, best)]
    level = [
        (row, value)
        for row, value in references
        if not rank.beats(value, best) and not rank.beats(best, value)
    ]
    frames = f"On {PART_NAMES[rank.part].replace(' ', '-')} frames {_of_films(results)}"
    what = rank.label
    among = _among_models(results, models, rank)
    name, value = models[0][0].name, _sized(*models[0], rank)
    first = models[0][0]
    if ahead:
        verb = numbers.verb(len(ahead), "is", "are")
        return True, (
            f"{frames} {_named(ahead, rank, first)} {verb} ahead of every model in {what}. The "
            f"best model is {name} with {value}{among}."
        )
    if level:
        verb = numbers.verb(len(level), "is", "are")
        return True, (
            f"{frames} no model is ahead of every reference in {what}: "
            f"{_named(level, rank, first)} {verb} level with the best model, {name} with "
            f"{value}{among}."
        )
    verb = {"lower": "has the lowest", "higher": "has the highest", "one": "is nearest to 1 in"}[
        rank.metric.better
    ]
    beyond = ", ahead of every reference" if references else ""
    return False, f"{frames} {name} {verb} {what}, {value}{beyond}{among}."


def _by_size(models: list[Standing], ranks: Sequence[Ranking]) -> list[str]:
    """That models are of several sizes, and which is the best of each; none where all are alike."""
    if not several_sizes(models):
        return []
    sizes = {row.name: mean(row, bytes_a_frame) for row in models}
    known = {name: size for name, size in sizes.items() if size}
    least, most = min(known, key=known.__getitem__), max(known, key=known.__getitem__)
    classes = size_classes(known)
    told = []
    for rank in ranks:
        first: dict[int, str] = {}
        for row, value in valued(models, rank):
            if row.name in classes:
                first.setdefault(
                    classes[row.name],
                    f"{row.name} ({_sized(row, value, rank)})",
                )
        if first:
            best = numbers.listed([first[size] for size in sorted(first)][:MOST_NAMED])
            told.append(f"in {rank.short} {best}")
    return [
        f"The models are not of one size: {least} takes {numbers.significant(known[least])} bytes "
        f"per frame and {most} {numbers.significant(known[most])}, and more bytes alone make a "
        f"model better. The best at about equal bytes, smallest first: {'; '.join(told)}."
    ]


def _coded_too(references: list[Standing], ranks: Sequence[Ranking]) -> list[str]:
    """That codecs have no held-out frames, where there are codecs and held-out frames."""
    codecs = [row.name for row in references if row.codec]
    if not codecs or all(rank.part != "held_out" for rank in ranks):
        return []
    return [f"{numbers.listed(codecs)} coded the held-out frames too."]


def _among_models(results: Results, models: _Rows, rank: Ranking) -> str:
    """How the best model stands among the models: the end of a sentence that names it."""
    (first, best), *others = models
    if not others:
        return "; it is the only model with this number"
    level = [(row, value) for row, value in others if not rank.beats(best, value)]
    second, next_best = others[0]
    if level:
        verb = numbers.verb(len(level), "is", "are")
        told = f"; {_named(level, rank, first)} {verb} level with it"
    else:
        told = f"; next is {second.name} with {_sized(second, next_best, rank, first)}"
        difference = abs(best.mean - next_best.mean)
        if difference < SMALL * max(abs(best.mean), 1e-12):
            shown = numbers.fixed(difference, rank.metric.digits)
            told += f", a small lead of {shown}{rank.unit}"
    if len(results.films) > 1:
        rows = [row for row, _ in models]
        won = sum(_leads(rows, first, film, rank) for film in results.films)
        films = numbers.counted(len(results.films), "film")
        told += f". Among the models it leads on {f'{won} of {films}' if won else 'no single film'}"
    return told


def _sized(row: Standing, value: Value, rank: Ranking, best: Standing | None = None) -> str:
    """A value with what it costs: `0.371 ± 0.001 at 10.1 bytes per frame`.

    Of a row that is set beside the best model, its bytes are compared where they are others.
    """
    size = mean(row, bytes_a_frame)
    cost = "" if size is None else f" at {numbers.significant(size)} bytes per frame"
    beside = bytes_beside(row, best) if best else ""
    return f"{said(value, rank)}{cost}" + (f", {beside}" if beside else "")


def _named(rows: _Rows, rank: Ranking, best: Standing) -> str:
    """Rows with their values, the first few by name; `best` is the best model."""
    names = [
        f"{'the codec ' if row.codec else ''}{row.name} ({_sized(row, value, rank, best)})"
        for row, value in rows[:MOST_NAMED]
    ]
    if len(rows) > MOST_NAMED:
        names.append(f"{len(rows) - MOST_NAMED} more")
    return numbers.listed(names)


def _leads(models: list[Standing], first: Standing, film: FilmInfo, rank: Ranking) -> bool:
    """Whether a model is ahead of all others on one film, by more than the spread there."""
    ordered = valued([row.on(film.name) for row in models], rank)
    if not ordered or ordered[0][0].name != first.name:
        return False
    return len(ordered) < 2 or rank.beats(ordered[0][1], ordered[1][1])


def _on_seen_frames(
    models: list[Standing], references: list[Standing], ranks: Sequence[Ranking]
) -> list[str]:
    """Which references are ahead of models even on the frames that these were trained on."""
    found: dict[str, list[str]] = {}
    for row in (row for row in references if not row.codec):
        behind: dict[str, list[str]] = {}
        for rank in [Ranking(r.metric, "seen") for r in ranks if r.part != "seen"]:
            own, others = rank.value(row), valued(models, rank)
            names = [m.name for m, other in others if own and rank.beats(own, other)]
            if names:
                who = "every model" if len(names) == len(others) else numbers.listed(names)
                behind.setdefault(who, []).append(rank.short)
        if behind:
            told = [f"{who} in {numbers.listed(metrics)}" for who, metrics in behind.items()]
            found.setdefault(numbers.listed(told, "and of"), []).append(row.name)
    return [
        f"On the frames that the models were trained on, {numbers.listed(names)} "
        f"{numbers.verb(len(names), 'is', 'are')} ahead of {told}."
        for told, names in found.items()
    ]


def _caution(results: Results, models: list[Standing]) -> list[str]:
    """What the numbers cannot say, if there is anything."""
    sentences = []
    few = [row for row in models if len(row.seeds) < LEAST_SEEDS]
    if few:
        counts = sorted({len(row.seeds) for row in few})
        who = "Every model" if len(few) == len(models) else numbers.listed([r.name for r in few])
        seeds = numbers.listed([numbers.counted(count, "seed") for count in counts], "or")
        sentences.append(
            f"{who} ran with {seeds}: {LEAST_SEEDS} are needed to know the spread, and a small "
            "lead may be chance."
        )
    incomplete = [
        row.name
        for row in standings(results)
        if row.role == "model" and len(row.films) < len(results.films)
    ]
    if incomplete:
        verb = numbers.verb(len(incomplete), "is", "are")
        sentences.append(
            f"{numbers.listed(incomplete)} {verb} left out of this, because not every film was "
            "finished."
        )
    return sentences


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
        bytes_column(),
        *(
            Column((f"by {rank.short}", PART_NAMES[rank.part]), _better_than(models, rank))
            for rank in ranks
        ),
    ]
    return draw(references, columns, [film] if film else results.films)


def _better_than(models: list[Standing], rank: Ranking) -> Callable[[Standing], str]:
    def text(reference: Standing) -> str:
        own = rank.value(reference)
        others = [value for _, value in valued(models, rank)]
        if own is None or not others:
            return numbers.NOT_AVAILABLE
        better = sum(rank.beats(value, own) for value in others)
        level = len(others) - better - sum(rank.beats(own, value) for value in others)
        shown = f"{better} of {len(others)}"
        if level:
            shown += f", {level} level"
        return bracketed(shown, reference, rank.part)

    return text
