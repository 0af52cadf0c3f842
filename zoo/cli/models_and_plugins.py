"""`zoo models` and `zoo plugins`: list what is installed, check it, write new packages."""

from __future__ import annotations

import shlex
import typing
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from zoo.cli import options as opt

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from rich.console import Console

    from zoo.api.autoencoder import Autoencoder
    from zoo.conformance.suite import Thing
    from zoo.evaluation.model_summary import ModelSummary
    from zoo.plugins.entry_points import Plugin
    from zoo.scaffold import Kind as NewKind

models_app = typer.Typer(help="List, show and check models; write new ones.", rich_markup_mode=None)


@opt.lists(models_app)
def list_models(as_json: opt.JsonOption = False) -> None:
    """List models and references."""
    from zoo.base.extras import lacking
    from zoo.base.json_output import print_json
    from zoo.cli.console import Console, Table, escaped
    from zoo.plugins.entry_points import LIMIT
    from zoo.plugins.registry import list_plugins
    from zoo.training.runs import bundled_runs

    found = list_plugins()
    if as_json:
        print_json(models=[each.model_dump(mode="json") for each in found.models])
        return
    table = Table("model", "role", "what it is", "from")
    missing: list[str] = []
    for number, each in enumerate(found.models, start=1):
        last_of_kind = [other.kind for other in found.models[number:]][:1] != [each.kind]
        line = lacking(each.name, each.extras, each.origin)
        missing += [line] if line else []
        row = (each.name, each.role, each.summary + " (not installed)" * bool(line), each.origin)
        table.add_row(*map(escaped, row), end_section=last_of_kind)
    console = Console()
    console.print(table)
    for line in missing:
        console.print_line(line)
    names = ", ".join(run.name for run in bundled_runs())
    console.print(f"trained already: {names}; your own: `zoo runs`", soft_wrap=True)
    for what, plugins in (
        ("failed to load", [plugin.name for plugin in found.plugins if plugin.errors]),
        (f"left out by {LIMIT}", [plugin.name for plugin in found.plugins if plugin.left_out]),
    ):
        if plugins:
            names = ", ".join(plugins)
            console.print(escaped(f"{what}: {names}; see `zoo plugins`"), soft_wrap=True)


@models_app.command("show")
def show_model(
    name: Annotated[
        str,
        typer.Argument(help="A model, as listed by `zoo models`.", autocompletion=opt.one_model),
    ],
    size: Annotated[str, typer.Option("--size", help="Frame size, WIDTHxHEIGHT.")] = "256x144",
    preset: Annotated[
        str, typer.Option("--preset", help="Use the model's option values for this preset.")
    ] = "film",
    settings: opt.SetOption = None,
    cost: Annotated[
        bool,
        typer.Option("--cost", help="Also count the operations and casts in a training step."),
    ] = False,
) -> None:
    """Show a model's options, shapes, parameters and multiply-adds."""
    from zoo.base.frame_size import FrameSize
    from zoo.base.presets_and_budgets import preset_named
    from zoo.cli.console import Console, Table, escaped
    from zoo.conformance.fake_gpu import operations_of_step
    from zoo.evaluation.model_summary import summarise_model
    from zoo.plugins.model_building import fits_directly, parse_options
    from zoo.plugins.registry import registry

    architecture = registry().architecture(name)
    latent = preset_named(preset).latent
    frame = FrameSize.parse(size)
    options = parse_options(
        architecture,
        {
            "latent": latent,
            **architecture.presets.get(preset, {}),
            **opt.read_settings(settings),
        },
    )
    console = Console()
    console.print(escaped(f"{architecture.name}: {architecture.summary}"), soft_wrap=True)
    console.print(escaped(f"from {registry().origins[name]}"), soft_wrap=True)
    table = Table("option", "type", "value", "what it is")
    for option, field in type(options).model_fields.items():
        kind = _type_in_words(field.annotation)
        value = str(getattr(options, option))
        table.add_row(*map(escaped, (option, kind, value, field.description or "")))
    console.print(table)

    found = summarise_model(architecture, frame, options)
    rows = [
        ("frames", f"(3, {frame.height}, {frame.width})"),
        ("latents", _latent_in_words(found)),
        *(
            (f"player {player}", f"{count:,} parameters, {how.name} at {how.lr:g}")
            for player, count in found.players.items()
            for how in (found.optimizers[player],)
        ),
        (
            "decoder",
            f"{found.decoder_bytes / 4:,.0f} numbers, "
            f"{found.decoder_bytes / 1e6:,.2f} MB at 32 bits",
        ),
        ("to encode", f"{found.encode:,} multiply-adds per frame"),
        ("to decode", f"{found.decode:,} multiply-adds per frame"),
    ]
    if cost and not fits_directly(architecture):
        counted = operations_of_step(architecture, frame, options.model_dump())
        rows += [
            (
                "forward pass",
                f"{counted.forward:,} operations under bf16 autocast, {counted.casts:,} of them "
                f"casts, and {counted.copies:,} copies from the host",
            ),
            ("backward", f"{counted.backward:,} operations in 32 bits"),
        ]
    sizes = Table(f"at {frame}", "", box=None, pad_edge=False)
    for row in rows:
        sizes.add_row(*map(escaped, row))
    console.print(sizes)


def _type_in_words(annotation: Any) -> str:
    """Describe an option's type: `int`, say, or its choices."""
    if typing.get_origin(annotation) is Literal:
        return " or ".join(map(str, typing.get_args(annotation)))
    return getattr(annotation, "__name__", str(annotation))


def _latent_in_words(found: ModelSummary) -> str:
    """Describe the latent in one line."""
    spec = found.latent
    kind = "numbers" if spec.codes is None else f"codes of {spec.codes:,} values"
    per = "per frame" if found.window == 1 else f"for {found.window} frames"
    return (
        f"{spec.shape}, {spec.numbers:,} {kind} {per}, {spec.bits / found.window:,.0f} bits/frame"
    )


@models_app.command("new")
def new_model(
    name: Annotated[str, typer.Argument(help="Name of the model and of its Python module.")],
    kind: Annotated[
        str,
        typer.Option(
            "--kind",
            help="What to start from: plain, vae, gan, codes (whole numbers instead of real ones) "
            "or clip (several frames share a latent).",
        ),
    ] = "plain",
    into: Annotated[
        Path, typer.Option("--into", help="Folder to create the package's folder in.")
    ] = Path(),
) -> None:
    """Write an installable package with a small model to start from, and its test.

    `zoo plugins new` writes plugins other than models.
    """

    from zoo.scaffold import kind_of_model

    write_new(name, kind_of_model(kind), into)


@models_app.command("check")
def check_model(
    name: Annotated[
        str,
        typer.Argument(
            help="A model, as listed by `zoo models`, or a file such as mine.py.",
            autocompletion=opt.one_model,
        ),
    ],
) -> None:
    """Check that a model keeps the contract; exit with 1 if it breaks a promise it does not waive.

    For a Python file, which need not be installed, checks every model and reference in it.
    """
    from zoo.cli.console import Console

    if check_things(Console(), _named(name)):
        raise typer.Exit(1)


def _named(word: str) -> list[type[Autoencoder]]:
    """The model of that name, or all models of a file; raises BadInput if there is none."""
    from zoo.base.errors import BadInput
    from zoo.plugins.entry_points import is_file_name, plugin_file
    from zoo.plugins.registry import add_file, registry

    if not is_file_name(word):
        return [registry().architecture(word)]
    plugin = add_file(plugin_file(word))
    names = [*plugin.adds.get("zoo_models", ()), *plugin.adds.get("zoo_references", ())]
    models = [registry().architecture(name) for name in names if name not in registry().codecs]
    if not models:
        raise BadInput(
            f"{word} provides no model; `zoo plugins check {shlex.quote(word)}` checks metrics and "
            "other parts"
        )
    return models


plugins_app = typer.Typer(help="List and check plugins; write new ones.", rich_markup_mode=None)


@opt.lists(plugins_app)
def list_plugins(as_json: opt.JsonOption = False) -> None:
    """List plugins, with what each adds or why it failed."""
    from zoo.base.json_output import print_json
    from zoo.cli.console import Console, Table, escaped
    from zoo.plugins import registry
    from zoo.plugins.entry_points import LIMIT
    from zoo.report.plugin_sections import list_sections

    found = [*registry.list_plugins().plugins, *list_sections().plugins]
    if as_json:
        fields = ("name", "package", "version", "adds", "errors", "changed", "left_out")
        print_json(plugins=[{field: getattr(each, field) for field in fields} for each in found])
        return
    table = Table("plugin", "from", "adds", "problem")
    for plugin in found:
        adds = "; ".join(
            f"{hook.removeprefix('zoo_').replace('_', ' ')}: {', '.join(names)}"
            for hook, names in plugin.adds.items()
        )
        problems = [f"left out by {LIMIT}"] if plugin.left_out else plugin.errors + plugin.changed
        table.add_row(*map(escaped, (plugin.name, plugin.origin, adds, "; ".join(problems))))
    Console().print(table)


@plugins_app.command("new")
def new_plugin(
    name: Annotated[str, typer.Argument(help="Name of the plugin and of its Python module.")],
    kind: Annotated[
        str,
        typer.Option(
            "--kind", help="What the plugin adds: model, reference, codec, metric, section or film."
        ),
    ] = "model",
    into: Annotated[
        Path, typer.Option("--into", help="Folder to create the package's folder in.")
    ] = Path(),
) -> None:
    """Write an installable package with a small working example, and its test.

    `zoo models new` writes models of several kinds.
    """
    from zoo.scaffold import kind_of_plugin

    write_new(name, kind_of_plugin(kind), into)


def write_new(name: str, kind: NewKind, into: Path) -> None:
    """Write a package, and print where it is."""
    from zoo.scaffold import write_package

    folder = write_package(name, into, kind)
    typer.echo(f"wrote {folder}; what to do next is in {folder / 'README.md'}")


@plugins_app.command("check")
def check_plugin(
    name: Annotated[
        str | None,
        typer.Argument(
            help="A plugin, a package, one thing that a plugin adds, or a file such as mine.py; "
            "default: all except film-zoo's own.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Check that models, codecs, metrics, sections and films keep their contracts.

    Exits with 1 if one breaks a promise it does not waive, or if a plugin does not load.
    """
    from zoo.cli.console import Console

    console = Console()
    failed, things = _chosen(name)
    for line in failed:
        console.print(f"broken  {line}", soft_wrap=True, markup=False, highlight=False)
    broken = len(failed) + check_things(console, things)
    if broken:
        raise typer.Exit(1)


def check_things(console: Console, things: Iterable[Thing]) -> int:
    """Print the findings of the checks; return how many promises are broken.

    A terminal also shows which check is running.
    """
    from zoo.cli.console import escaped
    from zoo.conformance.suite import examine, remedy, with_unknown_together

    things = list(things)
    verdicts: Counter[str] = Counter()
    with console.status("checking") as status:
        for thing in things:
            if len(things) > 1:
                console.print(escaped(thing.name), style="bold")

            def show(check: str, name: str = thing.name) -> None:
                status.update(escaped(f"checking {name}: {check}"))

            for finding in with_unknown_together(examine(thing, show)):
                # The verdicts form a column; the rest may contain a plugin's own text.
                said = str(finding).removeprefix(finding.verdict)
                console.print(f"{finding.verdict:<7} {escaped(said)}", soft_wrap=True)
                verdicts[finding.verdict] += 1
                if finding.verdict == "broken" and (what := remedy(finding)):
                    console.print(f"{'':<7} to do: {escaped(what)}", soft_wrap=True)
    broken = verdicts["broken"]
    if broken:
        console.print("1 promise is broken" if broken == 1 else f"{broken} promises are broken")
    else:
        rest = [each for each in verdicts if each != "kept"]
        others = "".join(f", {verdicts[each]} {each}" for each in rest)
        console.print(f"{verdicts['kept']} of {verdicts.total()} promises are kept{others}")
    return broken


def _all_plugins() -> list[Plugin]:
    from zoo.plugins.registry import registry
    from zoo.report.plugin_sections import section_registry

    return [*registry().plugins, *section_registry().plugins]


def _chosen(word: str | None) -> tuple[list[str], list[Thing]]:
    """Lines on failures to load, and the contributions that `word` names; BadInput if neither."""
    from zoo.base.errors import BadInput
    from zoo.plugins.entry_points import BUILT_IN, LIMIT, file_hint, is_file_name, plugin_file
    from zoo.plugins.registry import add_file
    from zoo.report.plugin_sections import add_section_file

    if word is not None and is_file_name(word):
        path = plugin_file(word)
        loaded = [add_file(path), *add_section_file(path)]
    elif word is None:
        loaded = [plugin for plugin in _all_plugins() if plugin.package != BUILT_IN]
        if not loaded:
            raise BadInput("only film-zoo's own plugins are installed; `zoo plugins` lists them")
    else:
        loaded = [plugin for plugin in _all_plugins() if word in (plugin.name, plugin.package)]
    things = list(_things(loaded))
    if word is not None and not loaded:
        things = [thing for thing in _things(_all_plugins()) if thing.name == word]
        if not things:
            raise BadInput(
                f"no plugin, package, model, codec, metric, section or film is called {word!r}; "
                f"`zoo plugins` lists them. {file_hint(word)}"
            )
    failed = [line for plugin in loaded for line in plugin.failures()]
    if not failed and not things:
        names = ", ".join(plugin.name for plugin in loaded)
        left_out = any(plugin.left_out for plugin in loaded)
        why = f"is left out by {LIMIT}" if left_out else "provides nothing to check"
        raise BadInput(f"{names} {why}")
    return failed, things


def _things(plugins: Iterable[Plugin]) -> Iterator[Thing]:
    """The contributions that plugins have added."""
    from zoo.plugins.registry import registry
    from zoo.report.plugin_sections import section_registry

    known = registry()
    kinds = {
        "zoo_models": known.models,
        "zoo_references": {**known.references, **known.codecs},
        "zoo_metrics": known.metrics,
        "zoo_films": known.films,
        "zoo_training_callbacks": known.callbacks,
        "zoo_report_sections": section_registry().sections,
    }
    for plugin in plugins:
        for hook, names in plugin.adds.items():
            yield from (kinds[hook][name] for name in names)  # type: ignore[index]
