"""Sections of the report that plugins provide: loaded, written, and isolated from one another."""

from __future__ import annotations

import functools
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from zoo.api.report_section import ReportSection, check_text
from zoo.base.markdown import Markdown
from zoo.base.records import Results
from zoo.base.safe_text import describe_value, one_line
from zoo.base.workspace import check_name
from zoo.plugins.contribution_checks import refuse
from zoo.plugins.entry_points import (
    Plugin,
    PluginFile,
    Point,
    error_in_one_line,
    find_plugins,
    load_plugins,
    may_provide,
    plugin_limit,
    refuse_broken_files,
)
from zoo.plugins.listing_cache import Listing, listing

GROUP = "zoo.report_sections"
LONGEST_HEADING = 80


@dataclass(frozen=True)
class WrittenSection:
    """A section as the report prints it: its text, or why the text is missing."""

    heading: str
    origin: str
    text: Markdown | None
    problem: str = ""


class SectionRegistry:
    """All sections that plugins provide, in the order in which they are printed."""

    def __init__(self, entry_points: Iterable[Point], only: frozenset[str] | None = None) -> None:
        self.sections: dict[str, type[ReportSection]] = {}
        self.origins: dict[str, str] = {}
        self.plugins: list[Plugin] = []
        self.add(entry_points, only)

    def add(self, points: Iterable[Point], only: frozenset[str] | None = None) -> list[Plugin]:
        """Load more plugins, and return them with what each adds or why it failed."""
        added = load_plugins(GROUP, points, self._add, only)
        self.plugins += added
        return added

    def _add(self, plugin: Plugin, hook: str, thing: Any) -> None:
        if not (isinstance(thing, type) and issubclass(thing, ReportSection)):
            refuse(f"{describe_value(thing)} is not a subclass of zoo.ReportSection")
        for attribute in ("name", "heading"):
            if not isinstance(getattr(thing, attribute, None), str):
                refuse(f"{thing.__name__} has no {attribute}: it is text, set in the class")
        check_name(thing.name, "plugin")
        if not thing.heading.strip():
            refuse(f"the heading of {thing.name} is empty")
        if thing.write is ReportSection.write:
            refuse(f"{thing.__name__} defines no write(results)")
        if thing.name in self.sections:
            refuse(f"the name {thing.name!r} is taken by {self.origins[thing.name]}")
        self.sections[thing.name] = thing
        self.origins[thing.name] = plugin.origin

    def write(self, results: Results) -> list[WrittenSection]:
        """Write every section for these results; a failed one has the reason instead of text."""
        written = []
        for name, section in self.sections.items():
            heading, origin = one_line(section.heading, LONGEST_HEADING), self.origins[name]
            # This is plugin code: it gets a copy of the results, and an exception affects only its
            # own section.
            try:
                text = check_text(section().write(results.model_copy(deep=True)))
            except (Exception, SystemExit) as error:
                problem = one_line(error_in_one_line(error), 500)
                written.append(WrittenSection(heading, origin, None, problem))
                continue
            if text:
                written.append(WrittenSection(heading, origin, text))
        return written

    def failures(self) -> list[str]:
        """A sentence for each section that a plugin failed to provide."""
        return [
            f"A section is missing: {one_line(line, 600)}"
            for plugin in self.plugins
            for line in plugin.failures()
        ]


def list_sections() -> Listing:
    """List the plugins with sections, without importing those whose contents are known.

    Raises BadInput as `section_registry` does.
    """
    if section_registry.cache_info().currsize:
        return Listing(plugins=section_registry().plugins)
    return listing(GROUP, lambda: Listing(plugins=section_registry().plugins))


@functools.cache
def section_registry() -> SectionRegistry:
    """Load the sections of this installation, once per process.

    Raises BadInput if ZOO_PLUGINS names something that does not exist, or a broken file.
    """
    points = [
        point
        for point in find_plugins(GROUP)
        if not isinstance(point, PluginFile) or may_provide(point, "zoo_report_sections")
    ]
    sections = SectionRegistry(points, plugin_limit())
    refuse_broken_files(sections.plugins, points)
    return sections


def add_section_file(path: Path) -> list[Plugin]:
    """Add the sections of a Python file, if it can contain any, to the registry.

    Raises BadInput if one is invalid.
    """
    point = PluginFile(path)
    sections = section_registry()
    there = [p for p in sections.plugins if (p.name, p.folder) == (path.name, str(path.parent))]
    if there or not may_provide(point, "zoo_report_sections"):
        return there
    added = sections.add([point])
    refuse_broken_files(added, [point])
    return added
