"""Training on several ranks gives the loss curve of one process."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.training.tiny_runs import TINY


def losses(workspace: Path) -> list[float]:
    (log,) = workspace.glob("runs/carphone/*/*/log.jsonl")
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    assert [line["step"] for line in lines] == list(range(1, 31))
    return [line["losses"]["autoencoder"]["pixel"] for line in lines]


def run(workspace: Path, model: tuple[str, ...], *launcher: str) -> list[float]:
    workspace.mkdir()
    done = subprocess.run(
        [
            sys.executable,
            *launcher,
            "-m",
            "zoo",
            "train",
            *model,
            *TINY,
            "--batch",
            "8",
            "--budget",
            "30steps",
        ],
        cwd=workspace,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("run: ") == 1, "only rank 0 prints"
    return losses(workspace)


@pytest.mark.slow
# One that started at PCA would have little left to learn in thirty steps.
@pytest.mark.parametrize("model", [("vae", "--set", "start=scratch"), ("vqvae",)])
def test_two_ranks_have_the_loss_curve_of_one_process(
    model: tuple[str, ...], tmp_path: Path
) -> None:
    alone = run(tmp_path / "alone", model)
    torchrun = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2")
    together = run(tmp_path / "together", model, *torchrun)
    # Sums are added in another order; everything else is the same, noise included.
    assert together == pytest.approx(alone, rel=2e-3)
    assert alone[-1] < 0.8 * alone[0]
