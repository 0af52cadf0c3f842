"""Write an installable plugin package: a working plugin, its entry point and its test.

`examples/zoo-plugin-tiny` is the output of `zoo plugins new tiny`, made from `templates`.
"""

from __future__ import annotations

import ast
import importlib.util
import keyword
import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import jinja2

from zoo.api.hookspecs import CONTRACT_VERSION
from zoo.base.atomic_files import check_writable, replace_folder
from zoo.base.errors import BadInput
from zoo.base.frame_size import FrameSize
from zoo.base.workspace import check_name
from zoo.plugins.registry import registry


@dataclass(frozen=True)
class Kind:
    """A kind of new package, with texts for the package's README."""

    thing: str
    """What the package adds, such as `model`."""
    template: str
    """Name of the module's template, without suffixes."""
    what: str
    """What the generated plugin does at first, as a clause."""
    commands: tuple[str, ...]
    """Commands to try; {name} is the plugin's name."""
    explained: str
    """What these commands do."""
    group: str
    """The group of its entry point."""


def _kinds() -> dict[str, dict[str, Kind]]:
    """Read `kinds.toml`: by what a package adds, its kinds by their words on the command line."""
    text = Path(__file__).with_name("kinds.toml").read_text(encoding="utf-8")
    return {
        thing: {
            word: Kind(
                thing,
                kind.get("template", word),
                kind["what"],
                (*every["commands"], *kind.get("commands", ())),
                "\n".join(each["explained"] for each in (every, kind) if "explained" in each),
                every.get("group", "zoo"),
            )
            for word, kind in every["kinds"].items()
        }
        for thing, every in tomllib.loads(text).items()
    }


_KINDS = _kinds()
MODELS: Mapping[str, Kind] = MappingProxyType(_KINDS["model"])
"""The kinds that `zoo models new NAME --kind KIND` accepts."""
KINDS: Mapping[str, Kind] = MappingProxyType(
    {thing: next(iter(kinds.values())) for thing, kinds in _KINDS.items()}
)
"""The kinds that `zoo plugins new NAME --kind KIND` accepts: the first of each thing."""


def kind_of_model(word: str) -> Kind:
    """Look up a kind of model for `zoo models new`; raises BadInput if it is unknown."""
    if word not in MODELS:
        raise BadInput(f"a model's kind is one of {', '.join(MODELS)}; not {word!r}")
    return MODELS[word]


def kind_of_plugin(word: str) -> Kind:
    """Look up a kind of plugin for `zoo plugins new`; raises BadInput if it is unknown."""
    if word not in KINDS:
        raise BadInput(f"a plugin brings a {', '.join(KINDS)}; not {word!r}")
    return KINDS[word]


def write_package(name: str, into: Path, kind: Kind) -> Path:
    """Write a new plugin package into a new folder below `into`, and return that folder.

    For `tiny`, the folder and the distribution are named `zoo-plugin-tiny`, the module
    `zoo_plugin_tiny`. Raises BadInput, and writes nothing, if the name is not valid for a plugin
    and a module, if it is taken, or if the folder exists.
    """
    thing = kind.thing
    _check_new(name, thing)
    distribution, module = f"zoo-plugin-{name.replace('_', '-')}", _module(name)
    # A film plugin has a data file next to its module, so the module must be a package.
    code = f"{module}/__init__.py" if thing == "film" else f"{module}.py"
    texts = _rendered(
        {
            "pyproject.toml": "pyproject.toml.j2",
            "README.md": "readme.md.j2",
            code: f"{kind.template}.py.j2",
            f"tests/test_{name}.py": "test.py.j2",
        },
        name=name,
        class_name=_class_name(name),
        module=module,
        distribution=distribution,
        kind=thing,
        what=kind.what,
        commands=[command.format(name=name) for command in kind.commands],
        explained=kind.explained,
        group=kind.group,
        thing="FILM" if thing == "film" else _class_name(name),
        contract=CONTRACT_VERSION,
    )
    if _class_name(name) in _imported(texts[code]):
        raise BadInput(
            f"the class of a {thing} called {name!r} would be {_class_name(name)}, a name that its "
            "module imports; choose another name"
        )
    folder = into / distribution
    check_writable(into, folder)
    if os.path.lexists(folder):
        raise BadInput(f"{folder} is there already")
    # Atomically, because a partial folder would block the next attempt.
    with replace_folder(folder) as new:
        for path, text in texts.items():
            (new / path).parent.mkdir(exist_ok=True)
            (new / path).write_text(text, encoding="utf-8", newline="\n")
        if thing == "film":
            _write_film(new / module / f"{name}.mp4")
    return folder


def _rendered(files: Mapping[str, str], **values: object) -> dict[str, str]:
    """Render each file from its template."""
    templates = jinja2.Environment(
        loader=jinja2.PackageLoader("zoo.scaffold"),
        undefined=jinja2.StrictUndefined,
        keep_trailing_newline=True,
        trim_blocks=True,
        # The output is not HTML, and user input is limited to names, which are checked.
        autoescape=False,
    )
    return {
        path: templates.get_template(template).render(**values) for path, template in files.items()
    }


def _write_film(path: Path) -> None:
    """Write two seconds of film as an example."""
    from zoo.conformance.fixtures import scene_as_film
    from zoo.reconstruct.video_writers import video_file

    size = FrameSize(160, 90)
    with video_file(path, size, 25) as video:
        for number, frame in enumerate(scene_as_film(size, count=50).store.array):
            video.write(frame, number / 25)


def _check_new(name: str, kind: str) -> None:
    check_name(name, kind)
    if not (name.isascii() and name.isidentifier()) or keyword.iskeyword(_class_name(name)):
        raise BadInput(
            f"a new {kind}'s name is also that of a Python module and class: letters, digits and "
            f"'_', a letter first; not {name!r}"
        )
    if name in ("all", "default"):
        raise BadInput(f"{name!r} means several at once; choose another name")
    if owner := _owner(name, kind):
        raise BadInput(f"the name {name!r} is taken by {owner}")
    if importlib.util.find_spec(_module(name)):
        raise BadInput(f"a module called {_module(name)} is installed already")


def _owner(name: str, kind: str) -> str | None:
    """The plugin that already provides something of this kind and name; None if none does."""
    from zoo.report.plugin_sections import section_registry

    hooks = {"metric": "zoo_metrics", "film": "zoo_films", "section": "zoo_report_sections"}
    if kind not in hooks:
        return registry().origins.get(name)
    plugins = section_registry().plugins if kind == "section" else registry().plugins
    return next((p.origin for p in plugins if name in p.adds.get(hooks[kind], ())), None)


def _imported(code: str) -> set[str]:
    """The names that a module imports."""
    imports = (n for n in ast.walk(ast.parse(code)) if isinstance(n, ast.Import | ast.ImportFrom))
    return {alias.asname or alias.name for each in imports for alias in each.names}


def _module(name: str) -> str:
    return f"zoo_plugin_{name}"


def _class_name(name: str) -> str:
    return "".join(part[:1].upper() + part[1:] for part in name.split("_"))
