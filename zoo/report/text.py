"""Text from films and plugins made fit to print, and as a file's name."""

from __future__ import annotations

from zoo.plain_text import file_names, one_line

__all__ = ["file_names", "one_line"]
