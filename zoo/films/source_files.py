"""The files of a film, and their paths as users type them: checked before opening, hashed, named.

A film is one file, numbered pictures, which FFmpeg reads as one stream of frames, or the files that
a playlist names.
"""

from __future__ import annotations

import errno
import fnmatch
import hashlib
import os
import re
import stat
import unicodedata
import urllib.parse
import urllib.request
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from zoo.api.film_entry import is_film_name, normalised_name
from zoo.base.errors import BadInput
from zoo.base.safe_text import one_line
from zoo.base.untrusted_files import file_sha256, read_bytes

_LONGEST_STEM, _LONGEST_STEM_IN_BYTES = 48, 80
_URL = re.compile(r"(?!file:)[a-z][a-z0-9+.-]*://", re.IGNORECASE)
_ENDS = 1 << 20
_SAMPLE = 1 << 16
_SAMPLES = 64
"""How many parts of a large file, or how many pictures, are hashed for a fingerprint."""


def name_from_stem(stem: str) -> str:
    """Make a film's name from a file's name: its letters and digits, of any script."""
    kept = "".join(
        letter if letter in "-_" or unicodedata.category(letter)[0] in "LMN" else " "
        for letter in normalised_name(stem)
    )
    name = "-".join(kept.split()).strip("-_")[:_LONGEST_STEM]
    name = name.encode("utf-8")[:_LONGEST_STEM_IN_BYTES].decode("utf-8", "ignore").strip("-_")
    if name in ("all", "mine") or not is_film_name(name):
        name = f"{name}-film"  # it means several films, or the system reserves it
    return name if is_film_name(name) else "film"


def expand_home(path: str | Path) -> str:
    """Replace `~` by the home folder, unless there is a file of that very name; read `file://`."""
    text = os.fspath(path)
    if text.lower().startswith("file://"):
        return urllib.request.url2pathname(urllib.parse.urlsplit(text).path)
    # Unlike Path.expanduser, this leaves `~nobody` as it is where there is no such user.
    return text if is_file(text) else os.path.expanduser(text)  # noqa: PTH111


def is_file(path: str) -> bool:
    """Whether there is a file of that name; False too for names that no file can have."""
    try:
        return Path(path).is_file()
    except (OSError, ValueError):  # longer than a path can be, or with a zero byte
        return False


def is_there(path: str) -> bool:
    """Whether there is a file or folder of that name; False too for names that none can have."""
    try:
        return Path(path).exists()
    except (OSError, ValueError):
        return False


def is_folder(path: str | Path) -> bool:
    """Whether there is a folder of that name; False too for names that none can have."""
    try:
        return Path(path).is_dir()
    except (OSError, ValueError):
        return False


def looks_like_path(word: str) -> bool:
    """Whether a word is a path rather than a film's name: written as one, or an existing file.

    Raises BadInput on a URL: nothing is downloaded.
    """
    refuse_url(word)
    return bool(re.search(r"[/\\%]|^[.~]", word)) or is_file(word)


def is_url(word: str) -> bool:
    """Whether a word is a URL such as https://... and no file's name."""
    return bool(_URL.match(word)) and not is_file(word)


def refuse_url(word: str) -> None:
    """Raise BadInput if a word is a URL such as https://..., saying what to do instead."""
    if is_url(word):
        raise BadInput(
            f"{one_line(word, 100)} is a URL: `zoo films add URL` downloads the film and gives it "
            "a name"
        )


def check_regular_file(path: Path) -> None:
    """Raise BadInput unless the path is a regular file that may be read and is not empty.

    Call it before opening anything: opening a FIFO would wait for a writer forever.
    """
    try:
        mode = path.stat()
    except OSError as error:
        reason = {errno.ENOENT: "there is no such file"}.get(error.errno or 0, error.strerror)
        raise BadInput(f"{path}: {reason}") from None
    except ValueError:
        raise BadInput(f"{str(path)!r} is not a file name") from None
    if stat.S_ISDIR(mode.st_mode):
        raise BadInput(f"{path} is a folder; name the video files in it")
    if not stat.S_ISREG(mode.st_mode):
        raise BadInput(f"{path} is not a regular file; copy the film to a file first")
    if mode.st_size == 0:
        raise BadInput(f"{path} is empty")
    if not os.access(path, os.R_OK):
        raise BadInput(f"{path} cannot be read; check its permissions")


def file_fingerprint(path: Path) -> str:
    """Hash a file's length, its first and last MiB and 64 samples of 64 KiB between, as hex.

    Files up to 6 MiB are hashed whole, larger ones in milliseconds whatever their length. A change
    that keeps the length and misses every sample is not seen; that is why a store also keeps
    `file_sha256` and the modification time. Raises OSError.
    """
    digest = hashlib.sha256()
    with path.open("rb") as file:
        length = file.seek(0, 2)
        digest.update(f"{length}:".encode())
        file.seek(0)
        if length <= 2 * _ENDS + _SAMPLES * _SAMPLE:
            digest.update(file.read())
            return digest.hexdigest()
        digest.update(file.read(_ENDS))
        room = length - 2 * _ENDS - _SAMPLE
        for sample in range(_SAMPLES):
            file.seek(_ENDS + room * sample // (_SAMPLES - 1))
            digest.update(file.read(_SAMPLE))
        file.seek(length - _ENDS)
        digest.update(file.read(_ENDS))
    return digest.hexdigest()


PICTURES = frozenset(
    {
        *(".bmp", ".dpx", ".exr", ".hdr", ".j2k", ".jp2", ".jpeg", ".jpg", ".jxl", ".pam", ".pbm"),
        *(".pcx", ".pgm", ".png", ".ppm", ".qoi", ".sgi", ".tga", ".tif", ".tiff", ".webp"),
    }
)
"""File name extensions of pictures, in lower case."""
_NUMBER = re.compile(r"%0?(\d{0,3})d")
_MOST_DIGITS = 9
"""The most digits of a picture's number without leading zeros: FFmpeg's limit."""
_AS_ONE = "`zoo films add --as-one NAME FILE...` takes pictures in the order given"


def is_sequence(path: Path) -> bool:
    """Whether a path stands for pictures: a folder, or a pattern such as `%04d.png` or `*.png`."""
    if is_folder(path):
        return True
    pattern = _NUMBER.search(path.name) or re.search(r"[*?]", path.name)
    return bool(pattern) and _is_picture(path.name) and not is_there(os.fspath(path))


def sequence_stem(path: Path) -> str:
    """Return what a film of pictures is named after: how their names begin, or the folder."""
    beginning = "" if is_folder(path) else re.split(r"[%*?]", path.name)[0].strip(" -_.")
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

        Raises BadInput if there are fewer than two or several sequences, or if one is missing.
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
            raise BadInput(f"{shown}: {name} is numbered differently from others; {_AS_ONE}")
        if len(found) == 1:
            raise BadInput(f"{shown} has a single picture; a film needs at least two frames")
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
            # Only the size is read, so a picture may claim a gigapixel.
            warnings.simplefilter("ignore", PIL.Image.DecompressionBombWarning)
            for file in self.files:
                try:
                    with PIL.Image.open(file) as picture:
                        size = picture.size
                except Exception:  # whatever a damaged picture makes one of its readers raise
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
    """Make the error for two pictures of one film that have different sizes."""
    return BadInput(
        f"pictures of a film must all have one size: {one_line(name)} is {size[0]}x{size[1]}, "
        f"{one_line(other)} is {its[0]}x{its[1]}"
    )


def _folder(path: Path) -> Path:
    return path if is_folder(path) else path.parent


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
            + f"({_padded(width)})"
            + f"({re.escape(after.replace('%%', '%'))})",
            re.DOTALL,
        )
    else:
        # The last number before the extension.
        split = re.compile(rf"(.*?)({_padded(0)})(\D*\.[^.]*)", re.DOTALL)
        if path != folder:
            names = [name for name in names if fnmatch.fnmatchcase(name, path.name)]
    for name in names:
        found = split.fullmatch(name)
        if found and found[2].isascii():
            yield found[1], found[2], found[3]


def _padded(width: int) -> str:
    """Return a pattern for numbers zero-padded to a width; 0 allows any number of digits."""
    if width == 0:
        return rf"\d{{1,{_MOST_DIGITS}}}"
    filled = rf"0{{{max(0, width - _MOST_DIGITS)}}}\d{{{min(width, _MOST_DIGITS)}}}"
    longer = rf"[1-9]\d{{{width},{_MOST_DIGITS - 1}}}"
    return f"{filled}|{longer}" if width < _MOST_DIGITS else filled


LARGEST_PLAYLIST, MOST_PARTS = 1 << 20, 10_000
"""The most bytes of a playlist, and the most files that it may name."""
PLAYLISTS = (".m3u", ".m3u8")
"""File name extensions of playlists."""
_NOT_WHOLE_FILES = ("#EXT-X-MAP", "#EXT-X-BYTERANGE", "#EXT-X-KEY", "#EXT-X-I-FRAMES-ONLY")
"""Lines of an HLS playlist whose parts cannot be opened one by one."""
NAME_DIGITS = 8
"""Hexadecimal digits, in a film's name, of the hash of its contents or address."""


@dataclass(frozen=True)
class FilmSource:
    """The files of one film, and what it is named after."""

    stem: str
    files: tuple[Path, ...]

    @classmethod
    def read(cls, path: str | Path) -> FilmSource:
        """Read what a path stands for: a playlist is opened, other files are not.

        Raises BadInput on a URL, and on a playlist that cannot be used.
        """
        refuse_url(os.fspath(path))
        named = Path(expand_home(path)).absolute()
        if named.suffix.lower() in PLAYLISTS and not is_folder(named):
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
        together = hashlib.sha256("".join(contents).encode()).hexdigest()
        one = contents[0] if len(contents) == 1 else together
        return f"{self.short_name}-{one[:NAME_DIGITS]}"


def identity(path: Path) -> tuple[str, int]:
    """Return a hash of a file's (or pictures') length and samples, and its modification time.

    The time is in nanoseconds since 1970; for pictures it is a number that any change changes.
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
    if is_there(os.fspath(path)):
        return True
    try:
        return is_sequence(path) and bool(PictureSequence.find(path).files)
    except BadInput:
        return False


def single_files(path: Path) -> tuple[Path, ...]:
    """Return the file, or every picture that the path stands for. Raises BadInput."""
    return PictureSequence.find(path).files if is_sequence(path) else (path,)


def pictures(path: Path) -> list[Path]:
    """Return every picture that a path may stand for, even of several films. Raises BadInput."""
    return [_folder(path) / "".join(parts) for parts in _split_names(path)]


def bytes_of(path: Path) -> int:
    """Return the bytes of a file, or of all pictures together. Raises OSError and BadInput."""
    return sum(file.stat().st_size for file in single_files(path))


def read_playlist(path: Path) -> tuple[Path, ...]:
    """Return the files that an M3U playlist names, in order; paths are relative to its folder.

    Raises BadInput if a line names a URL, another playlist, or no file.
    """
    check_regular_file(path)
    content = read_bytes(path, LARGEST_PLAYLIST)
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = content.decode("latin-1")  # as playlists were before UTF-8
    files = []
    # Names may contain other scripts' spaces, and what only Python takes for a line break.
    lines = (line.strip(" \t") for line in re.split(r"\r\n|\r|\n", text))
    for number, line in enumerate(lines, start=1):
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
                f"{where} is a URL, and URLs in playlists are not opened: {one_line(line)}"
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
            raise BadInput(f"{where}: a playlist may name at most {MOST_PARTS:,} files")
    if not files:
        raise BadInput(f"{one_line(path.name)} names no files")
    return tuple(files)
