"""Tuning films are marked wherever they are named, and are in no mean and no count over films."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from tests.report.sentence_results import TWO, results_of
from tests.report.synthetic_results import ENVIRONMENT, foreign
from tests.report.synthetic_results import summary as summary_of
from zoo.base.records import Results
from zoo.report.aggregate import (
    counted,
    machines,
    means_in_words,
    over_films,
    result_rows,
)
from zoo.report.cross_film_matrix import cross_film_findings, cross_film_table
from zoo.report.findings import who_is_ahead
from zoo.report.protocol import seeds_in_words, tuning_notes, tuning_sentences
from zoo.report.score_tables import across_films_table, reference_table
from zoo.report.write import write_report

FILMS = ("alpha", "beta", "gamma")
ALPHA = (
    "alpha is a tuning film (by name): the defaults of every model were chosen on it, held-out "
    "frames included. It is left out of means and counts over films."
)


def tuned(*films: str, models: tuple[str, ...] = ("sharp", "blurry")) -> Results:
    """Three films, on the first of which `sharp` is far behind, by models tuned on some of them."""
    results = results_of(TWO, {"pca": [(0.4, 20.0)]}, films=FILMS)
    for one in results.records:
        one.tuned_on = ["elsewhere", *films] if one.model in models else []
        if one.model == "sharp" and one.evaluated_on == "alpha":
            one.scores["lpips"]["held_out"] = summary_of(0.9)
    return results


def lpips_across(results: Results) -> str:
    table = across_films_table(results)
    [row] = [row for row in table.rows if row.name == "sharp"]
    return row.cells[table.columns.index(("LPIPS (AlexNet)", "held out ↓")) - 1].text


def test_a_film_that_every_model_was_tuned_on_is_in_no_mean() -> None:
    results = tuned("alpha")
    assert lpips_across(tuned()) == "0.367"
    assert lpips_across(results) == "0.100"
    said = who_is_ahead(results)
    assert said[-1] == ALPHA
    assert said[0].startswith("On held-out frames (mean over 2 films) sharp has the lowest")
    assert "leads on 2 of 2 films" in said[0]
    assert "blurry leads on 1 of 3 films" in who_is_ahead(tuned())[0]
    assert over_films(results) == "mean over 2 films"
    assert means_in_words(results).startswith("Means over the 2 films that are not tuning films")
    beside = reference_table(results)
    assert beside is not None
    assert [row.cells[2].text for row in beside.rows] == ["2 of 2"]


def test_a_film_that_one_model_was_not_tuned_on_counts() -> None:
    results = tuned("alpha", models=("sharp",))
    assert counted(results) is not results
    assert counted(results).films == results.films
    assert tuning_sentences(results) == [
        "alpha is a tuning film (by name) of sharp, whose defaults were chosen on it, held-out "
        "frames included."
    ]
    assert lpips_across(results) == "0.367"
    assert "the defaults of sharp were chosen on it" in tuning_notes(results)[0]
    # A run that failed says nothing of its model's films.
    for one in results.records:
        if one.model == "blurry":
            one.status, one.tuned_on = "failed", None
    assert tuning_sentences(results) == [ALPHA]


def test_seeds_are_given_by_film_where_they_differ() -> None:
    results = tuned("alpha")
    assert seeds_in_words(results) == "seed 0"
    for one in [r for r in results.records if r.trained_on == "alpha"]:
        results.records += [one.model_copy(update={"seed": seed}) for seed in (1, 2)]
    assert seeds_in_words(results) == "seed 0 (beta and gamma), seeds 0, 1 and 2 (alpha)"
    (few,) = [line for line in who_is_ahead(results) if "trained with" in line]
    assert few.startswith("Every model was trained with 1 seed on beta and gamma. It takes ")


def test_one_film_that_counts_is_named() -> None:
    results = tuned("alpha", "gamma")
    assert over_films(results) == "on beta"
    assert who_is_ahead(results)[0].startswith("On held-out frames of beta sharp")
    assert means_in_words(results) == "Scores on beta alone: all other films are tuning films."
    assert tuning_sentences(results) == [
        "alpha and gamma are tuning films (by name): the defaults of every model were chosen on "
        "them, held-out frames included. They are left out of means and counts over films."
    ]


def test_where_all_are_tuning_films_means_are_over_all() -> None:
    results = tuned(*FILMS)
    assert lpips_across(results) == "0.367"
    assert who_is_ahead(results)[-1] == (
        "All 3 films are tuning films (by name): the defaults of every model were chosen on them, "
        "held-out frames included. So means are over all of them."
    )
    only = results_of(TWO, films=("alpha",))
    for one in only.records:
        one.tuned_on = ["alpha"]
    assert tuning_sentences(only) == [
        "alpha is a tuning film (by name): the defaults of every model were chosen on it, held-out "
        "frames included."
    ]


def test_a_number_of_a_tuning_film_alone_ranks_nothing() -> None:
    results = tuned("alpha")
    for one in results.records:
        if one.evaluated_on != "alpha":
            one.scores = {name: {"seen": parts["seen"]} for name, parts in one.scores.items()}
    assert who_is_ahead(results)[0].startswith("On seen frames (mean over 2 films) sharp")


def test_the_matrix_shows_tuning_films_and_leaves_them_out_of_its_means() -> None:
    results = tuned("alpha")
    for own in FILMS:
        for other in FILMS:
            for name in TWO if own != other else ():
                one = foreign("sharp", own, other)
                score = 0.9 if "alpha" in (own, other) else 0.5
                one.model, one.scores = name, {"lpips": {"other": summary_of(score)}}
                results.records.append(one)
    table = cross_film_table(results)
    assert table is not None
    assert ("evaluated on", "alpha (tuning film)") in table.columns
    first, *_, last = cross_film_findings(results)
    assert "0.500 on films not trained on" in first
    assert last == "alpha is in the matrix but, as a tuning film, not in the means."


def test_a_machine_that_made_a_tuning_film_alone_keeps_its_letter() -> None:
    results = tuned("alpha")
    for one in results.records:
        if one.evaluated_on != "alpha":
            one.environment = ENVIRONMENT.model_copy(update={"device_name": "Other CPU"})
    assert machines(counted(results)) == machines(results)
    assert {row.machine for row in result_rows(counted(results))} == {"B"}


@pytest.mark.slow
def test_the_report_and_its_csv_mark_tuning_films(tmp_path: Path) -> None:
    results = tuned("alpha")
    for film in results.films:
        film.series = film.barcode = None
    text = write_report(results, tmp_path).read_text(encoding="utf-8")
    assert "\n## alpha (tuning film)\n" in text
    assert "\n## beta\n" in text
    assert "| alpha (tuning film) | Alpha |" in text
    assert text.count(ALPHA) == 1
    assert "Alpha (tuning film)" in (tmp_path / "report.html").read_text(encoding="utf-8")
    with (tmp_path / "results.csv").open(encoding="utf-8", newline="") as file:
        rows = {(row["evaluated_on"], row["tuning_film"]) for row in csv.DictReader(file)}
    assert rows == {("alpha", "True"), ("beta", "False"), ("gamma", "False")}
