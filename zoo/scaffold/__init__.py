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

    thing: str
    """What such a thing is called: a model, say, of whatever kind."""
    template: str
    """The template of its module, without its endings."""
    what: str
    """What the thing does at first, as a clause."""
    commands: tuple[str, ...]
    """What to try; {name} is the thing's name."""
    explained: str
    """What those commands do."""
    group: str = "zoo"
    """The group of its entry point."""


def _model(template: str, what: str, command: str = "", explained: str = "") -> Kind:
    """A kind of model, with what its README tries and explains beside what every model's does."""
    commands = (
        "zoo models check {name}",
        "zoo models show {name}",
        "zoo compare --films all --models ae,{name} --preset quick",
    )
    return Kind(
        "model",
        template,
        what,
        (*commands, command) if command else commands,
        "The tests ask whether the model keeps the contract, `check` reports the same promise "
        f"by promise,\n`show` prints its options and what it costs.{explained}",
    )


MODELS: Mapping[str, Kind] = MappingProxyType(
    {
        "ae": _model("model", "two convolutions down to the latent, two up again"),
        "vae": _model(
            "vae",
            "a variational autoencoder, whose latents can be drawn from a prior",
            "zoo sample {name} --film bikes",
            "\n`sample` decodes latents that are of no frame.",
        ),
        "gan": _model(
            "gan", "an autoencoder with an adversary that tells its pictures from frames"
        ),
        "codes": _model("codes", "an autoencoder whose latent is whole numbers, kept as they are"),
        "clip": _model("clip", "an autoencoder of clips: four frames in a row share a latent"),
    }
)
"""What `zoo models new NAME --kind KIND` takes."""

_CHECK = "zoo plugins check {name}"
_EXPLAINED = (
    "The tests ask whether it keeps the contract; `check` reports the same promise by promise."
)
KINDS: Mapping[str, Kind] = MappingProxyType(
    {
        "model": MODELS["ae"],
        "reference": Kind(
            "reference",
            "reference",
            "the mean of the training frames",
            (_CHECK, "zoo compare --films all --models ae --preset quick"),
            f"{_EXPLAINED}\nReferences stand beside the models in every comparison.",
        ),
        "codec": Kind(
            "codec",
            "codec",
            "a thumbnail of every frame",
            (_CHECK, "zoo compare --films all --models ae,{name} --preset quick"),
            _EXPLAINED,
        ),
        "metric": Kind(
            "metric",
            "metric",
            "the mean absolute error of colour values",
            (_CHECK, "zoo compare --films all --models ae --preset quick"),
            f"{_EXPLAINED}\nThe comparison measures it beside the others.",
        ),
        "section": Kind(
            "section",
            "section",
            "bytes per second",
            (_CHECK, "zoo report"),
            f"{_EXPLAINED}\n`zoo report` writes a report again, with the section.",
            "zoo.report_sections",
        ),
        "film": Kind(
            "film",
            "film",
            "a disc that moves over a gradient",
            (_CHECK, "zoo films info {name}", "zoo train ae --film {name} --preset quick"),
            f"{_EXPLAINED}\nPut a film of your own in place of the file.",
        ),
    }
)
"""What `zoo plugins new NAME --kind KIND` takes."""


def kind_of_model(word: str) -> Kind:
    """The kind of model that a word of `zoo models new` names; BadInput if there is none."""
    if word not in MODELS:
        raise BadInput(f"a model's kind is one of {', '.join(MODELS)}; not {word!r}")
    return MODELS[word]


def kind_of_plugin(word: str) -> Kind:
    """The kind of thing that a word of `zoo plugins new` names; BadInput if there is none."""
    if word not in KINDS:
        raise BadInput(f"a plugin brings a {', '.join(KINDS)}; not {word!r}")
    return KINDS[word]


def write_package(name: str, into: Path, kind: Kind) -> Path:
    """Write the package of a new thing into a new folder below `into`, and return that folder.

    For `tiny` the folder and the distribution are called `zoo-plugin-tiny`, the module
    `zoo_plugin_tiny`. Raises BadInput, and writes nothing, if the name is not valid for a thing and
    a module, if it is taken, or if the folder exists.
    """
    thing = kind.thing
    _check_new(name, thing)
    distribution, module = f"zoo-plugin-{name.replace('_', '-')}", _module(name)
    # A film's file lies beside its module, which only a package can have.
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
    folder = into / distribution
    check_writable(into, folder)
    try:
        folder.mkdir(parents=True)
    except FileExistsError:
        raise BadInput(f"{folder} is there already") from None
    for path, text in texts.items():
        (folder / path).parent.mkdir(exist_ok=True)
        (folder / path).write_text(text, encoding="utf-8", newline="\n")
    if thing == "film":
        _write_film(folder / module / f"{name}.mp4")
    return folder


def _rendered(files: Mapping[str, str], **values: object) -> dict[str, str]:
    """The text of each file, from its template."""
    templates = jinja2.Environment(
        loader=jinja2.PackageLoader("zoo.scaffold"),
        undefined=jinja2.StrictUndefined,
        keep_trailing_newline=True,
        trim_blocks=True,
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
