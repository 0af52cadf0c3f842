"""Time epochs of our engine and of pythae's trainers: same networks, same batch, same frames."""

from __future__ import annotations

import statistics
from pathlib import Path
from typing import Any

import pytest
import torch

from benchmarks.peers import SIZE, Race, as_pythae, sides
from benchmarks.ratios import described, report

pytest.importorskip("pythae", reason="pip install 'film-zoo[bench]'", exc_type=ImportError)

ROUNDS = 5
RACES = {
    "vae-narrow": Race("vae", width=16, batch=8, frames=256),
    "vae-wide": Race("vae", width=32, batch=32, frames=256),
    "vaegan-narrow": Race("vaegan", width=16, batch=8, frames=128),
    "vaegan-wide": Race("vaegan", width=32, batch=32, frames=64),
}


@pytest.mark.parametrize("name", RACES)
@pytest.mark.benchmark(group="peers")
def test_epochs_against_pythae(
    benchmark: Any,
    name: str,
    device: torch.device,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    race = Race(**{**vars(RACES[name]), "device": device.type})
    ratios: list[float] = []
    of_work: list[float] = []
    rates: list[tuple[float, float]] = []
    with sides(race, tmp_path) as turns:
        for turn in turns.values():
            turn()  # warms up

        def both() -> None:
            ours, theirs = turns["film-zoo"](), turns["pythae"]()
            ratios.append(theirs.seconds / ours.seconds)
            of_work.append(theirs.cpu_seconds / ours.cpu_seconds)
            rates.append((race.frames / ours.seconds, race.frames / theirs.seconds))

        benchmark.pedantic(both, rounds=ROUNDS, iterations=1)
    ours, theirs = (statistics.median(side) for side in zip(*rates, strict=True))
    report(
        benchmark,
        capsys,
        ratios,
        lambda ratio: (
            f"{name} at {SIZE}, width {race.width}, batch {race.batch}: {ours:.0f} frames/s, "
            f"pythae {theirs:.0f}; ratio {ratio}, of processor time {described(of_work)}"
        ),
        frames_per_second=ours,
        pythae_frames_per_second=theirs,
        cpu_time_ratios=of_work,
    )


def test_pythae_turns_the_decoders_adversarial_gradient_round(tmp_path: Path) -> None:
    """pythae's step gives its decoder another gradient than autograd has for the decoder's loss.

    The discriminator's backward pass comes after the decoder's gradients were cleared and before
    the decoder moves. So the decoder gets the adversarial cost times (1 - scale) with a plus sign,
    but its loss has it times scale with a minus sign: it helps the discriminator.
    """
    from pythae.data.datasets import DatasetOutput
    from pythae.trainers import (
        CoupledOptimizerAdversarialTrainer,
        CoupledOptimizerAdversarialTrainerConfig,
    )

    scale = 0.5
    model = as_pythae(Race("vaegan", width=8, batch=4, frames=8), adversarial_loss_scale=scale)
    # In training mode, the spectral norm would be estimated anew in every pass.
    model.eval()
    frames = torch.rand(4, 3, SIZE.height, SIZE.width, generator=torch.Generator().manual_seed(0))
    output = model(DatasetOutput(data=frames))
    weights = list(model.decoder.parameters())

    def gradient(loss: torch.Tensor) -> torch.Tensor:
        found = torch.autograd.grad(loss, weights, retain_graph=True)
        return torch.cat([g.flatten() for g in found])

    of_its_loss = gradient(output.decoder_loss)
    likeness = gradient(output.recon_loss)
    adversarial = gradient(output.discriminator_loss)
    torch.testing.assert_close(
        of_its_loss, (1 - scale) * likeness - scale * adversarial, rtol=1e-3, atol=1e-5
    )

    class Trainer(CoupledOptimizerAdversarialTrainer):  # type: ignore[misc]
        """Only the step of the trainer's optimisers."""

        def __init__(self) -> None:
            self.model, self.distributed = model, False
            self.training_config = CoupledOptimizerAdversarialTrainerConfig(no_cuda=True)
            self.set_encoder_optimizer()
            self.set_decoder_optimizer()
            self.set_discriminator_optimizer()

    output.update_encoder = output.update_decoder = output.update_discriminator = True
    Trainer()._optimizers_step(output)
    assert weights[0].grad is not None
    left = torch.cat([p.grad.flatten() for p in weights if p.grad is not None])
    torch.testing.assert_close(
        left, (1 - scale) * likeness + (1 - scale) * adversarial, rtol=1e-3, atol=1e-5
    )
    cosine = torch.nn.functional.cosine_similarity
    wanted, got = of_its_loss - (1 - scale) * likeness, left - (1 - scale) * likeness
    assert cosine(wanted, got, dim=0) < -0.99
