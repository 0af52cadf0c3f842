"""Write an installable plugin package: one thing that works, its entry point and its test.

`examples/zoo-plugin-tiny` is what `zoo plugins new tiny` writes, from `templates`.
"""

from __future__ import annotations

import importlib.util
import keyword
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import jinja2

from zoo.api.hookspecs import CONTRACT_VERSION
from zoo.base.atomic_files import check_writable
from zoo.base.errors import BadInput
from zoo.base.frame_size import FrameSize
from zoo.base.workspace import check_name
from zoo.plugins.registry import registry


@dataclass(frozen=True)
class Kind:
    """A kind of thing that a package can add, and what the package's README says about it."""

    what: str
    """What the thing does at first, as a clause."""
    commands: tuple[str, ...]
    """What to try; {name} is the thing's name."""
    explained: str
    """What those commands do."""
    group: str = "zoo"
    """The group of its entry point."""


_CHECK = "zoo plugins check {name}"
_EXPLAINED = (
    "The tests ask whether it keeps the contract; `check` reports the same promise by promise."
)
KINDS: Mapping[str, Kind] = MappingProxyType(
    {
        "model": Kind(
            "two convolutions down to the latent, two up again",
            (
                "zoo models check {name}",
                "zoo models show {name}",
                "zoo compare --films all --models ae,{name} --preset quick",
            ),
            "The tests ask whether the model keeps the contract, `check` reports the same promise "
            "by promise,\n`show` prints its options and what it costs.",
        ),
        "reference": Kind(
            "the mean of the training frames",
            (_CHECK, "zoo compare --films all --models ae --preset quick"),
            f"{_EXPLAINED}\nReferences stand beside the models in every comparison.",
        ),
        "codec": Kind(
            "a thumbnail of every frame",
            (_CHECK, "zoo compare --films all --models ae,{name} --preset quick"),
            _EXPLAINED,
        ),
        "metric": Kind(
            "the mean absolute error of colour values",
            (_CHECK, "zoo compare --films all --models ae --preset quick"),
            f"{_EXPLAINED}\nThe comparison measures it beside the others.",
        ),
        "section": Kind(
            "bytes per second",
            (_CHECK, "zoo report"),
            f"{_EXPLAINED}\n`zoo report` writes a report again, with the section.",
            "zoo.report_sections",
        ),
        "film": Kind(
            "a disc that moves over a gradient",
            (_CHECK, "zoo films info {name}", "zoo train ae --film {name} --preset quick"),
            f"{_EXPLAINED}\nPut a film of your own in place of the file.",
        ),
    }
)
"""What `zoo plugins new NAME --kind KIND` takes."""


def write_package(name: str, into: Path, kind: str = "model") -> Path:
    """Write the package of a new thing into a new folder below `into`, and return that folder.

    For `tiny` the folder and the distribution are called `zoo-plugin-tiny`, the module
    `zoo_plugin_tiny`. Raises BadInput, and writes nothing, if there is no such kind, if the name is
    not valid for a thing and a module, if it is taken, or if the folder exists.
    """
    if kind not in KINDS:
        raise BadInput(f"a plugin brings a {', '.join(KINDS)}; not {kind!r}")
    _check_new(name, kind)
    distribution, module = f"zoo-plugin-{name.replace('_', '-')}", _module(name)
    # A film's file lies beside its module, which only a package can have.
    code = f"{module}/__init__.py" if kind == "film" else f"{module}.py"
    texts = _rendered(
        {
            "pyproject.toml": "pyproject.toml.j2",
            "README.md": "readme.md.j2",
            code: f"{kind}.py.j2",
            f"tests/test_{name}.py": "test.py.j2",
        },
        name=name,
        class_name=_class_name(name),
        module=module,
        distribution=distribution,
        kind=kind,
        what=KINDS[kind].what,
        commands=[command.format(name=name) for command in KINDS[kind].commands],
        explained=KINDS[kind].explained,
        group=KINDS[kind].group,
        thing="FILM" if kind == "film" else _class_name(name),
        contract=CONTRACT_VERSION,
    )
    folder = into / distribution
    check_writable(into, folder)
    try:
        folder.mkdir(parents=True)
    except FileExistsError:
        raise BadInput(f"{folder} is there already") from None
    for path, text in texts.items():
        (folder / path).parent.mkdir(exist_ok=True)
        (folder / path).write_text(text, encoding="utf-8", newline="\n")
    if kind == "film":
        _write_film(folder / module / f"{name}.mp4")
    return folder


def _rendered(files: Mapping[str, str], **values: object) -> dict[str, str]:
    """The text of each file, from its template."""
    templates = jinja2.Environment(
        loader=jinja2.PackageLoader("zoo.scaffold"),
        undefined=jinja2.StrictUndefined,
        keep_trailing_newline=True,
        # The output is not HTML, and what a user gave are names, which are checked.
        autoescape=False,
    )
    return {
        path: templates.get_template(template).render(**values) for path, template in files.items()
    }


def _write_film(path: Path) -> None:
    """Two seconds of film to begin with."""
    from zoo.conformance.fixtures import scene_as_film
    from zoo.reconstruct.video.mp4_writer import video_file

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
    """The plugin that brings a thing of this kind and name already; None if there is none."""
    from zoo.report.plugin_sections import section_registry

    hooks = {"metric": "zoo_metrics", "film": "zoo_films", "section": "zoo_report_sections"}
    if kind not in hooks:
        return registry().origins.get(name)
    plugins = section_registry().plugins if kind == "section" else registry().plugins
    return next((p.origin for p in plugins if name in p.adds.get(hooks[kind], ())), None)


def _module(name: str) -> str:
    return f"zoo_plugin_{name}"


def _class_name(name: str) -> str:
    return "".join(part[:1].upper() + part[1:] for part in name.split("_"))
