"""Who is how good, over seeds, films and machines."""

from __future__ import annotations

import pytest
from rich.console import Console

from tests.report.synthetic_results import ENVIRONMENT, HOSTILE_MODEL, record
from tests.report.synthetic_results import summary as summary_of
from zoo.records import LatentInfo, Results
from zoo.report import numbers
from zoo.report.findings import beside_references, latent_notes, training, winners
from zoo.report.labels import Point, name_points
from zoo.report.markdown import code_block, escape
from zoo.report.standings import ranking, score, standings
from zoo.report.tables import across_table, film_table
from zoo.report.terminal import summary
from zoo.report.text import file_names, one_line


def named(results: Results, name: str, film: str | None = None):  # type: ignore[no-untyped-def]
    [row] = [row for row in standings(results, film) if row.name == name]
    return row


def test_seeds_share_a_row_and_give_it_a_spread(results: Results) -> None:
    # Seeds one dB apart on both films: their means over films are one dB apart as well.
    results.records += [record("sharp", "alpha", worse=1.0, seed=1)]
    results.records += [record("sharp", "beta", worse=2.0, seed=1)]
    value = named(results, "sharp").value(score("psnr", "held_out"))
    assert value.mean == pytest.approx(23.456 - 1.0)
    assert value.spread == pytest.approx(0.5**0.5)
    assert value.films == 2
    row = across_table(results).rows[0]
    assert row.cells[1].text == "22.46 ± 0.71"


def test_a_spread_over_seeds_holds_no_difference_between_films(results: Results) -> None:
    results.records += [record("sharp", "alpha", worse=1.0, seed=1)]
    said = " ".join(winners(results))
    assert "It leads on 2 of 2 films." in said
    assert "blurry ran with one seed" in said
    value = named(results, "sharp").value(score("psnr", "held_out"))
    assert value.spread is None, "only one seed saw both films"
    assert value.mean == pytest.approx(((23.456 + 22.456) / 2 + 22.456) / 2)


def test_a_lead_within_the_spread_may_be_chance(results: Results) -> None:
    for film in ("alpha", "beta"):
        results.records += [record("sharp", film, worse=-20.0, seed=1)]
    said = " ".join(winners(results))
    assert "within two standard deviations over seeds" in said
    assert "Every model ran with one seed" not in said


def test_models_are_counted_beside_every_reference_of_a_film(results: Results) -> None:
    reference = next(r.model for r in results.records if r.role == "reference")
    film = results.films[0]
    for one in results.records:
        if one.watched == film.name and one.role == "model" and one.status == "ok":
            one.scores["psnr"]["seen"].mean = 99.0
            one.scores["psnr"]["held_out"].mean = 1.0
    models = [r for r in results.records if r.watched == film.name and r.role == "model"]
    good = sum(r.status == "ok" for r in models)
    [said] = [s for s in beside_references(results, film) if f"than {reference}:" in s]
    assert f"{good} of {good} by PSNR on seen frames" in said
    assert f"0 of {good} by PSNR on held out frames" in said


def test_a_codec_that_saw_every_frame_leads_nothing_held_out(results: Results) -> None:
    for one in results.records:
        if one.model == "linear":
            one.kind, one.note = (
                "codec",
                "20.0 bytes a frame is the least it gives; 16 were asked for",
            )
            one.latent = LatentInfo(numbers=None, bits=None, coded_bytes=20.0, decoder_bytes=None)
            one.parameters = None
            one.scores["lpips"] = {"seen": summary_of(0.01), "held_out": summary_of(0.02)}
    table = film_table(results, results.films[0])
    [codec] = [row for row in table.rows if row.name == "linear (codec)"]
    cells = dict(zip(table.columns[1:], codec.cells, strict=True))
    seen = cells["LPIPS (AlexNet)", "seen ↓"]
    held_out = cells["LPIPS (AlexNet)", "held out ↓"]
    assert (seen.text, seen.best) == ("0.010", True)
    assert (held_out.text, held_out.best) == ("(0.020)", False)
    [best] = [row.name for row in table.rows if row.cells[5].best]
    assert best == "sharp"
    assert cells["latent", "numbers / bytes"].text == "– / 20.0"
    assert cells["param-", "eters"].text == cells["decoder", "bytes"].text == "–"
    assert any("In brackets: linear coded every frame" in note for note in table.notes)
    assert any(note.startswith("linear: 20.0 bytes a frame is the least") for note in table.notes)
    assert any("linear is not within 3%" in note for note in across_table(results).notes)
    assert any(
        "the codec linear (20.0 bytes a frame, held-out frames coded too)" in said
        for said in beside_references(results, results.films[0])
    )


def test_a_small_lead_is_called_small(results: Results) -> None:
    for one in results.records:
        if one.model == "blurry":
            for part in ("seen", "held_out"):
                one.scores["lpips"][part].mean = 0.1059
    said = " ".join(winners(results))
    assert "before blurry with 0.106. It leads on 1 of 2 films. The lead of 0.001 is small" in said


def test_options_and_machines_never_share_a_row(results: Results) -> None:
    wide = record("sharp", "alpha")
    wide.options = {"width": 64}
    away = record("sharp", "alpha")
    away.environment = ENVIRONMENT.model_copy(update={"device": "cuda", "device_name": "GPU"})
    results.records += [wide, away]
    names = [row.name for row in standings(results, "alpha") if row.model == "sharp"]
    assert names == ["sharp (width=16) on A", "sharp (width=64) on A", "sharp (width=16) on B"]
    on_beta = record("sharp", "beta")
    on_beta.environment = away.environment
    results.records.append(on_beta)
    # The row has another name in this table than in one of beta alone; it still leads there.
    assert "sharp (width=16) on B has the lowest LPIPS" in " ".join(winners(results))
    assert "It leads on 2 of 2 films" in " ".join(winners(results))
    table = film_table(results, results.films[0])
    assert table.columns[-1] == ("on",)
    assert {row.cells[-1].text for row in table.rows} == {"A", "B"}


def test_a_model_trained_elsewhere_has_its_own_row_and_no_part_in_the_means(
    results: Results,
) -> None:
    visitor = record("sharp", "alpha")
    visitor.trained_on = "beta"
    results.records.append(visitor)
    before = named(results, "sharp").value(score("psnr", "held_out"))
    assert before.mean == pytest.approx(22.956)
    assert named(results, "sharp trained on beta", "alpha").films == {"alpha"}


def test_without_lpips_the_first_metric_gives_the_order(results: Results) -> None:
    results.metrics[2].unavailable = "no weights"
    for one in results.records:
        one.scores.pop("lpips", None)
    found = ranking(results)
    assert found is not None
    assert (found.metric.name, found.part) == ("psnr", "held_out")
    assert [row.name for row in across_table(results).rows][:2] == ["blurry", "sharp"]


def test_without_held_out_frames_the_seen_ones_give_the_order(results: Results) -> None:
    for film in results.films:
        film.held_out_frames, film.held_out = 0, []
    for one in results.records:
        for parts in one.scores.values():
            parts.pop("held_out")
    found = ranking(results)
    assert found is not None
    assert found.part == "seen"
    table = film_table(results, results.films[0])
    assert table.rows[0].cells[1].text == "n/a"
    assert any("Nothing was held out of alpha" in note for note in table.notes)


def test_unequal_training_is_told(results: Results) -> None:
    for one in results.records:
        if one.model == "sharp" and one.spent:
            one.spent.frames = 2400
    assert "2,400 for sharp" in training(results)[0]
    assert "not the same number of training frames" in training(results)[0]


@pytest.mark.parametrize("width", [80, 100, 160])
def test_the_terminal_shows_names_as_they_are(results: Results, width: int) -> None:
    console = Console(width=width, record=True, file=None, force_terminal=False)
    with console.capture() as capture:
        console.print(summary(results))
    shown = capture.get()
    assert "evil|[bold] *gan*$x$" in shown, "markup in a name is part of the name"
    assert "On held-out frames sharp has the lowest LPIPS" in " ".join(shown.split())
    assert "0.105" in shown
    assert "22.96" in shown
    assert "out | of <memory>" in " ".join(shown.split())
    assert "SSIM is n/a: no window | fits" in shown
    assert ("3.50 MB" in shown) == (width == 160)
    assert all(len(line) <= width for line in shown.splitlines())
    table = shown[: shown.index("n/a:")]
    assert "…" not in table


@pytest.mark.parametrize(
    ("value", "shown"),
    [(312.345, "312"), (1234.5, "1,230"), (0.012345, "0.0123"), (999.9, "1,000"), (0, "0"),
     (9.999, "10.0"), (None, "n/a")],
)  # fmt: skip
def test_significant_digits(value: float | None, shown: str) -> None:
    assert numbers.significant(value) == shown


@pytest.mark.parametrize(
    ("value", "shown"),
    [(945, "945"), (1_234_567, "1.23 M"), (999_999, "1.00 M"), (15_552, "15.6 k"), (14.26, "14.3")],
)
def test_scaled_counts(value: float, shown: str) -> None:
    assert numbers.scaled(value) == shown


def test_fixed_digits_and_signs() -> None:
    assert numbers.fixed(-0.0004, 3) == "0.000"
    assert numbers.signed(-0.0126, 3) == "−0.013"
    assert numbers.signed(0.0001, 3) == "0.000"
    assert numbers.duration(59.96) == "1 min 0 s"
    assert numbers.duration(6725) == "1 h 52 min"


def test_text_is_put_on_one_line_without_tricks() -> None:
    assert one_line("a\r\n\tb\x1b[31mred\x1b[0m\u202egpj\u2066") == "a b red gpj"
    assert one_line("x" * 50, 10) == "x" * 9 + "…"
    assert escape("mean_frame _it_ 1*2") == "mean_frame \\_it\\_ 1\\*2"
    assert code_block("a ``` b") == "````\na ``` b\n````"


def test_file_names_are_distinct_where_letters_have_no_case() -> None:
    given = file_names(["Film", "film", "a/b", "", "плёнка"])
    assert given["Film"] == "Film"
    assert len({name.lower() for name in given.values()}) == 5
    assert all(name and name.isascii() and "/" not in name for name in given.values())


def test_names_of_crowded_points_do_not_overlap() -> None:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4, 4), dpi=100)
    canvas = FigureCanvasAgg(figure)
    place = figure.subplots()
    points = [
        Point(f"architecture {i}", 24 + 0.05 * i, 0.1 + 0.001 * (i % 3), "k") for i in range(8)
    ]
    points.append(Point("far", 10, 0.9, "k"))
    place.plot([p.x for p in points], [p.y for p in points], "o")
    place.margins(0.3)
    canvas.draw()
    boxes = name_points(canvas.get_renderer(), place, points)
    drawn = [text.get_window_extent(canvas.get_renderer()) for text in place.texts]
    assert len(boxes) == len(drawn) == 9
    panel = place.get_window_extent()
    for i, one in enumerate(boxes):
        assert panel.x0 <= one[0]
        assert one[2] <= panel.x1 + 1
        for other in boxes[i + 1 :]:
            across = min(one[2], other[2]) - max(one[0], other[0])
            up = min(one[3], other[3]) - max(one[1], other[1])
            assert across <= 0.5 or up <= 0.5


def test_hostile_names_are_known_by_what_is_left_of_them(results: Results) -> None:
    assert one_line(HOSTILE_MODEL) in {row.name for row in standings(results)}


def test_latents_are_judged_by_the_length_of_the_film(results: Results) -> None:
    assert len(latent_notes(results)) == 2
    results.films[0].seen_frames = 161
    results.films[1].seen_frames = 159
    [note] = latent_notes(results)
    assert note.startswith("beta: a latent of 16 numbers")
