"""Checks of films, training callbacks and report sections: one function per promise.

No training event is passed to a callback, since it might send the event to a server.
"""

from __future__ import annotations

import contextlib
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from markdown_it import MarkdownIt

from zoo.api.film_entry import FilmEntry, parse_fit
from zoo.api.recipe_and_events import FollowedRun, TrainingCallback
from zoo.api.report_section import ReportSection, check_text
from zoo.base.errors import BadInput, ZooError
from zoo.base.frame_size import FrameSize
from zoo.base.records import (
    Environment,
    FilmInfo,
    LatentInfo,
    MetricInfo,
    Record,
    Results,
    Summary,
)
from zoo.base.safe_text import describe_value
from zoo.conformance.fixtures import Broken, Inconclusive, expect
from zoo.films.frame_store import IngestSettings
from zoo.films.probe import probe_files
from zoo.films.source_files import is_present


def files_are_there(entry: FilmEntry) -> None:
    """Every file of the film exists, and its path is absolute."""
    for path in entry.files:
        expect(path.is_absolute(), f"{path} is a relative path: make it absolute")
        expect(is_present(path), f"{path} is not there")


def files_are_a_film(entry: FilmEntry) -> None:
    """The files can be opened, and contain the pictures of one film."""
    size = FrameSize(64, 36)
    settings = IngestSettings(
        size, parse_fit(entry.fit), entry.crop, entry.start, entry.stop, entry.fps
    )
    try:
        probe_files(entry, settings)
    except ZooError as reason:
        raise Broken(str(reason)) from None


def states_its_licence(entry: FilmEntry) -> None:
    """A licence is stated."""
    if not entry.licence:
        raise Inconclusive("no licence is stated: pictures of the film cannot be published")


FILM_CHECKS: tuple[Callable[[FilmEntry], None], ...] = (
    files_are_there,
    files_are_a_film,
    states_its_licence,
)


@contextlib.contextmanager
def _made(kind: type[TrainingCallback]) -> Iterator[tuple[TrainingCallback, Path]]:
    """Make a callback for a run without a folder yet; raises Inconclusive if it cannot be used."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place, "film", "model", "run")
        try:
            kind.check()
            callback = kind(FollowedRun("film/model/run", folder, {"model": "model", "seed": 0}))
        except BadInput as reason:
            raise Inconclusive(str(reason)) from None
        yield callback, folder


def writes_nothing_before_training(kind: type[TrainingCallback]) -> None:
    """Creating the callback does not touch the run's folder, which training may clear first."""
    with _made(kind) as (callback, folder):
        expect(not folder.exists(), "it makes the run's folder before the first report")
        expect(callable(callback), f"{describe_value(callback)} cannot be called with a report")


def takes_reports(kind: type[TrainingCallback]) -> None:
    """It defines its own `__call__`, which takes a report."""
    own = any("__call__" in vars(each) for each in kind.__mro__ if each is not TrainingCallback)
    expect(own, "it has no __call__(self, event)")


def closes_without_a_report(kind: type[TrainingCallback]) -> None:
    """It can be closed even if training fails before the first report."""
    with _made(kind) as (callback, folder):
        callback.close()
        expect(not folder.exists(), "it makes the run's folder when it is closed")


CALLBACK_CHECKS: tuple[Callable[[type[TrainingCallback]], None], ...] = (
    takes_reports,
    writes_nothing_before_training,
    closes_without_a_report,
)


HOSTILE = "Odd name|B <script>x</script> `tick` *star* [link](https://example.org) # heading"
"""A film title or model name as an untrusted file may contain it."""


@dataclass(frozen=True)
class SectionSubject:
    """A report section under test."""

    section: type[ReportSection]

    def text(self, results: Results) -> str:
        """The section's text; raises ValueError if it contains something that is not allowed."""
        return str(check_text(self.section().write(results)))


def results(title: str = "A film", model: str = "ours", words: str = "Words") -> Results:
    """Make results of a comparison of two models and a codec on two films, with a failed cell.

    `words` is put into all other fields of a results file that may contain any text.
    """
    films = [_film("alpha", title, words), _film("beta", "Another film", words)]
    return Results(
        created="2025-01-02T03:04:05+00:00",
        command="zoo compare --films alpha,beta",
        preset="quick",
        budget="6steps",
        batch=16,
        films=films,
        metrics=[
            MetricInfo(name="psnr", label=words, unit="dB", better="higher", digits=2, source=words)
        ],
        records=[
            _record(each, film.name, words, failed=(each == "theirs" and film.name == "beta"))
            for film in films
            for each in (model, "theirs", "codec")
        ],
    )


def nothing() -> Results:
    """Make results without films and records."""
    return results().model_copy(update={"films": [], "metrics": [], "records": []})


def _film(name: str, title: str, words: str) -> FilmInfo:
    return FilmInfo(
        name=name,
        title=title,
        licence=words,
        source=words,
        fingerprint=name * 4,
        size="64x36",
        frames=100,
        fps=25.0,
        shots=2,
        seen_frames=90,
        held_out_frames=10,
        held_out=[(90, 100)],
        shot_starts=[0, 50],
    )


def _record(model: str, film: str, words: str, failed: bool) -> Record:
    coded = model == "codec"
    summary = Summary(frames=10, shots=2, mean=24.5, sd=1.0, lowest=20.0, highest=30.0)
    return Record(
        model=model,
        summary=words,
        role="reference" if coded else "model",
        kind="codec" if coded else "autoencoder",
        origin=words,
        trained_on=film,
        evaluated_on=film,
        evaluation_fingerprint=film * 4,
        seed=0,
        options={"latent": 16},
        status="failed" if failed else "ok",
        reason=words if failed else None,
        run=None if failed else f"runs/{film}/{model}/x",
        latent=None
        if failed
        else LatentInfo(
            numbers=None if coded else 16,
            bits=None if coded else 128,
            coded_bytes=12.5,
            decoder_bytes=None if coded else 4000,
        ),
        scores={} if failed else {"psnr": {"seen": summary, "held_out": summary}},
        environment=Environment(
            device="cpu",
            device_name="A processor",
            precision="32-true",
            memory_format="channels_last",
            threads=1,
            python="3.12",
            torch="2.8",
            cuda=None,
            pyav="15.0",
            ffmpeg="7.1",
            film_zoo="0.1.0",
            commit=None,
        ),
    )


def is_written(subject: SectionSubject) -> None:
    """A comparison with a failed model and a codec gives a text that the report accepts."""
    subject.text(results())


def is_written_of_nothing(subject: SectionSubject) -> None:
    """Results without films and records give a text, which may be empty."""
    subject.text(nothing())


def shows_names_as_they_are(subject: SectionSubject) -> None:
    """Titles and names that contain Markdown or HTML are shown literally."""
    plain, _ = _shown(subject.text(results()))
    shown, texts = _shown(subject.text(results(HOSTILE, HOSTILE, HOSTILE)))
    made = sorted(shown - plain)
    expect(not made, f"a name or a title with Markdown in it makes {', '.join(made)} of the text")
    first = HOSTILE.partition("|")[0]
    cut = any(each.strip().endswith(first) for each in texts)
    expect(not cut, "a name or a title with | in it ends a cell of a table early")


def _shown(text: str) -> tuple[Counter[str], list[str]]:
    """Parse Markdown: count its elements by type, and return the texts that it shows."""
    made: Counter[str] = Counter()
    texts = []
    for block in MarkdownIt("commonmark").enable("table").parse(text):
        made[block.type.removesuffix("_open")] += not block.type.endswith("_close")
        inline = block.children or []
        made.update(each.type.removesuffix("_open") for each in inline if each.nesting >= 0)
        if block.type == "inline":
            texts.append("".join(each.content for each in inline))
    del made["text"]
    return +made, texts


def is_written_the_same_twice(subject: SectionSubject) -> None:
    """The same results give the same text, and are not changed."""
    given = results()
    expect(subject.text(given) == subject.text(given), "the text is another each time")
    expect(given == results(), "it changes the results")


def needs_no_torch(subject: SectionSubject) -> None:
    """Its module can be imported without torch, as `zoo report` does."""
    name = subject.section.__module__
    program = f"import sys; import {name}; sys.exit(3 if 'torch' in sys.modules else 0)"
    path = f"import sys; sys.path[:] = {sys.path!r}; "
    ended = subprocess.run([sys.executable, "-c", path + program], capture_output=True, text=True)
    if ended.returncode not in (0, 3):
        raise Inconclusive(f"another process does not import {name}")
    expect(ended.returncode == 0, f"importing {name} imports torch")


SECTION_CHECKS: tuple[Callable[[SectionSubject], None], ...] = (
    is_written,
    is_written_of_nothing,
    shows_names_as_they_are,
    is_written_the_same_twice,
    needs_no_torch,
)
