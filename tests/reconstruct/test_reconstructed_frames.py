"""Reconstructed frames equal the scored ones to the bit, and are decoded ahead in a thread."""

from __future__ import annotations

import threading
import time
from contextlib import closing
from dataclasses import replace

import numpy as np
import pytest
import torch

from tests.reconstruct.conftest import film_and_entry
from zoo.api.samples_and_latents import BATCH
from zoo.base.errors import ZooError
from zoo.base.records import Record
from zoo.base.workspace import Workspace
from zoo.compare.pictures_and_videos import reconstructed_frames
from zoo.evaluation.evaluate import evaluate
from zoo.evaluation.film_scores import LATENTS
from zoo.evaluation.inference import encode_film
from zoo.evaluation.latents import Quantiser
from zoo.evaluation.metrics import MetricSet
from zoo.films.ingested_film import Film, film_from_frames
from zoo.reconstruct.find_run import finished_run
from zoo.reconstruct.frame_conversion import Pixels
from zoo.reconstruct.model_loader import ModelLoader, TrainedModel
from zoo.reconstruct.reconstruct_film import Reconstruction, stream_frames
from zoo.training.runs import Run, find_runs

CPU = torch.device("cpu")


def run_on_first(studio: Workspace) -> Run:
    return finished_run(find_runs(studio), "ae", "first")


def opened(studio: Workspace, film: str) -> tuple[Film, TrainedModel]:
    entry, _ = film_and_entry(studio, film)
    trained_on, _ = film_and_entry(studio, "first")
    loader = ModelLoader(studio, CPU, lambda one, _: film_and_entry(studio, one.name)[1], print)
    return loader.load(run_on_first(studio), entry, trained_on)


def shown(film: Film, trained: TrainedModel, start: int = 0, stop: int | None = None) -> Pixels:
    with closing(
        stream_frames([Reconstruction(film, "ae", trained)], start, stop or len(film))
    ) as frames:
        return np.array([frame for (frame,) in frames])


def reconstructed(studio: Workspace, film: str, start: int = 0, stop: int | None = None) -> Pixels:
    """Every frame of a reconstruction."""
    return shown(*opened(studio, film), start, stop)


def evaluated(studio: Workspace, film: str) -> Record:
    run = run_on_first(studio)
    assert run.description is not None
    _, the_film = film_and_entry(studio, film)
    metric_set = MetricSet.load(CPU, "psnr")
    return evaluate(studio, run.folder, run.description.config, the_film, metric_set, CPU)


def scored(studio: Workspace, film: str, record: Record) -> Pixels:
    """The frames that the record is of, from the latents that were scored."""
    _, the_film = film_and_entry(studio, film)
    found = reconstructed_frames(studio, record, the_film, range(len(the_film)), CPU)
    return np.array([frame for _, frame in found])


@pytest.mark.parametrize("film", ["first", "second"])
def test_the_reconstruction_is_what_was_scored(film: str, studio: Workspace) -> None:
    before = reconstructed(studio, film)
    evaluated(studio, "first")
    record = evaluated(studio, film)
    assert np.array_equal(before, scored(studio, film, record))
    assert np.array_equal(reconstructed(studio, film), before)
    # Of something that varies: equality of plain grey would prove nothing.
    assert before.std(axis=0).max() > 1, before.std(axis=0).max()


def test_latents_that_were_scored_are_not_encoded_again(
    studio: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    evaluated(studio, "first")
    monkeypatch.setattr(
        "zoo.reconstruct.model_loader.TrainedModel.encode", lambda *_: pytest.fail("encoded again")
    )
    reconstructed(studio, "first")
    with pytest.raises(pytest.fail.Exception, match="encoded again"):
        reconstructed(studio, "second")


def test_the_quantiser_is_that_of_the_film_the_model_was_trained_on(studio: Workspace) -> None:
    """With a quantiser of the second film itself its frames would be others."""
    film, trained = opened(studio, "second")
    assert (trained.folder.evaluation("first") / LATENTS).exists()
    on_its_own = Quantiser.spanning(encode_film(trained.model, film, CPU).numbers)
    assert not torch.equal(trained.quantiser.step, on_its_own.step)
    other = replace(trained, quantiser=on_its_own)
    assert not np.array_equal(shown(film, other), shown(film, trained))


def test_a_range_shows_the_frames_of_the_whole(studio: Workspace) -> None:
    whole = reconstructed(studio, "second")
    assert np.array_equal(reconstructed(studio, "second", 3, 37), whole[3:37])
    assert np.array_equal(reconstructed(studio, "second", 33, 35), whole[33:35])


class Slow:
    """A panel that counts what it reads; each step takes a moment."""

    name = "slow"

    def __init__(self, frames: int, fails_at: int | None = None) -> None:
        self.film: Film = film_from_frames(np.zeros((frames, 32, 32, 3), np.uint8))
        self.begun, self.fails_at = 0, fails_at

    def read(self, span: slice) -> slice:
        self.begun += 1
        time.sleep(0.05)
        return span

    def decode(self, data: slice) -> Pixels:
        if self.fails_at is not None and data.start >= self.fails_at:
            raise ZooError("no more")
        time.sleep(0.05)
        return np.full((data.stop - data.start, 32, 32, 3), data.start // BATCH, np.uint8)


class Meeting(Slow):
    """A panel whose second decoding waits for the third reading, and the other way round."""

    def __init__(self, frames: int) -> None:
        super().__init__(frames)
        self.met = threading.Barrier(2)

    def read(self, span: slice) -> slice:
        if span.start == 2 * BATCH:
            self.met.wait(timeout=60)
        return span

    def decode(self, data: slice) -> Pixels:
        if data.start == BATCH:
            self.met.wait(timeout=60)
        return np.full((data.stop - data.start, 32, 32, 3), data.start // BATCH, np.uint8)


def test_reading_and_decoding_run_at_once() -> None:
    # One after another they would wait for each other until the barrier breaks.
    panel = Meeting(4 * BATCH)
    with closing(stream_frames([panel], 0, len(panel.film))) as seen:
        found = [int(frame[0, 0, 0]) for (frame,) in seen]
    assert found == [number // BATCH for number in range(4 * BATCH)]
    assert not panel.met.broken


def test_decoding_goes_on_while_a_frame_is_used() -> None:
    panel = Slow(10 * BATCH)
    with closing(stream_frames([panel], 0, len(panel.film))) as seen:
        next(seen)
        end = time.monotonic() + 60
        while panel.begun < 3:
            assert time.monotonic() < end, "nothing was read while a frame was used"
            time.sleep(0.01)


def test_no_more_is_read_ahead_than_was_promised() -> None:
    panel = Slow(40 * BATCH)
    with closing(stream_frames([panel], 0, len(panel.film))) as seen:
        next(seen)
        time.sleep(1.2)
        assert panel.begun <= 7
    begun = panel.begun
    time.sleep(0.2)
    assert panel.begun == begun, "reading went on after it was closed"
    assert not [t for t in threading.enumerate() if t.name == "made-ahead"]


def test_an_error_in_the_model_is_raised_after_the_frames_before_it() -> None:
    panel = Slow(4 * BATCH, fails_at=2 * BATCH)
    count = 0
    with (
        pytest.raises(ZooError, match="no more"),
        closing(stream_frames([panel], 0, len(panel.film))) as seen,
    ):
        for _ in seen:
            count += 1
    assert count == 2 * BATCH
