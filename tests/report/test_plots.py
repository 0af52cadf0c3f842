"""Plots and strips: what they show, and what is said where they cannot."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from zoo.base.atomic_files import write_json
from zoo.base.errors import BadInput
from zoo.base.records import Results, Series
from zoo.base.untrusted_files import read_json
from zoo.report import rate_distortion, score_plots
from zoo.report.figure import spread_positions
from zoo.report.frame_strip import _lines
from zoo.report.results_folder import FilmSeries
from zoo.report.score_plots import plot_timeline, short_code, thinned
from zoo.report.write import write_report


def test_a_timeline_is_plotted_from_the_series(results: Results, folder: Path) -> None:
    alpha = results.films[0]
    found = plot_timeline(
        results, alpha, FilmSeries.read(alpha, folder), folder, folder / "time.png"
    )
    assert found is not None
    assert found.problem == ""
    assert found.text.startswith("LPIPS (AlexNet) over time in alpha, below the film's barcode")
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


SECONDS = {
    "from an hour on": [3600 + frame / 25 for frame in range(100)],
    "with a still": [frame / 25 + (118 if frame >= 50 else 0) for frame in range(100)],
}


@pytest.mark.parametrize("case", SECONDS)
def test_a_timeline_has_the_time_codes_of_the_source(
    results: Results, folder: Path, monkeypatch: pytest.MonkeyPatch, case: str
) -> None:
    seconds = SECONDS[case]
    alpha = results.films[0]
    assert alpha.series
    written = read_json(folder / alpha.series, Series)
    write_json(folder / alpha.series, written.model_copy(update={"seconds": seconds}))
    saved: list[Any] = []
    monkeypatch.setattr(score_plots, "save_figure", lambda figure, *_, **__: saved.append(figure))
    plot_timeline(results, alpha, FilmSeries.read(alpha, folder), folder, folder / "time.png")
    barcode, place = saved[0].axes
    end = seconds[-1] + 0.04
    assert place.get_xlim() == pytest.approx((seconds[0], end))
    assert barcode.images[0].get_extent() == pytest.approx((seconds[0], end, 0, 1))
    shots, model, *_ = place.lines
    assert list(model.get_xdata()) == pytest.approx(seconds)
    assert list(shots.get_xdata()) == pytest.approx([seconds[n] for n in (20, 40, 60, 80)])
    (shaded,) = place.patches
    assert shaded.get_x() == pytest.approx(seconds[80])
    assert shaded.get_x() + shaded.get_width() == pytest.approx(end)


def test_the_reason_for_an_unreadable_series_is_stated(results: Results, folder: Path) -> None:
    alpha, beta = results.films
    assert alpha.series
    assert beta.series
    (folder / alpha.series).write_text("{}")
    (folder / beta.series).unlink()
    for film, reason in ((alpha, "is not a Series of this version"), (beta, "No such file")):
        found = plot_timeline(
            results, film, FilmSeries.read(film, folder), folder, folder / "time.png"
        )
        assert found is not None
        assert found.problem.startswith(f"No timeline: {film.series}")
        assert reason in found.problem
    assert not (folder / "time.png").exists()
    alpha.series = "../../secret.json"
    with pytest.raises(BadInput, match="outside the results folder"):
        write_report(results, folder)


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


def test_labels_beside_a_panel_are_spread_but_stay_near() -> None:
    wanted = np.array([100.0, 10.0, 101.0, 102.0, 300.0])
    places = spread_positions(wanted, 20.0, 0.0, 310.0)
    assert places.tolist() == pytest.approx([81.0, 10.0, 101.0, 121.0, 300.0])
    crowded = spread_positions(np.full(4, 100.0), 20.0, 0.0, 100.0)
    assert crowded.tolist() == pytest.approx([40.0, 60.0, 80.0, 100.0])


def test_arrows_and_brackets_in_plots_are_those_of_the_tables(
    results: Results, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for one in results.records:
        if one.model == "linear":
            one.kind = "codec"
    drawn: list[Figure] = []
    for module in (rate_distortion, score_plots):
        monkeypatch.setattr(module, "save_figure", lambda figure, path: drawn.append(figure))
    alpha = results.films[0]
    assert rate_distortion.plot_rate_distortion(results, alpha, folder / "rate.png")
    said = score_plots.plot_scores(results, alpha, folder / "scores.png")
    assert said and said.endswith("In brackets: a codec, which coded the held-out frames too.")
    said = score_plots.plot_trade_off(results, folder / "trade.png")
    assert said and said.endswith("In brackets: a codec, which coded the held-out frames too.")
    rates, scores, trade = drawn
    # Quality is the upright axis there: better is up or down, and never to the side.
    titles = [place.get_title(loc="left") for place in rates.axes]
    assert titles == ["↓ better LPIPS (AlexNet)", "better ↑ PSNR dB"]
    signs = [words.get_text() for place in scores.axes for words in place.texts]
    assert signs == ["(", ")"] * 2, "around the codec's dot in each of two panels"
    names = [words.get_text() for words in trade.axes[0].texts]
    assert "(linear)" in names and "sharp" in names and "still" in names


def test_a_strip_has_a_codec_in_brackets(results: Results, tmp_path: Path) -> None:
    for one in results.records:
        if one.model == "linear":
            one.kind = "codec"
    lines, _ = _lines(results, results.films[0], tmp_path)
    details = {line.label: line.details for line in lines}
    assert details["linear"] == ("LPIPS, held out", "(0.300) at 14.2 B/frame")
    assert details["sharp"] == ("LPIPS, held out", "0.100 at 14.2 B/frame")
