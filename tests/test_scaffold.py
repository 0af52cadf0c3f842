"""A third-party package: written by `zoo models new`, built, installed, trained, reported."""

from __future__ import annotations

import errno
import importlib.metadata
import json
import os
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from zoo.api.autoencoder import Autoencoder
from zoo.conformance.fixtures import Subject, take_step
from zoo.plugins.registry import Registry, registry
from zoo.report.plugin_sections import SectionRegistry
from zoo.scaffold import KINDS, MODELS
from zoo.testing import assert_conforms

EXAMPLE = Path(__file__).parents[1] / "examples" / "zoo-plugin-tiny"


def files(folder: Path) -> dict[str, bytes]:
    """What a package's author wrote: nothing that Python or a build left behind."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
        and not any(
            part.endswith((".egg-info", "_cache", "__pycache__", "build")) for part in path.parts
        )
    }


def python(*words: object, folder: Path, **surroundings: str) -> str:
    """What a fresh Python prints, which has to end well."""
    done = subprocess.run(
        [sys.executable, *map(str, words)],
        cwd=folder,
        env={**os.environ, "PIP_NO_INDEX": "1", "COLUMNS": "200", **surroundings},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_example_is_what_the_command_writes(zoo: Callable, workspace: Path) -> None:
    said = zoo("models", "new", "tiny", "--into", "here/below")
    assert said.code == 0, said.err
    written = workspace / "here" / "below" / "zoo-plugin-tiny"
    assert str(written.relative_to(workspace)) in said.out
    assert files(written) == files(EXAMPLE)


@pytest.fixture
def written_model(
    zoo: Callable, workspace: Path, monkeypatch: pytest.MonkeyPatch, forget_plugins: None
) -> Callable[[str], type[Autoencoder]]:
    """Write a model of a kind, and load it as a plugin."""

    def write(kind: str) -> type[Autoencoder]:
        assert zoo("models", "new", "deep_4", "--kind", kind).code == 0
        file = workspace / "zoo-plugin-deep-4" / "zoo_plugin_deep_4.py"
        monkeypatch.setenv("ZOO_PLUGINS", f"film-zoo,{file}")
        registry.cache_clear()
        return registry().architecture("deep_4")

    return write


@pytest.mark.parametrize("kind", MODELS)
def test_each_kind_of_model_shows_its_part_of_the_contract(
    kind: str, written_model: Callable[[str], type[Autoencoder]]
) -> None:
    subject = Subject(written_model(kind))
    model = subject.to_train()
    prior = model.sample_prior(3, torch.Generator().manual_seed(0))
    assert (kind == "vae") == (prior is not None)
    assert (kind == "gan") == bool(model.opposed)
    assert len(model.players()) == (2 if kind == "gan" else 1)
    assert (kind == "codes") == (model.latent_spec().codes is not None)
    assert (kind == "clip") == (model.window > 1)
    # Noise moves what has chance in it, and nothing else.
    first, again = (
        take_step(model, subject.batch(2), number)["autoencoder"].total.item() for number in (1, 2)
    )
    assert (kind == "vae") == (first != again)


def test_paths_between_codes_go_through_codes_that_share_their_signs(
    written_model: Callable[[str], type[Autoencoder]],
) -> None:
    model = Subject(written_model("codes")).build()
    codes = torch.arange(256.0).unflatten(0, (-1, 2))
    signs = model.to_coordinates(codes)
    assert signs.shape == (128, 16)
    assert signs.abs().eq(1).all()
    assert torch.equal(model.from_coordinates(signs), codes)
    near = model.from_coordinates(0.9 * signs[:1] + 0.1 * signs[-1:])
    assert torch.equal(near, codes[:1])


@pytest.mark.slow
@pytest.mark.parametrize("kind", MODELS)
def test_each_kind_of_model_trains_and_keeps_the_contract(
    kind: str, written_model: Callable[[str], type[Autoencoder]], zoo: Callable, workspace: Path
) -> None:
    assert_conforms(written_model(kind))
    words = ("--film", "carphone", "--preset", "quick", "--size", "64x36", "--device", "cpu")
    said = zoo("train", "deep_4", *words, "--budget", "20steps")
    assert said.code == 0, said.err
    (run,) = (workspace / "runs" / "carphone" / "deep_4").iterdir()
    assert json.loads((run / "run.json").read_text())["training"]["steps"] == 20
    if kind == "vae":
        assert zoo("sample", "deep_4", "--film", "carphone", "--count", 4).code == 0


def test_a_kind_of_model_that_there_is_not_is_refused(zoo: Callable, workspace: Path) -> None:
    said = zoo("models", "new", "tiny", "--kind", "diffusion")
    assert said.code == 2
    assert "one of plain, vae, gan, codes, clip; not 'diffusion'" in said.err
    assert said.err.count("\n") == 1
    assert not list(workspace.iterdir())


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_what_is_written_passes_its_own_tests_whatever_it_is_called(
    kind: str, zoo: Callable, workspace: Path
) -> None:
    assert zoo("plugins", "new", "deep_2", "--kind", kind).code == 0
    package = workspace / "zoo-plugin-deep-2"
    said = python("-m", "pytest", "-q", "-ra", folder=package, PYTHONPATH=str(package))
    assert " passed" in said
    assert "skipped" not in said and "xfailed" not in said


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_is_what_its_entry_point_loads(
    kind: str, zoo: Callable, workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert zoo("plugins", "new", "deep_3", "--kind", kind).code == 0
    package = workspace / "zoo-plugin-deep-3"
    project = tomllib.loads((package / "pyproject.toml").read_text())["project"]
    ((group, points),) = project["entry-points"].items()
    monkeypatch.syspath_prepend(str(package))
    points = [importlib.metadata.EntryPoint(*point, group) for point in points.items()]
    sections = group == "zoo.report_sections"
    (plugin,) = (SectionRegistry if sections else Registry)(points).plugins
    assert plugin.errors == []
    hook = {"section": "zoo_report_sections", "codec": "zoo_references"}.get(kind, f"zoo_{kind}s")
    assert plugin.adds == {hook: ["deep_3"]}
    sys.modules.pop("zoo_plugin_deep_3")


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        ("metric", "psnr"),
        ("film", "bikes"),
        ("codec", "x264"),
        ("codec", "ae"),
        ("reference", "pca"),
        ("model", "x265"),
    ],
)
def test_a_name_is_taken_by_things_of_its_kind(
    kind: str, name: str, zoo: Callable, workspace: Path
) -> None:
    said = zoo("plugins", "new", name, "--kind", kind)
    assert said.code == 2
    assert f"the name {name!r} is taken by film-zoo" in said.err
    assert not list(workspace.iterdir())


def test_a_kind_that_there_is_not_is_refused(zoo: Callable, workspace: Path) -> None:
    said = zoo("plugins", "new", "tiny", "--kind", "optimiser")
    assert said.code == 2
    assert "model, reference, codec, metric, section, film; not 'optimiser'" in said.err
    assert not list(workspace.iterdir())


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("../up", "a model's name has letters"),
        ("_tiny", "a model's name has letters"),
        ("my-net", "a Python module and class"),
        ("3d", "a Python module and class"),
        ("none", "a Python module and class"),
        ("all", "'all' means several at once"),
        ("default", "'default' means several at once"),
        ("ae", "the name 'ae' is taken by film-zoo"),
        ("pca", "the name 'pca' is taken by film-zoo"),
    ],
)
def test_a_name_that_cannot_be_is_refused_in_one_line(
    name: str, reason: str, zoo: Callable, workspace: Path
) -> None:
    said = zoo("models", "new", name)
    assert said.code == 2
    assert reason in said.err
    assert said.err.count("\n") == 1
    assert not list(workspace.iterdir())


@pytest.mark.parametrize(
    ("command", "kind", "name", "taken"),
    [
        ("plugins", "codec", "image", "Image"),
        ("models", "gan", "f", "F"),
        ("models", "plain", "tensor", "Tensor"),
    ],
)
def test_a_class_does_not_hide_what_its_module_imports(
    command: str, kind: str, name: str, taken: str, zoo: Callable, workspace: Path
) -> None:
    said = zoo(command, "new", name, "--kind", kind)
    assert said.code == 2
    assert f"would be {taken}, a name that its module imports; choose another name" in said.err
    assert not list(workspace.iterdir())


def test_a_module_that_is_installed_is_not_written_again(
    zoo: Callable, workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(EXAMPLE))
    said = zoo("models", "new", "tiny")
    assert said.code == 2
    assert "zoo_plugin_tiny is installed already" in said.err


@pytest.mark.parametrize("there", ["folder", "file", "parent"])
def test_nothing_is_written_over(there: str, zoo: Callable, workspace: Path) -> None:
    folder = workspace / "into" / "zoo-plugin-tiny"
    if there == "folder":
        folder.mkdir(parents=True)
    elif there == "file":
        folder.parent.mkdir()
        folder.write_text("mine")
    else:
        folder.parent.write_text("mine")
    said = zoo("models", "new", "tiny", "--into", "into")
    assert said.code == 2
    assert said.err.count("\n") == 1
    assert any(why in said.err for why in ("is there already", "is not a folder", "is a file"))
    assert {p.read_text() for p in workspace.rglob("*") if p.is_file()} <= {"mine"}


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which the example is installed from a wheel, as a third-party package is."""
    folder = tmp_path_factory.mktemp("third-party")
    source, target = folder / "source", folder / "target"
    shutil.copytree(EXAMPLE, source)
    pip = ("-m", "pip", "--disable-pip-version-check", "--quiet")
    alone = ("--no-deps", "--no-build-isolation")
    python(*pip, "wheel", *alone, "--wheel-dir", folder, source, folder=folder)
    (wheel,) = folder.glob("*.whl")
    python(*pip, "install", "--no-deps", "--target", target, wheel, folder=folder)
    return target


@pytest.mark.slow
def test_an_installed_package_is_listed_trained_and_reported(
    installed: Path, tmp_path: Path
) -> None:
    def zoo(*words: str, only: str = "") -> str:
        around = {"PYTHONPATH": str(installed), "ZOO_PLUGINS": only}
        return python("-m", "zoo", *words, folder=tmp_path, **around)

    (line,) = (line for line in zoo("models").splitlines() if "zoo-plugin-tiny 0.1.0" in line)
    assert "tiny" in line and "two convolutions down to the latent" in line

    # Only what the test needs, which keeps it quick: the rest is compared elsewhere.
    said = zoo(
        *("compare", "--films", "carphone", "--models", "tiny", "--preset", "quick"),
        *("--size", "64x36", "--budget", "40frames", "--device", "cpu"),
        only="zoo-plugin-tiny,mean-frame,psnr,embedded-clips",
    )
    assert "report.md" in said
    (run,) = (tmp_path / "runs" / "carphone" / "tiny").iterdir()
    assert json.loads((run / "run.json").read_text())["training"]["frames"] == 40
    results = json.loads((tmp_path / "results" / "results.json").read_text())
    status = {record["model"]: record["status"] for record in results["records"]}
    assert status == {"tiny": "ok", "mean": "ok"}
    assert "zoo-plugin-tiny 0.1.0" in (tmp_path / "results" / "report.md").read_text()


def test_a_package_that_could_not_be_written_is_not_in_the_way(
    zoo: Callable, workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = Path.write_text

    def full(path: Path, *given: Any, **named: Any) -> int:
        if path.name == "README.md":
            raise OSError(errno.ENOSPC, "No space left on device", str(path))
        return write(path, *given, **named)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_text", full)
        assert zoo("models", "new", "wide").code == 1
    assert list(workspace.iterdir()) == []
    assert zoo("models", "new", "wide").code == 0
    again = zoo("models", "new", "wide")
    assert (again.code, "is there already" in again.err) == (2, True)
