"""A plugin that is broken is shown with its reason and harms nothing else."""

from __future__ import annotations

import importlib.metadata
import re
import textwrap
from pathlib import Path

import pytest

from zoo.errors import BadInput
from zoo.plugins import Registry, registry

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


def load(folder: Path, monkeypatch: pytest.MonkeyPatch, **sources: str) -> Registry:
    """A registry of plugins written for the test, each a module of its own."""
    monkeypatch.syspath_prepend(str(folder))
    points = []
    for name, source in sources.items():
        module = f"{name}_{abs(hash(str(folder)))}"
        (folder / f"{module}.py").write_text(textwrap.dedent(source))
        points.append(importlib.metadata.EntryPoint(name, module, "zoo"))
    return Registry(points)


def good(name: str, hook: str = "zoo_models") -> str:
    return GOOD.format(name=name, hook=hook)


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("import no_such_package", "No module named 'no_such_package'"),
        ("raise SystemExit(3)", "SystemExit: 3"),
        ("def (", "SyntaxError"),
        (good("fine", hook="zoo_model"), "unknown hook 'zoo_model'"),
        (good("../up"), "a plugin's name has letters"),
        (good("fine", hook="zoo_references"), "its role is not 'reference'"),
        (good("fine", hook="zoo_metrics"), "not a subclass of zoo.Metric"),
        ("from zoo import hookimpl\n@hookimpl\ndef zoo_models():\n    return [3]", "3 is not a"),
        (
            "from zoo import hookimpl\n@hookimpl\ndef zoo_models():\n    return 1 / 0",
            "ZeroDivision",
        ),
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


def test_a_name_that_is_taken_is_refused_and_the_first_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = load(tmp_path, monkeypatch, first=good("same"), second=good("same"))
    assert "the name 'same' is taken" in found.plugins[1].errors[0]
    assert found.models["same"].__module__.startswith("first")


def test_an_unknown_model_says_which_there_are() -> None:
    with pytest.raises(BadInput, match=r"did you mean 'vaegan'\?.*there are: .*ae"):
        registry().architecture("vaegam")


def test_options_are_checked_with_the_option_named() -> None:
    model = registry().architecture("ae")
    with pytest.raises(BadInput, match="no option 'widht'; it has: latent, width"):
        model.parse_options({"widht": "3"})
    with pytest.raises(BadInput, match="option width"):
        model.parse_options({"width": "wide"})
    assert model.parse_options({"width": "24"}).model_dump()["width"] == 24


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
