"""Throughput of a training: frames/s, data stall and share of the device's peak."""

from __future__ import annotations

import io
import json
import time
from pathlib import Path

import pytest
import torch
from rich.console import Console

from tests.training.tiny_runs import CPU, config_of
from zoo.api.autoencoder import Autoencoder, Loss, Options
from zoo.api.recipe_and_events import Score, TrainingEvent
from zoo.base.frame_size import FrameSize
from zoo.cli.progress import losses_table
from zoo.films.ingested_film import Film
from zoo.plugins.registry import registry
from zoo.training.engine import train
from zoo.training.run_folder import RunFolder
from zoo.training.throughput_and_memory import compute_dtype, matmul_rate, operations_per_frame
from zoo.training.training_frames import BatchLoader


def test_data_stall_is_reported_and_recorded(
    film: Film, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = BatchLoader.read

    def slow(self: BatchLoader, step: int) -> tuple[torch.Tensor, ...]:
        time.sleep(0.02)
        return read(self, step)

    events: list[TrainingEvent] = []
    folder = RunFolder(tmp_path / "plain")
    train(folder, config_of("ae", film), film, CPU, callback=events.append)
    monkeypatch.setattr(BatchLoader, "read", slow)
    starved = RunFolder(tmp_path / "starved")
    starved_events: list[TrainingEvent] = []
    train(starved, config_of("ae", film), film, CPU, callback=starved_events.append)

    assert all(0 < event.data_stall < 1 for event in events + starved_events)
    shares = []
    for run, reported in ((folder, events), (starved, starved_events)):
        lines = [json.loads(line) for line in run.log.read_text().splitlines()]
        assert [line["data_stall"] for line in lines] == [round(m.data_stall, 4) for m in reported]
        description = run.read()
        assert description is not None and description.data_stall is not None
        shares.append(description.data_stall)
    seconds = starved_events[-1].seconds
    assert shares[1] * seconds > 24 * 0.02 * 0.99, "24 batches came 20 ms late"
    assert shares[1] > shares[0]


class OneProduct(Autoencoder):
    """A single matrix, so that its operations can be counted by hand."""

    name = "one-product"
    summary = "for this test"

    def __init__(self, size: FrameSize, options: Options) -> None:
        super().__init__(size, options)
        self.weight = torch.nn.Parameter(torch.randn(3 * size.pixels, 7))

    def losses(self, batch, step):
        frames = batch.frames
        return {"autoencoder": Loss({"any": (frames.flatten(1) @ self.weight).square().mean()})}


def test_operations_count_forward_and_backward(film: Film, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(registry().models, "one-product", OneProduct)
    config = config_of("one-product", film, options={})
    once = 2 * 3 * 32 * 32 * 7
    # The backward pass computes the weight's gradient, and none for the frames.
    assert operations_per_frame(config, CPU) == 2 * once
    assert operations_per_frame(config.model_copy(update={"batch": 1}), CPU) == 2 * once


def test_the_matmul_rate_is_in_operations_per_second() -> None:
    assert compute_dtype("bf16-mixed") == torch.bfloat16
    assert compute_dtype("32-true") == torch.float32
    # From far below one core of an old laptop to far above a large server.
    assert 1e8 < matmul_rate(CPU, torch.float32) < 1e14


def test_share_of_peak_is_reported_if_asked_and_changes_nothing(film: Film, tmp_path: Path) -> None:
    config = config_of("vaegan", film, budget="4steps")
    without, asked = RunFolder(tmp_path / "without"), RunFolder(tmp_path / "asked")
    events: list[TrainingEvent] = []
    train(without, config, film, CPU, callback=events.append)
    assert {event.share_of_peak for event in events} == {None}
    events.clear()
    train(asked, config, film, CPU, callback=events.append, measure_peak=True)
    for event in events:
        assert event.share_of_peak is not None
        assert 0 < event.share_of_peak < 1.5
    ratios = [m.share_of_peak / m.frames_per_second for m in events if m.share_of_peak]
    assert ratios == pytest.approx([ratios[0]] * len(ratios))
    assert asked.weights.read_bytes() == without.weights.read_bytes()


def test_the_display_shows_throughput_scores_and_logged_values() -> None:
    def shown(share: float | None, score: Score | None = None, **logged: float) -> str:
        out = io.StringIO()
        losses = {"one": {"term": 2.0}}
        event = TrainingEvent(
            *(5, 100, 0.05, 40, 2.0, 123.4, 0.0312, share, losses),
            logged={"one": logged} if logged else {},
        )
        Console(file=out, width=80).print(losses_table(event, score))
        return " ".join(out.getvalue().split())

    assert shown(0.37) == (
        "step 5/100 123 frames/s, 37% of matmul peak, 3.1% waiting for frames one term 2"
    )
    assert "peak" not in shown(None)
    score = Score(4, {"held_out": {"psnr": 21.256, "lpips": 0.3}, "seen": {"psnr": 25.0}})
    assert shown(None, score).endswith(
        "held out PSNR 21.26 dB, LPIPS 0.300 at step 4 seen PSNR 25.00 dB at step 4"
    )
    assert shown(None, perplexity=512.25).endswith("one, logged perplexity 512.2")
    assert "logged" not in shown(None, **{f"n{number}": 1.0 for number in range(30)})
