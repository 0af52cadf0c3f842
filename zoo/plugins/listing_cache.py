"""Cached descriptions of plugins and models, so that listing them imports neither.

Importing plugins imports torch, which takes seconds. Therefore the listings for `zoo plugins` and
`zoo models` are cached in the user's cache folder. A listing is reused until something it depends
on changes: the installed plugins and packages, film-zoo, Python, ZOO_PLUGINS, or the source of any
module of a plugin. A cache file that cannot be read is written again.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Literal, NamedTuple

import pydantic

from zoo.base.atomic_files import atomic_write
from zoo.base.workspace import cache_folder
from zoo.plugins.entry_points import Plugin, PluginFile, Point, find_plugins, plugin_limit

ModelKind = Literal["model", "reference", "codec"]
FORM = 2
"""Version of the cache format."""
MOST_BYTES = 4_000_000
MOST_KEPT = 20
"""Largest number of cached listings, of several environments and values of ZOO_PLUGINS."""


class ListedModel(pydantic.BaseModel, frozen=True, extra="forbid"):
    """A model, reference or film codec as `zoo models` lists it."""

    kind: ModelKind
    name: str
    role: str
    summary: str
    origin: str
    """The package that provides it, with its version."""
    extras: dict[str, str] = {}
    """Modules that it needs, each with the extra that installs it."""


class Listing(pydantic.BaseModel, frozen=True, extra="forbid"):
    """A description of what the plugins of a group add."""

    plugins: list[Plugin]
    models: list[ListedModel] = []

    @property
    def is_sound(self) -> bool:
        """Whether every plugin loaded well; else the cause may be outside the plugin's source."""
        return not any(plugin.errors or plugin.changed for plugin in self.plugins)


class Source(NamedTuple):
    """A file of a plugin as it was when it was imported."""

    modified_ns: int
    size: int
    digest: str


class _Kept(pydantic.BaseModel, frozen=True, extra="forbid"):
    sources: dict[str, Source]
    listing: Listing


def listing(group: str, load: Callable[[], Listing]) -> Listing:
    """List the plugins of a group, from the cache if valid, else by `load`; cache the result."""
    points = find_plugins(group)
    path = _path(group, points)
    kept = _read(path)
    if kept is not None:
        return kept.listing
    made = load()
    if made.is_sound:
        _write(path, _Kept(sources=dict(_sources_of(points)), listing=made))
    return made


def kept_listing(group: str, points: Sequence[Point]) -> Listing | None:
    """The cached listing of a group if it is valid, else None; imports no plugin."""
    kept = _read(_path(group, points))
    return kept.listing if kept else None


def _path(group: str, points: Sequence[Point]) -> Path:
    """The cache file, named by everything that the listing depends on but the plugins' source."""
    only = plugin_limit()
    facts = (
        FORM,
        sys.version,
        group,
        [_facts_of(point) for point in points],
        None if only is None else sorted(only),
        [(folder, _modified(folder)) for folder in _package_folders()],
    )
    digest = hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:32]
    return cache_folder() / "plugins" / f"{digest}.json"


def _facts_of(point: Point) -> list[str]:
    if isinstance(point, PluginFile):
        return [str(point.path)]
    # Another installation of the package may come first on the path.
    try:
        spec = find_spec(point.module.partition(".")[0])
    except (ImportError, ValueError):
        spec = None
    places = [spec.origin or "", *(spec.submodule_search_locations or ())] if spec else []
    package = [point.dist.name, point.dist.version] if point.dist else []
    return [point.name, point.value, *package, *places]


def _package_folders() -> list[str]:
    """The folders of installed packages, which plugins may import."""
    return [path for path in sys.path if path.endswith(("site-packages", "dist-packages"))]


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()[:32]


def _modified(path: str) -> int:
    try:
        return os.stat(path).st_mtime_ns  # noqa: PTH116
    except OSError:
        return 0


def _sources_of(points: Iterable[Point]) -> Iterator[tuple[str, Source]]:
    """The loaded source files of plugins' packages, and of film-zoo's own `api` and `plugins`."""
    packages = {"zoo.api", "zoo.plugins"}
    folders = set()
    for point in points:
        if isinstance(point, PluginFile):
            folders.add(point.path.parent)
        else:
            packages.add(point.module.partition(".")[0])
    for name, module in list(sys.modules.items()):
        file = getattr(module, "__file__", None)
        if not file:
            continue
        path = Path(file)
        ours = any(name == package or name.startswith(f"{package}.") for package in packages)
        if ours or any(path.is_relative_to(folder) for folder in folders):
            try:
                stat = path.stat()
                yield str(path), Source(stat.st_mtime_ns, stat.st_size, _digest(path))
            except OSError:
                continue


def _read(path: Path) -> _Kept | None:
    """Read a cached listing; None if it is missing, damaged or outdated."""
    try:
        if path.stat().st_size > MOST_BYTES:
            return None
        kept = _Kept.model_validate_json(path.read_bytes())
    except (OSError, ValueError):
        return None
    present: dict[str, Source] = {}
    for file, source in kept.sources.items():
        try:
            stat = os.stat(file)  # noqa: PTH116
            now = Source(stat.st_mtime_ns, stat.st_size, source.digest)
            if now != source and _digest(Path(file)) != source.digest:
                return None
        except OSError:
            return None
        present[file] = now
    if present != kept.sources:
        # Touched but not changed, as by a checkout: store the new times to avoid hashing again.
        kept = kept.model_copy(update={"sources": present})
        _write(path, kept)
    return kept


def _write(path: Path, kept: _Kept) -> None:
    """Cache a listing and remove old ones; do nothing if the cache is not writable."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_write(path) as temporary:
            temporary.write_text(kept.model_dump_json())
        others = sorted(path.parent.glob("*.json"), key=lambda each: each.stat().st_mtime_ns)
        for old in others[:-MOST_KEPT]:
            old.unlink(missing_ok=True)
    except (OSError, ValueError):  # ValueError: text that is not valid UTF-8
        return
