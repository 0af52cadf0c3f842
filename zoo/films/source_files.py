"""The files of a film: one file, numbered pictures, or those that a playlist names."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

from zoo.base.errors import BadInput
from zoo.base.text import one_line
from zoo.base.untrusted_files import file_sha256, read_bytes
from zoo.films.paths_and_hashes import (
    check_regular_file,
    expand_home,
    file_fingerprint,
    is_url,
    name_from_stem,
    refuse_url,
)
from zoo.films.picture_sequence import PictureSequence, is_sequence, sequence_stem

LARGEST_PLAYLIST, MOST_PARTS = 1 << 20, 10_000
"""Bytes of a playlist, and files that it names."""
PLAYLISTS = (".m3u", ".m3u8")
"""Endings of playlists' names."""
_NOT_WHOLE_FILES = ("#EXT-X-MAP", "#EXT-X-BYTERANGE", "#EXT-X-KEY", "#EXT-X-I-FRAMES-ONLY")
"""Lines of an HLS playlist whose parts cannot be opened one by one."""
NAME_DIGITS = 8
"""Hexadecimal digits of contents, or of an address, in a name made from them."""


@dataclass(frozen=True)
class FilmSource:
    """The files of one film, and what it is called after."""

    stem: str
    files: tuple[Path, ...]

    @classmethod
    def read(cls, path: str | Path) -> FilmSource:
        """Read what a path stands for: a playlist is opened, other files are not.

        Raises BadInput on a URL, and on a playlist that cannot be used.
        """
        refuse_url(os.fspath(path))
        named = Path(expand_home(path)).absolute()
        if named.suffix.lower() in PLAYLISTS and not named.is_dir():
            return cls(named.stem, read_playlist(named))
        return cls(sequence_stem(named) if is_sequence(named) else named.stem, (named,))

    @property
    def short_name(self) -> str:
        """A film's name made from the name of its file."""
        return name_from_stem(self.stem)

    def long_name(self) -> str:
        """Make a film's name from the file's name and contents, whatever folder it is in.

        Raises BadInput if a file is missing or cannot be read.
        """
        contents = [identity(path)[0] for path in self.files]
        one = (
            contents[0]
            if len(contents) == 1
            else hashlib.sha256("".join(contents).encode()).hexdigest()
        )
        return f"{self.short_name}-{one[:NAME_DIGITS]}"


def identity(path: Path) -> tuple[str, int]:
    """Return a hash of the length and samples of a file or of pictures, and when it was changed.

    That is in nanoseconds since 1970; of pictures it is a number that differs if one is changed.
    Raises BadInput if a file is missing or cannot be read.
    """
    try:
        if is_sequence(path):
            pictures = PictureSequence.find(path)
            return pictures.fingerprint(), pictures.changed
        check_regular_file(path)
        return file_fingerprint(path), path.stat().st_mtime_ns
    except OSError as error:
        raise BadInput(f"{path} cannot be read: {error.strerror}") from None


def digest(path: Path) -> str:
    """Hash a file or numbered pictures whole, as hex. Raises OSError and BadInput."""
    return PictureSequence.find(path).digest() if is_sequence(path) else file_sha256(path)


def is_present(path: Path) -> bool:
    """Whether a file, a folder, or a picture that fits a pattern is there."""
    if path.exists():
        return True
    try:
        return is_sequence(path) and bool(PictureSequence.find(path).files)
    except BadInput:
        return False


def bytes_of(path: Path) -> int:
    """Return the bytes of a file, or of all pictures together. Raises OSError and BadInput."""
    files = PictureSequence.find(path).files if is_sequence(path) else (path,)
    return sum(file.stat().st_size for file in files)


def read_playlist(path: Path) -> tuple[Path, ...]:
    """Return the files that an M3U playlist names, in order; relative ones are beside it.

    Raises BadInput if a line names a URL, another playlist, or no file.
    """
    check_regular_file(path)
    content = read_bytes(path, LARGEST_PLAYLIST)
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = content.decode("latin-1")  # as playlists were before UTF-8
    files = []
    for number, line in enumerate(map(str.strip, text.splitlines()), start=1):
        where = f"{one_line(path.name)}, line {number}"
        if line.startswith(_NOT_WHOLE_FILES):
            raise BadInput(
                f"{where}: {one_line(line, 40)} means that its parts are not whole files; join "
                "them first: `ffmpeg -i PLAYLIST -c copy film.mkv`"
            )
        if not line or line.startswith("#"):
            continue
        if is_url(line):
            raise BadInput(
                f"{where} is an address, and those in playlists are not opened: {one_line(line)}"
            )
        if Path(line).suffix.lower() in PLAYLISTS:
            raise BadInput(f"{where} is another playlist: {one_line(line)}; add that instead")
        file = path.parent / expand_home(line)
        try:
            check_regular_file(file)
        except BadInput as error:
            raise BadInput(f"{where}: {error}") from None
        files.append(file)
        if len(files) > MOST_PARTS:
            raise BadInput(f"{where}: a playlist of more than {MOST_PARTS:,} files is not read")
    if not files:
        raise BadInput(f"{one_line(path.name)} names no files")
    return tuple(files)
