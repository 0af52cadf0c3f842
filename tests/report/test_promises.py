"""What a report says once, of each film or of all: who draws the notice, and what headers leave."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.report.sentence_results import results_of
from tests.report.synthetic_results import takedown
from zoo.base.records import DecoderPoint, Results
from zoo.report import rate_distortion
from zoo.report.protocol import budget_in_words, codecs_at_their_least
from zoo.report.rate_distortion import plot_rate_distortion
from zoo.report.score_tables import across_films_table, takedown_notice
from zoo.report.worth_of_training import _sentence


def found(shares: Mapping[str, float], references: Mapping[str, float]) -> Results:
    """One film, with these shares of its frames found in each reconstruction."""
    shown = {name: [(0.1, 20.0)] for name in shares}
    results = results_of(shown, {name: [(0.1, 20.0)] for name in references}, films=("alpha",))
    for one in results.records:
        share = {**shares, **references}[one.model]
        matches = {"found": share, "film_matches": share >= 0.8}
        one.takedown = takedown("sharp", "alpha").model_copy(update=matches)
    return results


RULE = "would have drawn a takedown notice (at least 80% of the film's frames found)"


@pytest.mark.parametrize(
    ("models", "references", "said"),
    [
        ({"a": 0.9, "b": 0.8}, {}, f"On alpha a and b {RULE}."),
        (
            {"a": 0.9, "b": 0.55},
            {"pca": 0.5, "x": 0.97},
            f"On alpha a {RULE}; b (55% found) would not; of the references x would have.",
        ),
        (
            {"a": 0.4, "b": 0.7},
            {"pca": 0.5},
            f"On alpha no model {RULE}: b comes nearest (70% found); of the references none would "
            "have either.",
        ),
    ],
)
def test_a_sentence_says_which_models_would_have_drawn_the_notice(
    models: dict[str, float], references: dict[str, float], said: str
) -> None:
    results = found(models, references)
    assert takedown_notice(results, results.films[0]) == said


def test_seeds_that_disagree_are_counted_and_films_that_were_not_matched_have_no_sentence() -> None:
    results = found({"a": 0.9}, {})
    again = results.records[0].model_copy(deep=True, update={"seed": 1})
    assert again.takedown
    again.takedown.film_matches = False
    results.records.append(again)
    assert takedown_notice(results, results.films[0]) == f"On alpha a (for 1 of 2 seeds) {RULE}."
    for one in results.records:
        one.takedown = None
    assert takedown_notice(results, results.films[0]) is None


def test_what_headers_leave_is_said_once_of_all_codecs() -> None:
    codecs = {"x264": [(0.1, 20.0)], "x265": [(0.1, 20.0)]}
    results = results_of({"a": [(0.1, 20.0)]}, codecs=codecs)
    for one in results.records:
        if one.kind == "codec" and one.latent:
            one.options = {"bytes_per_frame": 16}
            one.latent.coded_bytes = 18.8 if one.model == "x264" else 22.4
            one.note = f"{one.latent.coded_bytes} bytes per frame is the least {one.model} gives"
    assert codecs_at_their_least(results) == (
        "At 16 bytes per frame a codec has little more than headers to spend, and x264 and x265 "
        "take more than they were asked for: 18.8 to 22.4 bytes per frame."
    )
    missed = [note for note in across_films_table(results).notes if "requested" in note]
    assert missed == [
        "x264 and x265 miss the requested bytes by more than 3% on 2 of 2 films; each film's "
        "table says why."
    ]
    for one in results.records:
        one.options, one.note = {"bytes_per_frame": 200}, one.note and "195 is the most it gives"
    assert codecs_at_their_least(results) == ""


def test_one_length_against_every_codec_is_said_once() -> None:
    assert _sentence("ae", {"x264": "never", "x265": "never"}) == (
        "ae: never, against each of x264 and x265."
    )
    assert _sentence("ae", {"x264": "never", "x265": "from 9 min"}) == (
        "ae: against x264 never and against x265 from 9 min."
    )


def test_every_decoder_that_was_evaluated_is_a_triangle(
    results: Results, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also one that a smaller decoder beats."""
    drawn: list[Any] = []
    monkeypatch.setattr(rate_distortion, "save_figure", lambda figure, _: drawn.append(figure))
    [one] = [r for r in results.records if r.model == "sharp" and r.trained_on == "alpha"][:1]
    results.records = [one]
    points = {16: ({"psnr": {"seen": 30.0}, "lpips": {"seen": 0.01}}, 2_000_000)}
    points[8] = ({"psnr": {"seen": 29.0}, "lpips": {"seen": 0.02}}, 1_000_000)
    one.rounded_decoders = [
        DecoderPoint.model_validate({"weight_bits": bits, "decoder_bytes": size, "scores": scores})
        for bits, (scores, size) in points.items()
    ]
    assert plot_rate_distortion(results, results.films[0], tmp_path / "rate.png")
    for axes in drawn[0].axes:
        triangles = [line for line in axes.lines if line.get_marker() == "v"]
        assert [len(line.get_xdata()) for line in triangles] == [3]


def test_a_budget_is_in_words(results: Results) -> None:
    results.budget = "6epochs-min3000steps"
    assert budget_in_words(results) == "6 epochs, at least 3,000 steps"
    results.budget = "as long as it took"
    assert budget_in_words(results) == "as long as it took"
