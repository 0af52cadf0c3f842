"""Files that records name: only below the results' folder, and pictures only of one kind."""

from __future__ import annotations

import io
import warnings
from pathlib import Path

from PIL import Image

from zoo.errors import BadInput
from zoo.reading import read_bytes

MOST_PIXELS = 8192 * 8192
"""Of a picture: frames are no larger."""
LARGEST_PICTURE = 256 << 20
"""Bytes."""


def placed(folder: Path, name: str) -> Path:
    """Where a file that a record names lies; BadInput if that is not below `folder`."""
    path = (folder / name).resolve()
    if not path.is_relative_to(folder.resolve()):
        raise BadInput(f"a record names a file outside the results folder: {name[:200]!r}")
    return path


def opened(folder: Path, name: str) -> Image.Image | None:
    """A PNG that a record names, as RGB; None where it is not there, damaged or huge."""
    path = placed(folder, name)
    if not path.is_file():
        return None
    try:
        # From memory: of a file Pillow would ask for as many bytes as a chunk in it claims to have.
        content = io.BytesIO(read_bytes(path, LARGEST_PICTURE))
        with warnings.catch_warnings():
            # Its size is looked at below.
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            picture = Image.open(content, formats=("PNG",))
        with picture:
            if picture.width * picture.height > MOST_PIXELS:
                return None
            return picture.convert("RGB")
    except (OSError, SyntaxError, ValueError, BadInput, Image.DecompressionBombError):
        # Pillow calls a damaged PNG a SyntaxError, and text in one that unpacks to too much a
        # ValueError.
        return None
