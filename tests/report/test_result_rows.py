"""Who is how good, over seeds, films and machines."""

from __future__ import annotations

import pytest
from rich.console import Console

from tests.report.synthetic_results import ENVIRONMENT, HOSTILE_MODEL, record
from tests.report.synthetic_results import summary as summary_of
from zoo.base.records import LatentInfo, Results
from zoo.base.safe_text import one_line
from zoo.cli.report import summary
from zoo.report.aggregate import result_rows, score
from zoo.report.figure import Point, label_points
from zoo.report.findings import who_is_ahead
from zoo.report.protocol import latent_notes, training_received, tuning_notes, unequal_terms
from zoo.report.score_tables import (
    across_films_table,
    film_table,
    reference_table,
)
from zoo.report.table import Table

BYTES = ("bytes per frame:", "quantised / coded")


def named(results: Results, name: str, film: str | None = None):  # type: ignore[no-untyped-def]
    [row] = [row for row in result_rows(results, film) if row.name == name]
    return row


def cells(table: Table, name: str) -> dict[tuple[str, ...], str]:
    """The texts of a row by heading."""
    [row] = [row for row in table.rows if row.name == name]
    return {heading: cell.text for heading, cell in zip(table.columns[1:], row.cells, strict=True)}


def test_seeds_share_a_row_with_a_spread(results: Results) -> None:
    # Seeds one dB apart on both films: their means over films are one dB apart as well.
    for seed in (1, 2):
        results.records += [record("sharp", "alpha", worse=1.0 * seed, seed=seed)]
        results.records += [record("sharp", "beta", worse=1.0 * seed + 1, seed=seed)]
    value = named(results, "sharp").value(score("psnr", "held_out"))
    assert value.mean == pytest.approx(23.456 - 1.5)
    assert value.spread == pytest.approx(1.0)
    assert value.films == 2
    assert cells(across_films_table(results), "sharp")["PSNR dB", "held out ↑"] == "21.96\n± 1.00"


def test_a_spread_over_seeds_excludes_differences_between_films(results: Results) -> None:
    results.records += [record("sharp", "alpha", worse=1.0, seed=1)]
    said = " ".join(who_is_ahead(results))
    assert "Among the models sharp leads on 2 of 2 films." in said
    assert "sharp and blurry were trained" not in said
    assert "Every model was trained with 1 seed or 2 seeds. It takes at least 3" in said
    value = named(results, "sharp").value(score("psnr", "held_out"))
    assert value.spread is None, "only one seed saw both films"
    assert value.mean == pytest.approx(((23.456 + 22.456) / 2 + 22.456) / 2)


def test_seeds_that_finished_different_films_are_no_spread(results: Results) -> None:
    own = [record("sharp", "alpha", seed=0), record("sharp", "beta", seed=1)]
    own += [record("blurry", film) for film in ("alpha", "beta")]
    results.records = own
    table = across_films_table(results)
    assert cells(table, "sharp")["LPIPS (AlexNet)", "held out ↓"] == "0.100"
    column = table.columns.index(("LPIPS (AlexNet)", "held out ↓")) - 1
    assert [row.name for row in table.rows if row.cells[column].best] == ["sharp"]
    # Of three seeds one failed on one film.
    results.records = [
        record(model, film, worse=seed, seed=seed)
        for model in ("sharp", "blurry")
        for film in ("alpha", "beta")
        for seed in range(3)
        if (model, film, seed) != ("sharp", "beta", 2)
    ]
    assert named(results, "sharp").value(score("lpips", "held_out")).spread is None
    assert (
        "sharp was trained with 2 seeds. It takes at least 3 seeds to estimate the spread, so a "
        "small lead may be chance." in who_is_ahead(results)
    )


def test_models_without_any_score_are_not_called_the_best_of_their_size(results: Results) -> None:
    results.records = [one for one in results.records if one.model in ("sharp", "blurry", "linear")]
    for one in results.records:
        if one.role == "model":
            one.scores = {}
        if one.model == "sharp" and one.latent:
            one.latent.coded_bytes = 100.0
    said = " ".join(who_is_ahead(results))
    assert "smallest first" not in said
    assert "blurry and sharp are not ranked in LPIPS, which is missing on some film." in said


def test_a_lead_within_the_spread_may_be_chance(results: Results) -> None:
    for film in ("alpha", "beta"):
        for seed, worse in ((1, -10.0), (2, -20.0)):
            results.records += [record("sharp", film, worse=worse, seed=seed)]
            results.records += [record("blurry", film, seed=seed)]
    said = who_is_ahead(results)
    assert "no model is ahead of every reference in PSNR: linear (27.00 dB" in " ".join(said)
    assert "are level with the best model, sharp with 33.29 ± 10.25 dB" in " ".join(said)
    assert "blurry (26.62 ± 0.29 dB at 14.2 bytes per frame) is level with it" in " ".join(said)
    assert "seeds to estimate the spread" not in " ".join(said)
    # Nor is it better than a reference, and nothing in the column is the best.
    beside = reference_table(results)
    assert beside is not None
    assert cells(beside, "linear (reference)")["by PSNR", "held out"] == "0 of 2, 2 level"


def test_rows_within_the_spread_of_the_best_are_bold_too(results: Results) -> None:
    film = results.films[0]
    results.records += [
        record("sharp", "alpha", worse=17.0, seed=1),
        record("sharp", "alpha", worse=-17.0, seed=2),
    ]
    table = film_table(results, film)
    column = table.columns.index(("LPIPS (AlexNet)", "held out ↓")) - 1
    best = {row.name[:5] for row in table.rows if row.cells[column].best}
    assert best == {"sharp", "evil|", "blurr", "linea"}, "0.100 ± 0.170 is no better than 0.300"


def test_models_better_than_each_reference_are_counted(results: Results) -> None:
    reference = next(r.model for r in results.records if r.role == "reference")
    film = results.films[0]
    for one in results.records:
        if one.trained_on == one.evaluated_on == film.name and one.role == "model":
            one.scores["psnr"]["seen"].mean = 99.0
            one.scores["psnr"]["held_out"].mean = 1.0
    own = [r for r in results.records if r.trained_on == r.evaluated_on == film.name]
    models = [r for r in own if r.role == "model"]
    good = sum(r.status == "ok" for r in models)
    table = reference_table(results, film)
    assert table is not None
    row = cells(table, f"{reference} (reference)")
    assert row["by PSNR", "seen"] == f"{good} of {good}"
    assert row["by PSNR", "held out"] == f"0 of {good}"


def test_a_model_without_a_score_on_some_film_is_not_counted_beside_a_reference(
    results: Results,
) -> None:
    own = [one for one in results.records if one.trained_on == one.evaluated_on]
    results.records = [one for one in own if one.model in ("sharp", "blurry", "linear")]
    for one in results.records:
        if (one.model, one.evaluated_on) == ("blurry", "beta"):
            one.scores["lpips"]["held_out"].mean = None
    table = reference_table(results)
    assert table is not None
    row = cells(table, "linear (reference)")
    assert (row["by LPIPS", "seen"], row["by LPIPS", "held out"]) == ("2 of 2", "1 of 1")


def test_a_codec_is_never_the_best_on_held_out_frames(results: Results) -> None:
    for one in results.records:
        if one.model == "linear":
            one.kind, one.note = (
                "codec",
                "20.0 bytes per frame is the least it gives; 16 were asked for",
            )
            one.latent = LatentInfo(numbers=None, bits=None, coded_bytes=20.0, decoder_bytes=None)
            one.parameters = None
            one.scores["lpips"] = {"seen": summary_of(0.01), "held_out": summary_of(0.02)}
    table = film_table(results, results.films[0])
    [codec] = [row for row in table.rows if row.name == "linear (codec)"]
    shown = dict(zip(table.columns[1:], codec.cells, strict=True))
    seen = shown["LPIPS (AlexNet)", "seen ↓"]
    held_out = shown["LPIPS (AlexNet)", "held out ↓"]
    assert (seen.text, seen.best) == ("0.010", True)
    assert (held_out.text, held_out.best) == ("(0.020)", False)
    [best] = [row.name for row in table.rows if row.cells[2].best]
    assert best == "sharp"
    assert shown["latent", "numbers"].text == "–"
    assert shown[BYTES].text == "– / 20"
    assert shown["param-", "eters"].text == shown["decoder", "bytes"].text == "–"
    assert any("In brackets: linear coded every frame" in note for note in table.notes)
    assert any(note.startswith("linear: 20.0 bytes per frame is the least") for note in table.notes)
    assert any(
        "linear misses the requested bytes by more than 3% on 2 of 2 films" in note
        for note in across_films_table(results).notes
    )
    beside = reference_table(results, results.films[0])
    assert beside is not None
    row = cells(beside, "linear (codec)")
    assert row[BYTES] == "– / 20"
    assert row["by LPIPS", "seen"] == "0 of 3"
    assert row["by LPIPS", "held out"] == "(0 of 3)", "it saw what was held out of the others"


def test_a_small_lead_is_called_small(results: Results) -> None:
    for one in results.records:
        if one.model == "blurry" and one.trained_on == one.evaluated_on:
            for part in ("seen", "held_out"):
                one.scores["lpips"][part].mean = 0.1059
    said = " ".join(who_is_ahead(results))
    assert "next is blurry with 0.106 at 14.2 bytes per frame, a small lead of 0.001" in said
    assert "Among the models sharp leads on 1 of 2 films." in said


def test_options_and_machines_never_share_a_row(results: Results) -> None:
    wide = record("sharp", "alpha")
    wide.options = {"width": 64}
    away = record("sharp", "alpha")
    away.environment = ENVIRONMENT.model_copy(update={"device": "cuda", "device_name": "GPU"})
    results.records += [wide, away]
    names = [row.name for row in result_rows(results, "alpha") if row.model == "sharp"]
    assert names == ["sharp (width=16) on A", "sharp (width=64) on A", "sharp (width=16) on B"]
    on_beta = record("sharp", "beta")
    on_beta.environment = away.environment
    results.records.append(on_beta)
    # The row has another name in this table than in one of beta alone; it still leads there.
    assert "sharp (width=16) on B has the lowest LPIPS" in " ".join(who_is_ahead(results))
    said = " ".join(who_is_ahead(results))
    assert "Among the models sharp (width=16) on B leads on 1 of 2 films" in said
    table = film_table(results, results.films[0])
    assert table.columns[-1] == ("on",)
    assert {row.cells[-1].text for row in table.rows} == {"A", "B"}


def test_a_model_trained_on_another_film_is_in_no_film_table_or_mean(
    results: Results,
) -> None:
    visitor = record("sharp", "alpha", worse=-50.0)
    visitor.trained_on = "beta"
    results.records.append(visitor)
    assert named(results, "sharp").value(score("psnr", "held_out")).mean == pytest.approx(22.956)
    assert [row.name for row in result_rows(results, "alpha")].count("sharp") == 1
    assert named(results, "sharp", "alpha").records[0].trained_on == "alpha"


def test_unequal_training_is_stated(results: Results) -> None:
    for one in results.records:
        if one.model == "sharp" and one.training:
            one.training.frames = 2400
    assert "2,400 for sharp" in training_received(results)[0]
    assert "training frames differ" in training_received(results)[0]


@pytest.mark.parametrize("width", [80, 100, 160])
def test_the_terminal_shows_names_literally(results: Results, width: int) -> None:
    console = Console(width=width, record=True, file=None, force_terminal=False)
    with console.capture() as capture:
        console.print(summary(results))
    shown = capture.get()
    assert "evil|[bold] *gan*$x$" in shown, "markup in a name is part of the name"
    assert "sharp has the lowest LPIPS" in " ".join(shown.split())
    assert "0.105" in shown
    assert "22.96" in shown
    assert "out | of <memory>" in " ".join(shown.split())
    assert "SSIM is n/a: no window | fits" in shown
    assert ("3.50 MB" in shown) == (width > 100)
    assert all(len(line) <= width for line in shown.splitlines())
    table = shown[: shown.index("n/a:")]
    assert "…" not in table


def test_labels_of_crowded_points_do_not_overlap() -> None:
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
    boxes = label_points(canvas.get_renderer(), place, points)
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


def test_hostile_names_are_rows_under_their_visible_text(results: Results) -> None:
    assert one_line(HOSTILE_MODEL) in {row.name for row in result_rows(results)}


def test_long_latents_are_noted_by_the_length_of_the_film(results: Results) -> None:
    assert len(latent_notes(results)) == 2
    results.films[0].seen_frames = 161
    results.films[1].seen_frames = 159
    [note] = latent_notes(results)
    assert note.startswith("beta: a latent of 16 numbers")
    general = record("linear", "alpha")
    general.pretrained = True
    general.latent = LatentInfo(numbers=900, bits=7200, coded_bytes=800, decoder_bytes=1)
    results.records.append(general)
    assert latent_notes(results) == [note], "it learned nothing from the film"


@pytest.mark.parametrize("model", ["linear", "still"])
@pytest.mark.parametrize("kind", ["autoencoder", "codec"])
def test_the_first_sentence_says_if_a_reference_is_ahead(
    results: Results, model: str, kind: str
) -> None:
    for one in results.records:
        if one.model == model and one.trained_on == one.evaluated_on:
            one.kind = kind
            one.scores["lpips"]["held_out"].mean = 0.01
    said = who_is_ahead(results)
    first = said[0] if "LPIPS" in said[0] else said[1]
    name = f"the codec {model}" if kind == "codec" else model
    assert first.startswith(
        f"On held-out frames (mean over 2 films) {name} (0.010 at 14.2 bytes per frame) is ahead "
        "of every model in LPIPS (AlexNet). The best model is sharp with 0.105"
    )
    assert (f"{model} coded the held-out frames too; only the models never saw them." in said) == (
        kind == "codec"
    )
    # So does the last thing that a terminal shows.
    console = Console(width=200, record=True, file=None, force_terminal=False)
    with console.capture() as capture:
        console.print(summary(results))
    assert first in " ".join(capture.get().split())


def test_rows_are_grouped_by_similar_bytes(results: Results) -> None:
    for one in results.records:
        if one.model == "blurry" and one.latent:
            one.latent.coded_bytes = 5.0
    names = [row.name for row in film_table(results, results.films[0]).rows]
    assert names[:2] == ["blurry", "sharp"], "fewest bytes first, though it is worse"
    assert film_table(results, results.films[0]).columns[1] == BYTES


def test_missing_fields_of_old_records_are_stated(results: Results) -> None:
    for one in results.records:
        one.unequal_terms = one.tuned_on = None
    assert "do not say which models" in unequal_terms(results)[-1]
    assert "do not say which films the defaults were chosen on" in tuning_notes(results)[0]


def test_training_times_are_per_model(results: Results) -> None:
    for one in results.records:
        if one.model == "sharp" and one.training:
            one.training.seconds = 377.0
    said = training_received(results)[1]
    assert said.endswith("Training time: blurry 30.0 s, sharp 6 min 17 s.")
