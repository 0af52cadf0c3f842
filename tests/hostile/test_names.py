"""Names with markup, control characters, `..` or ten thousand letters do nothing anywhere."""

from __future__ import annotations

import io
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from markdown_it import MarkdownIt
from rich.console import Console

import zoo.plugins.registry
from tests.films.making import drifting, encode
from tests.hostile.names import NAMES, is_inert
from tests.report.synthetic_results import comparison
from zoo.api.film_entry import FilmEntry
from zoo.base.errors import BadInput
from zoo.base.frame_size import FrameSize
from zoo.base.records import Results
from zoo.base.safe_text import one_line
from zoo.base.workspace import Workspace
from zoo.cli.report import summary
from zoo.films.catalogue import Catalogue
from zoo.films.ingest import open_film
from zoo.plugins.entry_points import Plugin
from zoo.report.write import write_report

# What the report chooses from a few words, what says how large a picture is, and when.
KEPT = {"seen", "held_out", "other", "higher", "lower", "one", "typical", "best", "worst"}
KEPT |= {"model", "reference", "autoencoder", "codec", "ok", "failed", "black", "grey", "white"}
KEPT |= {"cpu", "cuda", "none"}
SIZE = re.compile(r"\d+x\d+")
OURS = {"br", "br/", "details", "/details", "summary", "/summary"}


def renamed(hostile: str, results: Results) -> Results:
    """The results with every text in them replaced by a hostile one, the same by the same."""
    given: dict[str, str] = {}
    keys = {"pictures", "barcode", "series", "video"}

    def name(text: str) -> str:
        if text in KEPT or SIZE.fullmatch(text):
            return text
        return given.setdefault(text, f"{hostile}{len(given)}")

    def walk(value: Any, key: str = "") -> Any:
        if key in keys:
            return [] if key == "pictures" else None
        if isinstance(value, str):
            return name(value)
        if isinstance(value, list):
            return [walk(one) for one in value]
        if isinstance(value, dict):
            known = set(plain_keys)
            return {k if k in known else name(k): walk(v, k) for k, v in value.items()}
        return value

    plain_keys = _fields() | KEPT
    return Results.model_validate(walk(results.model_dump(mode="json")))


def _fields() -> set[str]:
    import zoo.base.records as records

    models = [kind for kind in vars(records).values() if hasattr(kind, "model_fields")]
    timings = {"train", "encode", "decode", "round_trip", "encode_one", "decode_one"}
    return {field for kind in models for field in kind.model_fields} | timings


class Tags(HTMLParser):
    """What a page consists of, and the text of its scripts."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.handlers: set[str] = set()
        self.data = ""
        self._within = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.handlers |= {name for name, _ in attrs if name.startswith("on")}
        self._within = "data" if ("type", "application/json") in attrs else ""

    def handle_data(self, data: str) -> None:
        if self._within == "data":
            self.data += data
            self._within = ""


@pytest.fixture(scope="module")
def plain_page(tmp_path_factory: pytest.TempPathFactory) -> Tags:
    """The page of harmless names."""
    folder = tmp_path_factory.mktemp("plain")
    write_report(renamed("x", comparison()), folder)
    return Tags((folder / "report.html").read_text(encoding="utf-8"))


@pytest.mark.parametrize("kind", ["markup", "markdown", "path", "long", "everything"])
def test_a_report_of_hostile_names(kind: str, tmp_path: Path, plain_page: Tags) -> None:
    everything = " ".join(name for name in NAMES.values() if len(name) < 1000)
    hostile = NAMES.get(kind, everything)
    results = renamed(hostile, comparison())
    folder = tmp_path / "results"
    text = write_report(results, folder).read_text(encoding="utf-8")

    # On disk: what is written lies in the folder, under names that are names anywhere.
    written = [path for path in tmp_path.rglob("*") if path.is_file()]
    for path in written:
        assert path.is_relative_to(folder)
        for part in path.relative_to(folder).parts:
            assert re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,80}", part), part

    # In Markdown: no raw HTML but our own, no link that leads out, no line of ten thousand letters.
    assert is_inert(text)
    assert max(map(len, text.splitlines())) < 30_000
    for token in MarkdownIt("commonmark", {"html": True}).enable("table").parse(text):
        for inner in [token, *(token.children or [])]:
            if inner.type in ("html_inline", "html_block"):
                tags = re.findall(r"<([^>]*)>", inner.content)
                assert set(tags) <= OURS, inner.content[:200]
            address = str(inner.attrs.get("href") or inner.attrs.get("src") or "figures/")
            assert address.startswith(("figures/", "#")), address

    # In HTML: the same elements as ever, and the names as data that ends nowhere early.
    page = Tags((folder / "report.html").read_text(encoding="utf-8"))
    assert page.tags == plain_page.tags and page.handlers == plain_page.handlers
    content = json.loads(page.data)
    for metric in content["metrics"]:
        del metric["name"]  # scores are found by it, and it is shown nowhere
    assert is_inert(json.dumps(content, ensure_ascii=False))
    assert len(content["films"]) == 2

    # In the terminal.
    console = Console(file=io.StringIO(), width=100, color_system=None)
    console.print(summary(results))
    shown = console.file.getvalue()  # type: ignore[attr-defined]
    assert is_inert(shown)
    if kind == "markup":
        assert "[bold red]" in shown, "the name is shown as it is"


@pytest.mark.parametrize("kind", NAMES)
def test_a_catalogue_of_hostile_texts(kind: str, zoo: Callable, workspace: Path) -> None:
    encode(workspace / "a.mp4", drifting(64, 36, 4))
    Catalogue.open(Workspace(workspace)).add(
        "clip",
        [workspace / "a.mp4"],
        title=NAMES[kind].replace("\x00", ""),
        licence=NAMES[kind].replace("\x00", ""),
        notes=NAMES[kind].replace("\x00", ""),
    )
    for words in (("films",), ("films", "info", "clip")):
        said = zoo(*words)
        assert said.code == 0, said.err
        assert is_inert(said.out) and len(said.out) < 20_000


@pytest.mark.parametrize("kind", ["markup", "ansi", "control", "direction", "long"])
@pytest.mark.parametrize(
    "words",
    [
        ("train", "@", "--film", "bikes"),
        ("train", "ae", "--film", "@"),
        ("train", "ae", "--film", "bikes", "--set", "@=1"),
        ("train", "ae", "--film", "bikes", "--set", "width=@"),
        ("train", "ae", "--film", "bikes", "--size", "@"),
        ("train", "ae", "--film", "bikes", "--device", "@"),
        ("films", "add", "@", "@"),
        ("films", "remove", "@"),
        ("runs", "show", "@"),
        ("info", "@"),
        ("match", "@", "@"),
        ("report", "@"),
        ("@",),
    ],
    ids=lambda words: " ".join(words),
)
def test_words_of_a_command_come_back_in_one_harmless_line(
    kind: str, words: tuple[str, ...], zoo: Callable, workspace: Path
) -> None:
    said = zoo(*(word.replace("@", NAMES[kind]) for word in words))
    assert said.code in (1, 2)
    assert said.err.count("\n") == 1 and said.err.startswith("zoo: ")
    assert is_inert(said.err) and len(said.err) < 2100
    assert "defect" not in said.err
    assert [path for path in workspace.rglob("*") if path.suffix != ".lock"] == []


@pytest.mark.parametrize("kind", ["markup", "ansi", "control", "html", "direction", "template"])
def test_a_film_whose_file_is_called_so(kind: str, zoo: Callable, workspace: Path) -> None:
    plain = encode(workspace / "a.mp4", drifting(64, 36, 4))
    name = NAMES[kind].replace("/", "-").replace("\x00", "")[:60]
    path = workspace / f"{name}.mp4"
    shutil.move(plain, path)
    said = zoo("films", "info", f"./{path.name}")
    assert said.code == 0, said.err
    assert is_inert(said.out)
    said = zoo("films", "ingest", f"./{path.name}", "--size", "32x32")
    assert said.code == 0, said.err
    assert is_inert(said.out + said.err)


def test_a_film_whose_file_has_bytes_for_a_name(workspace: Path) -> None:
    """Not every file's name is text."""
    plain = encode(workspace / "a.mp4", drifting(64, 36, 4))
    path = Path(str(workspace) + "/b\udcff.mp4")
    try:
        shutil.move(plain, path)
    except OSError:
        pytest.skip("names of files are text here")
    entry = Catalogue.open(Workspace(workspace)).choose(str(path))[0]
    film = open_film(entry, FrameSize(32, 32), Workspace(workspace))
    assert is_inert(film.title + film.source) and film.info().model_dump_json()
    done = subprocess.run(
        [sys.executable, "-m", "zoo", "films", "info", str(path)], capture_output=True, check=False
    )
    assert done.returncode == 0, done.stderr.decode(errors="replace")


def test_plugins_that_are_called_so(zoo: Callable, monkeypatch: pytest.MonkeyPatch) -> None:
    registry = zoo_registry()
    for kind, name in NAMES.items():
        plugin = Plugin(name, name, name, {"zoo_models": [name]}, [f"{kind}: {name}"])
        monkeypatch.setattr(registry, "plugins", [plugin])
        for words in (("plugins",), ("models",)):
            said = zoo(*words)
            assert said.code == 0, said.err
            assert is_inert(said.out)


def test_a_model_with_a_hostile_summary(zoo: Callable, monkeypatch: pytest.MonkeyPatch) -> None:
    registry = zoo_registry()
    for name in NAMES.values():
        loud = type("Loud", (registry.models["ae"],), {"name": "loud", "summary": name})
        monkeypatch.setitem(registry.models, "loud", loud)
        monkeypatch.setitem(registry.origins, "loud", name)
        for words in (("models",), ("models", "show", "loud", "--size", "32x32")):
            said = zoo(*words)
            assert said.code == 0, said.err
            assert is_inert(said.out)


def zoo_registry() -> zoo.plugins.registry.Registry:
    return zoo.plugins.registry.registry()


@pytest.mark.parametrize("kind", NAMES)
def test_nothing_can_be_called_so(kind: str) -> None:
    with pytest.raises(BadInput):
        FilmEntry(name=NAMES[kind], files=(Path("a.mp4"),))


@pytest.mark.parametrize("kind", NAMES)
def test_one_line_keeps_what_can_be_seen(kind: str) -> None:
    assert is_inert(one_line(NAMES[kind]), among="")
    assert len(one_line(NAMES[kind])) <= 200
    assert one_line("Amélie – 東京物語 🎬") == "Amélie – 東京物語 🎬"
