"""Every sentence that a report can say, printed once and compared with what was read before.

A sentence that changes fails this test. Print them again with

    python -m tests.report.test_sentences --update

and read what `git diff tests/report/sentences.md` shows as a reader of a report would.
"""

from __future__ import annotations

import sys
from pathlib import Path

from tests.report.sentence_cases import CHAPTERS

KEPT = Path(__file__).with_name("sentences.md")


def printed() -> str:
    """All sentences, by what gives rise to them."""
    lines = ["Sentences of the report. See test_sentences.py for how to print them again.", ""]
    for heading, chapter in CHAPTERS.items():
        lines += [f"# {heading}", ""]
        for title, sentences in chapter():
            lines += [f"## {title}", "", *(f"- {sentence}" for sentence in sentences), ""]
    return "\n".join(lines)


def test_sentences_are_as_recorded() -> None:
    found, kept = printed().splitlines(), KEPT.read_text(encoding="utf-8").splitlines()
    new = [line for line in found if line not in kept]
    gone = [line for line in kept if line not in found]
    assert (new, gone) == ([], []), "python -m tests.report.test_sentences --update, and read them"
    assert found == kept


if __name__ == "__main__" and sys.argv[1:] == ["--update"]:
    KEPT.write_text(printed(), encoding="utf-8")
