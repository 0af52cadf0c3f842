"""The suite finds each fault that it is there to find, by the check that is meant to find it."""

from __future__ import annotations

import importlib
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import ClassVar

import pytest

import zoo.testing
from tests.faulty_models import (
    ALatentOfItsOwn,
    BatchDependent,
    CalibratesInTwoPasses,
    ChangesFrames,
    ChangesLatents,
    ChangesTheBatch,
    CodesTooLittle,
    CodesWithTheEncoder,
    Coding,
    ComesBackElsewhere,
    CopiesAConstant,
    DetachedLoss,
    DetachedTerm,
    DiscriminatorForDecoder,
    DrawsAPriorFromElsewhere,
    DrawsFromNumPy,
    DrawsNoiseOnTheProcessor,
    DrawsOnePrior,
    EncoderForDecoder,
    FitsByChance,
    GivesLatentsFromTheProcessor,
    GivesWholeNumbers,
    KeepsAConstantOnTheProcessor,
    KeepsItsFirstFrames,
    KeepsItsLastFrames,
    LearnsNothing,
    LeavesFramesOut,
    LeavesTheRangeLater,
    MixesTypesUnderAutocast,
    NoSuchTerm,
    OneLayerAstray,
    OneUselessLayerOutweighsAll,
    OverlappingGroups,
    Peeking,
    PeekingThroughTheLatent,
    PeeksAtHeldOutFrames,
    PreparesAClassAttribute,
    PreparesAnAttribute,
    ReversedSign,
    Sound,
    StateOutsideTheWeights,
    TooFewNumbers,
    TooManyNumbers,
    Undecided,
    UndeclaredCodes,
    WaitsForANumber,
    WaitsForAShape,
    WrongRange,
)
from zoo.api.autoencoder import Autoencoder
from zoo.conformance.suite import Finding, examine, examine_one, names_of_checks, remedy
from zoo.plugins.registry import registry
from zoo.testing import assert_conforms, conformance

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
    ChangesFrames: "leaves its input as it is",
    ChangesLatents: "leaves its input as it is",
    ChangesTheBatch: "leaves its input as it is",
    KeepsItsFirstFrames: "reloads to the bit",
    KeepsItsLastFrames: "deterministic",
    CalibratesInTwoPasses: "trains to the end",
    GivesWholeNumbers: "latent as declared",
    DrawsOnePrior: "draws from its prior",
    DrawsAPriorFromElsewhere: "draws from its prior",
    FitsByChance: "prepared by training frames alone",
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
        (ChangesTheBatch, "prepare survives a reload", "leaves its input as it is"),
        (DrawsFromNumPy, "prepare survives a reload", "noise comes from the step"),
    ],
)
def test_what_follows_from_a_fault_is_marked_and_not_broken(
    fault: type[Autoencoder], check: str, root: str
) -> None:
    assert examine_one(fault, root).verdict == "broken"
    finding = examine_one(fault, check)
    assert (finding.verdict, finding.problem) == ("follows", None)
    assert finding.detail.endswith(f"a consequence of {root!r}, which must be fixed first")


class FailsToPrepare(Sound):
    def prepare(self, frames):
        raise RuntimeError("nothing to prepare")


class FailsToCalibrate(Sound):
    def calibrate(self, batches):
        raise RuntimeError("nothing to calibrate")


@pytest.mark.parametrize("fault", [FailsToPrepare, FailsToCalibrate])
def test_an_error_in_training_is_one_finding(fault: type[Autoencoder]) -> None:
    finding = examine_one(fault, "trains to the end")
    assert finding.verdict == "broken" and "RuntimeError: nothing to" in finding.detail
    assert "--debug" in str(remedy(finding))
    for check in ("latent as declared", "deterministic"):
        after = examine_one(fault, check)
        assert after.verdict == "unknown" and "'trains to the end'" in after.detail


def test_the_remedy_is_that_of_what_was_seen() -> None:
    finding = examine_one(LeavesTheRangeLater, "fits one batch")
    assert (finding.verdict, finding.fault) == ("broken", "shapes and range")
    assert "end decode with sigmoid or clamp to [0, 1]" in str(remedy(finding))


class NoSuper(Sound):
    def __init__(self, size, options):
        self.width = 8


def test_an_error_of_its_own_has_no_remedy_beside_what_it_says() -> None:
    finding = examine_one(NoSuper, "shapes and range")
    assert finding.verdict == "broken" and "super().__init__(size, options)" in finding.detail
    assert remedy(finding) is None


def test_a_fit_by_chance_is_not_told_that_it_saw_held_out_frames() -> None:
    finding = examine_one(FitsByChance, "prepared by training frames alone")
    assert finding.detail == "the same training frames give frame other values each time"
    assert "torch's generators" in str(remedy(finding))


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
    assert str(finding).startswith("waived  batch invariant: in a batch a latent moved by")
    assert str(finding).endswith("(waiver: as it was published)")
    assert broken(Historic) == {}


def test_a_waiver_that_is_not_needed_is_broken_itself() -> None:
    assert broken(Overcautious, trained=False) == {
        "batch invariant": "needless waiver: the promise is kept (to be sure)",
        "colour": "needless waiver: no check has this name (never heard of)",
    }
    for check in ("batch invariant", "colour"):
        todo = remedy(examine_one(Overcautious, check))
        assert str(todo).startswith(f"take {check!r} out of waivers")


@pytest.mark.parametrize(("model", "code"), [(Historic, 0), (Overcautious, 1)])
def test_the_command_fails_on_what_has_no_waiver(
    model: type[Autoencoder], code: int, zoo: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(registry().models, "sound", model)
    said = zoo("models", "check", "sound")
    assert said.code == code
    assert ("waived  batch invariant" in said.out) == (model is Historic)
    assert ("broken  colour: needless waiver" in said.out) == (model is Overcautious)
    last = said.out.splitlines()[-1]
    if model is Historic:
        checks = len(said.out.splitlines()) - 1
        assert last == f"{checks - 1} of {checks} promises are kept, 1 waived"
    else:
        assert last.endswith("promises are broken")


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
