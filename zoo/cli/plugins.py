"""`zoo plugins`: what is installed, what it adds, what did not load, and checking it."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from zoo.cli import options as opt

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from rich.console import Console

    from zoo.conformance.suite import Thing
    from zoo.plugins.entry_points import Plugin
    from zoo.scaffold import Kind as NewKind

app = typer.Typer(help="Plugins: what they add, and whether it works.", rich_markup_mode=None)


@opt.lists(app)
def list_plugins(as_json: opt.JsonOption = False) -> None:
    """List plugins with what each adds, or the reason why it could not."""
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


@app.command("new")
def new(
    name: Annotated[str, typer.Argument(help="Name of the plugin and of its Python module.")],
    kind: Annotated[
        str,
        typer.Option(
            "--kind", help="What it adds: model, reference, codec, metric, section or film."
        ),
    ] = "model",
    into: Annotated[
        Path, typer.Option("--into", help="Folder in which the package's folder is created.")
    ] = Path(),
) -> None:
    """Write an installable package with one small thing that works, and its test.

    `zoo models new` writes models of several kinds.
    """
    from zoo.scaffold import kind_of_plugin

    write_new(name, kind_of_plugin(kind), into)


def write_new(name: str, kind: NewKind, into: Path) -> None:
    """Write a package and say where it is."""
    from zoo.scaffold import write_package

    folder = write_package(name, into, kind)
    typer.echo(f"wrote {folder}; what to do next is in {folder / 'README.md'}")


@app.command("check")
def check(
    name: Annotated[
        str | None,
        typer.Argument(
            help="A plugin, a package, one thing that a plugin adds, or a file: mine.py. "
            "Else all but those of film-zoo itself.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Check that models, codecs, metrics, sections and films keep their contracts.

    Exits with 1 if one breaks what it does not waive, or if a plugin did not load.
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
    """Print what the checks find of each thing; return how many promises are broken."""
    from zoo.cli.console import escaped
    from zoo.conformance.suite import examine, remedy, with_unknown_together

    things = list(things)
    verdicts: Counter[str] = Counter()
    for thing in things:
        if len(things) > 1:
            console.print(escaped(thing.name), style="bold")
        for finding in with_unknown_together(examine(thing)):
            # The verdicts stand in a column; what follows is the plugin's own words.
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
    """What a word names: lines on what did not load, and things; BadInput if that is nothing."""
    from zoo.base.errors import BadInput
    from zoo.plugins.entry_points import BUILT_IN, file_hint, is_file_name, plugin_file
    from zoo.plugins.registry import add_file
    from zoo.report.plugin_sections import add_section_file

    if word is not None and is_file_name(word):
        path = plugin_file(word)
        loaded = [add_file(path), *add_section_file(path)]
    elif word is None:
        loaded = [plugin for plugin in _all_plugins() if plugin.package != BUILT_IN]
        if not loaded:
            raise BadInput("no plugin but film-zoo's own is installed; `zoo plugins` lists them")
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
    return [line for plugin in loaded for line in plugin.failures()], things


def _things(plugins: Iterable[Plugin]) -> Iterator[Thing]:
    """What plugins have added."""
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
