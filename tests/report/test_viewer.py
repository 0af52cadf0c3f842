"""What stands in `report.html`, read as text: a browser has it in `tests/browser`."""

from __future__ import annotations

import base64
import hashlib
import html
import json
import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from tests.fresh_process import imports_none_of
from tests.report.synthetic_results import (
    HOSTILE_MODEL,
    SCORES,
    comparison,
    put_pictures,
    write_page_of,
)
from zoo.base.errors import BadInput
from zoo.base.records import Results, SideBySide
from zoo.report import viewer
from zoo.report.costs import cost_table
from zoo.report.cross_film_matrix import cross_film_table
from zoo.report.findings import who_is_ahead, why_in_this_order

CROSSING = "Trained on one film, evaluated on another"


class Elements(HTMLParser):
    """The page's elements with their attributes, and the text of scripts and styles."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: dict[str, str] = {}
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        tag, attributes = self.tags[-1] if self.tags else ("", {})
        if tag in ("script", "style"):
            # The text after the end of an element is no longer its own.
            self.texts.setdefault(attributes.get("type") or tag, data)


@pytest.fixture
def page(results: Results, folder: Path) -> Elements:
    path = write_page_of(results, folder)
    assert path == folder / "report.html"
    return Elements(path.read_text(encoding="utf-8"))


@pytest.fixture
def given(page: Elements) -> Any:
    return json.loads(page.texts["application/json"])


def test_only_the_pages_own_script_and_style_may_run(page: Elements) -> None:
    [policy] = [a["content"] for tag, a in page.tags if "http-equiv" in a]
    assert policy is not None and policy.startswith("default-src 'none';")
    for kind in ("module", "style"):
        digest = hashlib.sha256(page.texts[kind].encode()).digest()
        assert f"'sha256-{base64.b64encode(digest).decode()}'" in policy
    assert "unsafe" not in policy and "http" not in policy
    for _, attributes in page.tags:
        assert not [name for name in attributes if name == "style" or name.startswith("on")]
    addresses = [a[name] for _, a in page.tags for name in ("src", "href") if name in a]
    assert addresses == ["./report.md"]


def test_hostile_text_leaves_the_page_whole(page: Elements, given: Any) -> None:
    assert [tag for tag, _ in page.tags].count("script") == 2
    assert "<" not in page.texts["application/json"]
    assert given["films"][0]["title"].startswith("A|B <script>alert(1)</script> # not")
    assert len(given["films"][0]["title"]) == 200
    names = [entry["name"] for entry in given["films"][0]["entries"]]
    assert names[1] == "evil|[bold] *gan*$x$" != HOSTILE_MODEL
    assert given["films"][1]["entries"][-3]["failed"] == "RuntimeError: out | of <memory>"


def test_missing_files_are_left_out(results: Results, folder: Path) -> None:
    results.films[0].video = "videos/alpha/original.mp4"
    results.records[0].video = "videos/alpha/what #1.mp4"
    (folder / "videos/alpha").mkdir(parents=True)
    (folder / "videos/alpha/what #1.mp4").touch()
    (folder / "series/beta.json").write_text("{}")
    text = write_page_of(results, folder).read_text()
    alpha, beta = json.loads(Elements(text).texts["application/json"])["films"]
    assert alpha["video"] is None
    videos = [entry["video"] for entry in alpha["entries"] if entry["video"]]
    assert videos == ["./videos/alpha/what%20%231.mp4"]
    assert (alpha["scores"], alpha["problem"]) == ("./viewer/alpha.js", None)
    assert beta["scores"] is None
    assert "series/beta.json is not a Series" in beta["problem"]
    assert str(folder) not in text


def test_a_film_has_its_sheet_and_the_video_beside_its_models(
    results: Results, folder: Path
) -> None:
    video = "videos/alpha/side by side.mp4"
    alpha, beta = results.films
    for film in (alpha, beta):
        film.sheet = f"figures/sheet-{film.name}.webp"
        film.side_by_side = SideBySide(video=video, panels=["original", "<b>"], sound=True)
    (folder / video).parent.mkdir(parents=True, exist_ok=True)
    (folder / video).touch()
    (folder / "figures").mkdir(exist_ok=True)
    (folder / str(alpha.sheet)).touch()
    page = Elements(write_page_of(results, folder).read_text(encoding="utf-8"))
    given = json.loads(page.texts["application/json"])["films"]
    assert [film["side_by_side"] for film in given] == [
        {
            "address": "./videos/alpha/side%20by%20side.mp4",
            "caption": "Video: original and <b>, from left to right, with the film's sound",
        }
    ] * 2
    assert given[0]["sheet"]["address"] == "./figures/sheet-alpha.webp"
    assert given[0]["sheet"]["caption"].startswith("Contact sheet of alpha: ")
    assert given[1]["sheet"] is None, "its file is missing"
    printed = [a["src"] for tag, a in page.tags if tag == "img" and a.get("class") == "wide"]
    assert "./figures/sheet-alpha.webp" in printed


def test_scores_per_frame_are_beside_the_page(given: Any, folder: Path) -> None:
    script = (folder / given["films"][1]["scores"]).read_text(encoding="utf-8")
    match = re.fullmatch(r'zooScores\("beta", (\{.*\})\);\n', script)
    assert match
    scores = json.loads(match[1])
    assert (scores["frames"][:3], scores["seconds"][:3]) == ([0, 1, 2], [0.0, 0.04, 0.08])
    for entry, row in zip(given["films"][1]["entries"], scores["entries"], strict=True):
        if entry["failed"]:
            assert row == {}
        else:
            assert row["lpips"][:2] == [None, pytest.approx(SCORES[entry["name"]][0] / 100)]


def test_tables_have_the_numbers_that_they_are_sorted_by(given: Any) -> None:
    quality = given["films"][1]["tables"][0]
    column = [" ".join(each["heading"]) for each in quality["columns"]].index("PSNR dB held out")
    assert quality["columns"][column]["better"] == "higher"
    cells = {row["name"]: row["cells"][column] for row in quality["rows"]}
    assert cells["sharp"] == {"text": "22.46", "value": pytest.approx(22.456), "best": False}
    [failed] = [row for row in quality["rows"] if row["note"].startswith("failed")]
    assert failed["cells"][column] == {"text": "–", "value": None, "best": False}
    for row in quality["rows"]:
        if row["entry"] is not None:
            entry = given["films"][1]["entries"][row["entry"]]["name"]
            assert row["name"].startswith(entry)
    assert given["across"]["caption"] == "Across films"


def test_a_file_outside_the_folder_is_refused(results: Results, folder: Path) -> None:
    results.records[0].video = "../elsewhere.mp4"
    with pytest.raises(BadInput, match="outside the results folder"):
        write_page_of(results, folder)


def test_the_same_records_give_the_same_page(tmp_path: Path) -> None:
    for name in ("one", "two"):
        put_pictures(comparison(), tmp_path / name)
        write_page_of(comparison(), tmp_path / name)
    one, two = ((tmp_path / name / "report.html").read_bytes() for name in ("one", "two"))
    assert one == two


def test_neither_torch_nor_a_codec_is_needed() -> None:
    imports_none_of({"torch", "av"}, "import zoo.report.viewer.write")


def test_the_page_finds_the_time_of_a_frame_and_the_frame_of_a_time() -> None:
    node = shutil.which("node")
    if node is None:
        pytest.skip("node is not installed")
    source = (Path(viewer.__file__).parent / "static" / "data.js").read_text()
    asked = """
    const film = { frames: 6, rate: 25, begins: 3600 };
    const scores = { frames: [0, 1, 2, 4], seconds: [10, 10.04, 130, 130.08] };
    const { frames, seconds } = knownTimes(film, scores);
    console.log(JSON.stringify([
      [0, 1, 3, 5, 6].map((frame) => secondsOf(film, scores, frame)),
      [10, 70.02, 130.04].map((time) => between(seconds, frames, time)),
      [0, 6].map((frame) => secondsOf(film, null, frame)),
    ]));
    """
    stub = "globalThis.byId = () => ({ textContent: '{}' });"
    done = subprocess.run(
        [node, "-e", stub + source + asked], capture_output=True, text=True, check=True
    )
    times, frames, unscored = json.loads(done.stdout)
    assert times == pytest.approx([10, 10.04, 130.04, 130.12, 130.16])
    assert frames == pytest.approx([0, 1.5, 3])
    assert unscored == pytest.approx([3600, 3600.24])


def test_every_film_stands_in_print_with_findings_crossing_and_costs(
    results: Results, folder: Path
) -> None:
    text = write_page_of(results, folder).read_text(encoding="utf-8")
    _, *films = text.split('<section class="in-print">')
    shown = html.unescape(text)
    assert len(films) == len(results.films) + 1, "and the means over films"
    for film, part in zip(results.films, films, strict=False):
        assert film.name[:60] in html.unescape(part) and "<caption>Quality</caption>" in part
        assert "<caption>Size and speed</caption>" in part
    for sentence in [*who_is_ahead(results), *why_in_this_order(results)]:
        assert sentence in shown
    crossing, costs = cross_film_table(results), cost_table(results)
    assert crossing is not None and costs is not None
    for caption, table in ((CROSSING, crossing), ("What it costs", costs)):
        part = text.split(f"<caption>{caption}</caption>")[1].split("</table>")[0]
        cells = re.findall(r'<td class="number[^>]*>([^<]*)</td>', part)
        assert list(map(html.unescape, cells)) == [c.text for row in table.rows for c in row.cells]
