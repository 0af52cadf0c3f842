"""What changes the digest of a plugin's source, and what does not."""

from __future__ import annotations

import importlib
import itertools
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import zoo.plugins.source_digest
from zoo.plugins.registry import registry
from zoo.plugins.source_digest import source_digest

MODEL = '''
import zoo
from . import helper


class Model(zoo.Autoencoder):
    """A model."""

    name = "model"
    width = 16  # channels

    def encode(self, frames):
        return helper.squeeze(frames) + "# no comment"
'''
HELPER = """
def squeeze(frames):
    from .deep import factor
    return frames * factor
"""
_numbers = itertools.count()


@pytest.fixture
def digest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., str]]:
    """Write a package of modules, import its `model` and give the digest of its `Model`."""

    def of(changes: dict[str, str] | None = None, module: str = "model") -> str:
        package = f"plugin_{next(_numbers)}"
        folder = tmp_path / package
        folder.mkdir()
        files = {
            "__init__": "",
            "model": MODEL,
            "helper": HELPER,
            "deep": "factor = 2\n",
            "unused": "",
        }
        for name, text in {**files, **(changes or {})}.items():
            (folder / f"{name}.py").write_bytes(text.encode())
        importlib.invalidate_caches()
        return source_digest(importlib.import_module(f"{package}.{module}").Model)

    monkeypatch.syspath_prepend(str(tmp_path))
    yield of
    for name in [name for name in sys.modules if name.startswith("plugin_")]:
        del sys.modules[name]


def test_the_same_source_has_the_same_digest(digest: Callable[..., str]) -> None:
    assert digest() == digest()
    assert len(digest()) == 16


@pytest.mark.parametrize(
    "changes",
    [
        {"model": MODEL.replace("16", "17")},
        {"model": MODEL.replace("# no comment", "# a comment")},
        {"helper": HELPER.replace("*", "+")},
        {"deep": "factor = 3\n"},
        {"helper": HELPER.replace("factor", "other"), "deep": "other = 2\n"},
    ],
    ids=["the module", "a string with a #", "what it imports", "what that imports", "both"],
)
def test_a_change_of_code_changes_it(changes: dict[str, str], digest: Callable[..., str]) -> None:
    assert digest(changes) != digest()


@pytest.mark.parametrize(
    "changes",
    [
        {"model": MODEL.replace("# channels", "# number of channels")},
        {"model": MODEL.replace("  # channels", "")},
        {"model": "# a word before\n\n" + MODEL.replace("\n\n\n", "\n")},
        {"model": MODEL.replace("A model.", "A model,\n\n    and more of it.\n    ")},
        {"model": MODEL.replace('    """A model."""\n\n', "")},
        {"model": MODEL.replace("\n", "\r\n"), "deep": "factor = 2\r\n"},
        {"unused": "anything = 1\n"},
    ],
    ids=["comment", "no comment", "lines", "docstring", "no docstring", "CRLF", "another module"],
)
def test_words_and_other_modules_do_not(
    changes: dict[str, str], digest: Callable[..., str]
) -> None:
    assert digest(changes) == digest()


@pytest.fixture
def single(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """Write modules into a folder of their own, and give the digest of `single.Model`."""

    def of(**files: str) -> str:
        folder = tmp_path / str(next(_numbers))
        folder.mkdir()
        for name, text in files.items():
            (folder / f"{name}.py").write_text(text)
            sys.modules.pop(name, None)
        with monkeypatch.context() as patch:
            patch.syspath_prepend(str(folder))
            found = source_digest(importlib.import_module("single").Model)
        for name in files:
            sys.modules.pop(name, None)
        return found

    return of


def test_the_module_of_a_base_class_counts(single: Callable[..., str]) -> None:
    alone = MODEL.replace("from . import helper\n", "")
    derived = "import importlib\nBase = importlib.import_module('base').Model\n"
    derived += "class Model(Base):\n    name = 'derived'\n"
    first = single(base=alone, single=derived)
    assert first == single(base=alone, single=derived)
    assert first != single(base=alone.replace("16", "17"), single=derived)


def test_what_lies_beside_a_single_file_counts_where_it_is_imported(
    single: Callable[..., str],
) -> None:
    model = MODEL.replace("from . import helper", "import beside")
    first = single(single=model, beside="factor = 2", unused="other = 1")
    assert first == single(single=model, beside="factor = 2", unused="other = 2")
    assert first != single(single=model, beside="factor = 3", unused="other = 1")


def test_a_class_without_a_file_has_none() -> None:
    space: dict[str, object] = {"__name__": "at_a_prompt"}
    exec("import zoo\nclass Prompt(zoo.Metric): pass", space)
    assert source_digest(space["Prompt"]) == ""  # type: ignore[arg-type]
    assert source_digest(int) == ""


def test_built_in_architectures_are_told_apart_and_the_core_is_not_read(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    read: list[Path] = []
    inner = zoo.plugins.source_digest._read

    def noted(path: Path, *rest: int) -> tuple[str, list[tuple[int, str]]]:
        read.append(path)
        return inner(path, *rest)

    monkeypatch.setattr(zoo.plugins.source_digest, "_read", noted)
    zoo.plugins.source_digest._digest.cache_clear()
    models = registry().models
    assert source_digest(models["ae"]) != source_digest(models["vae"])
    assert {"ae.py", "layers.py"} <= {path.name for path in read}
    assert {path.parent.name for path in read} == {"architectures", "blocks", "references"}


def test_it_needs_no_torch() -> None:
    words = "import sys, zoo.plugins.source_digest; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", words]).returncode == 0
