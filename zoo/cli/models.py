"""`zoo models`: what can be trained, and what its options are."""

from __future__ import annotations

from typing import Annotated

import typer

app = typer.Typer(help="Architectures and references.", rich_markup_mode=None)


@app.callback(invoke_without_command=True)
def models(context: typer.Context) -> None:
    """List models and references."""
    if context.invoked_subcommand:
        return
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    from zoo.plugins import registry

    found = registry()
    table = Table("model", "role", "what it is", "from")
    for architecture in (*found.models.values(), *found.references.values()):
        row = (architecture.name, architecture.role, architecture.summary)
        table.add_row(*map(escape, row), escape(found.origins[architecture.name]))
    console = Console()
    console.print(table)
    broken = [plugin.name for plugin in found.plugins if plugin.errors]
    if broken:
        names = ", ".join(broken)
        console.print(escape(f"failed to load: {names}; `zoo plugins` says why"), soft_wrap=True)


@app.command("show")
def show(
    name: Annotated[str, typer.Argument(help="A model, as `zoo models` lists them.")],
    size: Annotated[str, typer.Option("--size", help="Frame size, WIDTHxHEIGHT.")] = "256x144",
    preset: Annotated[
        str, typer.Option("--preset", help="Use the model's option values of this preset.")
    ] = "film",
) -> None:
    """Show a model's options, players and size."""
    import torch
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    from zoo.autoencoder import PlayerParameters
    from zoo.frame_size import FrameSize
    from zoo.plugins import registry
    from zoo.presets import preset_named

    architecture = registry().architecture(name)
    defaults = preset_named(preset)
    frame = FrameSize.parse(size)
    options = architecture.parse_options(
        {"latent": defaults.latent, **architecture.presets.get(preset, {})}
    )
    console = Console()
    console.print(escape(f"{architecture.name}: {architecture.summary}"), soft_wrap=True)
    console.print(escape(f"from {registry().origins[name]}"), soft_wrap=True)
    table = Table("option", "type", "value", "what it is")
    for option, field in type(options).model_fields.items():
        kind = getattr(field.annotation, "__name__", str(field.annotation))
        value = str(getattr(options, option))
        table.add_row(*map(escape, (option, kind, value, field.description or "")))
    console.print(table)

    model = architecture(frame, options)
    console.print(escape(f"at {frame}:"))
    for player, parameters in PlayerParameters.of(model) if not model.fits_directly() else ():
        count = sum(p.numel() for p in parameters)
        how = model.optimizer(player)
        console.print(
            escape(f"  player {player}: {count:,} parameters, {how.name} at {how.lr:g}"),
            soft_wrap=True,
        )
    with torch.inference_mode():
        latent = model.eval().encode(torch.zeros(1, 3, frame.height, frame.width))
    console.print(
        escape(f"  latent: {tuple(latent.shape[1:])}, {latent[0].numel()} numbers a frame")
    )


@app.command("check")
def check(
    name: Annotated[str, typer.Argument(help="A model, as `zoo models` lists them.")],
) -> None:
    """Check that a model keeps the contract; exits with 1 if it does not."""
    from rich.console import Console
    from rich.markup import escape

    from zoo.conformance.suite import examine
    from zoo.plugins import registry

    console = Console()
    broken = 0
    for finding in examine(registry().architecture(name)):
        if finding.problem:
            broken += 1
            console.print(escape(f"broken  {finding.check}: {finding.problem}"), soft_wrap=True)
        else:
            console.print(escape(f"kept    {finding.check}: {finding.promise}"), soft_wrap=True)
    if broken:
        console.print(f"{broken} promises are broken")
        raise typer.Exit(1)
