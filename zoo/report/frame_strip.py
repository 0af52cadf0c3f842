"""One picture per film: the original above each model's reconstruction of the same frames."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, ImageDraw

from zoo.base import numbers
from zoo.base import picture_style as style
from zoo.base.atomic_files import atomic_write
from zoo.base.records import FilmInfo, Part, Picture, Record, Results, SideBySide
from zoo.base.safe_text import one_line
from zoo.report.aggregate import bytes_per_frame, result_rows
from zoo.report.ranking import OWN_PARTS, PART_NAMES, ranking, sort_rows
from zoo.report.results_folder import open_picture, path_in_folder
from zoo.report.table import bracketed, fixed_value, inline, mean_value

WIDEST = 1240
"""Maximum width in pixels, which code hosts show without scaling."""
FRAME_WIDTH = 256
FRAME_HEIGHT = 180
NARROWEST = 160
"""Frames are shrunk to this many pixels before any is left out."""
LARGEST = 280_000
"""Maximum bytes of a strip, and of any other picture that `save_webp` writes."""
QUALITIES = (90, 80, 70, 60, 45, 30, 15, 5)
"""WebP qualities; the first with a small enough file is used. Stored frames are lossless."""
KINDS = ("typical", "best", "worst")
MARGIN = 14
GUTTER = 140
"""Minimum width of the column of names, which grows up to `WIDEST_GUTTER` as needed."""
WIDEST_GUTTER = 240
GAP = 4
PART_GAP = 18
HEADER = 50


@dataclass(frozen=True)
class Strip:
    """The contents of a strip, for its description."""

    rows: tuple[str, ...]
    columns: tuple[tuple[Part, str, str], ...]
    """Part, kind and time code of each column."""
    missing: int
    """Number of frames whose picture was missing."""


@dataclass(frozen=True)
class _Line:
    label: str
    details: tuple[str, ...]
    role: str
    files: dict[int, str]
    """Picture file by frame."""


def write_strip(results: Results, film: FilmInfo, folder: Path, path: Path) -> Strip | None:
    """Compose the strip of one film at `path`; return None without an original frame.

    Pictures are read below `folder`; a record that points outside it raises BadInput.
    """
    lines, pictures = _lines(results, film, folder)
    # Keyed by line number, because a model may be called `original`.
    frames = {
        (number, index): open_picture(folder, line.files[number])
        for index, line in enumerate(lines)
        for number in pictures
        if number in line.files
    }
    shown = [picture for number, picture in sorted(pictures.items()) if frames.get((number, 0))]
    if not shown:
        return None
    # Each machine chooses its own frames: if some are common to all, only those are shown.
    shared = [p for p in shown if all(p.frame in line.files for line in lines)]
    if {p.part for p in shared} == {p.part for p in shown}:
        shown = shared
    sample = frames[shown[0].frame, 0]
    assert sample is not None
    gutter = _gutter(lines)
    width, height = _shrunk(*_cell(*sample.size), len(shown), gutter)
    shown = _chosen(shown, _room(width, gutter))
    lefts = _lefts(shown, width, gutter)
    total = max(lefts[-1] + width + MARGIN, 480)
    codes = [_codes(picture, width) for picture in shown]
    header = HEADER + 16 * (max(map(len, codes)) - 1)
    strip = Image.new(
        "RGB", (total, header + MARGIN + len(lines) * (height + GAP) + MARGIN - GAP), style.GROUND
    )
    pen = ImageDraw.Draw(strip)
    _head(pen, shown, lefts, width, codes)
    missing = 0
    for index, line in enumerate(lines):
        top = header + MARGIN + index * (height + GAP)
        _label(pen, line, top, height, gutter)
        for picture, left in zip(shown, lefts, strict=True):
            frame = frames.get((picture.frame, index))
            if frame is None:
                # A frame that was only reconstructed on another machine is not missing.
                missing += index == 0 or picture.frame in line.files
                _blank(pen, left, top, width, height)
            else:
                strip.paste(_scaled(frame, width, height), (left, top))
    save_webp(strip, path)
    return Strip(
        rows=tuple(line.label for line in lines),
        columns=tuple((picture.part, picture.kind, picture.time_code) for picture in shown),
        missing=missing,
    )


def _lines(
    results: Results, film: FilmInfo, folder: Path
) -> tuple[list[_Line], dict[int, Picture]]:
    """The strip's rows, the original first, and one picture for each frame that any row has."""
    rank = ranking(results, film.name)
    lines = []
    pictures: dict[int, Picture] = {}
    originals: dict[int, str] = {}
    for row in sort_rows(result_rows(results, film.name), rank, films=1):
        record = _shown(row.records)
        if record is None:
            continue
        value = rank.value(row) if rank else None
        details: tuple[str, ...] = ()
        if rank and value:
            shown = bracketed(inline(fixed_value(value, rank.metric.digits)), row, rank.part)
            size = mean_value(row, bytes_per_frame)
            if size is not None:
                shown += f" at {numbers.significant(size)} B/frame"
            details = (f"{rank.short}, {PART_NAMES[rank.part]}", shown)
        files = {picture.frame: picture.reconstruction for picture in record.pictures}
        lines.append(
            _Line(row.name, details, "codec, saw all frames" if row.codec else row.role, files)
        )
        for picture in record.pictures:
            pictures.setdefault(picture.frame, picture)
            # After a merge, a picture missing from one folder may exist in another.
            known = originals.setdefault(picture.frame, picture.original)
            if not path_in_folder(folder, known).is_file():
                originals[picture.frame] = picture.original
    return [_Line("original", (), "original", originals), *lines], pictures


def _shown(records: Iterable[Record]) -> Record | None:
    """The record whose pictures represent all seeds of a model: the one with the lowest seed."""
    with_pictures = [
        record for record in records if record.pictures and record.trained_on == record.evaluated_on
    ]
    return min(with_pictures, key=lambda record: record.seed, default=None)


def _cell(width: int, height: int) -> tuple[int, int]:
    """The size that a frame is shown at: enlarged or reduced by an integer factor."""
    up = min(FRAME_WIDTH // width, FRAME_HEIGHT // height)
    if up >= 1:
        return width * up, height * up
    down = max(-(-width // FRAME_WIDTH), -(-height // FRAME_HEIGHT))
    return max(1, width // down), max(1, height // down)


def _shrunk(width: int, height: int, columns: int, gutter: int) -> tuple[int, int]:
    """The size of a frame in a strip of this many columns, reduced if they would not fit."""
    each = (WIDEST - 2 * MARGIN - gutter - PART_GAP + GAP) // columns - GAP
    if each >= width:
        return width, height
    narrow = min(width, max(NARROWEST, each))
    return narrow, max(1, round(height * narrow / width))


def save_webp(picture: Image.Image, path: Path) -> None:
    """Write a picture as a WebP, in the best quality that is small enough for a page."""
    with atomic_write(path) as temporary:
        for quality in QUALITIES:
            picture.save(temporary, format="WEBP", quality=quality, method=4)
            if temporary.stat().st_size <= LARGEST:
                return


def _room(width: int, gutter: int) -> int:
    space = WIDEST - 2 * MARGIN - gutter - PART_GAP + GAP
    return max(2, space // (width + GAP))


def _chosen(pictures: list[Picture], room: int) -> list[Picture]:
    """Choose at most `room` frames, some of each part and kind; sort by part, then by kind."""
    ordered = sorted(pictures, key=lambda picture: (KINDS.index(picture.kind), picture.frame))
    seen, held_out = ([p for p in ordered if p.part == part] for part in OWN_PARTS)
    if len(pictures) > room:
        for_held_out = min(len(held_out), max(room // 2, room - len(seen)))
        seen = _spread(seen, room - for_held_out)
        held_out = _spread(held_out, for_held_out)
    return seen + held_out


def _spread(pictures: list[Picture], count: int) -> list[Picture]:
    if count >= len(pictures):
        return pictures
    return [pictures[(2 * i + 1) * len(pictures) // (2 * count)] for i in range(count)]


def _lefts(shown: list[Picture], width: int, gutter: int) -> list[int]:
    lefts = []
    left = MARGIN + gutter
    for index, picture in enumerate(shown):
        if index and shown[index - 1].part != picture.part:
            left += PART_GAP - GAP
        lefts.append(left)
        left += width + GAP
    return lefts


def _codes(picture: Picture, width: int) -> list[str]:
    """The heading of a frame: kind and time code, on two lines if they do not fit on one."""
    words = (picture.kind, picture.time_code)
    one = "  ".join(words)
    return [one] if style.font(13).getlength(one) <= width else list(words)


def _head(
    pen: ImageDraw.ImageDraw,
    shown: list[Picture],
    lefts: list[int],
    width: int,
    codes: list[list[str]],
) -> None:
    for part, colour in (("seen", style.SEEN), ("held_out", style.HELD_OUT)):
        columns = [left for picture, left in zip(shown, lefts, strict=True) if picture.part == part]
        if columns:
            right = columns[-1] + width
            pen.rectangle((columns[0], MARGIN + 20, right - 1, MARGIN + 22), fill=colour)
            words = "seen in training" if part == "seen" else "held out"
            words = style.fit_text(words, right - columns[0], 15, bold=True)
            pen.text((columns[0], MARGIN - 2), words, colour, style.font(15, bold=True))
    for left, lines in zip(lefts, codes, strict=True):
        for number, text in enumerate(lines):
            words = style.fit_text(text, width, 13)
            pen.text((left, MARGIN + 28 + 16 * number), words, style.QUIET, style.font(13))


def _words(line: _Line) -> list[tuple[str, int, bool]]:
    """The texts next to a row, each with its size in pixels and whether it is bold."""
    role = [(line.role, 12, False)] if line.role not in ("model", "original") else []
    return [(line.label, 15, True), *role, *((text, 13, False) for text in line.details)]


def _gutter(lines: list[_Line]) -> int:
    """The width of the column of names: the widest text, within its limits."""
    widest = max(
        style.font(size, bold).getlength(style.picture_text(text))
        for line in lines
        for text, size, bold in _words(line)
    )
    return min(max(GUTTER, math.ceil(widest) + 12), WIDEST_GUTTER)


def _label(pen: ImageDraw.ImageDraw, line: _Line, top: int, height: int, gutter: int) -> None:
    wanted = _words(line)
    if height < 54:
        wanted = wanted[: len(wanted) - len(line.details)]
    for most in (2, 1):
        words = [
            (each, size, bold)
            for text, size, bold in wanted
            for each in style.wrap_text(text, gutter - 12, size, bold, most)
        ]
        tall = sum(size + 5 for _, size, _ in words)
        if tall <= height:
            break
    y = top + max(0, (height - tall) // 2)
    for text, size, bold in words:
        pen.text((MARGIN, y), text, style.TEXT if bold else style.QUIET, style.font(size, bold))
        y += size + 5


def _blank(pen: ImageDraw.ImageDraw, left: int, top: int, width: int, height: int) -> None:
    box = (left, top, left + width - 1, top + height - 1)
    pen.rectangle(box, fill=style.PANEL, outline=style.RULE)
    pen.text(
        (left + width / 2, top + height / 2), "no picture", style.QUIET, style.font(12), anchor="mm"
    )


def _scaled(frame: Image.Image, width: int, height: int) -> Image.Image:
    if frame.size == (width, height):
        return frame
    return frame.resize((width, height), Image.Resampling.LANCZOS)


def strip_description(film: FilmInfo, strip: Strip) -> str:
    """The alternative text of a strip."""
    columns = ", ".join(
        f"{code} ({kind}, {PART_NAMES[part]})" for part, kind, code in strip.columns
    )
    return (
        f"Frames of {film.name}. Rows, from the top: {', '.join(strip.rows)}. "
        f"Columns, from the left: {columns}."
    )


def side_by_side_description(beside: SideBySide) -> str:
    """Text such as `Video: original and vae, from left to right, with the film's sound`."""
    panels = numbers.listed([one_line(name, 60) for name in beside.panels])
    begins = f" from {one_line(beside.time_code, 20)} on" if beside.time_code else ""
    order = f"Video{begins}: {panels}, from left to right"
    if beside.sound:
        return f"{order}, with the film's sound"
    why = f" ({one_line(beside.why_silent, 200)})" if beside.why_silent else ""
    return f"{order}, without sound{why}"


def sheet_description(film: FilmInfo) -> str:
    """The alternative text of a contact sheet."""
    return (
        f"Contact sheet of {film.name}: the middle frames of its shots, under their numbers and "
        "time codes; shots with held-out frames are marked"
    )
