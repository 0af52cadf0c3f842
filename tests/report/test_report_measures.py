"""What the report says of weak points, takedowns, costs, other films, rates: known numbers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.report.synthetic_results import (
    HOSTILE_MODEL,
    SCORES,
    foreign,
    rate,
    record,
    summary,
)
from zoo.errors import BadInput
from zoo.records import LatentInfo, Record, Results, read_json
from zoo.report import numbers
from zoo.report.costs import cost_table
from zoo.report.crossing import crossing_findings, crossing_table, matrices
from zoo.report.differences import difference_table
from zoo.report.end_labels import apart
from zoo.report.failings import failings
from zoo.report.sizes import at_main_size, main_size
from zoo.report.table import Table
from zoo.report.tables import film_table, interval_table
from zoo.report.takedown import takedown_rule, takedown_table
from zoo.report.timeline import draw_timeline, short_code, thinned
from zoo.report.weaknesses import held_out_table, weakness_notes, weakness_table
from zoo.report.winners import winners
from zoo.report.write import write_report


def cells(table: Table | str | None, name: str) -> dict[tuple[str, ...], str]:
    assert isinstance(table, Table)
    [row] = [row for row in table.rows if row.name == name]
    return {heading: cell.text for heading, cell in zip(table.columns[1:], row.cells, strict=True)}


def test_a_model_that_fails_is_named_by_rule_and_the_others_are_not(results: Results) -> None:
    assert failings(results, results.films[0]) == [
        "1 of 3 models fails on a black frame, PSNR under 20 dB: blurry (rgb 60 30 60).",
        "No model fails on a grey frame: PSNR is 20 dB or more.",
        "LPIPS in the darkest fifth is more than 1.25 times that in the brightest for 3 of 3 "
        "models, most for sharp (2.0 times).",
        "Still shots have collapsed towards one picture, less than 50% of the source's spread "
        "being left, for 1 of 3 models: blurry (25%).",
        "A frame's company in a batch changes more than 1% of its samples by over a level for "
        "blurry (30%).",
    ]


def test_where_nothing_fails_that_is_said(results: Results) -> None:
    results.records = [one for one in results.records if one.model != "blurry"]
    for one in results.records:
        if one.weaknesses:
            one.weaknesses.slices = {}
    assert failings(results, results.films[0]) == [
        "No model fails on a black or a grey frame: PSNR is 20 dB or more.",
        "Still shots have not collapsed: every model keeps 50% or more of their spread.",
        "No model draws a frame otherwise for its company in a batch.",
    ]


def test_the_table_of_weak_points_has_both_ends_colours_and_shares(results: Results) -> None:
    results.records.append(record("blurry", "alpha", seed=1))
    assert cells(weakness_table(results, results.films[0]), "blurry") == {
        ("darkest /", "brightest ↓"): "0.501 ± 0.000 /\n0.250 ± 0.000",
        ("black frame", "PSNR, RGB"): "12.3 ± 0.0 dB\n60 30 60",
        ("grey frame", "PSNR, RGB"): "34.6 ± 0.0 dB\n126 127 126",
        ("spread left in", "still shots"): "25%\n± 0%",
        ("changed by", "company"): "30%\n± 0%",
    }
    [note] = weakness_notes(results, results.films[0])
    assert "the darkest fifth up to 19.0, the brightest from 80.0 (mean luma)" in note


def test_a_part_without_frames_in_the_darkest_fifth_has_no_number_there(results: Results) -> None:
    row = cells(held_out_table(results, results.films[0]), "sharp")
    assert row["darkest /", "brightest ↓"] == "– /\n0.100"


def test_the_takedown_table_and_its_rule(results: Results) -> None:
    alpha = results.films[0]
    table = takedown_table(results, alpha)
    sharp, blurry = cells(table, "sharp"), cells(table, "blurry")
    assert sharp["frames", "matched"] == "85%"
    assert sharp["in their", "place"] == "43%"
    assert sharp["the film", "matches"] == "yes"
    assert sharp[("precision",)] == "99%"
    assert sharp["frames that match", "another film"] == "beta 4%"
    # Nothing matched, so there is nothing that could be right or wrong.
    assert (blurry["the film", "matches"], blurry[("precision",)]) == ("no", "–")
    assert "31 of 256 bits" in takedown_rule(results, alpha)
    assert "90 frames of this film" in takedown_rule(results, alpha)

    again = record("sharp", "alpha", seed=1)
    assert again.takedown is not None
    again.takedown.matched, again.takedown.film_matches = 0.654, False
    results.records.append(again)
    sharp = cells(takedown_table(results, alpha), "sharp")
    assert sharp["frames", "matched"] == "75%\n± 14%"
    assert sharp["the film", "matches"] == "1 of 2 seeds"
    assert cells(film_table(results, alpha), "sharp")["frames", "matched"] == "75%\n± 14%"


def test_costs_stand_in_one_table_with_what_could_not_be_had(results: Results) -> None:
    table = cost_table(results)
    assert table is not None
    row = cells(table, "sharp")
    assert row["train", "frames/s"] == "312"
    assert row["encode", "in batch / alone"] == "1,230 /\n457"
    assert row["memory to train", "/ round trip"] == "123 MB /\n123 MB"
    assert row["multiply-adds to", "encode / decode"] == "12.3 M /\n23.5 M"
    assert row["of peak in training", "/ round trip"] == "12% /\n5.7%"
    assert cells(table, "linear (reference)")["train", "frames/s"] == "–"
    assert table.notes == ("n/a for every row (round trip energy): no meter | here",)
    for one in results.records:
        one.cost = None
    assert cost_table(results) is None


def test_energy_and_compiling_have_columns_where_there_are_any(results: Results) -> None:
    for one in results.records:
        if one.cost:
            one.cost.train_joules = 0.01234
            one.environment = one.environment.model_copy(update={"compile": "max-autotune"})
    row = cells(cost_table(results), "sharp")
    assert row["mJ a frame to train", "/ round trip"] == "12.3 /\nn/a"
    assert row["training", "compiled"] == "max-autotune"


def test_other_films_are_a_matrix_with_its_diagonal_held_out(results: Results) -> None:
    table = crossing_table(results)
    assert cells(table, "sharp, trained on alpha") == {
        ("watching", "alpha"): "0.100\n(held out)",
        ("watching", "beta"): "0.400",
    }
    name = f"{' '.join(HOSTILE_MODEL.split())}, trained on beta"
    assert set(cells(table, name).values()) == {"failed"}
    # (0.4004 + 0.5504) / 2 of the models that are whole, and (0.1054 + 0.2554) / 2.
    assert crossing_findings(results) == [
        "Over all 2 models, LPIPS (AlexNet) is 0.475 on films that were not trained on and 0.180 "
        "on held-out frames of the film that was, 2.6 times as much.",
        "sharp carries over best, with 0.400 on other films, before blurry with 0.550.",
    ]


def test_carrying_over_best_by_chance_is_no_win(results: Results) -> None:
    for seed, off in ((1, 0.2), (2, -0.2)):
        for model in ("sharp", "blurry"):
            for own, seen in (("alpha", "beta"), ("beta", "alpha")):
                one = foreign(model, own, seen, seed)
                one.scores["lpips"]["other"] = summary(SCORES[model][0] + 0.3 + off)
                results.records += [one, record(model, own, seed=seed)]
    [_, said] = crossing_findings(results)
    assert said.startswith("None carries over best: sharp (0.400 ± 0.200) and blurry (0.550 ± ")


def test_without_held_out_frames_the_diagonal_is_of_seen_ones(results: Results) -> None:
    for one in results.records:
        for parts in one.scores.values():
            parts.pop("held_out", None)
    first = matrices(results)[0]
    assert {cell.part for (own, seen), cell in first.cells.items() if own == seen} == {"seen"}


def test_one_film_has_no_matrix(results: Results) -> None:
    results.films = results.films[:1]
    results.records = [one for one in results.records if one.watched == one.trained_on == "alpha"]
    assert matrices(results) == []
    assert crossing_table(results) is None
    assert crossing_findings(results) == []


def coded(size: int, psnr: float) -> Record:
    one = record("linear", "alpha")
    one.kind, one.options, one.rate = "codec", {"bytes_a_frame": size}, []
    one.latent = LatentInfo(numbers=None, bits=None, coded_bytes=size, decoder_bytes=None)
    one.scores["psnr"]["seen"] = summary(psnr)
    one.scores["lpips"]["seen"] = summary(1 - psnr / 40)
    return one


def test_differences_from_a_codec_need_a_curve_of_it(results: Results) -> None:
    alpha = results.films[0]
    assert difference_table(results, alpha) is None, "there is no codec"
    models = [one for one in results.records if one.model != "linear"]
    results.records = [*models, coded(16, 20)]
    said = difference_table(results, alpha)
    assert isinstance(said, str)
    assert "--latents with 4 or more sizes" in said
    # A codec that takes twice the bytes of `sharp` wherever it has its quality.
    curve = [
        coded(round(2 * point.coded_bytes), point.scores["psnr"]["seen"] or 0.0)
        for point in rate(SCORES["sharp"][1], 0.1)
    ]
    results.records = [*models, *curve]
    row = cells(difference_table(results, alpha), "sharp")
    quality, share = row["linear:", "Δ PSNR dB /", "Δ bytes"].split(" /\n")
    assert quality.startswith("+")
    assert share in ("−49%", "−50%", "−51%")


def test_intervals_are_means_of_the_seeds_ends(results: Results) -> None:
    results.records.append(record("sharp", "alpha", worse=2.0, seed=1))
    row = cells(interval_table(results, results.films[0]), "sharp")
    assert row["PSNR dB", "held out"] == "22.46\n22.44 to 22.49"
    for one in results.records:
        for parts in one.scores.values():
            for each in parts.values():
                each.interval = None
    assert interval_table(results, results.films[0]) is None


def test_a_sweep_is_compared_at_one_size_and_shown_at_all(results: Results, folder: Path) -> None:
    for one in list(results.records):
        for size, better in ((8, 0.0), (32, 0.01)):
            other = one.model_copy(deep=True)
            other.options, other.pictures = {"width": 16, "latent": size}, []
            if "held_out" in other.scores.get("lpips", {}):
                held_out = other.scores["lpips"]["held_out"]
                held_out.mean = (held_out.mean or 0) - better
            results.records.append(other)
        one.options = {"width": 16, "latent": 16}
    assert main_size(results) == 16
    assert {one.options["latent"] for one in at_main_size(results).records} == {16}
    assert "sharp (latent=32) has the lowest LPIPS" in winners(results)[0]
    text = write_report(results, folder).read_text()
    assert "Latents of 8, 16 and 32 numbers were compared" in text
    assert "sharp has the lowest LPIPS (AlexNet), 0.105 (mean over 2 films)" in text
    assert "<summary>All sizes of the latent on alpha</summary>" in text
    assert "| sharp (latent=32) |" in text
    assert "| sharp |" in text


def test_a_timeline_is_drawn_from_the_series(results: Results, folder: Path) -> None:
    alpha = results.films[0]
    found = draw_timeline(results, alpha, folder, folder / "time.png")
    assert found is not None
    assert found.problem == ""
    assert found.text.startswith("LPIPS (AlexNet) over the time of alpha, under the film's barcode")
    with Image.open(folder / "time.png") as picture:
        drawn = np.asarray(picture.convert("RGB")).astype(int)
    # The held-out fifth at the end is shaded, and nothing before it.
    columns = np.median(drawn[int(0.5 * len(drawn)) : int(0.9 * len(drawn))], axis=0)
    shaded = np.flatnonzero(columns[:, 0] - columns[:, 2] > 15)
    assert shaded.size > 100
    assert shaded.min() > 0.75 * drawn.shape[1]
    # The barcode, in parts lighter than anything else, stands above.
    above = drawn[: len(drawn) // 3]
    assert (above.min(axis=2) > 180).sum() > 2000


def test_a_series_that_cannot_be_read_leaves_its_reason(results: Results, folder: Path) -> None:
    alpha, beta = results.films
    assert alpha.series
    assert beta.series
    (folder / alpha.series).write_text("{}")
    (folder / beta.series).unlink()
    for film, reason in ((alpha, "is not a Series of this version"), (beta, "No such file")):
        found = draw_timeline(results, film, folder, folder / "time.png")
        assert found is not None
        assert found.problem.startswith(f"No timeline: {film.series}")
        assert reason in found.problem
    assert not (folder / "time.png").exists()
    alpha.series = "../../secret.json"
    with pytest.raises(BadInput, match="outside the results folder"):
        write_report(results, folder)


def test_without_series_rates_or_weaknesses_there_are_no_such_sections(
    results: Results, folder: Path
) -> None:
    for film in results.films:
        film.series = film.barcode = None
    for one in results.records:
        one.rate, one.pictures = [], []
        one.weaknesses = one.takedown = one.cost = one.latent = None
    text = write_report(results, folder).read_text()
    headings = [line.lstrip("# ") for line in text.splitlines() if line.startswith("#")]
    assert "What it costs" not in headings
    assert not {"Quality over time", "Where it fails", "Would it be known again?"} & set(headings)
    assert "Rate and distortion" not in headings
    assert "frames<br>matched" not in text


def test_a_report_of_nothing_but_failures_is_written(results: Results, folder: Path) -> None:
    for one in results.records:
        one.status, one.reason = "failed", "no luck"
        one.scores, one.pictures, one.rate = {}, [], []
        one.weaknesses = one.takedown = one.cost = one.latent = None
    text = write_report(results, folder).read_text()
    assert "No metric could be measured, so there is no winner." in text
    assert "trained on alpha, watching beta, seed 0: no luck" in text
    assert "![" not in text
    assert read_json(folder / "results.json", Results) == results


def test_long_series_are_averaged_and_gaps_stay() -> None:
    values = np.arange(10.0)
    values[0:2] = np.nan
    at, means = thinned(np.arange(10.0), values, 5)
    assert at.tolist() == [0.5, 2.5, 4.5, 6.5, 8.5]
    assert np.isnan(means[0])
    assert means[1:].tolist() == [2.5, 4.5, 6.5, 8.5]
    assert thinned(np.arange(3.0), values[:3], 5)[0].size == 3


@pytest.mark.parametrize(
    ("seconds", "code"), [(7.4, "0:07"), (59.97, "1:00"), (3725, "1:02:05"), (0, "0:00")]
)
def test_short_time_codes(seconds: float, code: str) -> None:
    assert short_code(seconds) == code
    assert short_code(7.46, tenths=True) == "0:07.5"


def test_names_beside_a_panel_keep_apart_and_near() -> None:
    wanted = np.array([100.0, 10.0, 101.0, 102.0, 300.0])
    places = apart(wanted, 20.0, 0.0, 310.0)
    assert places.tolist() == pytest.approx([81.0, 10.0, 101.0, 121.0, 300.0])
    crowded = apart(np.full(4, 100.0), 20.0, 0.0, 100.0)
    assert crowded.tolist() == pytest.approx([40.0, 60.0, 80.0, 100.0])


@pytest.mark.parametrize(
    ("share", "shown"),
    [(0.0, "0%"), (0.001, "<1%"), (0.854, "85%"), (0.9999, ">99%"), (1.0, "100%"), (None, "n/a")],
)
def test_shares(share: float | None, shown: str) -> None:
    assert numbers.percent(share) == shown
