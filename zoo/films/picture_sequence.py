"""Numbered pictures in a folder, which FFmpeg reads as one stream of frames."""

from __future__ import annotations

import fnmatch
import hashlib
import os
import re
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from zoo.base.errors import BadInput
from zoo.base.text import one_line
from zoo.base.untrusted_files import file_sha256
from zoo.films.paths_and_hashes import check_regular_file, file_fingerprint, is_there

PICTURES = frozenset(
    {
        *(".bmp", ".dpx", ".exr", ".hdr", ".j2k", ".jp2", ".jpeg", ".jpg", ".jxl", ".pam", ".pbm"),
        *(".pcx", ".pgm", ".png", ".ppm", ".qoi", ".sgi", ".tga", ".tif", ".tiff", ".webp"),
    }
)
"""Endings of pictures' names, in lower case."""
_NUMBER = re.compile(r"%0?(\d*)d")
_SAMPLES = 64
"""Pictures of which the contents are part of a fingerprint; of all of them the sizes are."""
_AS_ONE = "`zoo films add --as-one NAME FILE...` takes pictures in the order given"


def is_sequence(path: Path) -> bool:
    """Whether a path stands for pictures: a folder, or a pattern such as `%04d.png` or `*.png`."""
    if path.is_dir():
        return True
    pattern = _NUMBER.search(path.name) or re.search(r"[*?]", path.name)
    return bool(pattern) and _is_picture(path.name) and not is_there(os.fspath(path))


def sequence_stem(path: Path) -> str:
    """What a film of pictures is called after: how all their names begin, or else the folder."""
    beginning = "" if path.is_dir() else re.split(r"[%*?]", path.name)[0].strip(" -_.")
    return beginning or _folder(path).resolve().name


@dataclass(frozen=True)
class PictureSequence:
    """Pictures of one size whose names differ in a number, which rises by one."""

    pattern: str
    """FFmpeg's name for all of them, such as `/frames/%04d.png`."""
    first: int
    files: tuple[Path, ...]

    @classmethod
    def find(cls, path: Path) -> PictureSequence:
        """Find the pictures of a folder or pattern; they are not opened.

        Raises BadInput if they are fewer than two or of several sequences, or if one is missing.
        """
        folder, shown = _folder(path), one_line(os.fspath(path))
        groups: dict[tuple[str, str], list[str]] = {}
        for before, digits, after in sorted(_split_names(path)):
            groups.setdefault((before, after), []).append(digits)
        if not groups:
            what = "is a folder without numbered pictures; name the video files in it"
            raise BadInput(f"{shown} {what if path == folder else 'matches no numbered pictures'}")
        if len(groups) > 1:
            names = [one_line(f"{before}%d{after}", 60) for before, after in groups]
            more = "" if len(names) <= 3 else f" and {len(names) - 3} more"
            raise BadInput(
                f"{shown} has pictures of several sequences, {', '.join(names[:3])}{more}; name "
                f"one of them, such as {one_line(os.fspath(folder / names[0]))}"
            )
        [((before, after), found)] = groups.items()
        width = max((len(digits) for digits in found if digits[0] == "0"), default=1)
        odd = next((digits for digits in found if digits != f"{int(digits):0{width}d}"), None)
        if odd is not None:
            name = one_line(f"{before}{odd}{after}")
            raise BadInput(f"{shown}: {name} is numbered in another way than others; {_AS_ONE}")
        if len(found) == 1:
            raise BadInput(f"{shown} has a single picture; a film has two frames or more")
        numbers = {int(digits) for digits in found}
        first, last = min(numbers), max(numbers)
        missing = next((n for n in range(first, last) if n not in numbers), None)
        if missing is not None:
            name = one_line(f"{before}{missing:0{width}d}{after}")
            raise BadInput(f"{shown}: {name} is missing; {_AS_ONE}")
        files = tuple(folder / f"{before}{n:0{width}d}{after}" for n in range(first, last + 1))
        for file in files:
            check_regular_file(file)
        begins = os.fspath(folder.absolute() / "x")[:-1] + before
        pattern = f"{begins.replace('%', '%%')}%0{width}d{after.replace('%', '%%')}"
        return cls(pattern, first, files)

    def check_sizes(self) -> None:
        """Raise BadInput if pictures have different sizes, as far as their headers can be read."""
        import PIL.Image

        first: tuple[str, tuple[int, int]] | None = None
        with warnings.catch_warnings():
            # The size is only read: of a picture that claims a gigapixel, too.
            warnings.simplefilter("ignore", PIL.Image.DecompressionBombWarning)
            for file in self.files:
                try:
                    with PIL.Image.open(file) as picture:
                        size = picture.size
                except (OSError, SyntaxError, ValueError, PIL.Image.DecompressionBombError):
                    continue  # FFmpeg may read it, and its size is known when it is decoded
                first = first or (file.name, size)
                if size != first[1]:
                    raise different_sizes(*first, file.name, size)

    def fingerprint(self) -> str:
        """Hash the sizes of all files and the contents of up to 64 of them, as hex."""
        last = len(self.files) - 1
        digest = hashlib.sha256(str([file.stat().st_size for file in self.files]).encode())
        for number in sorted({round(last * n / (_SAMPLES - 1)) for n in range(_SAMPLES)}):
            digest.update(file_fingerprint(self.files[number]).encode())
        return digest.hexdigest()

    def digest(self) -> str:
        """Hash all files whole, as hex."""
        return hashlib.sha256("".join(map(file_sha256, self.files)).encode()).hexdigest()

    @property
    def changed(self) -> int:
        """A number that differs if the modification time of one of the files differs."""
        times = str([file.stat().st_mtime_ns for file in self.files])
        return int(hashlib.sha256(times.encode()).hexdigest()[:15], 16)


def different_sizes(name: str, size: tuple[int, int], other: str, its: tuple[int, int]) -> BadInput:
    """What is wrong with two pictures of one film that have different sizes."""
    return BadInput(
        f"pictures of one film have one size: {one_line(name)} is {size[0]}x{size[1]}, "
        f"{one_line(other)} is {its[0]}x{its[1]}"
    )


def _folder(path: Path) -> Path:
    return path if path.is_dir() else path.parent


def _is_picture(name: str) -> bool:
    return Path(name).suffix.lower() in PICTURES and not name.startswith(".")


def _split_names(path: Path) -> Iterator[tuple[str, str, str]]:
    """Yield the names of the pictures that a path stands for, split before and after the number."""
    folder = _folder(path)
    try:
        names = [file.name for file in folder.iterdir() if _is_picture(file.name)]
    except OSError as error:
        raise BadInput(f"{one_line(os.fspath(folder))}: {error.strerror}") from None
    number = None if path == folder else _NUMBER.search(path.name)
    if number:
        before, after = path.name[: number.start()], path.name[number.end() :]
        width = int(number[1] or 1) if number[0].startswith("%0") else 0
        split = re.compile(
            f"({re.escape(before.replace('%%', '%'))})"
            + (rf"(\d{{{width}}}|[1-9]\d{{{width},8}})" if width else r"(\d{1,9})")
            + f"({re.escape(after.replace('%%', '%'))})",
            re.DOTALL,
        )
    else:
        # The last number before the ending; FFmpeg counts up to nine digits.
        split = re.compile(r"(.*?)(\d{1,9})(\D*\.[^.]*)", re.DOTALL)
        if path != folder:
            names = [name for name in names if fnmatch.fnmatchcase(name, path.name)]
    for name in names:
        found = split.fullmatch(name)
        if found and found[2].isascii():
            yield found[1], found[2], found[3]
