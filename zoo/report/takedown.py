"""Would a content-matching system recognise the film? A row per model or reference."""

from __future__ import annotations

import statistics
from collections.abc import Callable

from zoo.records import FilmInfo, Record, Results, Takedown
from zoo.report import numbers
from zoo.report.standings import Measure, Standing
from zoo.report.table import Column, Table, bytes_column, draw, machine_column, percentage
from zoo.report.tables import film_rows
from zoo.report.text import one_line


def takedown_table(results: Results, film: FilmInfo) -> Table | None:
    """The takedown score of every reconstruction of a film; None where nothing has one."""
    rows = film_rows(results, film)
    if not any(record.takedown for row in rows for record in row.records):
        return None
    columns = [
        bytes_column(),
        Column(("frames", "matched"), _share("matched")),
        Column(("in their", "place"), _share("retrieved")),
        Column(("frames", "found"), _share("found")),
        Column(("the film", "matches"), _film_matches),
        Column(("precision",), _share("precision")),
        Column(("frames that match", "another film"), _false_matches),
        *machine_column(results),
    ]
    return draw(rows, columns, [film])


def takedown_rule(results: Results, film: FilmInfo) -> str:
    """How the columns are counted, in words, with the number of frames that they are of."""
    found = [r.takedown for r in results.records if r.watched == film.name and r.takedown]
    comparable = max((one.comparable for one in found), default=0)
    every = max((one.every for one in found), default=1)
    thinned = "" if every == 1 else f", taking {numbers.every(every)},"
    return (
        "A frame is matched if the PDQ hash of its reconstruction is within 31 of 256 bits (the "
        "published threshold) of its own hash and both have quality 50 or more "
        f"({numbers.counted(comparable, 'frame')} of this film{thinned} can be compared). It is in "
        "its place if no frame of any film in this report is nearer than its own moment, and found "
        "if any reconstructed frame matches it. The film as a whole matches if 80% of its frames "
        "are found. Precision is the share of all matches that are with this film and no other. A "
        "dash means that no reconstructed frame could be compared, or that none matched anything."
    )


def _of(name: str) -> Measure:
    def measure(record: Record) -> float | None:
        found: Takedown | None = record.takedown
        return getattr(found, name) if found else None

    return measure


def _share(name: str) -> Callable[[Standing], str]:
    return lambda row: _known(row, percentage(row.value(_of(name))))


def _known(row: Standing, text: str) -> str:
    """A dash for a share of nothing, such as of no matches: that is no missing number."""
    scored = any(record.takedown for record in row.records)
    return numbers.NOT_APPLICABLE if scored and text == numbers.NOT_AVAILABLE else text


def _film_matches(row: Standing) -> str:
    answers = [record.takedown.film_matches for record in row.records if record.takedown]
    if not answers:
        return numbers.NOT_AVAILABLE
    if all(answers):
        return "yes"
    return f"for {sum(answers)} of {len(answers)} seeds" if any(answers) else "no"


def _false_matches(row: Standing) -> str:
    found: dict[str, list[float]] = {}
    scored = [record.takedown for record in row.records if record.takedown]
    for one in scored:
        for film, share in one.false_matches.items():
            found.setdefault(film, []).append(share)
    if not found:
        return numbers.NOT_APPLICABLE if scored else numbers.NOT_AVAILABLE
    shares = {film: statistics.fmean(each) for film, each in found.items()}
    told = [
        f"{one_line(film, 40)} {numbers.percent(share)}" for film, share in shares.items() if share
    ]
    return "\n".join(told) or "0%"
