"""Results of several machines as one report: whose row is whose, and what is refused."""

from __future__ import annotations

import hashlib
import shutil
from dataclasses import dataclass
from pathlib import Path

import pytest
from PIL import Image

from tests.report.machines import Change, changed, contents, on_a_gpu, put, small
from tests.report.synthetic_results import ENVIRONMENT, METRICS, record
from tests.report.test_report_command import run
from zoo.base.atomic_files import write_json
from zoo.base.errors import BadInput
from zoo.base.picture_style import fit_text, font, picture_text
from zoo.base.records import Results, Series
from zoo.base.untrusted_files import read_json
from zoo.report.aggregate import environment_key, machines, result_rows
from zoo.report.frame_strip import write_strip
from zoo.report.merge import merge
from zoo.report.results_folder import FilmSeries, named, series_row
from zoo.report.viewer.content import film_content


@dataclass(frozen=True)
class Merged:
    """Two machines' folders, what they were merged into, and what they held before."""

    cpu: Path
    gpu: Path
    into: Path
    results: Results
    before: tuple[dict[str, str], dict[str, str]]


@pytest.fixture(scope="module")
def merged(tmp_path_factory: pytest.TempPathFactory) -> Merged:
    """Nobody writes into the folders."""
    folder = tmp_path_factory.mktemp("merged")
    cpu = put(small(), folder / "cpu")
    gpu = put(on_a_gpu(small()), folder / "gpu", scale=0.5)
    before = contents(cpu), contents(gpu)
    results, report = merge([cpu, gpu], folder / "both")
    assert report == folder / "both" / "report.md"
    return Merged(cpu, gpu, report.parent, results, before)


def test_two_machines_are_merged_and_the_sources_stay_unchanged(merged: Merged) -> None:
    assert (contents(merged.cpu), contents(merged.gpu)) == merged.before
    results = merged.results
    assert [row.name for row in result_rows(results, "alpha")] == [
        *("blurry on A", "sharp on A"),
        *("blurry on B", "sharp on B"),
    ]
    assert read_json(merged.into / "results.json", Results) == results
    text = (merged.into / "report.md").read_text(encoding="utf-8")
    for machine in ("| A | Test CPU (cpu) |", "| B | Test GPU (cuda) |"):
        assert machine in text
    for row in ("| sharp on A |", "| sharp on B |", "| blurry on A |", "| blurry on B |"):
        assert row in text
    assert "curves of blurry on A, sharp on A, blurry on B, sharp on B" in text
    assert "zoo compare --films alpha,beta\nzoo compare --films alpha,beta --device cuda\n" in text
    page = (merged.into / "report.html").read_text(encoding="utf-8")
    assert "A is Test CPU (cpu, 2 threads) and B is Test GPU (cuda, 2 threads)." in page
    assert "<code>zoo compare --films alpha,beta; zoo compare --films alpha,beta " in page
    assert results.created == "2025-01-02T05:00:00+01:00"
    # Pictures of other frames than a machine drew are not lost, they never were.
    assert "could not be read" not in text


def test_every_file_exists_under_its_name_in_the_merge(merged: Merged) -> None:
    names = set(named(merged.results))
    assert all((merged.into / name).is_file() for name in names)
    assert {f"merged/{path.name}" for path in (merged.into / "merged").iterdir()} == names
    sources = [*small().records, *on_a_gpu(small()).records]
    folders = [merged.cpu] * len(small().records) + [merged.gpu] * len(small().records)
    for one, source, folder in zip(merged.results.records, sources, folders, strict=True):
        for picture, own in zip(one.pictures, source.pictures, strict=True):
            for attribute in ("original", "reconstruction"):
                found = Image.open(merged.into / getattr(picture, attribute))
                assert found.tobytes() == Image.open(folder / getattr(own, attribute)).tobytes()


def test_scores_per_frame_are_kept_apart_by_machine(merged: Merged) -> None:
    scores = read_json(merged.into / str(merged.results.films[0].series), Series)
    sharp = [r for r in merged.results.records if r.model == "sharp" and r.evaluated_on == "alpha"]
    assert len({one.run for one in sharp}) == 1
    last = [row.scores["lpips"][99] for one in sharp if (row := series_row(scores, one))]
    assert last == pytest.approx([0.1004 * 0.99, 0.1004 * 0.99 / 2])
    text = (merged.into / "report.md").read_text(encoding="utf-8")
    assert "shaded: sharp on B, sharp on A, blurry on B, blurry on A." in text


@pytest.mark.usefixtures("undrawn")
def test_a_duplicate_record_is_taken_from_the_later_folder(
    cpu: Path, gpu: Path, tmp_path: Path
) -> None:
    again = small()
    for one in again.records:
        one.note = "again"
    again.records.append(record("sharp", "alpha", seed=1))
    later = put(again, tmp_path / "later", scale=2.0)
    results, report = merge([cpu, gpu, later], tmp_path / "all")
    assert len(results.records) == 4 + 4 + 1
    by_cpu = [one for one in results.records if one.environment.device == "cpu"]
    assert [one.note for one in by_cpu] == ["again"] * 4 + [None]
    merged = read_json(report.parent / str(results.films[0].series), Series)
    row = series_row(merged, by_cpu[0])
    assert row is not None
    assert row.scores["lpips"][99] == pytest.approx(0.2504 * 0.99 * 2)


@pytest.mark.usefixtures("undrawn")
def test_a_merge_can_be_merged_and_repeated(cpu: Path, gpu: Path, tmp_path: Path) -> None:
    third = small()
    for one in third.records:
        one.environment = one.environment.model_copy(update={"threads": 64})
    other = put(third, tmp_path / "other")
    merge([cpu, gpu], tmp_path / "both")
    twice, _ = merge([tmp_path / "both", other], tmp_path / "step by step")
    once, report = merge([cpu, gpu, other], tmp_path / "at once")
    assert len(machines(twice)) == 3
    assert twice == once
    assert contents(tmp_path / "step by step") == contents(tmp_path / "at once")
    # Over the earlier one, with less: what that alone had goes.
    merge([cpu, gpu], report.parent)
    assert contents(report.parent) == contents(tmp_path / "both")


@pytest.mark.usefixtures("undrawn")
def test_films_and_metrics_of_only_one_folder_are_kept(
    cpu: Path, gpu: Path, tmp_path: Path
) -> None:
    def fewer(results: Results) -> None:
        results.films = results.films[1:]
        results.records = [one for one in results.records if one.evaluated_on == "beta"]
        results.films[0].video, results.films[0].barcode = None, None

    def able(results: Results) -> None:
        results.metrics = [m for m in results.metrics if m.name != "psnr"]
        results.metrics[0].unavailable = None
        assert results.metrics[0].name == "ssim"

    changed(cpu, fewer)
    changed(gpu, able)
    results, report = merge([cpu, gpu], tmp_path / "both")
    assert [film.name for film in results.films] == ["beta", "alpha"]
    assert (report.parent / str(results.films[0].barcode)).is_file()
    assert [metric.name for metric in results.metrics] == [metric.name for metric in METRICS]
    assert all(metric.unavailable is None for metric in results.metrics)


@pytest.mark.usefixtures("undrawn")
def test_overlaps_are_those_of_all_folders(cpu: Path, gpu: Path, tmp_path: Path) -> None:
    def third(results: Results) -> None:
        alpha, beta = results.films
        results.films = [alpha, beta.model_copy(update={"name": "gamma"})]
        results.records = [one for one in results.records if one.evaluated_on == "alpha"]
        alpha.overlaps = {"gamma": 0.5}

    def unknown(results: Results) -> None:
        results.films[0].overlaps = None

    changed(gpu, third)
    results, _ = merge([cpu, gpu], tmp_path / "both")
    assert results.films[0].overlaps == {"beta": 0.0, "gamma": 0.5}
    changed(cpu, unknown)
    results, _ = merge([cpu, gpu], tmp_path / "again")
    assert results.films[0].overlaps == {"gamma": 0.5}


def test_a_missing_file_is_missing_in_the_merge_too(cpu: Path, gpu: Path, tmp_path: Path) -> None:
    for film in small().films:
        (gpu / str(film.series)).unlink()
    lost = gpu / on_a_gpu(small()).records[0].pictures[0].reconstruction
    lost.unlink()
    results, report = merge([cpu, gpu], tmp_path / "both")
    assert "1 picture of this strip could not be read." in report.read_text(encoding="utf-8")
    merged = read_json(report.parent / str(results.films[0].series), Series)
    assert {row.machine for row in merged.rows} == {environment_key(ENVIRONMENT)}


@pytest.mark.usefixtures("undrawn")
@pytest.mark.parametrize("lost", [0, 1])
def test_frames_of_a_film_are_shown_if_one_folder_still_has_them(tmp_path: Path, lost: int) -> None:
    other = small()
    for one in other.records:
        one.environment = one.environment.model_copy(update={"device_name": "Other CPU"})
    folders = [put(small(), tmp_path / "one"), put(other, tmp_path / "other")]
    shutil.rmtree(folders[lost] / "figures/frames/alpha/original")
    results, report = merge(folders, tmp_path / "both")
    alpha = results.films[0]
    strip = write_strip(results, alpha, report.parent, tmp_path / "strip.webp")
    assert strip is not None and (len(strip.columns), strip.missing) == (5, 0)
    page, _ = film_content(results, alpha, FilmSeries(None, None), report.parent, None)
    assert len(page.moments) == 5 and all(moment.original for moment in page.moments)


@pytest.mark.usefixtures("undrawn")
def test_only_frames_common_to_all_machines_are_shown(cpu: Path, tmp_path: Path) -> None:
    other = small()
    for one in other.records:
        one.environment = one.environment.model_copy(update={"device_name": "Other CPU"})
        one.pictures[1].frame += 1
    results, report = merge([cpu, put(other, tmp_path / "other")], tmp_path / "both")
    strip = write_strip(results, results.films[0], report.parent, tmp_path / "strip.webp")
    assert strip is not None
    assert strip.missing == 0
    assert [kind for _, kind, _ in strip.columns] == ["typical", "worst", "typical", "worst"]


def test_a_shortened_name_keeps_its_machine() -> None:
    names = [f"a_model_with_a_long_name on {letter}" for letter in ("A", "B", "A26")]
    assert [picture_text(name, 12) for name in names] == [
        "a_mode… on A",
        "a_mode… on B",
        "a_mo… on A26",
    ]
    cut = [fit_text(name, 100, 15) for name in names]
    assert [name.split("… ")[1] for name in cut] == ["on A", "on B", "on A26"]
    assert all(font(15).getlength(name) <= 100 for name in cut)


def _fingerprint(results: Results) -> None:
    results.films[0].fingerprint = "sha256:other"


def _size(results: Results) -> None:
    results.films[1].size = "64x36"


def _budget(results: Results) -> None:
    results.budget = "9 epochs"


def _batch(results: Results) -> None:
    results.batch = 17


def _time(results: Results) -> None:
    results.created = "yesterday"


def _outside(results: Results) -> None:
    results.records[0].pictures[0].reconstruction = "../cpu/figures/barcode-alpha.png"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (_fingerprint, "the film 'alpha' is not the same in cpu and gpu: its fingerprint differs"),
        (_size, "the film 'beta' is not the same in cpu and gpu: its size differs"),
        (
            _budget,
            "records under different protocols are not comparable: the budget is '1200 frames' in "
            "cpu and '9 epochs' in gpu",
        ),
        (
            _batch,
            "records under different protocols are not comparable: the batch is '16' in cpu and "
            "'17' in gpu",
        ),
        (_time, "results were made at 'yesterday', which is not a time"),
        (
            _outside,
            "gpu: a record names a file outside the results folder: "
            "'../cpu/figures/barcode-alpha.png'",
        ),
    ],
)
def test_results_that_do_not_fit_together_are_refused_in_one_line(
    cpu: Path,
    gpu: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    change: Change,
    words: str,
) -> None:
    changed(gpu, change)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(BadInput) as refused:
        merge([Path("cpu"), Path("gpu")], Path("both"))
    assert str(refused.value) == words
    assert not Path("both").exists()


def test_a_link_that_leads_out_of_its_folder_is_not_followed(
    cpu: Path, gpu: Path, tmp_path: Path
) -> None:
    secret = tmp_path / "secret.png"
    Image.new("RGB", (4, 4)).save(secret)
    barcode = gpu / str(small().films[0].barcode)
    barcode.unlink()
    barcode.symlink_to(secret)
    with pytest.raises(BadInput, match="names a file outside the results folder"):
        merge([cpu, gpu], tmp_path / "both")


@pytest.mark.usefixtures("undrawn")
def test_a_merge_is_written_only_to_a_new_folder_or_an_earlier_merge(
    cpu: Path, gpu: Path, tmp_path: Path
) -> None:
    other = tmp_path / "other"
    other.mkdir()
    (other / "notes.txt").write_text("mine")
    with pytest.raises(BadInput, match=r"holds 'notes.txt'; a merge is written into"):
        merge([cpu, gpu], other)
    for into in (cpu, gpu / "merged", tmp_path):
        with pytest.raises(BadInput, match="must lie outside"):
            merge([cpu, gpu], into)
    # A comparison has been put where a merge was.
    both = tmp_path / "both"
    merge([cpu, gpu], both)
    write_json(both / "results.json", small())
    before = contents(both)
    with pytest.raises(BadInput, match="a comparison's own results"):
        merge([cpu, gpu], both)
    assert contents(both) == before
    assert contents(other) == {"notes.txt": hashlib.sha256(b"mine").hexdigest()}


def test_the_command_merges_where_there_is_no_torch(cpu: Path, gpu: Path, tmp_path: Path) -> None:
    without = run("cpu", "gpu", cwd=tmp_path)
    assert without.returncode == 2
    assert without.stderr == "zoo: several folders must be merged into another: add --into FOLDER\n"
    done = run("cpu", "gpu", "--into", "both", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "report: both/report.md" in done.stdout
    assert "sharp on B" in done.stdout
    changed(gpu, _budget)
    refused = run("cpu", "gpu", "--into", "both", cwd=tmp_path)
    assert refused.returncode == 2
    assert refused.stderr.startswith("zoo: records under different protocols")
    assert refused.stderr.count("\n") == 1
