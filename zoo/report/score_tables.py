"""Tables of scores, sizes and takedown scores."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from functools import partial

from zoo.base import numbers
from zoo.base.records import MIN_SHOTS, FilmInfo, MetricInfo, Part, Record, Results, Takedown
from zoo.base.safe_text import one_line
from zoo.report.aggregate import Measure, ResultRow, complete_rows, counted, result_rows, score
from zoo.report.ranking import (
    DISTORTION,
    OWN_PARTS,
    PART_NAMES,
    PERCEPTUAL,
    Ranking,
    arrow,
    is_measured,
    principal_metrics,
    ranked_rows,
    ranking,
    sort_rows,
)
from zoo.report.table import (
    REASON_LENGTH,
    Column,
    Table,
    bracketed,
    build_table,
    bytes_column,
    dash_for_codec,
    fixed_value,
    machine_columns,
    mean_value,
    parameters_column,
    percentage,
    waiver_notes,
)


def film_table(results: Results, film: FilmInfo) -> Table:
    """The main metrics on one film, with sizes."""
    rows = film_rows(results, film)
    return _principal_table(results, rows, [film])


def across_films_table(results: Results) -> Table:
    """Means over films, each counted once, of models evaluated on the film they were trained on.

    Tuning films do not count.
    """
    results = counted(results)
    rows = sort_rows(result_rows(results), ranking(results), films=len(results.films))
    return _principal_table(results, rows, results.films)


def other_metrics_table(results: Results, film: FilmInfo) -> Table | None:
    """All other metrics on one film; None if there are none."""
    first = principal_metrics(results)
    others = [metric for metric in results.metrics if metric not in first]
    if not others:
        return None
    rows = film_rows(results, film)
    columns = [bytes_column(), *(c for metric in others for c in metric_columns(metric))]
    notes = _metric_notes(others, rows, [film])
    return build_table(rows, [*columns, *machine_columns(results)], [film], notes)


def interval_table(results: Results, film: FilmInfo) -> Table | None:
    """The 95% intervals of the main metrics; None if no part has enough shots."""
    rows = [row for row in film_rows(results, film) if row.records]
    columns = []
    for metric in principal_metrics(results):
        for part in OWN_PARTS:
            if any(_bounds(row, metric, part) for row in rows):
                label = one_line(f"{metric.label} {metric.unit}", 40).rstrip()
                columns.append(Column((label, PART_NAMES[part]), _interval(metric, part)))
    return build_table(rows, [bytes_column(), *columns], [film]) if columns else None


def interval_note(results: Results, film: FilmInfo) -> str | None:
    """Explain why a part of a film has no intervals; None if every part has them."""
    found = [
        (part, summary)
        for record in results.records
        if record.trained_on == record.evaluated_on == film.name
        for metric in principal_metrics(results)
        for part, summary in record.scores.get(metric.name, {}).items()
    ]
    if any(summary.shots is None and summary.interval for _, summary in found):
        return (
            "No 95% intervals: these records hold intervals from resampling shots, which are too "
            "narrow where there are few shots."
        )
    few = {
        part: max(s.shots for p, s in found if p == part and s.shots is not None)
        for part in OWN_PARTS
        if any(p == part and s.shots is not None and s.shots < MIN_SHOTS for p, s in found)
    }
    if not few:
        return None
    counts = [
        f"the {PART_NAMES[part].replace('held out', 'held-out')} frames lie in "
        f"{numbers.counted(shots, 'shot')}"
        for part, shots in few.items()
    ]
    return (
        f"No 95% intervals where there are fewer than {MIN_SHOTS} shots: {numbers.listed(counts)}."
    )


def film_rows(results: Results, film: FilmInfo) -> list[ResultRow]:
    """The rows of a film's tables, in order."""
    return sort_rows(result_rows(results, film.name), ranking(results, film.name), films=1)


def metric_columns(metric: MetricInfo) -> list[Column]:
    """The columns of a metric on seen and on held-out frames."""
    label = one_line(f"{metric.label} {metric.unit}", 40).rstrip()
    columns = []
    for part in OWN_PARTS:
        rank = Ranking(metric, part)
        heading = (label, f"{PART_NAMES[part]} {arrow(metric)}")
        columns.append(Column(heading, _printed(rank), rank))
    return columns


def reference_table(results: Results, film: FilmInfo | None = None) -> Table | None:
    """How many models beat each reference, on one film or over all; None without references."""
    if film:
        rows = [row for row in result_rows(results, film.name) if row.records]
        models = [row for row in rows if row.role == "model"]
        references = sort_rows(
            (row for row in rows if row.role != "model"), ranking(results, film.name), films=1
        )
    else:
        results = counted(results)
        models = complete_rows(results, "model")
        references = sort_rows(complete_rows(results, "reference"), ranking(results), films=0)
    metrics = sorted(
        (m for m in results.metrics if m.name in (PERCEPTUAL, DISTORTION)),
        key=lambda metric: metric.name != PERCEPTUAL,
    )
    where = film.name if film else None
    ranks = [
        Ranking(metric, part)
        for metric in metrics
        for part in OWN_PARTS
        if metric.unavailable is None and is_measured(results, metric, part, where)
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
    return build_table(references, columns, [film] if film else results.films)


def _better_than(models: list[ResultRow], rank: Ranking) -> Callable[[ResultRow], str]:
    def text(reference: ResultRow) -> str:
        own = rank.value(reference)
        # Means can only be compared if they are over the same number of films.
        others = [v for _, v in ranked_rows(models, rank) if own and v.films == own.films]
        if own is None or not others:
            return numbers.NOT_AVAILABLE
        better = sum(rank.beats(value, own) for value in others)
        level = len(others) - better - sum(rank.beats(own, value) for value in others)
        shown = f"{better} of {len(others)}"
        if level:
            shown += f", {level} level"
        return bracketed(shown, reference, rank.part)

    return text


def _principal_table(results: Results, rows: list[ResultRow], films: list[FilmInfo]) -> Table:
    metrics = principal_metrics(results)
    columns = [bytes_column(), *(c for metric in metrics for c in metric_columns(metric))]
    if any(record.takedown for record in results.records):
        columns.append(matched_column())
    columns += [
        size_column(("latent", "numbers"), latent_numbers, numbers.whole),
        size_column(("decoder", "bytes"), decoder_bytes, partial(numbers.scaled, unit="B")),
        parameters_column(),
        *machine_columns(results),
    ]
    notes = [*_metric_notes(metrics, rows, films), *_of_codecs(rows, films), *waiver_notes(rows)]
    return build_table(rows, columns, films, notes)


def _printed(rank: Ranking) -> Callable[[ResultRow], str]:
    def text(row: ResultRow) -> str:
        value = rank.value(row)
        shown = fixed_value(value, rank.metric.digits)
        return bracketed(shown, row, rank.part) if value else shown

    return text


def matched_column() -> Column:
    """The share of frames whose reconstruction content matching recognises."""
    return Column(("frames", "matched"), lambda row: percentage(row.value(matched_share)))


def matched_share(record: Record) -> float | None:
    """The share of a film's frames whose reconstruction matches them; None if not measured."""
    return record.takedown.matched if record.takedown else None


def size_column(heading: tuple[str, str], by: Measure, write: Callable[..., str]) -> Column:
    """A column for a size that does not apply to codecs, which get a dash."""
    return Column(heading, lambda row: dash_for_codec(row, write(mean_value(row, by))))


def latent_numbers(record: Record) -> float | None:
    """Numbers per frame in the latent; None for a codec."""
    return record.latent.numbers if record.latent else None


def decoder_bytes(record: Record) -> float | None:
    """Bytes of the decoder's weights; None for a codec."""
    return record.latent.decoder_bytes if record.latent else None


def _bounds(row: ResultRow, metric: MetricInfo, part: Part) -> list[float] | None:
    """Both bounds of the interval, averaged over seeds; None if a seed has no interval."""

    def end(number: int) -> Callable[[Record], float | None]:
        def measure(record: Record) -> float | None:
            summary = record.scores.get(metric.name, {}).get(part)
            bounds = summary.sound_interval if summary else None
            return bounds[number] if bounds else None

        return measure

    if any(end(0)(record) is None for record in row.records):
        return None
    found = [mean_value(row, end(number), metric.better == "one") for number in (0, 1)]
    return None if None in found else [value for value in found if value is not None]


def _interval(metric: MetricInfo, part: Part) -> Callable[[ResultRow], str]:
    def text(row: ResultRow) -> str:
        bounds = _bounds(row, metric, part)
        if bounds is None:
            return numbers.NOT_APPLICABLE
        ratio = metric.better == "one"
        middle = numbers.fixed(mean_value(row, score(metric.name, part), ratio), metric.digits)
        low, high = (numbers.fixed(bound, metric.digits) for bound in bounds)
        return "\n".join(bracketed(text, row, part) for text in (middle, f"{low} to {high}"))

    return text


def _metric_notes(
    metrics: Sequence[MetricInfo], rows: list[ResultRow], films: list[FilmInfo]
) -> list[str]:
    notes = []
    for metric in metrics:
        label = one_line(metric.label, 40)
        if metric.unavailable is not None:
            notes.append(f"{label} is n/a: {one_line(metric.unavailable, 300)}")
            continue
        for part in OWN_PARTS:
            lacking = [
                row.name for row in rows if row.records and not row.value(score(metric.name, part))
            ]
            if lacking and any(_frames(film, part) for film in films):
                notes.append(
                    f"{label} on {PART_NAMES[part].replace(' ', '-')} frames is n/a for "
                    f"{numbers.listed(lacking)}: the records hold no finite number."
                )
    bare = [one_line(film.name, 40) for film in films if not film.held_out_frames]
    if bare:
        notes.append(f"No frames were held out of {numbers.listed(bare)}.")
    return notes


def _of_codecs(rows: list[ResultRow], films: list[FilmInfo]) -> list[str]:
    """Notes on codecs: which frames they coded, and how close they are to the requested bytes."""
    codecs = [row for row in rows if row.codec and row.records]
    if not codecs:
        return []
    notes = []
    if any(film.held_out_frames for film in films):
        notes.append(
            f"In brackets: {numbers.listed([row.name for row in codecs])} coded every frame, "
            "including the held-out ones."
        )
    missing: dict[str, list[str]] = {}
    for row in codecs:
        notes_by_film = {record.evaluated_on: record.note for record in row.records if record.note}
        if notes_by_film and len(films) > 1:
            where = f"{len(notes_by_film)} of {numbers.counted(len(row.films), 'film')}"
            missing.setdefault(where, []).append(row.name)
        elif notes_by_film:
            notes.append(
                f"{row.name}: {one_line(next(iter(notes_by_film.values())), REASON_LENGTH)}."
            )
    for where, names in missing.items():
        notes.append(
            f"{numbers.listed(names)} {numbers.verb(len(names), 'misses', 'miss')} the requested "
            f"bytes by more than 3% on {where}; each film's table says why."
        )
    return notes


def _frames(film: FilmInfo, part: Part) -> int:
    return film.seen_frames if part == "seen" else film.held_out_frames


def takedown_table(results: Results, film: FilmInfo) -> Table | None:
    """The takedown score of every reconstruction of a film; None if there are none."""
    rows = film_rows(results, film)
    if not any(record.takedown for row in rows for record in row.records):
        return None
    columns = [
        bytes_column(),
        Column(("frames", "matched"), _takedown_share("matched")),
        Column(("in their", "place"), _takedown_share("retrieved")),
        Column(("frames", "found"), _takedown_share("found")),
        Column(("the film", "matches"), _film_matches),
        Column(("precision",), _takedown_share("precision")),
        Column(("frames that match", "another film"), _false_matches),
        *machine_columns(results),
    ]
    return build_table(rows, columns, [film])


def takedown_notice(results: Results, film: FilmInfo) -> str | None:
    """State which models would have drawn the takedown notice; None if none was scored."""
    rows = [row for row in film_rows(results, film) if any(r.takedown for r in row.records)]
    found = {row.name: row.value(_takedown_measure("found")) for row in rows}
    shares = {
        name: f" ({percentage(value)} found)" if value else "" for name, value in found.items()
    }
    notices = {row.name: _film_matches(row) for row in rows}
    models = [row.name for row in rows if row.role == "model"]
    if not models:
        return None

    def names(role: str, notice: bool) -> list[str]:
        return [
            row.name + (f" ({notices[row.name]})" if notices[row.name].startswith("for") else "")
            for row in rows
            if (row.role == "model") == (role == "model") and (notices[row.name] != "no") == notice
        ]

    yes, no, references = names("model", True), names("model", False), names("reference", True)
    where = f"On {one_line(film.name, 60)}"
    rule = "at least 80% of the film's frames found"
    if yes:
        text = f"{where} {numbers.listed(yes)} would have drawn a takedown notice ({rule})"
        text += f"; {numbers.listed([n + shares[n] for n in no])} would not" if no else ""
    else:
        text = f"{where} no model would have drawn a takedown notice ({rule})"
        nearest = max(models, key=lambda name: value.mean if (value := found[name]) else 0.0)
        text += f": {nearest} comes nearest{shares[nearest]}" if found[nearest] else ""
    if len(rows) > len(models):
        none = "none would have" if yes else "none would have either"
        would = f"{numbers.listed(references)} would have" if references else none
        text += f"; of the references {would}"
    return f"{text}."


def takedown_explanation(results: Results, film: FilmInfo) -> str:
    """Explain the columns of the takedown table, and how many frames were compared."""
    found = [r.takedown for r in results.records if r.evaluated_on == film.name and r.takedown]
    comparable = max((one.comparable for one in found), default=0)
    every = max((one.frame_step for one in found), default=1)
    thinned = "" if every == 1 else f", taking {numbers.every(every)},"
    others = max((len(one.false_matches) for one in found), default=0)
    searched = f"this film and {numbers.counted(others, 'other')}" if others else "this film alone"
    precision = (
        "Precision is the share of all matches that are matches with this film. A dash means that "
        "no reconstructed frame could be compared, or that none matched anything."
        if others
        else "No other film was searched, so precision has a dash; elsewhere a dash means that no "
        "reconstructed frame could be compared."
    )
    return (
        "A frame is matched if the PDQ hash of its reconstruction is within 31 of 256 bits (the "
        "published threshold) of its own hash and both have quality 50 or more "
        f"({numbers.counted(comparable, 'frame')} of this film{thinned} can be compared). It is in "
        f"its place if the frame nearest its reconstruction, in {searched}, is itself or close to "
        "it in time, and found if any reconstructed frame matches it. The film as a whole matches "
        f"if 80% of its frames are found. {precision}"
    )


def _takedown_measure(name: str) -> Measure:
    def measure(record: Record) -> float | None:
        found: Takedown | None = record.takedown
        return getattr(found, name) if found else None

    return measure


def _takedown_share(name: str) -> Callable[[ResultRow], str]:
    return lambda row: _dash_if_scored(row, percentage(row.value(_takedown_measure(name))))


def _dash_if_scored(row: ResultRow, text: str) -> str:
    """Replace `n/a` by a dash if the row was scored but the share is undefined (0 of 0)."""
    scored = any(record.takedown for record in row.records)
    return numbers.NOT_APPLICABLE if scored and text == numbers.NOT_AVAILABLE else text


def _film_matches(row: ResultRow) -> str:
    answers = [record.takedown.film_matches for record in row.records if record.takedown]
    if not answers:
        return numbers.NOT_AVAILABLE
    if all(answers):
        return "yes"
    return f"for {sum(answers)} of {len(answers)} seeds" if any(answers) else "no"


def _false_matches(row: ResultRow) -> str:
    found: dict[str, list[float]] = {}
    scored = [record.takedown for record in row.records if record.takedown]
    for one in scored:
        for film, share in one.false_matches.items():
            found.setdefault(film, []).append(share)
    if not found:
        return numbers.NOT_APPLICABLE if scored else numbers.NOT_AVAILABLE
    shares = {film: statistics.fmean(each) for film, each in found.items()}
    lines = [
        f"{one_line(film, 40)} {numbers.percent(share)}" for film, share in shares.items() if share
    ]
    return "\n".join(lines) or "0%"
