"""Rate and distortion: which points make a curve, and differences with known answers."""

from __future__ import annotations

import itertools
import re
from pathlib import Path

import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from tests.report.synthetic_results import METRICS, comparison, failed, foreign, record
from tests.report.synthetic_results import film as a_film
from zoo.base.records import LatentInfo, RatePoint, Record
from zoo.report.cross_film_matrix import MOST_NUMBERS, plot_cross_film
from zoo.report.rate_distortion import (
    Curve,
    CurvePoint,
    bjontegaard_difference,
    bjontegaard_table,
    curves,
    logarithmic_bytes,
)
from zoo.report.table import Table
from zoo.report.worth_of_training import film_lengths


def curve(points: list[tuple[float, float]], codec: bool = False) -> Curve:
    return Curve("c", "model", codec, tuple(CurvePoint(b, v, None, None) for b, v in points))


def test_the_same_quality_at_half_the_bytes_is_minus_fifty_percent() -> None:
    anchor = curve([(100, 20), (200, 23), (400, 26), (800, 29)])
    test = curve([(50, 20), (100, 23), (200, 26), (400, 29)])
    found = bjontegaard_difference(anchor, test, "higher")
    assert found.rate == pytest.approx(-50, abs=0.5)
    assert found.quality == pytest.approx(3, abs=0.05)


def test_where_lower_is_better_a_lower_value_is_a_negative_difference() -> None:
    anchor = curve([(100, 0.5), (200, 0.4), (400, 0.3), (800, 0.2)])
    test = curve([(100, 0.45), (200, 0.35), (400, 0.25), (800, 0.15)])
    found = bjontegaard_difference(anchor, test, "lower")
    assert found.quality == pytest.approx(-0.05, abs=0.002)
    assert found.rate is not None and found.rate < -25


def test_curves_without_overlap_or_with_few_points_have_no_difference() -> None:
    long = curve([(100, 20), (200, 23), (400, 26), (800, 29)])
    far = curve([(1, 2), (2, 3), (4, 4), (8, 5)])
    short = curve([(100, 20), (200, 23), (400, 26)])
    assert bjontegaard_difference(long, far, "higher").rate is None
    assert bjontegaard_difference(long, far, "higher").quality is None
    assert bjontegaard_difference(long, short, "higher").quality is None


def test_a_front_leaves_out_points_that_another_beats() -> None:
    mixed = curve([(10, 20.0), (20, 19.0), (30, 22.0), (40, 21.0)])
    assert [point.bytes_per_frame for point in mixed.front("higher")] == [10, 30]
    assert [point.bytes_per_frame for point in mixed.front("lower")] == [10, 20]


def test_latents_and_bit_depths_of_a_model_are_one_curve_and_so_are_a_codecs_rates() -> None:
    def at(latent: int) -> Record:
        one = record("sharp", "orchard")
        one.options = {"width": 16, "latent": latent}
        one.latent = LatentInfo(numbers=latent, bits=8 * latent, coded_bytes=1, decoder_bytes=1)
        one.rate = [
            RatePoint(
                bits=bits,
                coded_bytes=latent * bits / 10 + latent / 50,
                kilobits_per_second=1,
                frames={"seen": 5},
                scores={"psnr": {"seen": 20 + bits}},
            )
            for bits in (8, 4)
        ]
        return one

    def coded(size: int) -> Record:
        one = record("linear", "orchard")
        one.kind, one.options, one.rate = "codec", {"bytes_per_frame": size}, []
        one.latent = LatentInfo(numbers=None, bits=None, coded_bytes=size, decoder_bytes=None)
        return one

    results = comparison()
    results.films = [a_film("orchard", "", None)]
    results.records = [at(100), at(50), coded(60), coded(30)]
    psnr = next(metric for metric in METRICS if metric.name == "psnr")
    model, codec = curves(results, results.films[0], psnr)
    assert [(point.latent, point.bits, point.bytes_per_frame) for point in model.points] == [
        (50, 4, 21),
        (50, 8, 41),
        (100, 4, 42),
        (100, 8, 82),
    ]
    assert codec.codec and [point.bytes_per_frame for point in codec.points] == [30, 60]


def test_curves_of_a_model_at_several_options_have_names_of_their_own() -> None:
    results = comparison()
    alpha = results.films[0]
    models = [record("sharp", "alpha").model_copy(update={"options": {"width": w}}) for w in (8, 9)]
    codecs = []
    for step in range(5):
        one = record("linear", "alpha", worse=-2.0 * step)
        size = LatentInfo(numbers=None, bits=None, coded_bytes=5 + 5 * step, decoder_bytes=None)
        codec = {"kind": "codec", "options": {"bytes_per_frame": step}, "rate": [], "latent": size}
        codecs.append(one.model_copy(update=codec))
    results.records = [*models, *codecs]
    names = ["sharp (width=8)", "sharp (width=9)"]
    psnr = next(metric for metric in METRICS if metric.name == "psnr")
    assert [each.name for each in curves(results, alpha, psnr)] == [*names, "linear"]
    table = bjontegaard_table(results, alpha)
    assert isinstance(table, Table) and [row.name for row in table.rows] == names
    assert [said.split(": ")[0] for said in film_lengths(results, alpha)[1:]] == names


def test_a_model_whose_first_seed_failed_has_the_curve_of_its_next() -> None:
    results = comparison()
    results.records = [
        failed("sharp", "alpha"),
        record("sharp", "alpha", worse=1.0, seed=2),
        record("sharp", "alpha", seed=1),
        record("blurry", "alpha"),
    ]
    psnr = METRICS[0]
    found = {
        one.name: max(p.value for p in one.points)
        for one in curves(results, results.films[0], psnr)
    }
    best = {
        one.model: max(p.scores["psnr"]["seen"] for p in one.rate) for one in results.records[2:]
    }
    assert found == best


@pytest.mark.parametrize("most", [60, 3_000, 50_000, 4_000_000])
def test_ticks_of_bytes_are_plain_numbers_that_do_not_touch(most: int) -> None:
    figure = Figure(figsize=(4, 3), dpi=100)
    canvas = FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    axes.plot([20, most], [1, 2])
    logarithmic_bytes(axes)
    canvas.draw()
    low, high = axes.get_xlim()
    labels = [
        label
        for place, label in zip(axes.get_xticks(), axes.get_xticklabels(), strict=True)
        if low <= place <= high
    ]
    assert len(labels) >= 2 and all(re.fullmatch(r"[\d,]+", one.get_text()) for one in labels)
    boxes = [label.get_window_extent() for label in labels]
    assert all(one.x1 + 3 < other.x0 for one, other in itertools.pairwise(boxes))


def test_many_films_are_drawn_as_colours_in_one_picture(tmp_path: Path) -> None:
    results = comparison()
    names = [f"film-{number:02}" for number in range(MOST_NUMBERS + 1)]
    results.films = [results.films[0].model_copy(update={"name": n, "overlaps": {}}) for n in names]
    results.records = [
        (
            record("sharp", "alpha") if own == other else foreign("sharp", "alpha", "beta")
        ).model_copy(update={"trained_on": own, "evaluated_on": other})
        for own in names
        for other in names
    ]
    said = plot_cross_film(results, tmp_path / "crossing.png")
    assert said is not None and "the colours show those of the table below" in said
    assert (tmp_path / "crossing.png").stat().st_size > 1000
