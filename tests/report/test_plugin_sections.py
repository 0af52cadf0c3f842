"""Sections of the report that plugins bring: printed, bounded, and failing alone."""

from __future__ import annotations

import importlib.metadata
import textwrap
from pathlib import Path

import pytest
from markdown_it import MarkdownIt

import zoo.report.write
from tests.fresh_process import imports_none_of
from tests.plugin_sources import describe_package
from tests.report.synthetic_results import HOSTILE_MODEL, HOSTILE_TITLE, comparison
from zoo.api.report_section import LONGEST, ReportSection, check_text
from zoo.base.records import Results
from zoo.report.plugin_sections import SectionRegistry
from zoo.report.write import write_report

SECTION = """
    import zoo

    class Section(zoo.ReportSection):
        name = {name!r}
        heading = {heading!r}

        def write(self, results):
            {body}

    @zoo.hookimpl
    def zoo_report_sections():
        return [Section]
"""


def section(name: str, body: str, heading: str = "What a plugin says") -> str:
    return textwrap.dedent(SECTION.format(name=name, heading=heading, body=body))


def load(folder: Path, monkeypatch: pytest.MonkeyPatch, **sources: str) -> SectionRegistry:
    """Sections of modules written for the test, in place of the installed ones."""
    monkeypatch.syspath_prepend(str(folder))
    points = []
    for name, source in sources.items():
        module = f"{name}_{abs(hash(str(folder)))}"
        (folder / f"{module}.py").write_text(source)
        points.append(importlib.metadata.EntryPoint(name, module, "zoo.report_sections"))
    found = SectionRegistry(points)
    monkeypatch.setattr(zoo.report.write, "section_registry", lambda: found)
    return found


def headings(text: str) -> list[str]:
    tokens = MarkdownIt("commonmark").enable("table").parse(text)
    return [
        tokens[index + 1].content
        for index, token in enumerate(tokens)
        if token.type == "heading_open" and token.tag == "h2"
    ]


def test_sections_are_in_the_report_with_reasons_for_failed_ones(
    results: Results, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for one in results.records:
        # Without numbers there is nothing to draw, which is what takes time.
        one.scores, one.rate, one.pictures = {}, [], []
    plain = headings(write_report(results, folder).read_text())
    counts = "return f'{len(results.records)} records.\\n\\n### More\\n\\n- a\\n- b'"
    load(
        tmp_path,
        monkeypatch,
        bad=section("bad", "raise ArithmeticError('not | enough\\nof it')", heading="Bad"),
        counts=section("counts", counts, heading="How *many*"),
        gone="import no_such_package",
        silent=section("silent", "return ' \\n'", heading="Silent"),
    )
    text = write_report(results, folder).read_text()
    assert (
        "\n## How \\*many\\*\n\nThis section was written by the plugin ? ?.\n\n"
        f"{len(results.records)} rec" in text
    )
    assert "The section could not be written: ArithmeticError: not \\| enough of it\n" in text
    assert "A section is missing: plugin gone of" in text.split("## What failed")[1]
    found = headings(text)
    at = found.index("Bad")
    assert found[at : at + 3] == ["Bad", "How \\*many\\*", "How the numbers are measured"]
    assert found[:at] + found[at + 2 :] == plain


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("raise ArithmeticError('not\\nenough')", "ArithmeticError: not enough"),
        ("raise SystemExit(3)", "SystemExit: 3"),
        ("return 3", "it returned int, not text"),
        ("return None", "it returned NoneType, not text"),
        ("return 'a <b>bold</b> word'", "line 1 has HTML"),
        ("return 'fine\\n\\n<!-- from here on'", "line 3 has HTML"),
        ("return '# Who wins'", "a heading above those of a section"),
        ("return 'Who wins\\n---'", "a heading above those of a section"),
        ("return '```\\nnever closed'", "leaves a block open"),
        ("return '![x](https://example.com/x.png)'", "a picture from outside"),
        ("return '![x](../../x.png)'", "a picture from outside"),
        ("return '![x](/etc/x.png)'", "a picture from outside"),
        ("return '[x](ftp://example.com)'", "a link that is neither"),
        ("return 'x\\n\\n[who]: https://example.com'", "defines links"),
        ("return 'x\\n\\x1b[31mred'", "line 2 holds the character U+001B"),
        ("return 'x \\u202e y'", "the character U+202E"),
        (f"return 'x' * {LONGEST + 1}", "50,001 characters"),
    ],
)
def test_a_failing_section_does_not_affect_others(
    body: str, reason: str, results: Results, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = load(
        tmp_path,
        monkeypatch,
        bad=section("bad", body, heading="Bad"),
        good=section("good", "return 'as it should be'", heading="Good"),
    )
    bad, good = found.write(results)
    assert bad.text is None
    assert reason in bad.problem
    assert good.text == "as it should be"


def test_allowed_markdown_of_a_section_is_unchanged() -> None:
    text = (
        "A *word*, a `<tag>` in code, 3 < 4.\n\n"
        "| a | b |\n|:--|--:|\n| 1 | 2 |\n\n"
        "```\n<b>shown</b>\n```\n\n"
        "- [paper](https://example.com/a) and [below](#who-wins)\n\n"
        "![scores](figures/scores.png)"
    )
    assert check_text(text) == text


def test_untrusted_text_escaped_by_the_helpers_is_allowed_in_a_section() -> None:
    shown = ReportSection.escape(f"{HOSTILE_TITLE} [a]: b\n[a]: b")
    table = ReportSection.table(["model", "title"], [[HOSTILE_MODEL, HOSTILE_TITLE]])
    assert check_text(f"{shown}\n\n{table}")
    assert table.count("\n") == 2


def test_a_section_cannot_change_the_results(
    results: Results, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = load(
        tmp_path,
        monkeypatch,
        clears=section("clears", "results.records.clear(); return 'gone'", heading="First"),
        counts=section("counts", "return f'{len(results.records)} records'", heading="Second"),
    )
    records = len(results.records)
    assert found.write(results)[1].text == f"{records} records"


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("import no_such_package", "No module named"),
        ("zoo_contract = 99", "written for contract 99: this zoo has"),
        (section("../up", "return ''"), "a plugin's name has letters"),
        (section("good", "return ''"), "the name 'good' is taken"),
        (section("bad", "return ''", heading=" "), "the heading of bad is empty"),
        (section("bad", "return ''").replace("[Section]", "[3]"), "not a subclass of zoo.Report"),
        (section("bad", "return ''").replace("_report_sections", "_models"), "under the group"),
    ],
)
def test_a_plugin_whose_section_cannot_be_loaded_is_named(
    source: str, reason: str, results: Results, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    good = section("good", "return 'as it should be'")
    found = load(tmp_path, monkeypatch, good=good, worse=source)
    (failure,) = found.failures()
    assert failure.startswith("A section is missing: plugin worse of ")
    assert reason in failure
    assert [written.text for written in found.write(results)] == ["as it should be"]


def test_a_report_with_a_section_is_made_without_torch(tmp_path: Path) -> None:
    describe_package(tmp_path, "zoo-words", {"words": "zoo_words"}, "zoo.report_sections")
    (tmp_path / "zoo_words.py").write_text(section("words", "return 'by a plugin'"))
    (tmp_path / "results.json").write_text(comparison().model_dump_json())
    code = (
        "import sys\n"
        "from pathlib import Path\n"
        f"folder = Path({str(tmp_path)!r})\n"
        "sys.path.insert(0, str(folder))\n"
        "from zoo.base.records import Results\n"
        "from zoo.base.untrusted_files import read_json\n"
        "from zoo.report.write import write_report\n"
        "text = write_report(read_json(folder / 'results.json', Results), folder).read_text()\n"
        "assert 'written by the plugin zoo-words 1.0.\\n\\nby a plugin' in text\n"
    )
    imports_none_of({"torch", "av", "timm", "lightning_fabric", "zoo_plugins"}, code)
