"""`zoo plugins`: what is installed, what it adds, and what failed."""

from __future__ import annotations


def plugins() -> None:
    """List plugins with what each adds, or the reason why it could not."""
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    from zoo.plugins import registry

    table = Table("plugin", "from", "adds", "problem")
    for plugin in registry().plugins:
        adds = "; ".join(
            f"{hook.removeprefix('zoo_')}: {', '.join(names)}"
            for hook, names in plugin.adds.items()
        )
        row = (plugin.name, plugin.origin, adds, "; ".join(plugin.errors))
        table.add_row(*map(escape, row))
    Console().print(table)
