"""The checks of metrics, codecs, sections and films: the built-in ones keep them, faults show."""

from __future__ import annotations

import html
import importlib
import itertools
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import zoo as zoo_
from zoo.api.codec import CodedFilm, CodingTerms, FilmCodec
from zoo.api.film_entry import FilmEntry
from zoo.api.metric import Metric, TemporalMetric
from zoo.api.report_section import ReportSection
from zoo.base.records import Results
from zoo.conformance.suite import (
    _KINDS,
    PAGE,
    REMEDIES,
    Thing,
    examine,
    examine_one,
    names_of_checks,
    remedy,
    with_unknown_together,
)
from zoo.films.ingested_film import Film
from zoo.plugins.registry import registry
from zoo.report.plugin_sections import section_registry
from zoo.testing import assert_conforms, conformance

_random = np.random.default_rng(0)


def built_in() -> list[Thing]:
    known = registry()
    return [*known.metrics.values(), *known.codecs.values(), *known.films.values()]


SLOW = {"lpips_vgg": [pytest.mark.slow]}


@pytest.mark.parametrize(
    "thing",
    [pytest.param(each, id=each.name, marks=SLOW.get(each.name, [])) for each in built_in()],
)
def test_what_is_built_in_keeps_every_promise(thing: Thing) -> None:
    findings = list(examine(thing))
    assert [str(f) for f in findings if f.verdict == "broken"] == []
    assert len(findings) == len(names_of_checks(thing)) >= 3


class Error(Metric):
    name, label, source, better = "error", "Error", "this test", "lower"

    def __call__(self, originals: Tensor, reconstructions: Tensor) -> Tensor:
        return self.changed((originals - reconstructions).abs().flatten(1).mean(dim=1))

    def changed(self, values: Tensor) -> Tensor:
        return values


class Change(TemporalMetric):
    name, label, source, better = "change", "Change", "this test", "lower"

    def __init__(self) -> None:
        """Takes no device."""

    def __call__(self, originals: Any, reconstructions: Any, earlier: Any, before: Any) -> Any:  # type: ignore[override]
        return ((originals - earlier) - (reconstructions - before)).abs().flatten(1).mean(dim=1)


class Raw(FilmCodec):
    name, summary = "raw", "frames as they are"

    def code(self, film: Film, terms: CodingTerms) -> CodedFilm:
        return CodedFilm(film.store.array.tobytes(), note="it has no knob")

    def decode(self, stream: bytes) -> Iterator[Any]:
        yield from np.frombuffer(stream, np.uint8).reshape(-1, self.size.height, self.size.width, 3)


class Titles(ReportSection):
    name, heading = "titles", "Titles"

    def write(self, results: Results) -> str:
        return self.table(["film"], [[film.title] for film in results.films])


def variant(base: type, **members: Any) -> Any:
    return type("Variant", (base,), {"__module__": __name__, **members})


def dropping(self: Raw, stream: bytes) -> Iterator[Any]:
    yield from itertools.islice(Raw.decode(self, stream), 11)


def noise(self: Raw, stream: bytes) -> Iterator[Any]:
    for frame in Raw.decode(self, stream):
        yield _random.integers(0, 256, frame.shape, np.uint8)


def darker(self: Raw, film: Film, terms: CodingTerms) -> CodedFilm:
    film.store.array.setflags(write=True)
    film.store.array[...] = film.store.array // 2
    return Raw.code(self, film, terms)


def another(self: Raw, film: Film, terms: CodingTerms) -> CodedFilm:
    array = film.store.array.copy()
    array[0, 0, 0, 0] = _random.integers(0, 256)
    return CodedFilm(array.tobytes(), note=f"{_random.random()}")


_kept: list[Any] = []


class Keeping(Raw):
    """Its stream holds nothing: the frames are kept in the module."""

    name = "keeping"

    def code(self, film: Film, terms: CodingTerms) -> CodedFilm:
        _kept[:] = [film.store.array.copy()]
        return CodedFilm(b"x", note="it cheats")

    def decode(self, stream: bytes) -> Iterator[Any]:
        yield from _kept[0]


class Learning(Raw):
    """Adds up noise, step by step, and saves the sum after half of the steps."""

    name, trains, forgets = "learning", True, False

    def code(self, film: Film, terms: CodingTerms) -> CodedFilm:
        assert terms.budget is not None
        steps = terms.budget.steps(len(film), terms.batch)
        assert steps is not None
        state = terms.load() or {"number": torch.tensor(0), "sum": torch.zeros(())}
        number, total = int(state["number"]), state["sum"]
        if self.forgets:
            total = torch.zeros(())
        while number < steps:
            generator = torch.Generator().manual_seed(terms.seed + number)
            total = total + torch.rand((), generator=generator)
            number += 1
            if number == steps // 2:
                terms.save({"number": torch.tensor(number), "sum": total})
        stream = film.store.array.tobytes() + f"{float(total)!r}".rjust(32).encode()
        return CodedFilm(stream, note="it has no knob")

    def decode(self, stream: bytes) -> Iterator[Any]:
        yield from super().decode(stream[:-32])


@pytest.mark.parametrize("thing", [Error, Change, Raw, Learning], ids=lambda thing: thing.name)
def test_a_sound_one_keeps_every_promise(thing: Thing) -> None:
    assert_conforms(thing)


def scaled(self: Any, values: Tensor) -> Tensor:
    """Values by the first of the instance's first film."""
    self.first = getattr(self, "first", 1 + float(values[0]))
    return values / self.first


def html_only(self: Titles, results: Results) -> str:
    return "\n\n".join(html.escape(film.title) for film in results.films)


def pipes(self: Titles, results: Results) -> str:
    names = (self.escape(film.title).replace("\\|", "|") for film in results.films)
    return "\n".join(["| film | x |", "|---|---|", *(f"| {name} | 1 |" for name in names)])


def in_place(self: Error, originals: Tensor, reconstructions: Tensor) -> Tensor:
    return originals.sub_(reconstructions).abs().flatten(1).mean(dim=1)


class KeepsAConstantOnTheProcessor(Error):
    name = "processor"

    def __init__(self, device: torch.device) -> None:
        super().__init__(device)
        self.weights = torch.tensor([0.2, 0.7, 0.1])

    def __call__(self, originals: Tensor, reconstructions: Tensor) -> Tensor:
        apart = (originals - reconstructions).abs().mean(dim=(2, 3))
        return (apart * self.weights).sum(dim=1)


FAULTS = [
    (KeepsAConstantOnTheProcessor, "is measured on a gpu", "tensors are not on the device"),
    (
        variant(Error, changed=lambda self, v: v.cpu()),
        "is measured on a gpu",
        "its values are on the cpu",
    ),
    (variant(Error, label=" "), "says what it is", "its label is"),
    (
        variant(Error, changed=lambda self, v: v[:, None]),
        "gives one number per frame",
        "gave a tensor float32 (6, 1); it must give floats of shape (6,)",
    ),
    (variant(Error, changed=lambda self, v: 3), "gives one number per frame", "gave 3 (int); it"),
    (variant(Error, changed=lambda self, v: v / 0), "gives one number per frame", "the value inf"),
    (
        variant(Error, changed=lambda self, v: v * float("nan")),
        "is defined for a film",
        "every frame has NaN",
    ),
    (variant(Error, changed=lambda self, v: v - v.mean()), "measures a frame alone", "one by one"),
    (
        variant(Error, changed=lambda self, v: v + torch.rand(len(v))),
        "measures the same twice",
        "and then",
    ),
    (variant(Error, changed=scaled), "measures the same twice", "after another film"),
    (variant(Error, __call__=in_place), "leaves frames as they are", "changes the originals"),
    (variant(Error, better="higher"), "prefers originals to noise", "where 'higher' is better"),
    (variant(Raw, decode=dropping), "gives every frame back", "gave back 11 frames of 12"),
    (
        variant(Raw, decode=noise),
        "decodes from the stream alone",
        "two instances decode one stream to other frames",
    ),
    (variant(Raw, code=another), "codes the same twice", "the stream is another"),
    (Keeping, "decodes from the stream alone", "another process cannot decode the stream: Index"),
    (variant(Learning, forgets=True), "resumes from what it saved", "the stream is another"),
    (
        variant(Raw, code=lambda self, film, terms: CodedFilm(film.store.array.tobytes())),
        "spends what it is given",
        "6912.0 bytes per frame of 300, and no note",
    ),
    (variant(Raw, code=darker), "leaves the film as it is", "the film's frames have changed"),
    (
        variant(Titles, write=lambda self, r: r.records[0].scores["psnr"].seen),
        "is written",
        "'dict' object has no attribute 'seen'",
    ),
    (
        variant(Titles, write=lambda self, r: r.films[0].name),
        "is written of nothing",
        "IndexError",
    ),
    (
        variant(Titles, write=lambda self, r: "".join(f.title for f in r.films)),
        "shows names as they are",
        "has HTML",
    ),
    (variant(Titles, write=html_only), "shows names as they are", "makes code_inline, em, link of"),
    (variant(Titles, write=pipes), "shows names as they are", "ends a cell of a table early"),
    (
        variant(Titles, write=lambda self, r: " ".join(str(x.reason) for x in r.records)),
        "shows names as they are",
        "has HTML",
    ),
    (
        variant(Titles, write=lambda self, r: f"{_random.random()}"),
        "is written the same twice",
        "another each time",
    ),
    (
        variant(Titles, write=lambda self, r: r.records.clear() or "x"),
        "is written the same twice",
        "it changes the results",
    ),
    (FilmEntry("gone", (Path("/nowhere/gone.mp4"),)), "files are there", "is not there"),
    (FilmEntry("near", (Path("near.mp4"),)), "files are there", "is a relative path"),
    (FilmEntry("text", (Path(__file__),)), "files are a film", "test_conformance_of_kinds.py"),
]


@pytest.mark.parametrize(("thing", "check", "seen"), FAULTS, ids=lambda x: str(x)[:30])
def test_a_fault_is_found(thing: Thing, check: str, seen: str) -> None:
    finding = examine_one(thing, check)
    assert finding.verdict == "broken"
    assert seen in finding.detail and "\n" not in finding.detail


def test_one_fault_is_one_line() -> None:
    def broken(self: Error, originals: Tensor, reconstructions: Tensor) -> Tensor:
        raise RuntimeError("no such thing")

    reported = [str(f) for f in with_unknown_together(examine(variant(Error, __call__=broken)))]
    assert [line.split()[0] for line in reported] == ["kept", "broken", "unknown"]
    assert "no such thing" in reported[1]
    assert "prefers originals to noise: it cannot be examined before" in reported[2]


def test_a_metric_that_is_not_available_is_no_fault() -> None:
    class Missing(Error):
        def __init__(self, device: torch.device) -> None:
            raise zoo_.Unavailable("no weights")

    reported = [str(finding) for finding in with_unknown_together(examine(Missing))]
    assert len(reported) == 2 and reported[1].endswith("it is not available here: no weights")


SECTION = """
import zoo
{line}

class Section(zoo.ReportSection):
    name = "a_section"
    heading = "A section"

    def write(self, results):
        return "Words."
"""


@pytest.mark.parametrize(
    ("line", "verdict"), [("", "kept"), ("import torch", "broken")], ids=["without", "with"]
)
def test_a_section_that_imports_torch_is_found(
    line: str, verdict: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    name = f"section_{verdict}"
    (tmp_path / f"{name}.py").write_text(SECTION.format(line=line))
    section = importlib.import_module(name).Section
    assert examine_one(section, "needs no torch").verdict == verdict
    if verdict == "kept":
        assert_conforms(section)


def test_a_cut_name_is_shown_as_it_is() -> None:
    def cut(self: Titles, results: Results) -> str:
        return self.table(["film"], [[film.title[:24]] for film in results.films])

    assert examine_one(variant(Titles, write=cut), "shows names as they are").verdict == "kept"


def test_the_remedy_of_a_metric_speaks_of_metrics() -> None:
    told = remedy(examine_one(KeepsAConstantOnTheProcessor, "is measured on a gpu"))
    assert told == "put its tensors on the device passed to __init__ (docs/plugins.md#a-metric)"


def test_pytest_gets_a_case_for_every_promise() -> None:
    test = conformance(Error, Raw)
    (mark,) = test.pytestmark  # type: ignore[attr-defined]
    cases = {case.id: case.values for case in mark.args[1]}
    assert "error-prefers_originals_to_noise" in cases and "raw-codes_the_same_twice" in cases
    with pytest.raises(AssertionError, match="where 'higher' is better"):
        test(variant(Error, better="higher"), "prefers originals to noise")
    with pytest.raises(AssertionError, match=r"error breaks the contract:\n.*its label is"):
        assert_conforms(variant(Error, label=""))


PLUGIN = """
import zoo

class Error(zoo.Metric):
    name = "mine"
    label = "Error"
    source = "a test"
    better = "{better}"

    def __call__(self, originals, reconstructions):
        return (originals - reconstructions).abs().flatten(1).mean(dim=1)
"""


@pytest.fixture
def anew(tmp_path: Path) -> Iterator[None]:
    """The registries are made anew before and after a test."""
    modules, path = set(sys.modules), [*sys.path]
    for cached in (registry, section_registry):
        cached.cache_clear()
    yield
    for cached in (registry, section_registry):
        cached.cache_clear()
    sys.path[:] = path
    for name in set(sys.modules) - modules:
        if str(getattr(sys.modules[name], "__file__", "")).startswith(str(tmp_path)):
            del sys.modules[name]


@pytest.mark.parametrize(("better", "code"), [("lower", 0), ("higher", 1)])
def test_everything_in_a_file_is_checked(
    better: str, code: int, zoo: Callable, workspace: Path, anew: None
) -> None:
    second = PLUGIN.replace("class Error", "class Other").replace('"mine"', '"other"')
    source = PLUGIN.format(better="lower") + second.format(better=better)
    (workspace / "mine.py").write_text(source)
    said = zoo("plugins", "check", "mine.py")
    assert said.code == code, said.out + said.err
    assert {"mine", "other"} <= set(said.out.splitlines())
    assert ("1 promise is broken" in said.out) == bool(code)


def test_a_section_in_a_file_is_checked(zoo: Callable, workspace: Path, anew: None) -> None:
    (workspace / "words.py").write_text(SECTION.format(line=""))
    said = zoo("plugins", "check", "words.py")
    assert said.code == 0, said.out + said.err
    assert "kept    is written of nothing" in said.out and "kept    needs no torch" in said.out


@pytest.mark.parametrize("word", ["bikes", "embedded_clips"])
def test_what_is_installed_is_checked_by_name(word: str, zoo: Callable) -> None:
    said = zoo("plugins", "check", word)
    assert said.code == 0, said.out + said.err
    assert "kept    files are there" in said.out


def test_a_name_that_is_nothing_s_is_said(zoo: Callable) -> None:
    said = zoo("plugins", "check", "nothing")
    assert said.code == 2 and said.err.count("\n") == 1
    assert "is called 'nothing'" in said.err


def test_every_check_says_what_to_do_in_a_section_that_there_is() -> None:
    page = (Path(__file__).parents[1] / PAGE).read_text()
    headings = re.findall(r"^#+ (.+)$", page, re.MULTILINE)
    sections = {heading.lower().replace(" ", "-") for heading in headings}
    sections |= set(re.findall(r'<a name="(.+?)">', page))
    checks = {name for _, kind in _KINDS for name in kind.checks}
    remedied = [name for remedies in REMEDIES.values() for name in remedies]
    assert set(remedied) == checks and len(remedied) == len(checks)
    assert set(REMEDIES) <= sections


def test_what_to_do_is_printed_below_a_broken_promise(zoo: Callable, workspace: Path) -> None:
    source = (Path(__file__).parents[1] / "README.md").read_text()
    source = source.partition("zoo_linear.py -->\n```python\n")[2].partition("```")[0]
    (workspace / "faulty.py").write_text(source.replace(".sigmoid()", ".mul(9)"))
    said = zoo("models", "check", "./faulty.py")
    assert said.code == 1
    told = said.out.splitlines()
    broken = [n for n, line in enumerate(told) if line.startswith("broken")]
    assert told[broken[0]].startswith("broken  shapes and range: ")
    for at in broken:
        below = told[at + 1].strip()
        assert below.startswith("to do: ") and below.endswith(f"({PAGE}#a-model)")
