"""Small and read-only disks, if this user may mount them."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def why_no_disk() -> str | None:
    """Why no disk can be mounted; None if one can."""
    if not hasattr(os, "geteuid") or os.geteuid() != 0:
        return "only root may mount a disk"
    if not shutil.which("mount"):
        return "there is no command `mount`"
    return None


@contextmanager
def disk(place: Path, megabytes: int) -> Iterator[Path | None]:
    """Mount an empty disk in memory at `place`; yields None if that is refused."""
    place.mkdir(parents=True)
    words = ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs", str(place)]
    if subprocess.run(words, capture_output=True).returncode:
        yield None
        return
    try:
        yield place
    finally:
        subprocess.run(["umount", "--lazy", str(place)], check=True)


def make_read_only(place: Path, read_only: bool = True) -> None:
    """Remount a disk read-only, or writable again."""
    how = "remount,ro" if read_only else "remount,rw"
    subprocess.run(["mount", "-o", how, str(place)], check=True)


def fill(place: Path, leave: int) -> Path:
    """Fill a disk until `leave` bytes are free; returns the filler file."""
    path = place / "filler"
    free = shutil.disk_usage(place).free - leave
    with path.open("wb") as file:
        for _ in range(max(0, free) // 4096):
            file.write(bytes(4096))
    return path
