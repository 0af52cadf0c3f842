"""No plugin takes the place of a built-in one, and every record says who brought what."""

from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import EntryPoint
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import zoo
import zoo.plugins.registry
from zoo.plugins.entry_points import installed_entry_points
from zoo.plugins.listing_cache import Listing
from zoo.plugins.registry import ENTRY_POINT_GROUP, Registry
from zoo.report.plugin_sections import GROUP, SectionRegistry


class Stranger:
    """An entry point of a package that somebody installed, with this module behind it."""

    def __init__(self, name: str, **hooks: Callable[[], list[Any]]) -> None:
        self.name, self.module, self.value = name, "json", "json"
        about = {"name": "third-party", "version": "9", "read_text": lambda self, name: None}
        self.dist = type("Distribution", (), about)()
        self._module = ModuleType(name)
        for hook, brings in hooks.items():
            brings.__name__ = hook
            setattr(self._module, hook, zoo.hookimpl(brings))

    def load(self) -> ModuleType:
        return self._module


@pytest.fixture(scope="module")
def built_in() -> list[EntryPoint]:
    return [
        p for p in installed_entry_points(ENTRY_POINT_GROUP) if p.dist and p.dist.name == "film-zoo"
    ]


def things(kind: str) -> list[Any]:
    """A third-party thing that has the name of a built-in one."""
    known = zoo.plugins.registry.registry()
    if kind == "zoo_films":
        return [zoo.FilmEntry(name="bikes", files=(Path("mine.mp4"),))]
    bases = {
        "zoo_models": known.models["ae"],
        "zoo_references": known.references["pca"],
        "zoo_metrics": known.metrics["psnr"],
    }
    return [type("Mine", (bases[kind],), {})]


def codec() -> list[Any]:
    return [type("Mine", (zoo.plugins.registry.registry().codecs["x264"],), {})]


@pytest.mark.parametrize(
    ("hook", "brings", "name"),
    [
        ("zoo_models", lambda: things("zoo_models"), "ae"),
        ("zoo_references", lambda: things("zoo_references"), "pca"),
        ("zoo_references", codec, "x264"),
        ("zoo_metrics", lambda: things("zoo_metrics"), "psnr"),
        ("zoo_films", lambda: things("zoo_films"), "bikes"),
    ],
    ids=["model", "reference", "codec", "metric", "film"],
)
def test_a_name_that_is_taken_stays_and_the_refusal_names_both(
    hook: str,
    brings: Callable[[], list[Any]],
    name: str,
    built_in: list[EntryPoint],
    zoo: Callable,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # Whatever order they are found in: `installed_entry_points` puts the built-in ones first.
    registry = Registry([*built_in, Stranger("evil", **{hook: brings})])  # type: ignore[list-item]
    kinds = (registry.models, registry.references, registry.codecs, registry.metrics)
    found = {**kinds[0], **kinds[1], **kinds[2], **kinds[3], **registry.films}[name]
    assert found is not None and getattr(found, "__name__", "") != "Mine"
    if hook == "zoo_films":
        assert found.files[0].name != "mine.mp4"
    else:
        assert found.__module__.startswith("zoo_plugins.")
    [evil] = [plugin for plugin in registry.plugins if plugin.name == "evil"]
    assert evil.adds == {}
    [said] = evil.errors
    assert f"the name {name!r} is taken by film-zoo" in said

    listed = Listing(plugins=registry.plugins)
    monkeypatch.setattr("zoo.plugins.registry.list_plugins", lambda: listed)
    shown = " ".join(zoo("plugins").out.replace("│", " ").split())
    assert "evil" in shown and "third-party" in shown and "taken" in shown


def test_a_model_may_not_be_called_as_a_codec_or_a_reference(built_in: list[EntryPoint]) -> None:
    base = zoo.plugins.registry.registry().models["ae"]
    for name in ("x264", "pca", "mean"):
        mine = type("Mine", (base,), {"name": name})
        registry = Registry([*built_in, Stranger("evil", zoo_models=lambda m=mine: [m])])  # type: ignore[list-item]
        assert name not in registry.models
        assert "is taken by film-zoo" in registry.plugins[-1].errors[0]


def test_two_strangers_with_one_name_are_told_apart() -> None:
    base = zoo.plugins.registry.registry().models["ae"]

    def brings() -> list[Any]:
        return [type("Mine", (base,), {"name": "mine"})]

    def others() -> list[Any]:
        return brings()

    registry = Registry([Stranger("a", zoo_models=brings), Stranger("b", zoo_models=others)])  # type: ignore[list-item]
    assert registry.origins["mine"] == "third-party 9"
    assert "is taken by third-party 9" in registry.plugins[1].errors[0]


def test_a_section_of_the_report_takes_no_others_name() -> None:
    def sections() -> list[Any]:
        mine = {"name": "mine", "heading": "Mine", "write": lambda self, results: "x"}
        return [type("Mine", (zoo.ReportSection,), mine)]

    def others() -> list[Any]:
        return sections()

    points = [
        Stranger("a", zoo_report_sections=sections),
        Stranger("b", zoo_report_sections=others),
    ]
    registry = SectionRegistry(points)  # type: ignore[arg-type]
    assert registry.plugins[0].adds and "is taken" in registry.plugins[1].errors[0]
    assert "A section is missing" in registry.failures()[0]
    assert GROUP == "zoo.report_sections"


def test_every_run_and_every_record_says_who_brought_its_model(
    zoo: Callable, workspace: Path
) -> None:
    import json

    tiny = ("--preset", "quick", "--size", "32x32", "--latent", "4", "--device", "cpu")
    words = ("train", "ae", "--film", "carphone", *tiny, "--set", "width=4", "--budget", "2steps")
    assert zoo(*words).code == 0
    [run] = (workspace / "runs").glob("carphone/ae/*/run.json")
    origin = json.loads(run.read_text())["config"]["origin"]
    assert origin.startswith("film-zoo ")
    assert origin == zoo_origin("ae")
    assert origin.split()[-1] in zoo("plugins").out


def zoo_origin(name: str) -> str:
    return zoo.plugins.registry.registry().origins[name]


def test_every_record_needs_an_origin() -> None:
    from zoo.base.records import Record

    assert Record.model_fields["origin"].is_required()
