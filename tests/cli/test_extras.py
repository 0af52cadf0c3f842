"""What is said where an extra is missing: one line with a command that works."""

from __future__ import annotations

import ast
import builtins
import importlib.metadata
import importlib.util
import json
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from zoo.base.errors import BadInput
from zoo.base.extras import install_command, lacking, missing_extra, package_command

ROOT = Path(__file__).parents[2]
EXTRAS = {
    *("energy", "fsq", "hub", "mlflow", "onnx", "ray", "remote", "tensorboard", "vmaf", "wandb"),
}


def installed_from(monkeypatch: pytest.MonkeyPatch, noted: str | None) -> None:
    """Have pip's note of where film-zoo came from say this."""

    class Distribution:
        def read_text(self, name: str) -> str | None:
            return noted if name == "direct_url.json" else None

    monkeypatch.setattr(importlib.metadata, "distribution", lambda name: Distribution())


@pytest.mark.parametrize(
    ("noted", "command"),
    [
        ({"dir_info": {"editable": True}}, '`pip install -e ".[ray]"` in the clone of film-zoo'),
        ({"dir_info": {}}, '`pip install ".[ray]"` in the clone of film-zoo'),
        (
            {"url": "https://host/film-zoo", "vcs_info": {"vcs": "git"}},
            '`pip install "film-zoo[ray] @ git+https://host/film-zoo"`',
        ),
        (
            {"url": "file:///a/b/film_zoo-0.1.0-py3-none-any.whl", "archive_info": {}},
            '`pip install "./film_zoo-0.1.0-py3-none-any.whl[ray]"` in the folder of that wheel',
        ),
        (None, '`pip install ".[ray]"` in the clone of film-zoo'),
    ],
)
def test_the_command_installs_as_film_zoo_was_installed(
    noted: dict[str, Any] | None, command: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    installed_from(monkeypatch, json.dumps(noted) if noted else None)
    assert install_command("ray") == command
    assert missing_extra("ray", "--on ray") == f"--on ray needs the extra 'ray': {command}"


@pytest.mark.parametrize(
    ("note", "film_zoo", "package"),
    [
        ("pipx_metadata.json", "pipx install --force", "pipx runpip film-zoo install av"),
        ("uv-receipt.toml", "uv tool install --force", "uv pip install --python {prefix} av"),
        ("neither", "pip install", "pip install av"),
    ],
)
def test_the_command_is_that_of_the_tool_that_made_the_environment(
    note: str, film_zoo: str, package: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    installed_from(monkeypatch, None)
    monkeypatch.setattr(sys, "prefix", str(tmp_path))
    (tmp_path / note).touch()
    assert install_command("hub") == f'`{film_zoo} ".[hub]"` in the clone of film-zoo'
    assert package_command("av") == f"`{package.format(prefix=tmp_path)}`"


@pytest.mark.parametrize("noted", ["", "{", "[]", '"a"', '{"vcs_info": 3, "dir_info": []}'])
def test_a_note_that_says_nothing_is_passed_over(
    noted: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    installed_from(monkeypatch, noted)
    assert install_command() == '`pip install "."` in the clone of film-zoo'


def test_every_extra_that_is_named_is_one() -> None:
    assert set(importlib.metadata.metadata("film-zoo").get_all("Provides-Extra") or ()) >= EXTRAS


def test_every_package_that_the_code_imports_is_required_or_in_an_extra() -> None:
    """Of those that are installed here: an environment that has the wheel alone lacks no other."""
    by_module = importlib.metadata.packages_distributions()
    required = {
        re.split(r"[^\w.-]", text)[0].lower().replace("_", "-")
        for text in importlib.metadata.requires("film-zoo") or ()
    }
    undeclared = set()
    for path in (*(ROOT / "zoo").rglob("*.py"), *(ROOT / "plugins").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            names = [n.name for n in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and not node.level:
                names = [node.module or ""]
            for top in {name.partition(".")[0] for name in names} - {"zoo", "zoo_plugins"}:
                owners = {d.lower().replace("_", "-") for d in by_module.get(top, ())}
                if owners and not owners & required:
                    undeclared.add(f"{path.relative_to(ROOT)}: {top}")
    assert undeclared == set()


@pytest.fixture
def without(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Make a package one that is not installed."""

    def hide(package: str) -> None:
        real = builtins.__import__

        def without_it(name: str, *rest: Any, **named: Any) -> Any:
            if name.partition(".")[0] == package:
                raise ImportError(f"No module named {package!r}")
            return real(name, *rest, **named)

        for name in [*sys.modules]:
            if name.partition(".")[0] == package:
                monkeypatch.delitem(sys.modules, name)
        monkeypatch.setattr(builtins, "__import__", without_it)

    return hide


def test_push_without_the_hub(without: Callable[[str], None], zoo: Callable[..., Any]) -> None:
    without("huggingface_hub")
    pushed = zoo("push", "ae", "--film", "bikes", "--repo", "me/mine", "--dry-run")
    assert pushed.code == 2
    assert pushed.err == f"zoo: {missing_extra('hub', 'zoo push')}\n"


def test_runs_at_an_address_without_fsspec(without: Callable[[str], None], tmp_path: Path) -> None:
    from zoo.base.workspace import Workspace
    from zoo.compare.run_store import RunStore

    without("fsspec")
    with pytest.raises(BadInput, match="--runs needs the extra 'remote'"):
        RunStore("s3://bucket/runs", Workspace(tmp_path))


def test_fsq_without_its_package(without: Callable[[str], None], zoo: Callable[..., Any]) -> None:
    without("vector_quantize_pytorch")
    shown = zoo("models", "show", "fsq", "--size", "32x32")
    assert shown.code == 2
    assert shown.err == f"zoo: {missing_extra('fsq', 'fsq')}\n"


def test_a_model_without_its_extra_starts_nothing(
    monkeypatch: pytest.MonkeyPatch, zoo: Callable[..., Any], workspace: Path
) -> None:
    real = importlib.util.find_spec
    monkeypatch.delitem(sys.modules, "vector_quantize_pytorch", raising=False)
    monkeypatch.setattr(
        "importlib.util.find_spec",
        lambda name, *rest: None if name == "vector_quantize_pytorch" else real(name, *rest),
    )
    for words in (
        ("train", "vqvae", "--film", "bikes", "--preset", "quick"),
        ("compare", "--films", "bikes", "--models", "ae,vqvae", "--preset", "quick"),
    ):
        done = zoo(*words)
        assert (done.code, done.out) == (2, "")
        assert done.err == f"zoo: {missing_extra('fsq', 'vqvae')}\n"
    assert list(workspace.iterdir()) == []
    listed = zoo("models")
    assert listed.code == 0 and missing_extra("fsq", "fsq") in listed.out
    assert missing_extra("fsq", "vqvae") in listed.out and listed.out.count("(not installed)") == 2


def test_an_extra_of_another_package_is_installed_from_there() -> None:
    said = lacking("mine", {"no_such_module": "fast"}, "zoo-plugin-mine 1.0")
    assert said == (
        "mine needs the extra 'fast' of zoo-plugin-mine: "
        + package_command('"zoo-plugin-mine[fast]"')
    )
    assert lacking("mine", {"json": "fast"}, "zoo-plugin-mine 1.0") is None
