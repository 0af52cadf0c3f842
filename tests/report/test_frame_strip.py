"""The strip of a film's frames above their reconstructions."""

from __future__ import annotations

from pathlib import Path

from PIL import Image, ImageChops

from tests.report.synthetic_results import FRAMES, HOSTILE_MODEL, SCORES, colour
from zoo.base import picture_style
from zoo.base.records import Picture, Results
from zoo.report import frame_strip
from zoo.report.write import write_report


def test_a_strip_shows_every_row_and_frame_in_its_place(text: str, written: Path) -> None:
    with Image.open(written / "figures/strip-alpha.webp") as picture:
        strip = picture.convert("RGB")
    width, height = 192, 108
    gap = frame_strip.GAP
    lefts = [i * (width + gap) for i in range(3)]
    lefts += [lefts[-1] + width + frame_strip.PART_GAP + i * (width + gap) for i in range(2)]
    first = strip.width - frame_strip.MARGIN - width - lefts[-1]
    assert first - frame_strip.MARGIN in range(frame_strip.GUTTER, frame_strip.WIDEST_GUTTER + 1)
    lefts = [first + left for left in lefts]
    order = ["original", "sharp", HOSTILE_MODEL, "blurry", "linear", "still"]
    for index, name in enumerate(order):
        slug = name if name == "original" else str(list(SCORES).index(name))
        top = frame_strip.HEADER + frame_strip.MARGIN + index * (height + gap)
        for left, frame in zip(lefts, FRAMES, strict=True):
            for x, y in ((left + 9, top + 9), (left + width - 10, top + height - 10)):
                # The strip is coded with a loss; its neighbours' colours are further away.
                found, put = strip.getpixel((x, y)), colour(slug, frame)
                assert max(abs(a - b) for a, b in zip(found, put, strict=True)) <= 8
    assert "00:00:00.160 (typical, seen)" in text
    assert "00:00:03.880 (worst, held out)" in text


def test_a_model_called_original_does_not_replace_the_film_in_a_strip(
    results: Results, folder: Path
) -> None:
    alpha = results.films[0]
    own = [one for one in results.records if one.trained_on == one.evaluated_on == "alpha"]
    results.records = [one for one in own if one.model == "sharp"]
    expected = frame_strip.write_strip(results, alpha, folder, folder / "expected.webp")
    results.records[0].model = "original"
    strip = frame_strip.write_strip(results, alpha, folder, folder / "strip.webp")
    assert strip and expected and strip.rows == ("original", "original")
    with Image.open(folder / "strip.webp") as found, Image.open(folder / "expected.webp") as wanted:
        # Coded with a loss, beside another name.
        far = ImageChops.difference(found, wanted).crop((200, 60, found.width, found.height))
        assert max(most for _, most in far.getextrema()) <= 8


def test_no_label_of_a_strip_is_cut(results: Results, folder: Path) -> None:
    lines, _ = frame_strip._lines(results, results.films[0], folder)
    lines.append(frame_strip._Line("x264", ("a",), "codec, saw all frames", {}))
    gutter = frame_strip._gutter(lines)
    for line in lines:
        for text, size, bold in frame_strip._words(line):
            shown = picture_style.wrap_text(text, gutter - 12, size, bold)
            assert "…" not in "".join(shown) or "…" in text, shown
            assert all(picture_style.font(size, bold).getlength(t) <= gutter - 12 for t in shown)
    picture = lines[0].files and results.records[0].pictures[0]
    assert isinstance(picture, Picture) and frame_strip._codes(picture, 60) == [
        picture.kind,
        picture.time_code,
    ]


def test_text_is_broken_where_words_end_before_it_is_cut() -> None:
    assert picture_style.wrap_text("codec, saw all frames", 90, 12) == ["codec, saw all", "frames"]
    assert picture_style.wrap_text("broad2016_published", 120, 15, bold=True) == [
        "broad2016_",
        "published",
    ]
    assert picture_style.wrap_text("one two three four", 40, 12)[-1].endswith("…")


def test_the_strip_of_a_film_without_a_licence_has_a_warning(text: str) -> None:
    alpha, beta = text.split("\n## beta")
    assert "No licence is stated for this film" in alpha
    assert "No licence is stated for this film" not in beta


def test_missing_pictures_leave_a_mark_and_never_a_crash(results: Results, folder: Path) -> None:
    broken = next(r for r in results.records if r.evaluated_on == "beta").pictures[0]
    (folder / broken.reconstruction).write_bytes(b"no picture")
    for path in (folder / "figures/frames/alpha/original").iterdir():
        path.unlink()
    text = write_report(results, folder).read_text()
    assert "1 picture of this strip could not be read." in text
    assert "No strip: the records name no pictures of this film, or the files are missing." in text
    assert "strip-alpha" not in text
