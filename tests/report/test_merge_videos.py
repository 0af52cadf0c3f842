"""Videos and sheets in merged results: whose they are, and which no longer fit."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.report.machines import Change, changed, put, small
from zoo.base.records import Results, SideBySide
from zoo.report.merge import merge
from zoo.report.results_folder import read_results

pytestmark = pytest.mark.usefixtures("undrawn")


def test_videos_and_sheets_of_films_are_those_of_the_first_folder_that_has_them(
    cpu: Path, gpu: Path, tmp_path: Path
) -> None:
    def beside(model: str, there: bool) -> Change:
        def change(results: Results) -> None:
            folder = tmp_path / model
            film = results.films[0]
            film.sheet = f"figures/sheet-{film.name}.webp"
            panels = ["original", model]
            film.side_by_side = SideBySide(
                video="videos/side-by-side.mp4", panels=panels, sound=True
            )
            if there:
                for name in (film.sheet, film.side_by_side.video):
                    (folder / name).parent.mkdir(parents=True, exist_ok=True)
                    (folder / name).write_text(f"{name} of {model}")

        return change

    changed(cpu, beside("cpu", there=False))
    changed(gpu, beside("gpu", there=True))
    results, report = merge([cpu, gpu], tmp_path / "both")
    [alpha, beta] = results.films
    assert (beta.sheet, beta.side_by_side) == (None, None)
    assert alpha.sheet and alpha.side_by_side
    assert alpha.side_by_side.panels == ["original", "gpu"]
    for name, stood_at in (
        (alpha.sheet, "figures/sheet-alpha.webp"),
        (alpha.side_by_side.video, "videos/side-by-side.mp4"),
    ):
        assert name.startswith("merged/")
        assert (report.parent / name).read_text() == f"{stood_at} of gpu"


def beside(results: Results, models: list[str], folder: Path) -> None:
    """A video of the first film beside some of its models, which all have videos of their own."""
    film = results.films[0]
    name = "videos/side-by-side.mp4"
    film.side_by_side = SideBySide(video=name, panels=["original", *models], sound=True)
    for one in results.records:
        one.video = f"videos/{one.trained_on}/{one.model}.mp4"
    (folder / "videos").mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(f"beside {models} in {folder.name}")


@pytest.mark.parametrize(
    ("again", "scores", "video", "shown"),
    [
        # A run that was replaced is in no video, whether or not the later folder has another.
        (["sharp"], 0.2, True, "beside ['sharp'] in later"),
        (["sharp"], 0.2, False, None),
        # These runs are still in the merge, the second one because it is the same one.
        (["blurry"], 0.2, True, "beside ['sharp'] in earlier"),
        (["sharp"], 0.0, False, "beside ['sharp'] in earlier"),
    ],
)
def test_a_video_beside_models_shows_runs_whose_records_are_in_the_merge(
    tmp_path: Path, again: list[str], scores: float, video: bool, shown: str | None
) -> None:
    earlier, later = small(), small()
    later.records = [one for one in later.records if one.model in again]
    for one in later.records:
        one.scores["lpips"]["seen"].mean = (one.scores["lpips"]["seen"].mean or 0) + scores
    beside(earlier, ["sharp"], tmp_path / "earlier")
    if video:
        beside(later, again, tmp_path / "later")
    folders = [put(earlier, tmp_path / "earlier"), put(later, tmp_path / "later")]
    results, report = merge(folders, tmp_path / "both")
    found = results.films[0].side_by_side
    assert (found and (report.parent / found.video).read_text()) == shown


@pytest.mark.parametrize("start", [0, 7])
def test_videos_that_begin_at_another_frame_are_left_out(
    cpu: Path, gpu: Path, tmp_path: Path, start: int
) -> None:
    def filmed(folder: Path, start: int) -> Change:
        def change(results: Results) -> None:
            film = results.films[0]
            film.video, film.video_start = f"{film.name}.mp4", start
            (folder / film.video).write_text("the film")
            for one in results.records:
                one.video = "row.mp4"
            (folder / "row.mp4").write_text("a row")

        return change

    changed(cpu, filmed(cpu, 7))
    changed(gpu, filmed(gpu, start))
    results, _ = merge([cpu, gpu], tmp_path / "both")
    [film] = [film for film in results.films if film.video]
    assert film.video_start == 7
    counts = [
        sum(record.evaluated_on == film.name for record in read_results(folder).records)
        for folder in (cpu, gpu)
    ]
    own = [record for record in results.records if record.evaluated_on == film.name]
    assert len(own) == sum(counts)
    kept = sum(counts) if start == 7 else counts[0]
    assert sum(record.video is not None for record in own) == kept
