"""What lands in a results folder."""

from __future__ import annotations

import csv
import json
import re
import shutil
from pathlib import Path

import pytest
from PIL import Image

from tests.fresh_process import imports_none_of
from tests.report.synthetic_results import HOSTILE_MODEL, comparison, failed
from zoo.base.errors import BadInput
from zoo.base.records import Results, Series, SideBySide
from zoo.base.untrusted_files import read_json
from zoo.report import results_folder
from zoo.report.write import write_report

MODELS = ["sharp", "blurry", "evil"]


def refuse(constant: str) -> object:
    raise AssertionError(f"{constant} is not JSON")


def rows_of(text: str, heading: str) -> list[list[str]]:
    """The cells of the first wide table after a heading, escaped pipes kept together."""
    after = text[text.index(heading) :]
    rows: list[list[str]] = []
    for line in after.splitlines():
        if line.startswith("|"):
            rows.append([cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]])
        elif rows:
            break
    return rows


def first_row(text: str, heading: str) -> dict[str, str]:
    """The cells of the first row of that table, by the names of the columns."""
    header, _, first, *_ = rows_of(text, heading)
    return dict(zip(header, first, strict=True))


def test_json_is_strict_and_reads_back_as_it_was(written: Path) -> None:
    content = json.loads((written / "results.json").read_text(), parse_constant=refuse)
    assert content["schema_version"] == 3
    # Made with the standard deviation not a number.
    assert content["records"][0]["scores"]["psnr"]["seen"]["sd"] is None
    assert read_json(written / "results.json", Results) == comparison()


def test_csv_has_a_row_per_record_and_part(written: Path, text: str) -> None:
    with (written / "results.csv").open(encoding="utf-8", newline="") as file:
        reader = csv.DictReader(file)
        rows = list(reader)
    assert reader.fieldnames is not None
    assert len(rows) == 2 * 9 + 1 + 9
    for column in reader.fieldnames:
        metric = re.sub("^(psnr|ssim|sharpness|lpips)_", "METRIC_", column)
        timing = re.sub("^(train|(encode|decode|round_trip)(_one)?)_", "TIMING_", column)
        explained = [f"| {name} |" in text for name in (column, metric, timing)]
        assert any(explained), f"{column} is explained in the report"
    [row] = [
        r
        for r in rows
        if (r["model"], r["evaluated_on"], r["part"]) == ("sharp", "beta", "held_out")
    ]
    assert float(row["lpips_mean"]) == pytest.approx(0.1104)
    assert float(row["psnr_mean"]) == pytest.approx(22.456)
    assert (row["lpips_low"], row["lpips_high"]) == ("0.0904", "0.1404")
    assert (row["takedown_matched"], row["takedown_film_matches"]) == ("0.854", "True")
    assert (row["decode_one_median"], row["train_memory_reserved"]) == ("33.33", "123456789")
    assert (row["still_shots_ratio"], row["black_psnr"]) == ("0.9", "34.56")
    assert row["ssim_mean"] == ""
    [away] = [
        r for r in rows if (r["model"], r["evaluated_on"], r["part"]) == ("sharp", "beta", "other")
    ]
    assert (away["trained_on"], away["lpips_mean"]) == ("alpha", "0.4004")
    assert (row["frames"], row["latent_bits"], row["encode_median"]) == ("20", "128", "1234.5")
    # Those of the part, also where a metric has no value on some of them.
    assert away["frames"] == "100"
    assert {r["frames"] for r in rows if r["part"] == "seen"} == {"76"}
    assert json.loads(row["options"]) == {"width": 16}
    [bad] = [r for r in rows if r["status"] == "failed"]
    assert (bad["model"], bad["part"], bad["psnr_mean"]) == (HOSTILE_MODEL, "", "")
    assert bad["reason"] == "RuntimeError: out | of <memory>"


def test_tables_sort_by_held_out_lpips_models_first(text: str) -> None:
    names = [row[0] for row in rows_of(text, "\n## alpha")[2:]]
    assert [name.split("|")[0].rstrip("\\") for name in names] == [
        "sharp",
        "evil",
        "blurry",
        "linear (reference)",
        "still (reference)",
    ]
    across = [row[0] for row in rows_of(text, "\n## Across films")[2:]]
    # The model with a failed film stands below those whose means are over both.
    assert [name[:6] for name in across] == ["sharp", "blurry", "evil\\|", "linear", "still "]


def test_numbers_have_the_digits_of_their_metric(text: str) -> None:
    header, _, *rows = rows_of(text, "\n## alpha")
    sharp = dict(zip(header, rows[0], strict=True))
    assert sharp["PSNR dB<br>held out ↑"] == "23.46"
    assert sharp["LPIPS (AlexNet)<br>held out ↓"] == "**0.100**"
    assert sharp["LPIPS (AlexNet)<br>seen ↓"] == "**0.050**"
    assert (sharp["bytes per frame:<br>quantised / coded"], sharp["latent<br>numbers"]) == (
        "16 / 14.2",
        "16",
    )
    assert sharp["param-<br>eters"] == "1.23 M"
    assert sharp["decoder<br>bytes"] == "3.50 MB"
    assert sharp["frames<br>matched"] == "85%"
    linear = dict(zip(header, rows[3], strict=True))
    assert linear["PSNR dB<br>held out ↑"] == "**27.50**", "a reference may win a column"
    assert not re.search(r"\d\.\d{5,}", text)


def test_across_films_is_the_mean_over_films(text: str) -> None:
    sharp = first_row(text, "\n## Across films")
    assert sharp["PSNR dB<br>held out ↑"] == "22.96"
    assert sharp["PSNR dB<br>seen ↑"] == "23.96"
    assert sharp["LPIPS (AlexNet)<br>held out ↓"] == "**0.105**"


def test_a_missing_metric_is_not_available_with_its_reason(text: str) -> None:
    header, _, *rows = rows_of(text, "\n## beta")
    for name, *cells in rows:
        row = dict(zip(header[1:], cells, strict=True))
        assert row["SSIM<br>held out ↑"] == ("–" if "failed" in name else "n/a")
    assert text.count("- SSIM is n/a: no window \\| fits") == 3


def test_a_failed_run_is_a_row_with_its_reason(text: str) -> None:
    rows = rows_of(text, "\n## beta")
    [row] = [row for row in rows if "failed" in row[0]]
    assert row[0].startswith("evil\\|")
    assert row[0].endswith("failed: RuntimeError: out \\| of &lt;memory&gt;")
    assert set(row[1:]) == {"–"}
    assert len(row) == len(rows[0])


def test_untrusted_text_cannot_break_the_report(text: str) -> None:
    assert "<script" not in text
    assert "\n# not a heading" not in text
    assert "z" * 2001 not in text
    assert "&lt;script&gt;alert(1)&lt;/script&gt; \\# not a heading \\`tick\\` \\[red\\]x" in text
    assert "evil\\|\\[bold\\] \\*gan\\*\\$x\\$" in text
    widths = [
        len(re.split(r"(?<!\\)\|", line)) for line in text.splitlines() if line.startswith("|")
    ]
    for heading in ("\n## alpha", "\n## beta", "\n## Across films"):
        table = rows_of(text, heading)
        assert len({len(row) for row in table}) == 1
    assert min(widths) > 3


def test_who_is_ahead_follows_from_the_numbers(text: str) -> None:
    said = text[text.index("## Who is ahead") : text.index("## Across films")]
    # A reference is ahead by one of the two metrics: that comes first.
    first = said.split("\n- ")[1]
    assert first == (
        "On held-out frames (mean over 2 films) linear (27.00 dB at 14.2 bytes per frame) is ahead "
        "of every model in PSNR. The best model is blurry with 26.29 dB at 14.2 bytes per frame; "
        "next is sharp with 22.96 dB at 14.2 bytes per frame. Among the models blurry leads on "
        "2 of 2 films."
    )
    assert (
        "On held-out frames (mean over 2 films) sharp has the lowest LPIPS (AlexNet), 0.105 at "
        "14.2 bytes per frame, ahead of every reference; next is blurry with 0.255" in said
    )
    assert (
        "Every model was trained with 1 seed. It takes at least 3 seeds to estimate the spread"
        in said
    )
    assert "sharp is better by 0.150 in LPIPS and worse by 3.33 dB in PSNR than blurry" in said
    across = text[text.index("## Across films") : text.index("## alpha")]
    assert "so bold does not mean a win" in across
    assert "| linear (reference) | 16 / 14.2 | 2 of 2 | 2 of 2 | 0 of 2 | 0 of 2 |" in across
    assert "| still (reference) | 16 / 14.2 | 2 of 2 | 2 of 2 | 2 of 2 | 2 of 2 |" in across


def test_latents_that_are_long_for_the_film_are_noted(text: str) -> None:
    assert "alpha: a latent of 16 numbers is more than a tenth of the 76 training frames" in text


def test_the_protocol_and_the_origin_are_stated(text: str) -> None:
    assert "rounded to 8 bits" in text
    assert "the same budget: 1,200 frames" in text
    assert "alpha: 1,200 training frames for every model. Training time: " in text
    assert (
        "Test CPU (cpu), 2 threads, contiguous, training at 32-true, encoding and decoding in 32 "
        "bits: batches of 16 and single frames, medians of 5 timings"
    ) in text
    assert "| A | Test CPU (cpu) | 2 | 32-true | none | 3.11.2 | 2.8.0 |" in text
    assert "0123456789abcdef with changes |" in text
    assert "sha256:" + "b" * 64 in text
    assert text.endswith("```\nzoo compare --films alpha,beta\n```\n")


def test_a_report_is_made_again_byte_for_byte(written: Path, tmp_path: Path) -> None:
    shutil.copytree(written / "figures" / "frames", tmp_path / "figures" / "frames")
    names = ["report.md", "results.json", "results.csv"]
    shutil.copytree(written / "series", tmp_path / "series")
    for path in (written / "figures").glob("barcode-*"):
        shutil.copy(path, tmp_path / "figures")
    write_report(read_json(written / "results.json", Results), tmp_path)
    names += [f"figures/{p.name}" for p in sorted((written / "figures").iterdir()) if p.is_file()]
    assert len(names) == 3 + 2 + 4 * 2 + 2
    for name in names:
        assert (tmp_path / name).read_bytes() == (written / name).read_bytes(), name


def test_every_picture_exists_and_has_a_text(text: str, written: Path) -> None:
    links = re.findall(r"!\[(.+)\]\((figures/[\w.-]+)\)", text)
    assert [path for _, path in links] == [
        "figures/trade.png",
        *(
            f"figures/{name}"
            for film in ("alpha", "beta")
            for name in (
                f"strip-{film}.webp",
                f"scores-{film}.png",
                f"time-{film}.png",
                f"rate-{film}.png",
            )
        ),
        "figures/crossing.png",
    ]
    for words, path in links:
        assert len(words) > 40
        with Image.open(written / path) as picture:
            assert 600 <= picture.width <= 1240
            assert picture.height >= 200
            # An empty picture would be of one colour.
            assert len(picture.convert("RGB").getcolors(1 << 20)) > 8
        assert (written / path).stat().st_size < 300_000


def test_a_record_cannot_point_out_of_the_folder(results: Results, folder: Path) -> None:
    results.records[0].pictures[0].original = "../../secret.png"
    with pytest.raises(BadInput, match="outside the results folder"):
        write_report(results, folder)
    assert not (folder / "results.json").exists()


def test_records_of_an_unknown_film_are_refused(results: Results, folder: Path) -> None:
    results.records.append(failed("sharp", "gamma"))
    with pytest.raises(BadInput, match="gamma"):
        write_report(results, folder)
    assert not (folder / "report.md").exists()


def test_pictures_of_films_no_longer_compared_are_removed(results: Results, folder: Path) -> None:
    write_report(results, folder)
    (folder / "figures" / "mine.png").write_bytes(b"a picture")
    # A name that is not a file's name must not lead anywhere else either.
    results.films = [film for film in results.films if film.name == "beta"]
    results.records = [r for r in results.records if r.evaluated_on == r.trained_on == "beta"]
    results.films[0].name = "../beta"
    for record in results.records:
        record.evaluated_on = record.trained_on = "../beta"
    text = write_report(results, folder).read_text()
    assert {path.name for path in (folder / "figures").iterdir() if path.is_file()} == {
        "barcode-beta.png",
        "strip-beta-0.webp",
        "scores-beta-0.png",
        "time-beta-0.png",
        "rate-beta-0.png",
        "trade.png",
        "mine.png",
    }
    assert not (folder / "figures" / "frames" / "alpha").exists()
    assert {path.name for path in (folder / "viewer").iterdir()} == {"beta-0.js"}
    assert "](figures/strip-beta-0.webp)" in text
    assert "## Trained on one film" not in text
    # Of one film there is no mean over films.
    assert "## Across films" not in text
    assert "On held-out frames of ../beta sharp has the lowest" in text


def test_without_measurements_the_report_says_so_and_has_no_plots(
    results: Results, folder: Path
) -> None:
    for metric in results.metrics:
        metric.unavailable = "no weights"
    for record in results.records:
        record.scores, record.pictures, record.rate = {}, [], []
    text = write_report(results, folder).read_text()
    assert "No metric could be measured, so nothing can be ranked." in text
    assert "![" not in text
    left = [path.name for path in (folder / "figures").iterdir() if path.is_file()]
    assert sorted(left) == ["barcode-alpha.png", "barcode-beta.png"]


def test_a_report_needs_neither_torch_nor_a_video_library() -> None:
    imports_none_of({"torch", "av", "lpips", "timm"}, "import zoo.report.write, zoo.cli.report")


def test_the_series_of_a_film_is_read_once(
    results: Results, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[str] = []

    def counted(path: Path, kind: type[Series]) -> Series:
        read.append(path.name)
        return read_json(path, kind)

    monkeypatch.setattr(results_folder, "read_json", counted)
    write_report(results, folder)
    assert read == ["alpha.json", "beta.json"]


def test_the_report_shows_the_sheet_and_names_the_panels_of_the_video(tmp_path: Path) -> None:
    results = comparison()
    results.records = [one for one in results.records if one.model in MODELS[:2]]
    names = ["videos/alpha/side by(side).mp4", "videos/beta/side-by-side.mp4"]
    panels = ["original", "sharp", "*blurry*"]
    whys = [None, "its aac cannot be decoded"]
    for film, name, why in zip(results.films, names, whys, strict=True):
        film.sheet = f"figures/sheet-{film.name}.webp"
        film.side_by_side = SideBySide(video=name, panels=panels, sound=not why, why_silent=why)
        (tmp_path / name).parent.mkdir(parents=True)
        (tmp_path / name).touch()
    (tmp_path / "figures").mkdir()
    (tmp_path / "figures/sheet-alpha.webp").touch()
    text = write_report(results, tmp_path).read_text(encoding="utf-8")
    panels_there = r"original, sharp and \*blurry\*, from left to right"
    assert (
        f"[Video: {panels_there}, with the film's sound](./videos/alpha/side%20by%28side%29.mp4)"
        in text
    )
    assert (
        f"[Video: {panels_there}, without sound (its aac cannot be decoded)]"
        "(./videos/beta/side-by-side.mp4)" in text
    )
    assert re.search(r"!\[Contact sheet of alpha: .+\]\(\./figures/sheet-alpha\.webp\)", text)
    # That of the other film is not there.
    assert "sheet-beta" not in text
    for film in results.films:
        film.sheet = film.side_by_side = None
    text = write_report(results, tmp_path).read_text(encoding="utf-8")
    assert "Video:" not in text and "sheet" not in text
    # What only the earlier report named goes with it.
    assert not (tmp_path / names[0]).exists()
    assert not (tmp_path / "figures/sheet-alpha.webp").exists()
