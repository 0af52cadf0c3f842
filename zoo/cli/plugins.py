"""`zoo plugins`: what is installed, what it adds, and what did not load."""

from __future__ import annotations


def plugins() -> None:
    """List plugins with what each adds, or the reason why it could not."""
    from rich.table import Table

    from zoo.cli.output import Console, shown
    from zoo.entry_points import LIMIT
    from zoo.plugins import registry
    from zoo.report.brought import section_registry

    table = Table("plugin", "from", "adds", "problem")
    for column in table.columns:
        column.overflow = "fold"
    for plugin in (*registry().plugins, *section_registry().plugins):
        adds = "; ".join(
            f"{hook.removeprefix('zoo_').replace('_', ' ')}: {', '.join(names)}"
            for hook, names in plugin.adds.items()
        )
        problems = [f"left out by {LIMIT}"] if plugin.left_out else plugin.errors + plugin.changed
        table.add_row(*map(shown, (plugin.name, plugin.origin, adds, "; ".join(problems))))
    Console().print(table)
