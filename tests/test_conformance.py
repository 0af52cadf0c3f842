"""The suite finds each fault that it is there to find, by the check that is meant to find it."""

from __future__ import annotations

import dataclasses
import importlib
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

import zoo.testing
from zoo.api.autoencoder import Autoencoder, Loss, Optimizer
from zoo.conformance.remedies import remedy
from zoo.conformance.suite import Finding, examine, examine_one, names_of_checks
from zoo.plugins.registry import registry
from zoo.testing import assert_conforms, conformance


class Sound(Autoencoder):
    """Linear both ways, with an adversary: as small as a model with three players can be."""

    name = "sound"
    summary = "keeps every promise"
    opposed = (("decoder.adversarial", "discriminator.real_or_fake"),)

    def __init__(self, size, options):
        super().__init__(size, options)
        values = 3 * size.pixels
        self.encoder = nn.Linear(values, options.latent)
        self.decoder = nn.Linear(options.latent, values)
        self.discriminator = nn.Sequential(nn.Linear(values, 8), nn.SiLU(), nn.Linear(8, 1))

    def encode(self, frames):
        return self.encoder(frames.flatten(1))

    def decode(self, latent):
        shape = (3, self.size.height, self.size.width)
        return self.decoder(latent).sigmoid().unflatten(1, shape)

    def players(self):
        parts = ("encoder", "decoder", "discriminator")
        return {part: list(getattr(self, part).parameters()) for part in parts}

    def optimizer(self, player):
        # At 0.01 rounding decides whether it learns, and with it the number of threads.
        return Optimizer(lr=0.003)

    def losses(self, batch, step):
        frames = batch.frames
        drawn = self.decode(self.encode(frames))
        on_real, on_drawn = (self.discriminator(f.flatten(1)).mean() for f in (frames, drawn))
        pixel = F.mse_loss(drawn, frames)
        return {
            "encoder": Loss({"pixel": pixel}),
            "decoder": Loss({"pixel": pixel, "adversarial": 1e-3 * F.softplus(-on_drawn)}),
            "discriminator": Loss({"real_or_fake": F.softplus(on_drawn) + F.softplus(-on_real)}),
        }


class EncoderForDecoder(Sound):
    def players(self):
        right = super().players()
        return {**right, "encoder": right["decoder"], "decoder": right["encoder"]}


class DiscriminatorForDecoder(Sound):
    def players(self):
        right = super().players()
        return {**right, "decoder": right["discriminator"], "discriminator": right["decoder"]}


class OneLayerAstray(Sound):
    def players(self):
        right = super().players()
        weight, bias = right["encoder"]
        return {**right, "encoder": [weight], "decoder": [*right["decoder"], bias]}


class ReversedSign(Sound):
    def losses(self, batch, step):
        found = super().losses(batch, step)
        terms = dict(found["decoder"].terms)
        return {
            **found,
            "decoder": Loss({**terms, "adversarial": -terms["adversarial"]}),
        }


class NoSuchTerm(Sound):
    opposed = (("decoder.fool", "discriminator.real_or_fake"),)


class DetachedLoss(Sound):
    def losses(self, batch, step):
        found = super().losses(batch, step)
        return {**found, "encoder": Loss({"pixel": found["encoder"].terms["pixel"].detach()})}


class DetachedTerm(Sound):
    """The decoder still learns from the adversary, so that its loss as a whole does reach it."""

    def losses(self, batch, step):
        found = super().losses(batch, step)
        terms = dict(found["decoder"].terms)
        return {**found, "decoder": Loss({**terms, "pixel": terms["pixel"].detach()})}


class OverlappingGroups(Sound):
    def players(self):
        right = super().players()
        return {**right, "decoder": right["decoder"] + right["encoder"][:1]}


class BatchDependent(Sound):
    def encode(self, frames):
        latent = super().encode(frames)
        return latent - 0.1 * latent.mean(dim=0)


class Peeking(Sound):
    def encode(self, frames):
        self.seen = frames
        return super().encode(frames)

    def decode(self, latent):
        drawn = super().decode(latent)
        return drawn if self.training else 0.5 * (drawn + self.seen[: len(drawn)])


class PeekingThroughTheLatent(Sound):
    def encode(self, frames):
        latent = super().encode(frames)
        latent.frames = frames
        return latent

    def decode(self, latent):
        drawn = super().decode(latent)
        return 0.5 * (drawn + latent.frames) if hasattr(latent, "frames") else drawn


class StateOutsideTheWeights(Sound):
    """A running mean that training moves and that no state dict knows of."""

    shift = torch.zeros(())

    def losses(self, batch, step):
        frames = batch.frames
        self.shift = 0.9 * self.shift + 0.1 * frames.mean().detach()
        return super().losses(batch, step)

    def decode(self, latent):
        return (super().decode(latent) * (1 - self.shift)).clamp(0, 1)


class WrongRange(Sound):
    def decode(self, latent):
        return super().decode(latent) * 2 - 1


class TooManyNumbers(Sound):
    def encode(self, frames):
        return F.pad(super().encode(frames), (0, 1))

    def decode(self, latent):
        return super().decode(latent[:, :-1])


class TooFewNumbers(Sound):
    def encode(self, frames):
        return super().encode(frames)[:, :-1]

    def decode(self, latent):
        return super().decode(F.pad(latent, (0, 1)))


class ALatentOfItsOwn(Sound):
    """Right at six numbers only."""

    def encode(self, frames):
        return super().encode(frames)[:, :6]

    def decode(self, latent):
        return super().decode(F.pad(latent, (0, self.options.latent - 6)))


class Undecided(Sound):
    def decode(self, latent):
        drawn = super().decode(latent)
        return (drawn + 0.01 * torch.randn_like(drawn)).clamp(0, 1)


class LeavesFramesOut(Sound):
    def frames_taken(self, seen):
        return seen - seen % 12


class ComesBackElsewhere(Sound):
    def to_coordinates(self, numbers):
        return numbers.round()


class KeepsAConstantOnTheProcessor(Sound):
    def __init__(self, size, options):
        super().__init__(size, options)
        self.gain = torch.ones(options.latent)

    def encode(self, frames):
        return super().encode(frames) * self.gain


class DrawsNoiseOnTheProcessor(Sound):
    def losses(self, batch, step):
        frames = batch.frames
        return super().losses(
            dataclasses.replace(batch, frames=frames + 0.01 * torch.randn(frames.shape)), step
        )


class GivesLatentsFromTheProcessor(Sound):
    def encode(self, frames):
        return super().encode(frames).cpu()

    def decode(self, latent):
        return super().decode(latent.to(self.decoder.weight.device))


class MixesTypesUnderAutocast(Sound):
    def losses(self, batch, step):
        frames = batch.frames
        latent = self.encode(frames)
        nothing = torch.zeros(latent.shape, device=latent.device)
        return super().losses(
            dataclasses.replace(batch, frames=frames + 0 * torch.lerp(latent, nothing, 0.5).sum()),
            step,
        )


class LearnsNothing(Sound):
    def optimizer(self, player):
        return Optimizer(lr=1e-9)


class LeavesTheRangeLater(Sound):
    def __init__(self, size, options):
        super().__init__(size, options)
        self.register_buffer("steps", torch.zeros(()))

    def losses(self, batch, step):
        self.steps += 1
        return super().losses(batch, step)

    def decode(self, latent):
        return super().decode(latent) + (self.steps > 10)


class PreparesAnAttribute(Sound):
    shift = 0.0

    def prepare(self, frames):
        self.shift = float(frames[:].mean()) / 255

    def losses(self, batch, step):
        shifted = dataclasses.replace(batch, frames=0.5 * (batch.frames + self.shift))
        return super().losses(shifted, step)


class PeeksAtHeldOutFrames(Sound):
    def prepare(self, frames):
        whole = frames._read.args[0]
        with torch.no_grad():
            next(self.parameters()).add_(float(whole[:].mean()) / 255)


class DrawsFromNumPy(Sound):
    def losses(self, batch, step):
        noise = float(np.random.rand())
        return super().losses(dataclasses.replace(batch, frames=batch.frames * noise), step)


class OneUselessLayerOutweighsAll(Sound):
    def __init__(self, size, options):
        super().__init__(size, options)
        self.useless = nn.Linear(2000, 600)

    def players(self):
        right = super().players()
        return {**right, "encoder": [*right["encoder"], *self.useless.parameters()]}


class WaitsForANumber(Sound):
    def losses(self, batch, step):
        losses = super().losses(batch, step)
        return losses if losses["encoder"].total.detach() < 1e9 else {}


class WaitsForAShape(Sound):
    def losses(self, batch, step):
        frames = batch.frames
        bright = frames[frames > 0.5]
        return super().losses(dataclasses.replace(batch, frames=frames + 0 * bright.sum()), step)


class CopiesAConstant(Sound):
    def losses(self, batch, step):
        scale = torch.tensor([1.0, 1.0, 1.0], device=batch.frames.device).view(3, 1, 1)
        return super().losses(dataclasses.replace(batch, frames=batch.frames * scale), step)


class PreparesAClassAttribute(Sound):
    shift = 0.0

    def prepare(self, frames):
        type(self).shift = float(frames[:].mean()) / 255

    def losses(self, batch, step):
        shifted = dataclasses.replace(batch, frames=0.5 * (batch.frames + self.shift))
        return super().losses(shifted, step)


class UndeclaredCodes(Sound):
    def encode(self, frames):
        latent = 300 * super().encode(frames)
        return latent + (latent.round() - latent).detach()

    def decode(self, latent):
        return super().decode(latent / 300)


class Coding(Sound):
    """Codes its latents as bytes, turned by a table."""

    def __init__(self, size, options):
        super().__init__(size, options)
        self.coder = nn.Module()
        self.coder.register_buffer("turned", torch.zeros((), dtype=torch.double))
        self.turned = nn.Buffer(torch.zeros((), dtype=torch.double))

    def calibrate(self, batches):
        self.coder.turned.fill_(7.0)
        self.turned.fill_(7.0)

    def turn(self):
        return self.coder.turned

    def compress(self, levels, values):
        return bytes(((levels + int(self.turn())) % values).flatten().tolist())

    def decompress(self, stream, count, values):
        levels = (torch.tensor(list(stream), dtype=torch.long) - int(self.turn())) % values
        return levels.view(count, self.options.latent)


class CodesTooLittle(Coding):
    def compress(self, levels, values):
        return super().compress(levels // 2 * 2, values)


class CodesWithTheEncoder(Coding):
    def turn(self):
        return self.turned


FAULTS = {
    WaitsForANumber: "works on a gpu",
    WaitsForAShape: "works on a gpu",
    CopiesAConstant: "works on a gpu",
    PreparesAClassAttribute: "prepare survives a reload",
    UndeclaredCodes: "latent as declared",
    CodesTooLittle: "codes latents without loss",
    CodesWithTheEncoder: "codes latents without loss",
    PreparesAnAttribute: "prepare survives a reload",
    PeeksAtHeldOutFrames: "prepared by training frames alone",
    DrawsFromNumPy: "noise comes from the step",
    OneUselessLayerOutweighsAll: "losses reach their players",
    EncoderForDecoder: "players hold what they name",
    DiscriminatorForDecoder: "players hold what they name",
    OneLayerAstray: "players hold what they name",
    ReversedSign: "opposed terms oppose",
    NoSuchTerm: "opposed terms oppose",
    DetachedLoss: "losses reach their players",
    DetachedTerm: "losses reach their players",
    OverlappingGroups: "players cover the model",
    BatchDependent: "batch invariant",
    Peeking: "decodes from the latent alone",
    PeekingThroughTheLatent: "decodes from the latent alone",
    StateOutsideTheWeights: "reloads to the bit",
    WrongRange: "shapes and range",
    TooManyNumbers: "latent as declared",
    TooFewNumbers: "latent as declared",
    ALatentOfItsOwn: "latent as declared",
    Undecided: "deterministic",
    LeavesFramesOut: "trains on every frame",
    ComesBackElsewhere: "comes back from coordinates",
    KeepsAConstantOnTheProcessor: "works on a gpu",
    DrawsNoiseOnTheProcessor: "works on a gpu",
    GivesLatentsFromTheProcessor: "works on a gpu",
    MixesTypesUnderAutocast: "works on a gpu",
    LearnsNothing: "fits one batch",
}


def broken(architecture: type[Autoencoder], *, trained: bool = True) -> dict[str, str]:
    names = (n for n in names_of_checks(architecture) if trained or n != "fits one batch")
    findings = (examine_one(architecture, name) for name in names)
    return {f.check: f.problem for f in findings if f.problem is not None}


@pytest.mark.parametrize("sound", [Sound, Coding], ids=lambda sound: sound.__name__)
def test_a_sound_model_is_found_sound(sound: type[Autoencoder]) -> None:
    assert {str(finding) for finding in examine(sound) if finding.verdict != "kept"} == set()


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.__name__)
def test_a_planted_fault_is_found_by_its_check(fault: type[Autoencoder]) -> None:
    wanted = FAULTS[fault]
    assert wanted in broken(fault, trained=wanted == "fits one batch")


@pytest.mark.parametrize(
    ("fault", "check", "root"),
    [
        (WrongRange, "fits one batch", "shapes and range"),
        (Undecided, "batch invariant", "deterministic"),
        (DrawsFromNumPy, "prepare survives a reload", "noise comes from the step"),
    ],
)
def test_what_follows_from_a_fault_is_marked_and_not_broken(
    fault: type[Autoencoder], check: str, root: str
) -> None:
    assert examine_one(fault, root).verdict == "broken"
    finding = examine_one(fault, check)
    assert (finding.verdict, finding.problem) == ("follows", None)
    assert finding.detail.endswith(f"a consequence of {root!r}, which is to be mended first")


def test_the_remedy_is_that_of_what_was_seen() -> None:
    finding = examine_one(LeavesTheRangeLater, "fits one batch")
    assert (finding.verdict, finding.fault) == ("broken", "shapes and range")
    assert "end decode with sigmoid or clamp to [0, 1]" in str(remedy(finding.fault))


def test_a_model_that_does_not_learn_is_told_its_learning_rate() -> None:
    finding = examine_one(LearnsNothing, "fits one batch")
    assert "adamw with lr=1e-09 for 'decoder'" in finding.detail and not finding.fault


def from_module(folder: Path, name: str, source: str, monkeypatch: pytest.MonkeyPatch) -> Finding:
    """Examine the import of a module, after importing it here as a plugin's would be."""
    monkeypatch.syspath_prepend(str(folder))
    model = "\n\nimport zoo\n\nclass Model(zoo.Autoencoder):\n    name = summary = 'x'\n"
    (folder / f"{name}.py").write_text(textwrap.dedent(source) + model)
    monkeypatch.setitem(sys.modules, name, importlib.import_module(name))
    return examine_one(sys.modules[name].Model, "importing does no work")


def test_work_on_import_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "frames.bin").write_bytes(bytes(2_000_000))
    monkeypatch.chdir(tmp_path)
    source = f"""
        import random, subprocess, threading, time, urllib.request
        from pathlib import Path
        import av, numpy, torch

        random.random(), numpy.random.rand()
        net = torch.nn.Linear(4, 4)
        net(torch.ones(1, 4)).sum().backward()
        frames = torch.zeros(2_000_000)
        Path({str(tmp_path / "frames.bin")!r}).read_bytes()
        Path("cache.txt").write_text("kept for the next time")
        threading.Thread(target=time.sleep, args=(5,), daemon=True).start()
        for attempt in (
            lambda: urllib.request.urlopen("http://127.0.0.1:9/weights"),
            lambda: subprocess.run(["true"]),
            lambda: av.open("missing.mp4"),
        ):
            try:
                attempt()
            except OSError:
                pass
    """
    finding = from_module(tmp_path, "zoo_busy", source, monkeypatch)
    assert finding.verdict == "broken"
    for work in (
        "takes gradients",
        "has torch handle 2,0",
        "draws from torch's random numbers",
        "draws from numpy's random numbers",
        "draws from Python's random numbers",
        "reads frames.bin of 2.0 MB",
        "writes cache.txt",
        "uses the network",
        "starts another process",
        "opens a film",
        "leaves threads behind",
    ):
        assert work in finding.detail


@pytest.mark.slow
def test_work_in_a_hook_and_long_computing_are_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = """
        import time
        import torch

        def zoo_models():
            torch.manual_seed(0)
            return [Model]

        end = time.process_time() + 2.2
        while time.process_time() < end:
            pass
    """
    finding = from_module(tmp_path, "zoo_slow", source, monkeypatch)
    assert "seeds them" in finding.detail
    assert "computes for 2." in finding.detail


def test_small_constants_and_files_are_no_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = """
        import pydantic, torch
        from pathlib import Path

        WINDOW = torch.exp(-torch.linspace(-3, 3, 11).square())
        TEXT = Path(__file__).read_text()
    """
    assert from_module(tmp_path, "zoo_quiet", source, monkeypatch).verdict == "kept"


def test_of_a_model_made_in_memory_nothing_is_said_about_its_import() -> None:
    made = type("Made", (Sound,), {"__module__": "__main__"})
    finding = examine_one(made, "importing does no work")
    assert finding.verdict == "unknown"
    assert "__main__" in finding.detail
    assert finding.problem is None


class Historic(BatchDependent):
    waivers: ClassVar = {"batch invariant": "as it was published"}


class Overcautious(Sound):
    waivers: ClassVar = {"batch invariant": "to be sure", "colour": "never heard of"}


def test_a_waived_finding_is_told_with_its_reason_and_breaks_nothing() -> None:
    finding = examine_one(Historic, "batch invariant")
    assert (finding.verdict, finding.problem) == ("waived", None)
    assert str(finding).startswith("waived  batch invariant: a latent moved by")
    assert str(finding).endswith("(waiver: as it was published)")
    assert broken(Historic) == {}


def test_a_waiver_that_is_not_needed_is_broken_itself() -> None:
    assert broken(Overcautious, trained=False) == {
        "batch invariant": "needless waiver: the promise is kept (to be sure)",
        "colour": "needless waiver: no check has this name (never heard of)",
    }


@pytest.mark.parametrize(("model", "code"), [(Historic, 0), (Overcautious, 1)])
def test_the_command_fails_on_what_has_no_waiver(
    model: type[Autoencoder], code: int, zoo: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(registry().models, "sound", model)
    said = zoo("models", "check", "sound")
    assert said.code == code
    assert ("waived  batch invariant" in said.out) == (model is Historic)
    assert ("broken  colour: needless waiver" in said.out) == (model is Overcautious)


def test_under_pytest_each_promise_is_a_case() -> None:
    test = conformance(Sound, Historic, Overcautious)
    cases = [case.values for case in test.pytestmark[0].args[1]]
    assert len(cases) == 3 * len(list(examine(Sound))) + 1
    test(Sound, "batch invariant")
    with pytest.raises(pytest.xfail.Exception, match="as it was published"):
        test(Historic, "batch invariant")
    with pytest.raises(AssertionError, match="broken  colour"):
        test(Overcautious, "colour")
    made = type("Made", (Sound,), {"__module__": "__main__"})
    with pytest.raises(pytest.skip.Exception, match="__main__"):
        test(made, "importing does no work")


def test_everything_at_once_without_pytest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pytest", None)  # as if it were not installed
    importlib.reload(zoo.testing)
    assert_conforms(Historic)
    with pytest.raises(AssertionError, match="shapes and range: 64x36: reconstructions span"):
        assert_conforms(WrongRange)
