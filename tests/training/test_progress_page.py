"""The page of a training in its run's folder, and `zoo runs watch`."""

from __future__ import annotations

import html
import re
from collections.abc import Callable
from pathlib import Path
from urllib.parse import unquote

import pytest

from benchmarks.step_profile import StopAfter
from tests.training.tiny_runs import CPU, TINY, config_of
from zoo.api.recipe_and_events import TrainingEvent
from zoo.base.interrupts import Interrupted
from zoo.base.locks import IN_FOLDER, exclusive_lock
from zoo.films.ingested_film import Film
from zoo.training import run_writer
from zoo.training.curves_and_progress_page import PAGE, write_progress_page
from zoo.training.engine import train
from zoo.training.run_folder import RunFolder

REFRESH = '<meta http-equiv="refresh" content="5">'


def test_the_page_follows_a_training_to_its_end(
    film: Film, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("SECONDS_BETWEEN_PREVIEWS", "SECONDS_BETWEEN_PAGES"):
        monkeypatch.setattr(run_writer, name, 0.0)
    monkeypatch.setattr(run_writer, "LARGEST_SHARE", 1e9)
    folder = RunFolder(tmp_path)
    pages: list[str] = []
    first: list[str] = []

    def callback(event: TrainingEvent) -> None:
        pages.append((tmp_path / PAGE).read_text())

    def begins(*args: object) -> None:
        write_progress_page(*args)  # type: ignore[arg-type]
        first.append((tmp_path / PAGE).read_text())

    monkeypatch.setattr(run_writer, "write_progress_page", begins)
    config = config_of("ae", film)
    with pytest.raises(Interrupted):
        train(folder, config, film, CPU, callback=callback, stop=StopAfter(12))
    assert REFRESH in first[0] and "<polyline" not in first[0]
    stopped = (tmp_path / PAGE).read_text()
    assert "interrupted, 50.0%" in stopped and REFRESH not in stopped

    train(folder, config, film, CPU, callback=callback)
    during = pages[15]
    assert REFRESH in during and "training, 6" in during and " left" in during
    assert re.search(r"held out</td><td>PSNR \d+\.\d\d dB", during)
    assert "./preview.png?" in during and "<polyline" in during
    last = (tmp_path / PAGE).read_text()
    assert REFRESH not in last and "finished, 100.0%" in last
    # Nothing is loaded from elsewhere, and nothing runs.
    assert "http:" not in last and "https:" not in last and "<script" not in last
    assert "default-src 'none'" in html.unescape(last)


def test_runs_watch_prints_the_address(zoo: Callable, workspace: Path) -> None:
    assert zoo("runs", "watch").code == 2
    trained = zoo("train", "ae", *TINY, "--budget", "12steps")
    assert trained.code == 0, trained.err
    (run,) = (workspace / "runs/carphone/ae").iterdir()
    named = zoo("runs", "watch", run.name)
    address = named.out.strip()
    assert address.startswith("file:///")
    assert Path(unquote(address.removeprefix("file://"))) == run / PAGE
    assert "has no page" in zoo("runs", "watch", "carphone/pca").err
    assert "nothing is being trained here" in zoo("runs", "watch").err
    description = (run / "run.json").read_text()
    (run / "run.json").write_text(description.replace('"finished"', '"training"'))
    with exclusive_lock(run / IN_FOLDER, "a test", waiting=None):
        assert zoo("runs", "watch").out.strip() == address
