"""`zoo models`: list, show, check and scaffold models."""

from __future__ import annotations

import shlex
import typing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from zoo.cli import options as opt
from zoo.cli.completion import one_model

if TYPE_CHECKING:
    from zoo.api.autoencoder import Autoencoder
    from zoo.evaluation.model_summary import ModelSummary

app = typer.Typer(help="Architectures and references.", rich_markup_mode=None)


@opt.lists(app)
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


@app.command("show")
def show(
    name: Annotated[
        str, typer.Argument(help="A model, as `zoo models` lists them.", autocompletion=one_model)
    ],
    size: Annotated[str, typer.Option("--size", help="Frame size, WIDTHxHEIGHT.")] = "256x144",
    preset: Annotated[
        str, typer.Option("--preset", help="Use the model's option values of this preset.")
    ] = "film",
    settings: opt.SetOption = None,
    cost: Annotated[
        bool,
        typer.Option("--cost", help="Also count the operations and casts of a training step."),
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
    """An option's type: `int`, or its choices."""
    if typing.get_origin(annotation) is Literal:
        return " or ".join(map(str, typing.get_args(annotation)))
    return getattr(annotation, "__name__", str(annotation))


def _latent_in_words(found: ModelSummary) -> str:
    """What a latent is, in a line."""
    spec = found.latent
    kind = "numbers" if spec.codes is None else f"codes of {spec.codes:,} values"
    per = "per frame" if found.window == 1 else f"for {found.window} frames"
    return (
        f"{spec.shape}, {spec.numbers:,} {kind} {per}, {spec.bits / found.window:,.0f} bits/frame"
    )


@app.command("new")
def new(
    name: Annotated[str, typer.Argument(help="Name of the model and of its Python module.")],
    kind: Annotated[
        str,
        typer.Option(
            "--kind",
            help="What it begins as: plain, vae, gan, codes (whole numbers in place of real ones) "
            "or clip (several frames share a latent).",
        ),
    ] = "plain",
    into: Annotated[
        Path, typer.Option("--into", help="Folder in which the package's folder is created.")
    ] = Path(),
) -> None:
    """Write an installable package with a small model to begin from, and its test.

    `zoo plugins new` writes packages with other things than models.
    """
    from zoo.cli.plugins import write_new
    from zoo.scaffold import kind_of_model

    write_new(name, kind_of_model(kind), into)


@app.command("check")
def check(
    name: Annotated[
        str,
        typer.Argument(
            help="A model, as `zoo models` lists them, or a file: mine.py.",
            autocompletion=one_model,
        ),
    ],
) -> None:
    """Check that a model keeps the contract; exits with 1 if it breaks what it does not waive.

    Of a file of Python, which need not be installed, every model and reference is checked.
    """
    from zoo.cli.console import Console
    from zoo.cli.plugins import check_things

    if check_things(Console(), _named(name)):
        raise typer.Exit(1)


def _named(word: str) -> list[type[Autoencoder]]:
    """The model of that name, or all that a file brings; raises BadInput where there is none."""
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
            f"{word} brings no model; `zoo plugins check {shlex.quote(word)}` looks at metrics and "
            "others"
        )
    return models
