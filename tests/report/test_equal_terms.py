"""Bytes stand beside every number, sizes are not mixed in silence, and waivers are seen."""

from __future__ import annotations

import csv
import io
import re
from pathlib import Path

import pytest

from tests.report.synthetic_results import comparison, put_pictures, record
from zoo.base.records import LatentInfo, Results
from zoo.base.untrusted_files import read_json
from zoo.cli.console import Console
from zoo.cli.report import summary
from zoo.report.aggregate import at_main_latent_size, result_rows
from zoo.report.findings import who_is_ahead
from zoo.report.table import bytes_relative_to, bytes_text
from zoo.report.write import write_report


@pytest.fixture
def results() -> Results:
    return comparison()


def tables(report: str) -> list[list[str]]:
    """The Markdown tables of a report, each as its lines."""
    blocks = re.split(r"\n\s*\n", report)
    return [block.splitlines() for block in blocks if block.startswith("| ")]


def test_every_table_of_models_states_both_sizes(results: Results, tmp_path: Path) -> None:
    put_pictures(results, tmp_path)
    found = [
        table
        for table in tables(write_report(results, tmp_path).read_text())
        # Rows of Bjontegaard's differences are of several sizes each.
        if table[0].startswith("|  |") and "Δ" not in table[0]
    ]
    assert len(found) > 12
    for heading, _, *rows in found:
        assert heading.startswith("|  | bytes per frame:<br>quantised / coded |"), heading
        for row in rows:
            assert re.match(r"\| [^|]+(\\\|[^|]+)* \| (16 / 14.2|–) \|", row), row


def test_a_row_states_what_applies_to_it(results: Results) -> None:
    row = result_rows(results, "alpha")[0]
    for latent, text in (
        (LatentInfo(numbers=16, bits=128, coded_bytes=14.24, decoder_bytes=1), "16 / 14.2"),
        (LatentInfo(numbers=24, bits=75, coded_bytes=8.0, decoder_bytes=1), "9.38 / 8"),
        (LatentInfo(numbers=0, bits=0, coded_bytes=0, decoder_bytes=1), "0 / 0"),
        (LatentInfo(numbers=None, bits=None, coded_bytes=20.5, decoder_bytes=None), "– / 20.5"),
    ):
        for one in row.records:
            one.latent, one.kind = latent, "codec" if latent.numbers is None else "autoencoder"
        assert bytes_text(row) == text


@pytest.mark.parametrize(
    ("size", "other", "said"),
    [
        (30.0, 10.0, "3.0 times the bytes of linear"),
        (10.0, 30.0, "33% of the bytes of linear"),
        (10.0, 12.4, ""),
        (12.4, 10.0, ""),
        (0.0, 10.0, ""),
        (10.0, 0.0, ""),
    ],
)
def test_bytes_that_differ_are_compared(
    size: float, other: float, said: str, results: Results
) -> None:
    for one in results.records:
        if one.latent:
            one.latent.coded_bytes = other if one.model == "linear" else size
    rows = {row.name: row for row in result_rows(results)}
    assert bytes_relative_to(rows["sharp"], rows["linear"]) == said


def test_a_lead_with_more_bytes_is_stated_with_the_bytes(results: Results) -> None:
    one_size = " ".join(who_is_ahead(results))
    assert "differ in size" not in one_size and "the bytes of" not in one_size
    for one in results.records:
        if one.model == "sharp" and one.latent:
            one.latent.coded_bytes = 60.0
    said = " ".join(who_is_ahead(results))
    assert "next is blurry with 0.255 at 14.2 bytes per frame, 24% of the bytes of sharp" in said
    assert "in LPIPS blurry (0.255 at 14.2 bytes per frame) and sharp (0.105 at 60.0" in said


def test_a_sweep_shows_codecs_at_the_bytes_of_the_main_latent_size(
    results: Results,
) -> None:
    results.records = []
    for latent, bits in ((8, 80), (16, 160), (32, 320)):
        model = record("sharp", "alpha")
        assert model.latent
        model.options, model.latent.bits = {"latent": latent}, bits
        codec = record("linear", "alpha")
        codec.options, codec.kind = {"bytes_per_frame": bits // 8}, "codec"
        results.records += [model, codec]
    kept = at_main_latent_size(results).records
    assert [one.options for one in kept] == [{"latent": 16}, {"bytes_per_frame": 20}]
    # A window that is not full takes more than it declares.
    for one in results.records:
        if one.latent and one.kind != "codec":
            one.latent.bits = (one.latent.bits or 0) * 1.04
    assert [one.options for one in at_main_latent_size(results).records] == [
        one.options for one in kept
    ]
    for one in results.records:
        if one.kind != "codec":
            one.status, one.latent, one.scores = "failed", None, {}
    assert {"bytes_per_frame": 20} in [one.options for one in at_main_latent_size(results).records]


def test_waivers_are_marked_wherever_the_row_is_shown(results: Results, tmp_path: Path) -> None:
    waived = {"batch invariant": "it | normalises", "trains on every frame": "some are dropped"}
    for one in results.records:
        if one.model == "sharp":
            one.waivers = waived
    put_pictures(results, tmp_path)
    report = write_report(results, tmp_path).read_text()
    sentence = (
        "† sharp breaks 2 promises of the model contract on purpose: batch invariant (it \\| "
        "normalises); trains on every frame (some are dropped)."
    )
    assert report.count(f"- {sentence}") == 3, "across films, and on each of the two"
    rows = [line for line in report.splitlines() if re.match(r"\| sharp( †)? \| 16 / 14.2", line)]
    assert len(rows) > 8 and all(line.startswith("| sharp † |") for line in rows)
    assert "blurry †" not in report
    page = (tmp_path / "report.html").read_text()
    assert "sharp †" in page and "† sharp breaks 2 promises" in page
    with (tmp_path / "results.csv").open(encoding="utf-8", newline="") as file:
        table = list(csv.DictReader(file))
    assert {row["waivers"] for row in table if row["model"] == "blurry"} == {""}
    assert all('"it | normalises"' in row["waivers"] for row in table if row["model"] == "sharp")
    kept = read_json(tmp_path / "results.json", Results)
    assert {str(one.waivers) for one in kept.records if one.model == "sharp"} == {str(waived)}


@pytest.mark.parametrize("width", [16, 24, 32, 44, 60])
def test_a_terminal_of_any_width_has_whole_names_and_numbers(width: int, results: Results) -> None:
    for one in results.records:
        if one.model == "sharp":
            one.model = "a_model_with_a_name_of_forty-four_letters_or_so"
    file = io.StringIO()
    Console(width=width, file=file, force_terminal=True, color_system=None).print(summary(results))
    printed = file.getvalue()
    assert "…" not in printed
    table = printed.partition("\n")[2].partition("beta")[0]
    letters = re.sub(r"\s", "", "".join(line.split("  ")[0] for line in table.splitlines()))
    assert "a_model_with_a_name_of_forty-four_letters_or_so" in letters
    flat = re.sub(r"\s+", " ", table)
    assert flat.count("16 / 14.2") == 5 and "0.050" in flat
    assert all(len(line) <= width for line in printed.splitlines())
