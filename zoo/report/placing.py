"""Files that records name: only below the results' folder, and pictures only of one kind."""

from __future__ import annotations

from pathlib import Path

from PIL import Image

from zoo.errors import BadInput


def placed(folder: Path, name: str) -> Path:
    """Where a file that a record names lies; BadInput if that is not below `folder`."""
    path = (folder / name).resolve()
    if not path.is_relative_to(folder.resolve()):
        raise BadInput(f"a record names a file outside the results folder: {name[:200]!r}")
    return path


def opened(folder: Path, name: str) -> Image.Image | None:
    """A PNG that a record names, as RGB; None where it is not there or damaged."""
    try:
        with Image.open(placed(folder, name), formats=("PNG",)) as picture:
            return picture.convert("RGB")
    except (OSError, SyntaxError, Image.DecompressionBombError):
        # Pillow calls a damaged PNG a SyntaxError.
        return None
