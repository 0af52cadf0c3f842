"""A plugin that is broken is shown with its reason and harms nothing else."""

from __future__ import annotations

import importlib.metadata
import re
import textwrap
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import pytest

import zoo.api.autoencoder
from tests.plugin_sources import describe_package
from zoo.api import hookspecs
from zoo.base.errors import BadInput
from zoo.plugins.entry_points import installed_entry_points, plugin_limit
from zoo.plugins.model_building import parse_options
from zoo.plugins.registry import Registry, registry

GOOD = """
    import torch
    import zoo
    from zoo import Loss, hookimpl

    class Good(zoo.Autoencoder):
        name = {name!r}
        summary = "a model for a test"

        def __init__(self, size, options):
            super().__init__(size, options)
            self.squeeze = torch.nn.Linear(3 * size.pixels, options.latent)

        def encode(self, frames):
            return self.squeeze(frames.flatten(1))

    @hookimpl
    def {hook}():
        return [Good]
"""
FILM = """
    import zoo

    @zoo.hookimpl
    def zoo_films():
        return [zoo.FilmEntry({fields})]
"""


def load(folder: Path, monkeypatch: pytest.MonkeyPatch, **sources: str) -> Registry:
    """A registry of plugins written for the test, each a module of its own."""
    monkeypatch.syspath_prepend(str(folder))
    points = []
    for name, source in sources.items():
        module = f"{name}_{abs(hash(str(folder)))}"
        (folder / f"{module}.py").write_text(textwrap.dedent(source))
        points.append(importlib.metadata.EntryPoint(name, module, "zoo"))
    return Registry(points)


@pytest.fixture
def error_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], str]:
    """The one error of a plugin with this source."""

    def error(source: str) -> str:
        [plugin] = load(tmp_path, monkeypatch, wrong=source).plugins
        [said] = plugin.errors
        return said

    return error


def good(name: str, hook: str = "zoo_models") -> str:
    return GOOD.format(name=name, hook=hook)


def wrong(before: str, after: str) -> str:
    """A good plugin with one thing in it changed."""
    source = good("wrong").replace(before, after)
    assert source != good("wrong")
    return source


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("import no_such_package", "No module named 'no_such_package'"),
        ("raise SystemExit(3)", "SystemExit: 3"),
        ("def (", "SyntaxError"),
        (good("fine", hook="zoo_model"), "unknown hook 'zoo_model'"),
        (good("../up"), "a plugin's name has letters"),
        (good("fine", hook="zoo_references"), "its role is not 'reference'"),
        (good("fine", hook="zoo_metrics"), "the class Good is not a subclass of zoo.Metric"),
        (
            "from zoo import hookimpl\n@hookimpl\ndef zoo_models():\n    return [3]",
            "3 (int) is not a",
        ),
        (
            "from zoo import hookimpl\n@hookimpl\ndef zoo_models():\n    return 1 / 0",
            "ZeroDivision",
        ),
        (good("all"), "'all' stands for several at once"),
        ("from zoo import hookimpl\n@hookimpl\ndef zoo_models(size):\n    return []", "size"),
        ("from zoo import hookimpl\n@hookimpl\ndef zoo_models():\n    pass", "returned None"),
        ("def zoo_models():\n    return []", "no function in it is marked with @zoo.hookimpl"),
        (
            "from zoo import hookimpl\n@hookimpl\ndef zoo_report_sections():\n    return []",
            "belongs in a module named under the group 'zoo.report_sections'",
        ),
        # Not even imported: what it would do there, a name that is gone, is not the reason.
        (
            "zoo_contract = 99\nfrom zoo import Nothing",
            f"written for contract 99: this zoo has {hookspecs.CONTRACT_VERSION}; install",
        ),
        ("zoo_contract: int = 0\nraise SystemExit", "written for contract 0: this zoo has"),
        ("zoo_contract = '1'", "zoo_contract must be a plain number"),
        ("zoo_contract = 2 - 1", "zoo_contract must be a plain number"),
    ],
)
def test_a_broken_plugin_is_listed_with_its_reason(
    source: str, reason: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = load(tmp_path, monkeypatch, broken=source, sound=good("sound"))
    broken, sound = found.plugins
    assert len(broken.errors) == 1
    assert reason in broken.errors[0]
    assert "\n" not in broken.errors[0]
    assert sound.errors == []
    assert list(found.models) == ["sound"]


@pytest.mark.parametrize(
    ("returned", "reason"),
    [
        ("Good", "returned the class Good, not a list: `return [Good]`"),
        ("{'good': Good}", "it returned a dict, not a list"),
        ("'good'", "it returned 'good' (str), not a list"),
        ("3", "it returned 3 (int), not a list"),
        ("[None]", "None is not a subclass of zoo.Autoencoder"),
        ("[Good.__new__(Good)]", "instance of Good is not a class"),
    ],
    ids=lambda words: words[:20],
)
def test_what_a_hook_returns_in_the_wrong_form_is_named_with_the_form_it_should_have(
    returned: str, reason: str, error_of: Callable[[str], str]
) -> None:
    said = error_of(wrong("return [Good]", f"return {returned}"))
    assert said.startswith("zoo_models: ") and reason in said and "\n" not in said


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ("about =", "Good has no summary: it is text, set in the class"),
        ("summary = 3 or", "Good has no summary: it is text, set in the class"),
        ("tuned_on = 'bikes'; summary =", "tuned_on is 'bikes' (str); it must be"),
        ("unequal_terms = 'x'; summary =", "unequal_terms is 'x' (str); it must be"),
        ("extras = ('x',); summary =", "extras is ('x',) (tuple); it must be"),
        ("waivers = ('x',); summary =", "waivers is ('x',) (tuple); it must be"),
        ("presets = {'quick': 3}; summary =", "presets is {'quick': 3} (dict)"),
        ("opposed = ('a', 'b'); summary =", "opposed is ('a', 'b') (tuple)"),
        ("Options = dict; summary =", "Options are the class dict, not a subclass"),
    ],
    ids=lambda words: words[:20],
)
def test_a_field_of_a_model_in_the_wrong_form_is_named_with_the_form_it_should_have(
    fields: str, reason: str, error_of: Callable[[str], str]
) -> None:
    said = error_of(wrong("summary =", fields))
    assert said.startswith("zoo_models: ") and reason in said and "\n" not in said


@pytest.mark.parametrize(
    ("field", "reason"),
    [
        ("better = 'up'", "Measure.better is 'up' (str); it must be 'higher', 'lower' or 'one'"),
        ("digits = '3'", "Measure.digits is '3' (str); it must be a whole number from 0 to 15"),
        ("digits = 99", "Measure.digits is 99 (int)"),
        ("default = 'no'", "Measure.default is 'no' (str); it must be True or False"),
        ("frame_shape = 3", "Measure.frame_shape is 3 (int); it must be a tuple"),
        ("unit = None", "Measure.unit is None; it must be text"),
    ],
)
def test_a_field_of_a_metric_is_named(
    field: str, reason: str, error_of: Callable[[str], str]
) -> None:
    assert reason in error_of(MEASURE.replace('name = "ae"', f'name = "ae"; {field}'))


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ("files=(), name='x'", "names no files"),
        ("files=('a.mp4',), name='x', fps='twelve'", "the film x, field fps: a frame rate must be"),
        (
            "files=('a.mp4',), name='x', fps=0",
            "the film x, field fps: a frame rate must be written",
        ),
        ("files=('a.mp4',), name='x', title=3", "the film x, field title: it must be text; not 3"),
        ("files=3, name='x'", "the film x, field files: it must be a tuple of paths; not 3"),
        ("files=('a.mp4', 4), name='x'", "the film x, field files: a path must be text or a Path"),
        ("files=('a.mp4',), name=3", "a film's name must be text; not 3"),
        ("files=('a.mp4',), name='x', start='later'", "the film x, field start: "),
        ("files=('a.mp4',), name='x', crop=5", "the film x, field crop: it must be text; not 5"),
    ],
)
def test_a_field_of_a_film_is_named(
    fields: str, reason: str, error_of: Callable[[str], str]
) -> None:
    said = error_of(FILM.format(fields=fields))
    assert said.startswith("zoo_films: ") and reason in said and "Error" not in said


def test_a_film_takes_fields_as_films_toml_has_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fields = "name='x', files='a.mp4', fps='24000/1001', start='00:00:02.5', stop=9"
    film = load(tmp_path, monkeypatch, film=FILM.format(fields=fields)).films["x"]
    assert film.files == (Path("a.mp4"),)
    assert (film.fps, film.start, film.stop) == (Fraction(24000, 1001), 2.5, 9.0)


def test_a_name_that_is_taken_is_refused_and_the_first_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = load(tmp_path, monkeypatch, first=good("same"), second=good("same"))
    assert "the name 'same' is taken" in found.plugins[1].errors[0]
    assert found.models["same"].__module__.startswith("first")


def test_a_plugin_for_this_contract_loads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert zoo.api.autoencoder.CONTRACT_VERSION == hookspecs.CONTRACT_VERSION
    source = f"zoo_contract = {hookspecs.CONTRACT_VERSION}\n{textwrap.dedent(good('fits'))}"
    assert list(load(tmp_path, monkeypatch, fits=source).models) == ["fits"]


def test_one_thing_that_is_wrong_costs_no_other_of_the_same_plugin(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = good("fine").replace("[Good]", "[3, Good]")
    found = load(tmp_path, monkeypatch, mixed=source)
    assert list(found.models) == ["fine"]
    assert found.plugins[0].adds == {"zoo_models": ["fine"]}
    assert found.plugins[0].errors == ["zoo_models: 3 (int) is not a subclass of zoo.Autoencoder"]


def package(folder: Path, name: str, **sources: str) -> None:
    """Install a package by hand: modules, and a description that names them as plugins."""
    modules = {plugin: f"{plugin}_of_{name.replace('-', '_')}" for plugin in sources}
    describe_package(folder, name, modules)
    for plugin, source in sources.items():
        (folder / f"{modules[plugin]}.py").write_text(textwrap.dedent(source))


MEASURE = """
    import zoo

    class Measure(zoo.Metric):
        name = "ae"
        label = "a metric called as a model is"
        source = "a test"

    @zoo.hookimpl
    def zoo_metrics():
        return [Measure]
"""


def test_no_plugin_takes_the_place_of_a_built_in_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package(tmp_path, "aaa-early", ae=good("ae"), also=good("early"), measure=MEASURE)
    monkeypatch.syspath_prepend(str(tmp_path))
    found = Registry(installed_entry_points("zoo"))
    assert found.models["ae"].__module__ == "zoo_plugins.architectures.ae"
    assert found.origins["ae"].startswith("film-zoo ")
    assert "early" in found.models and "ae" in found.metrics
    (shadow,) = (p for p in found.plugins if p.package == "aaa-early" and p.name == "ae")
    assert "the name 'ae' is taken by film-zoo" in shadow.errors[0]
    packages = list(dict.fromkeys(plugin.package for plugin in found.plugins))
    assert packages.index("film-zoo") == 0


@pytest.mark.parametrize(
    ("text", "models", "references"),
    [
        ("Our.Package", {"one", "two"}, set()),
        (" one , mean-frame,", {"one"}, {"mean"}),
        ("two,ae", {"two", "ae"}, set()),
    ],
)
def test_zoo_plugins_limits_what_loads(
    text: str,
    models: set[str],
    references: set[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    package(tmp_path, "our-package", one=good("one"), two=good("two"))
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("ZOO_PLUGINS", text)
    found = Registry(installed_entry_points("zoo"), plugin_limit())
    assert set(found.models) == models
    assert set(found.references) == references
    added = {name for plugin in found.plugins for name in plugin.adds.get("zoo_models", [])}
    assert added == models
    assert all(plugin.left_out != bool(plugin.adds) for plugin in found.plugins)


def test_what_zoo_plugins_keeps_out_is_not_even_imported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package(tmp_path, "loud", loud="raise SystemExit('imported')")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("ZOO_PLUGINS", "ae")
    (loud,) = (
        p
        for p in Registry(installed_entry_points("zoo"), plugin_limit()).plugins
        if p.package == "loud"
    )
    assert loud.left_out and not loud.errors


def test_an_empty_zoo_plugins_limits_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ZOO_PLUGINS", " ")
    assert plugin_limit() is None


def test_a_name_in_zoo_plugins_that_matches_nothing_is_said(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("ZOO_PLUGINS", "film-zoo,vaegam")
    with pytest.raises(BadInput, match=r"'vaegam'.*did you mean 'vaegan'\?.*there are: film-zoo"):
        plugin_limit()


def test_the_command_says_in_one_line_what_zoo_plugins_has_wrong(
    zoo: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ZOO_PLUGINS", "nothing-of-the-kind")
    registry.cache_clear()
    said = zoo("plugins")
    assert said.code == 2
    reason = "no installed plugin or package is called 'nothing-of-the-kind'"
    assert said.err.startswith(f"zoo: ZOO_PLUGINS: {reason}")
    assert said.err.count("\n") == 1


def test_an_unknown_model_says_which_there_are() -> None:
    with pytest.raises(BadInput, match=r"did you mean 'vaegan'\?.*there are: .*ae"):
        registry().architecture("vaegam")


def test_options_are_checked_with_the_option_named() -> None:
    model = registry().architecture("ae")
    with pytest.raises(BadInput, match="no option 'widht'; it has: latent, width"):
        parse_options(model, {"widht": "3"})
    with pytest.raises(BadInput, match="option width"):
        parse_options(model, {"width": "wide"})
    with pytest.raises(BadInput, match="option coarse takes 1, 2 or 4"):
        parse_options(model, {"coarse": "3"})
    assert parse_options(model, {"width": "24"}).model_dump()["width"] == 24
    assert parse_options(model, {"coarse": "2"}).model_dump()["coarse"] == 2


def test_nothing_here_is_broken() -> None:
    assert [plugin.errors for plugin in registry().plugins if plugin.package == "film-zoo"] != []
    assert all(not plugin.errors for plugin in registry().plugins)


def test_the_core_names_no_architecture() -> None:
    names = [*registry().models, "broad2016"]
    quoted = re.compile("|".join(rf"[\"']{re.escape(name)}[\"']" for name in names))
    core = Path(__file__).parents[1] / "zoo"
    guilty = {
        f"{path.relative_to(core)}: {line.strip()}"
        for path in core.rglob("*.py")
        for line in path.read_text().splitlines()
        if quoted.search(line) or re.search(r"\bvaegan\b", line)
    }
    assert guilty == set()
