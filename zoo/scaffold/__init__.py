"""Write an installable plugin package: one model, its entry point and its test.

`examples/zoo-plugin-tiny` is what `zoo models new tiny` writes, from `templates`.
"""

from __future__ import annotations

import importlib.util
import keyword
from pathlib import Path

import jinja2

from zoo.api.hookspecs import CONTRACT_VERSION
from zoo.base.atomic_files import check_writable
from zoo.base.errors import BadInput
from zoo.base.workspace import check_name
from zoo.plugins.registry import registry


def write_package(name: str, into: Path) -> Path:
    """Write the package of a new model into a new folder below `into`, and return that folder.

    For `tiny` the folder and the distribution are called `zoo-plugin-tiny`, the module
    `zoo_plugin_tiny`. Raises BadInput, and writes nothing, if the name is not valid for a model and
    a module, if it is taken, or if the folder exists.
    """
    _check_new(name)
    distribution, module = f"zoo-plugin-{name.replace('_', '-')}", _module(name)
    templates = jinja2.Environment(
        loader=jinja2.PackageLoader("zoo.scaffold"),
        undefined=jinja2.StrictUndefined,
        keep_trailing_newline=True,
        # The output is not HTML, and the only values are names, which are checked.
        autoescape=False,
    )
    files = {
        "pyproject.toml": "pyproject.toml.j2",
        "README.md": "readme.md.j2",
        f"{module}.py": "module.py.j2",
        f"tests/test_{name}.py": "test.py.j2",
    }
    folder = into / distribution
    check_writable(into, folder)
    try:
        folder.mkdir(parents=True)
    except FileExistsError:
        raise BadInput(f"{folder} is there already") from None
    (folder / "tests").mkdir()
    for path, template in files.items():
        text = templates.get_template(template).render(
            name=name,
            class_name=_class_name(name),
            module=module,
            distribution=distribution,
            contract=CONTRACT_VERSION,
        )
        (folder / path).write_text(text, encoding="utf-8", newline="\n")
    return folder


def _check_new(name: str) -> None:
    check_name(name, "model")
    if not (name.isascii() and name.isidentifier()) or keyword.iskeyword(_class_name(name)):
        raise BadInput(
            "a new model's name is also that of a Python module and class: letters, digits and "
            f"'_', a letter first; not {name!r}"
        )
    if name == "all":
        raise BadInput("'all' means every model; choose another name")
    found = registry()
    if name in found.origins:
        raise BadInput(f"the name {name!r} is taken by {found.origins[name]}")
    if importlib.util.find_spec(_module(name)):
        raise BadInput(f"a module called {_module(name)} is installed already")


def _module(name: str) -> str:
    return f"zoo_plugin_{name}"


def _class_name(name: str) -> str:
    return "".join(part[:1].upper() + part[1:] for part in name.split("_"))
