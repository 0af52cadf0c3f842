"""Commands that install missing packages, in the way that film-zoo itself was installed."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import json
import sys
import urllib.parse
from collections.abc import Mapping
from pathlib import Path, PurePosixPath

DISTRIBUTION = "film-zoo"


def missing_extra(extra: str, what: str) -> str:
    """A line that says what needs an extra, with the command that installs it."""
    return f"{what} needs the extra {extra!r}: {install_command(extra)}"


def lacking(name: str, extras: Mapping[str, str], origin: str = DISTRIBUTION) -> str | None:
    """A line that says which extra a model lacks; None if all its modules are installed.

    `extras` maps each module to the extra of the package `origin` that installs it.
    """
    for module, extra in extras.items():
        if sys.modules.get(module) or importlib.util.find_spec(module):
            continue
        package = origin.partition(" ")[0]
        if package == DISTRIBUTION:
            return missing_extra(extra, name)
        command = package_command(f'"{package}[{extra}]"')
        return f"{name} needs the extra {extra!r} of {package}: {command}"
    return None


def install_command(extra: str = "") -> str:
    """The command that installs film-zoo, with an extra, in the way that it was installed here.

    film-zoo is on no package index: it is installed from a repository URL, a clone or a wheel. The
    line names no folder of this machine, since it may be part of a report.
    """
    extras = f"[{extra}]" if extra else ""
    origin = _origin()
    vcs, folder, url = (origin.get(key) for key in ("vcs_info", "dir_info", "url"))
    if isinstance(vcs, dict) and vcs.get("vcs"):
        return f'`{_command()} "{DISTRIBUTION}{extras} @ {vcs["vcs"]}+{url}"`'
    file = PurePosixPath(urllib.parse.unquote(url)).name if isinstance(url, str) else ""
    if file.endswith(".whl"):
        return f'`{_command()} "./{file}{extras}"` in the folder of that wheel'
    editable = "-e " if isinstance(folder, dict) and folder.get("editable") else ""
    return f'`{_command()} {editable}".{extras}"` in the clone of {DISTRIBUTION}'


def package_command(words: str) -> str:
    """The command that installs a package in film-zoo's environment; `words` are its arguments."""
    if _is_of("pipx_metadata.json"):
        return f"`pipx runpip {DISTRIBUTION} install {words}`"
    if _is_of("uv-receipt.toml"):
        return f"`uv pip install --python {sys.prefix} {words}`"
    return f"`pip install {words}`"


def _command() -> str:
    if _is_of("pipx_metadata.json"):
        return "pipx install --force"
    return "uv tool install --force" if _is_of("uv-receipt.toml") else "pip install"


def _is_of(note: str) -> bool:
    """Whether this environment was made by the installer that leaves the file `note` in it."""
    return (Path(sys.prefix) / note).exists()


def _origin() -> dict[str, object]:
    """What pip recorded about the source that film-zoo was installed from; empty if nothing."""
    try:
        noted = importlib.metadata.distribution(DISTRIBUTION).read_text("direct_url.json")
        origin = json.loads(noted or "{}")
    except (importlib.metadata.PackageNotFoundError, ValueError):
        return {}
    return origin if isinstance(origin, dict) else {}
