"""Tables and sections of the report on known numbers: failures, takedowns, costs, other films."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.report.synthetic_results import (
    HOSTILE_MODEL,
    SCORES,
    foreign,
    rate,
    record,
    summary,
)
from zoo.base import numbers
from zoo.base.records import LatentInfo, Record, Results
from zoo.base.untrusted_files import read_json
from zoo.report.aggregate import (
    at_main_latent_size,
    counted,
    machines,
    main_latent_size,
    result_rows,
)
from zoo.report.costs import cost_table
from zoo.report.cross_film_matrix import cross_film_findings, cross_film_table, matrices, overlaps
from zoo.report.failure_slices import (
    failure_findings,
    failure_notes,
    failure_table,
    held_out_failure_table,
)
from zoo.report.findings import who_is_ahead
from zoo.report.protocol import environments_table
from zoo.report.rate_distortion import bjontegaard_table
from zoo.report.score_tables import (
    film_table,
    interval_note,
    interval_table,
    takedown_explanation,
    takedown_table,
)
from zoo.report.table import Table
from zoo.report.write import write_report


def cells(table: Table | str | None, name: str) -> dict[tuple[str, ...], str]:
    assert isinstance(table, Table)
    [row] = [row for row in table.rows if row.name == name]
    return {heading: cell.text for heading, cell in zip(table.columns[1:], row.cells, strict=True)}


def test_models_that_fail_are_named(results: Results) -> None:
    assert failure_findings(results, results.films[0]) == [
        "All 3 models do worse on the darkest fifth of frames than on the brightest fifth: "
        "more than 1.25 times the LPIPS (up to 2.0 times for sharp).",
        "1 of 3 models collapses still shots towards a single picture, with less than 50% of the "
        "source's spread left: blurry (25%).",
        "The reconstruction of a frame depends on the other frames in its batch for blurry (30%): "
        "in brackets, the share of samples that change by more than one level.",
        "1 of 3 models fails on a black frame, with a PSNR under 20 dB: blurry (rgb 60 30 60).",
        "No model fails on a grey frame: PSNR is 20 dB or more.",
    ]


def test_the_absence_of_failures_is_stated(results: Results) -> None:
    results.records = [one for one in results.records if one.model != "blurry"]
    for one in results.records:
        if one.failure_analysis:
            one.failure_analysis.slices = {}
    assert failure_findings(results, results.films[0]) == [
        "Still shots do not collapse: every model keeps at least 50% of the source's spread.",
        "No reconstruction depends on the other frames in its batch.",
        "No model fails on a black or a grey frame: PSNR is 20 dB or more.",
    ]


def test_the_failure_table_has_slices_colours_and_shares(results: Results) -> None:
    results.records += [record("blurry", "alpha", seed=seed) for seed in (1, 2)]
    assert cells(failure_table(results, results.films[0]), "blurry") == {
        ("bytes per frame:", "quantised / coded"): "16 / 14.2",
        ("darkest /", "brightest ↓"): "0.501 ± 0 /\n0.250 ± 0",
        ("black frame", "PSNR, RGB"): "12.3 ± 0 dB\n60 30 60",
        ("grey frame", "PSNR, RGB"): "34.6 ± 0 dB\n126 127 126",
        ("spread left in", "still shots"): "25%\n± 0%",
        ("changed by", "batch"): "30%\n± 0%",
    }
    [note] = failure_notes(results, results.films[0])
    assert "the darkest fifth reaches up to 19.0 and the brightest fifth starts at 80.0" in note


def test_a_part_without_frames_in_the_darkest_fifth_has_no_number_there(results: Results) -> None:
    row = cells(held_out_failure_table(results, results.films[0]), "sharp")
    assert row["darkest /", "brightest ↓"] == "– /\n0.100"


def test_the_takedown_table_and_its_explanation(results: Results) -> None:
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
    assert "31 of 256 bits" in takedown_explanation(results, alpha)
    assert "90 frames of this film" in takedown_explanation(results, alpha)

    for seed, matched in ((1, 0.654), (2, 0.754)):
        again = record("sharp", "alpha", seed=seed)
        assert again.takedown is not None
        again.takedown.matched, again.takedown.film_matches = matched, seed == 2
        results.records.append(again)
    sharp = cells(takedown_table(results, alpha), "sharp")
    assert sharp["frames", "matched"] == "75%\n± 10%"
    assert sharp["the film", "matches"] == "for 2 of 3 seeds"
    assert cells(film_table(results, alpha), "sharp")["frames", "matched"] == "75%\n± 10%"


def test_costs_are_one_table_with_reasons_for_missing_figures(results: Results) -> None:
    table = cost_table(results)
    assert table is not None
    row = cells(table, "sharp")
    assert row["train", "frames/s"] == "312"
    assert row["encode frames/s", "in batch / alone"] == "1,230 /\n457"
    assert row["memory to train", "/ round trip"] == "123 MB /\n123 MB"
    assert row["multiply-adds to", "encode / decode"] == "12.3 M /\n23.5 M"
    assert row["of peak in training", "/ round trip"] == "12% /\n5.7%"
    assert cells(table, "linear (reference)")["train", "frames/s"] == "–"
    assert table.notes == ("The round trip energy is n/a for every row: no meter | here",)
    for one in results.records:
        one.cost = None
    assert cost_table(results) is None


def test_energy_and_compiling_have_columns_if_measured(results: Results) -> None:
    for one in results.records:
        if one.cost:
            one.cost.train_joules = 0.01234
            one.environment = one.environment.model_copy(update={"compile": "max-autotune"})
    row = cells(cost_table(results), "sharp")
    assert row["mJ per frame to train", "/ round trip"] == "12.3 /\nn/a"
    assert row["training", "compiled"] == "max-autotune"


def test_other_films_are_a_matrix_with_its_diagonal_held_out(results: Results) -> None:
    table = cross_film_table(results)
    assert cells(table, "sharp, trained on alpha") == {
        ("bytes per frame:", "quantised / coded"): "16 / 14.2",
        ("evaluated on", "alpha"): "0.100\n(held out)",
        ("evaluated on", "beta"): "0.400",
    }
    name = f"{' '.join(HOSTILE_MODEL.split())}, trained on beta"
    assert set(cells(table, name).values()) == {"–", "failed"}
    # (0.4004 + 0.5504) / 2 of the models that are whole, and (0.1054 + 0.2554) / 2.
    assert cross_film_findings(results) == [
        "Averaged over 2 models, LPIPS (AlexNet) is 0.180 on held-out frames of the film trained "
        "on and 0.475 on films not trained on, 2.6 times as much.",
        "On films not trained on, sharp is the best of the models with 0.400, followed by blurry "
        "with 0.550 (fewer than 3 seeds).",
    ]


def test_the_best_on_other_films_by_chance_is_no_win(results: Results) -> None:
    for seed, off in ((1, 0.2), (2, -0.2)):
        for model in ("sharp", "blurry"):
            for own, seen in (("alpha", "beta"), ("beta", "alpha")):
                one = foreign(model, own, seen, seed)
                one.scores["lpips"]["other"] = summary(SCORES[model][0] + 0.3 + off)
                results.records += [one, record(model, own, seed=seed)]
    [_, said] = cross_film_findings(results)
    assert said.startswith("On films not trained on, no model is ahead: sharp (0.400 ± 0.200) and")


def test_overlapping_films_are_stated_and_left_out_of_the_means(results: Results) -> None:
    alpha, beta = results.films
    alpha.overlaps = {"beta": 0.4}
    said = "alpha and beta overlap: 40% of the frames of alpha match a frame of beta."
    assert [overlap.sentence for overlap in overlaps(results)] == [said]
    assert said in who_is_ahead(results)
    assert cross_film_findings(results) == [
        said,
        "All of these films overlap, so there is no mean over films not trained on.",
    ]
    gamma = beta.model_copy(update={"name": "gamma", "overlaps": {"alpha": 0.0, "beta": 0.01}})
    results.films.append(gamma)
    for model in SCORES:
        results.records += [record(model, "gamma")]
        results.records += [foreign(model, "gamma", film) for film in ("alpha", "beta")]
        results.records += [foreign(model, film, "gamma") for film in ("alpha", "beta")]
    for one in results.records:
        # What was seen in part looks easy, and must not count.
        if {one.trained_on, one.evaluated_on} == {"alpha", "beta"} and "lpips" in one.scores:
            one.scores["lpips"]["other"] = summary(0.001)
    found = cross_film_findings(results)
    assert "0.475 on films not trained on" in found[0]
    assert found[-2:] == [said, "This pair is in the matrix but not in the means."]


def test_old_records_show_overlaps_by_their_reconstructions(results: Results) -> None:
    for film in results.films:
        film.overlaps = None
    [overlap] = overlaps(results)
    assert overlap.sentence == (
        "alpha and beta overlap: 5% of the frames of alpha as linear reconstructs them match a "
        "frame of beta."
    )


def test_without_held_out_frames_the_diagonal_has_seen_ones(results: Results) -> None:
    for one in results.records:
        for parts in one.scores.values():
            parts.pop("held_out", None)
    first = matrices(results)[0]
    assert {cell.part for (own, seen), cell in first.cells.items() if own == seen} == {"seen"}


def test_one_film_has_no_matrix(results: Results) -> None:
    results.films = results.films[:1]
    results.records = [
        one for one in results.records if one.evaluated_on == one.trained_on == "alpha"
    ]
    assert matrices(results) == []
    assert cross_film_table(results) is None
    assert cross_film_findings(results) == []


def coded(size: int, psnr: float) -> Record:
    one = record("linear", "alpha")
    one.kind, one.options, one.rate = "codec", {"bytes_per_frame": size}, []
    one.latent = LatentInfo(numbers=None, bits=None, coded_bytes=size, decoder_bytes=None)
    one.scores["psnr"]["seen"] = summary(psnr)
    one.scores["lpips"]["seen"] = summary(1 - psnr / 40)
    return one


def test_bjontegaard_differences_need_a_curve_of_the_codec(results: Results) -> None:
    alpha = results.films[0]
    assert bjontegaard_table(results, alpha) is None, "there is no codec"
    models = [one for one in results.records if one.model != "linear"]
    results.records = [*models, coded(16, 20)]
    said = bjontegaard_table(results, alpha)
    assert isinstance(said, str)
    assert "4 or more sizes with --latents" in said
    # A codec that takes twice the bytes of `sharp` wherever it has its quality.
    curve = [
        coded(round(2 * point.coded_bytes), point.scores["psnr"]["seen"] or 0.0)
        for point in rate(SCORES["sharp"][1], 0.1)
    ]
    results.records = [*models, *curve]
    row = cells(bjontegaard_table(results, alpha), "sharp")
    quality, share = row["linear:", "Δ PSNR dB /", "Δ bytes"].split(" /\n")
    assert quality.startswith("+")
    assert share in ("−49%", "−50%", "−51%")


def test_interval_bounds_are_means_over_seeds(results: Results) -> None:
    results.records.append(record("sharp", "alpha", worse=2.0, seed=1))
    assert interval_note(results, results.films[0]) is None
    row = cells(interval_table(results, results.films[0]), "sharp")
    assert row["PSNR dB", "held out"] == "22.46\n22.44 to 22.49"
    for one in results.records:
        for parts in one.scores.values():
            for each in parts.values():
                each.shots = None
    assert interval_table(results, results.films[0]) is None
    said = interval_note(results, results.films[0])
    assert said is not None and said.startswith(
        "No 95% intervals: these records hold intervals from resampling"
    )
    for one in results.records:
        for parts in one.scores.values():
            for part, each in parts.items():
                each.shots, each.interval = (2, None) if part == "held_out" else (9, each.interval)
    table = interval_table(results, results.films[0])
    assert table is not None and {heading[-1] for heading in table.columns[2:]} == {"seen"}
    assert interval_note(results, results.films[0]) == (
        "No 95% intervals where there are fewer than 8 shots: the held-out frames lie in 2 shots."
    )


def test_a_sweep_is_compared_at_one_size_and_shown_at_all_sizes(
    results: Results, folder: Path
) -> None:
    for one in list(results.records):
        for size, better in ((8, 0.0), (32, 0.01)):
            other = one.model_copy(deep=True)
            other.options, other.pictures = {"width": 16, "latent": size}, []
            if "held_out" in other.scores.get("lpips", {}):
                held_out = other.scores["lpips"]["held_out"]
                held_out.mean = (held_out.mean or 0) - better
            results.records.append(other)
        one.options = {"width": 16, "latent": 16}
    assert main_latent_size(results) == 16
    assert {one.options["latent"] for one in at_main_latent_size(results).records} == {16}
    assert "sharp (latent=32) has the lowest LPIPS" in " ".join(who_is_ahead(results))
    text = write_report(results, folder).read_text()
    assert "Latents of 8, 16 and 32 numbers were compared" in text
    assert "sharp has the lowest LPIPS (AlexNet), 0.105 at 14.2 bytes per frame" in text
    assert "<summary>All latent sizes on alpha</summary>" in text
    assert "| sharp (latent=32) |" in text
    assert "| sharp |" in text


def test_at_one_size_machines_keep_the_letters_that_they_have_at_all_sizes(
    results: Results,
) -> None:
    def on(machine: str, latent: int) -> Record:
        one = record("sharp", "alpha")
        where = one.environment.model_copy(update={"device_name": machine})
        return one.model_copy(update={"environment": where, "options": {"latent": latent}})

    results.records = [on("first", 50), on("second", 100), on("third", 100)]
    main = at_main_latent_size(results)
    assert machines(main) == machines(results)
    assert [row.name for row in result_rows(main, "alpha")] == ["sharp on B", "sharp on C"]
    assert "| C | third (cpu) |" in environments_table(results)
    assert machines(counted(main)) == machines(results)


def test_without_series_rates_or_failure_analysis_their_sections_are_left_out(
    results: Results, folder: Path
) -> None:
    for film in results.films:
        film.series = film.barcode = None
    for one in results.records:
        one.rate, one.pictures = [], []
        one.failure_analysis = one.takedown = one.cost = one.latent = None
    text = write_report(results, folder).read_text()
    headings = [line.lstrip("# ") for line in text.splitlines() if line.startswith("#")]
    assert "What it costs" not in headings
    assert not {
        "Quality over time",
        "Where it fails",
        "Would content matching recognise it?",
    } & set(headings)
    assert "Rate and distortion" not in headings
    assert "frames<br>matched" not in text


def test_a_report_of_nothing_but_failures_is_written(results: Results, folder: Path) -> None:
    for one in results.records:
        one.status, one.reason = "failed", "no luck"
        one.scores, one.pictures, one.rate = {}, [], []
        one.failure_analysis = one.takedown = one.cost = one.latent = None
    text = write_report(results, folder).read_text()
    assert "No metric could be measured, so nothing can be ranked." in text
    assert "trained on alpha, evaluated on beta, seed 0: no luck" in text
    assert "![" not in text
    assert read_json(folder / "results.json", Results) == results


@pytest.mark.parametrize(
    ("share", "shown"),
    [(0.0, "0%"), (0.001, "<1%"), (0.854, "85%"), (0.9999, ">99%"), (1.0, "100%"), (None, "n/a")],
)
def test_shares(share: float | None, shown: str) -> None:
    assert numbers.percent(share) == shown
