"""Extras of film-zoo: what to install where a verb or a plugin needs one that is missing."""

from __future__ import annotations

import importlib.metadata
import json

DISTRIBUTION = "film-zoo"


def missing_extra(extra: str, what: str) -> str:
    """The line that says what needs an extra, and the command that installs it."""
    return f"{what} needs the extra {extra!r}: {install_command(extra)}"


def install_command(extra: str = "") -> str:
    """The command that installs film-zoo, with an extra, the way it was installed here.

    film-zoo is on no package index: it is installed from a repository's address or from a clone.
    """
    extras = f"[{extra}]" if extra else ""
    origin = _origin()
    vcs = origin.get("vcs_info") or {}
    if isinstance(vcs, dict) and vcs.get("vcs"):
        return f'`pip install "{DISTRIBUTION}{extras} @ {vcs["vcs"]}+{origin.get("url")}"`'
    folder = origin.get("dir_info")
    editable = "-e " if isinstance(folder, dict) and folder.get("editable") else ""
    return f'`pip install {editable}".{extras}"` in the clone of film-zoo'


def _origin() -> dict[str, object]:
    """What pip noted of where film-zoo was installed from; empty where it noted nothing."""
    try:
        noted = importlib.metadata.distribution(DISTRIBUTION).read_text("direct_url.json")
        origin = json.loads(noted or "{}")
    except (importlib.metadata.PackageNotFoundError, ValueError):
        return {}
    return origin if isinstance(origin, dict) else {}
