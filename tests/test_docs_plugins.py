"""Every example in docs/plugins.md works as it is printed."""

from __future__ import annotations

import ast
import importlib
import importlib.metadata
import json
import re
import tomllib
from pathlib import Path
from types import ModuleType

import pytest
import torch

from tests.films.making import drifting, encode
from tests.report.synthetic_results import comparison
from zoo.api.codec import CodingTerms
from zoo.api.recipe_and_events import FollowedRun, TrainingEvent
from zoo.base.frame_size import FrameSize
from zoo.base.workspace import Workspace
from zoo.conformance.fixtures import scene_as_film
from zoo.conformance.suite import examine
from zoo.films.catalogue import Catalogue
from zoo.films.ingest import open_film
from zoo.plugins.registry import Registry
from zoo.report.plugin_sections import SectionRegistry

ROOT = Path(__file__).parents[1]
DOCS = (ROOT / "docs" / "plugins.md").read_text()
SNIPPETS = dict(re.findall(r"<!-- snippet: (\S+) -->\n```python\n(.*?)```", DOCS, re.DOTALL))


@pytest.fixture
def modules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with every example as a module that can be imported."""
    for name, source in SNIPPETS.items():
        (tmp_path / name).write_text(source)
    monkeypatch.syspath_prepend(str(tmp_path))
    return tmp_path


def imported(name: str) -> ModuleType:
    return importlib.reload(importlib.import_module(name))


def registered(name: str, group: str = "zoo") -> Registry:
    """What a plugin adds, which must be without an error."""
    imported(name)
    found = Registry([importlib.metadata.EntryPoint(name, name, group)])
    assert [plugin.errors for plugin in found.plugins] == [[]]
    return found


def test_every_python_block_is_an_example_that_runs() -> None:
    assert len(SNIPPETS) == DOCS.count("```python\n") == 9
    here = ast.parse(Path(__file__).read_text())
    strings = {node.value for node in ast.walk(here) if isinstance(node, ast.Constant)}
    assert {name.removesuffix(".py") for name in SNIPPETS} <= strings


def test_the_packaging_that_is_shown_is_that_of_the_examples() -> None:
    shown = [tomllib.loads(block) for block in re.findall(r"```toml\n(.*?)```", DOCS, re.DOTALL)]
    tiny, sections = (block["project"]["entry-points"] for block in shown)
    example = ROOT / "examples" / "zoo-plugin-tiny" / "pyproject.toml"
    assert tiny == tomllib.loads(example.read_text())["project"]["entry-points"]
    ((name, module),) = sections["zoo.report_sections"].items()
    assert f"{module}.py" in SNIPPETS
    assert f'name = "{name}"' in SNIPPETS[f"{module}.py"]


def test_the_model_keeps_the_contract_by_the_test_that_is_shown(modules: Path) -> None:
    assert list(registered("zoo_denoising").models) == ["denoising"]
    (mark,) = imported("test_denoising").test_conformance.pytestmark
    cases = [case.values for case in mark.args[1]]
    assert len(cases) >= 10
    for architecture, check in cases:
        imported("test_denoising").test_conformance(architecture, check)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("module", "name"), [("zoo_two_speeds", "two_speeds"), ("zoo_first_frame", "first")]
)
def test_the_other_architectures_keep_the_contract(module: str, name: str, modules: Path) -> None:
    found = registered(module)
    findings = list(examine({**found.models, **found.references}[name]))
    assert [str(finding) for finding in findings if finding.problem] == []


def test_the_codec_draws_the_film_again_from_as_many_bytes(modules: Path) -> None:
    codec = registered("zoo_mjpeg").codecs["mjpeg"](FrameSize(64, 36))
    film = scene_as_film(FrameSize(64, 36), count=6)
    coded = codec.code(film, CodingTerms(900))
    assert 0.8 < len(coded.stream) / (900 * 6) <= 1
    drawn = list(codec.decode(coded.stream))
    assert [frame.shape for frame in drawn] == [(36, 64, 3)] * 6
    errors = [float(((drawn[3] - frame.astype(float)) ** 2).mean()) for frame in film.store.array]
    assert errors.index(min(errors)) == 3


def test_the_metric_measures(modules: Path) -> None:
    metric = registered("zoo_mae").metrics["mae"](torch.device("cpu"))
    frames = torch.zeros(2, 3, 32, 32)
    assert metric(frames, frames + 0.25).tolist() == [0.25, 0.25]


def test_the_callback_keeps_the_last_report(modules: Path) -> None:
    kind = registered("zoo_progress_file").callbacks["progress_file"]
    assert not any(finding.problem for finding in examine(kind))
    event = TrainingEvent(3, 6, 0.5, 24, 1.0, 24.0, 0.0, None, {"autoencoder": {"pixel": 0.25}})
    kind(FollowedRun("film/model/run", modules, {}))(event)
    report = json.loads((modules / "last_report.json").read_text())
    assert (report["step"], report["loss/autoencoder/pixel"]) == (3, 0.25)


def test_the_film_is_in_the_catalogue_and_opens(
    modules: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    encode(modules / "holiday.mp4", drifting(64, 48, 30))
    found = registered("zoo_holiday")
    monkeypatch.setattr("zoo.plugins.registry.registry", lambda: found)
    monkeypatch.setattr("zoo.plugins.registry.films_of_plugins", lambda: found.films)
    workspace = Workspace(modules / "workspace")
    entry = Catalogue.open(workspace).film("holiday")
    film = open_film(entry, FrameSize(64, 36), workspace)
    assert len(film) == 30
    assert entry.licence == "CC0"


def test_the_section_of_the_report_is_written(modules: Path) -> None:
    imported("zoo_bytes_per_second")
    point = importlib.metadata.EntryPoint("bytes", "zoo_bytes_per_second", "zoo.report_sections")
    results = comparison()
    (written,) = SectionRegistry([point]).write(results)
    assert written.problem == ""
    assert written.text is not None
    record = next(r for r in results.records if r.latent and r.latent.coded_bytes)
    assert record.latent is not None and record.latent.coded_bytes is not None
    assert f"{record.latent.coded_bytes * 25:,.0f} |" in written.text
    assert written.text.count("\n") > 3


def test_the_page_of_known_plugins_has_every_one_of_this_repository() -> None:
    page = (ROOT / "docs" / "known-plugins.md").read_text()
    described = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["entry-points"]
    brought = {f"`{name}`" for group in described.values() for name in group}
    examples = (ROOT / "examples").glob("zoo*")
    brought |= {f"[`{path.name}`](../examples/{path.name})" for path in examples}
    assert [name for name in sorted(brought) if name not in page] == []
