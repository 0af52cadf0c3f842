"""Run the checks on a plugin's contributions: findings, waivers and remedies."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from zoo.api.autoencoder import Autoencoder
from zoo.api.codec import FilmCodec
from zoo.api.film_entry import FilmEntry
from zoo.api.metric import Metric
from zoo.api.recipe_and_events import TrainingCallback
from zoo.api.report_section import ReportSection
from zoo.base.safe_text import error_line
from zoo.conformance import inference, training
from zoo.conformance.films_callbacks_and_sections import (
    CALLBACK_CHECKS,
    FILM_CHECKS,
    SECTION_CHECKS,
    SectionSubject,
    files_are_there,
    is_written,
    takes_reports,
)
from zoo.conformance.fixtures import Broken, Inconclusive, Subject
from zoo.conformance.metrics_and_codecs import (
    CODEC_CHECKS,
    METRIC_CHECKS,
    CodecSubject,
    MetricSubject,
    codes_the_same_twice,
    gives_every_frame_back,
    gives_one_number_per_frame,
    measures_a_frame_alone,
    measures_the_same_twice,
    resumes_from_what_it_saved,
)
from zoo.pretrained.weights import WeightsUnavailable

Verdict = Literal["kept", "waived", "unknown", "follows", "broken"]
Thing = (
    type[Autoencoder]
    | type[FilmCodec]
    | type[Metric]
    | type[ReportSection]
    | type[TrainingCallback]
    | FilmEntry
)
"""A contribution of a plugin."""


@dataclass(frozen=True)
class Kind:
    """One kind of contribution, and its checks."""

    checks: Mapping[str, Callable[[Any], None]]
    """Checks by name, in the order in which they run."""
    subject: Callable[[Any], Any]
    """Makes the argument of the checks from a contribution."""
    first: Sequence[str]
    """Basic checks: if one of these is broken, any other check may fail because of it."""
    follows: Mapping[str, Sequence[str]]
    """For some checks, other checks whose faults make them fail too: if one of the others is
    broken, the failure is reported as a consequence."""


def _kind(
    checks: Iterable[Callable[[Any], None]],
    subject: Any,
    *first: Any,
    follows: Mapping[Any, Sequence[Any]] | None = None,
) -> Kind:
    return Kind(
        {_name(check): check for check in checks},
        subject,
        [*map(_name, first)],
        {_name(check): [*map(_name, roots)] for check, roots in (follows or {}).items()},
    )


def _name(check: Callable[[Any], None]) -> str:
    return str(check.__name__).replace("_", " ")


MODEL_CHECKS = (*inference.CHECKS, *training.CHECKS)

MODEL_FOLLOWS: dict[Callable[[Subject], None], Sequence[Callable[[Subject], None]]] = {
    inference.deterministic: [inference.leaves_its_input_as_it_is],
    inference.batch_invariant: [inference.leaves_its_input_as_it_is, inference.deterministic],
    inference.reloads_to_the_bit: [inference.leaves_its_input_as_it_is, inference.deterministic],
    inference.decodes_from_the_latent_alone: [
        inference.leaves_its_input_as_it_is,
        inference.deterministic,
    ],
    training.prepare_survives_a_reload: [
        inference.leaves_its_input_as_it_is,
        training.noise_comes_from_the_step,
    ],
    training.fits_one_batch: [
        inference.shapes_and_range,
        inference.leaves_its_input_as_it_is,
        training.losses_reach_their_players,
        training.opposed_terms_oppose,
    ],
}

_KINDS: tuple[tuple[type, Kind], ...] = (
    (
        Autoencoder,
        _kind(
            MODEL_CHECKS,
            Subject,
            inference.shapes_and_range,
            training.players_cover_the_model,
            training.trains_to_the_end,
            follows=MODEL_FOLLOWS,
        ),
    ),
    (
        Metric,
        _kind(
            METRIC_CHECKS,
            MetricSubject,
            gives_one_number_per_frame,
            follows={measures_a_frame_alone: [measures_the_same_twice]},
        ),
    ),
    (
        FilmCodec,
        _kind(
            CODEC_CHECKS,
            CodecSubject,
            gives_every_frame_back,
            follows={resumes_from_what_it_saved: [codes_the_same_twice]},
        ),
    ),
    (ReportSection, _kind(SECTION_CHECKS, SectionSubject, is_written)),
    (TrainingCallback, _kind(CALLBACK_CHECKS, lambda kind: kind, takes_reports)),
    (FilmEntry, _kind(FILM_CHECKS, lambda entry: entry, files_are_there)),
)


def kind_of(thing: Thing) -> Kind:
    """The kind of a contribution; raises TypeError for any other object."""
    for base, kind in _KINDS:
        if isinstance(thing, base) or (isinstance(thing, type) and issubclass(thing, base)):
            return kind
    raise TypeError(f"{thing!r} is not a model, metric, codec, film, section or callback")


ITS_OWN_ERROR = "its own error"
ITS_WAIVER = "its waiver"


@dataclass(frozen=True)
class Finding:
    """The result of one check."""

    check: str
    promise: str
    verdict: Verdict
    """Waived: broken, but the model has a waiver. Unknown: it cannot be checked here. Follows: it
    fails as a consequence of another broken promise."""
    detail: str = ""
    """What was observed, unless the promise is simply kept."""
    fault: str = ""
    """Another check that covers the fault, whose remedy applies.

    `ITS_OWN_ERROR` if the contribution's code raised an error in the first check, `ITS_WAIVER` if
    the model waives what it need not.
    """

    @property
    def problem(self) -> str | None:
        """What is wrong, if the verdict is broken; None for any other verdict."""
        return self.detail if self.verdict == "broken" else None

    def __str__(self) -> str:
        """Format the finding on one line that begins with the verdict."""
        said = self.promise if self.verdict == "kept" else self.detail
        return f"{self.verdict:<7} {self.check}: {said}"


def names_of_checks(thing: Thing) -> list[str]:
    """The names of all checks, and of waivers that match no check."""
    names = kind_of(thing).checks
    return [*names, *(name for name in _waivers(thing) if name not in names)]


def examine(thing: Thing, on_check: Callable[[str], None] | None = None) -> Iterator[Finding]:
    """Run every check on a contribution, one after another, even if some fail.

    `on_check` is called with the name of each check before it runs; some take many seconds.
    """
    for name in names_of_checks(thing):
        if on_check:
            on_check(name)
        yield examine_one(thing, name)


def examine_one(thing: Thing, name: str) -> Finding:
    """Run the check of that name.

    A needless waiver, for a kept promise or for a check that does not exist, is reported as broken:
    it says something false about the model, and would hide a later fault.
    """
    kind, reason = kind_of(thing), _waivers(thing).get(name)
    if name not in kind.checks:
        problem = f"needless waiver: no check has this name ({reason})"
        return Finding(name, "", "broken", problem, ITS_WAIVER)
    promise = " ".join((kind.checks[name].__doc__ or "").split())
    try:
        kind.checks[name](kind.subject(thing))
    except (Inconclusive, WeightsUnavailable) as unknown:
        return Finding(name, promise, "unknown", str(unknown))
    except Exception as error:  # an error of the plugin's own code is a finding too
        # One fault is one finding, so checks that fail because of it are not reported as broken.
        failed = not isinstance(error, Broken) or error.__context__ is not None
        if failed and (cause := _broken_before(thing, kind, name)):
            why = f"it cannot be examined before {cause!r} is kept"
            return Finding(name, promise, "unknown", why)
        problem = str(error) if isinstance(error, Broken) else error_line(error)
        fault = error.check if isinstance(error, Broken) else ""
        if not isinstance(error, Broken) and name == kind.first[0]:
            # General errors, for instance in __init__, occur first in this check.
            fault = ITS_OWN_ERROR
        if reason is None and (cause := _broken_root(thing, kind, name)):
            why = f"{problem}; a consequence of {cause!r}, which must be fixed first"
            return Finding(name, promise, "follows", why)
    else:
        if reason is None:
            return Finding(name, promise, "kept")
        problem = f"needless waiver: the promise is kept ({reason})"
        return Finding(name, promise, "broken", problem, ITS_WAIVER)
    if reason is None:
        return Finding(name, promise, "broken", problem, fault)
    return Finding(name, promise, "waived", f"{problem} (waiver: {reason})")


def _broken_before(thing: Thing, kind: Kind, name: str) -> str | None:
    """The first broken check among the basic checks before this one; None if there is none."""
    before = itertools.takewhile(lambda first: first != name, kind.first)
    return next((each for each in before if examine_one(thing, each).verdict == "broken"), None)


def _broken_root(thing: Thing, kind: Kind, name: str) -> str | None:
    """The first broken check that explains why this one fails; None if there is none."""
    roots = kind.follows.get(name, ())
    return next((each for each in roots if examine_one(thing, each).verdict == "broken"), None)


def _waivers(thing: Thing) -> Mapping[str, str]:
    waivers: Mapping[str, str] = getattr(thing, "waivers", {})
    return waivers


def with_unknown_together(findings: Iterable[Finding]) -> Iterator[Finding]:
    """Merge findings for printing: checks that are unknown for the same reason become one."""
    unknown: dict[str, list[str]] = {}
    for finding in findings:
        if finding.verdict == "unknown":
            unknown.setdefault(finding.detail, []).append(finding.check)
        else:
            yield finding
    for reason, checks in unknown.items():
        yield Finding(", ".join(checks), "", "unknown", reason)


PAGE = "docs/plugins.md"

REMEDIES: Mapping[str, Mapping[str, str]] = {
    "plugins-run-as-code": {
        "importing does no work": (
            "move everything the module computes, reads or prints into methods or prepare"
        ),
    },
    "a-model": {
        "shapes and range": (
            "end decode with sigmoid or clamp to [0, 1], and crop padding back to self.size"
        ),
        "latent as declared": (
            "make encode return what latent_spec declares, and declare at most 8 bits for each of "
            "options.latent numbers"
        ),
        "leaves its input as it is": "use no in-place operations on arguments: sub, not sub_",
        "deterministic": (
            "draw noise only in losses, encode the mean instead of a sample, and keep no state "
            "between calls"
        ),
        "batch invariant": (
            "use no batch statistics outside training: group norm instead of batch norm"
        ),
        "reloads to the bit": (
            "keep everything that encode and decode use in parameters and buffers made by __init__"
        ),
        "decodes from the latent alone": (
            "make decode use only its argument and the weights, and nothing that encode stored"
        ),
        "comes back from coordinates": (
            "make from_coordinates invert to_coordinates, or define neither"
        ),
        "draws from its prior": (
            "return shape (count, *shape), as latent_spec declares, drawn with generator=generator"
        ),
        "works on a gpu": (
            "register constants as buffers, create tensors on the frames' device, and avoid "
            ".item(), float(tensor), if tensor and tensor[mask] in losses"
        ),
        "trains on every frame": "return seen from frames_taken, or do not define it",
        "players cover the model": (
            "return every trainable parameter from players once, call requires_grad_(False) on "
            "frozen ones, and return a zoo.Loss of scalars for each player"
        ),
        "trains to the end": (
            "train it with zoo --debug and --budget 3steps to see the line that fails"
        ),
        "players hold what they name": (
            "put the encoder's parameters into the player encoder, and the decoder's into decoder"
        ),
        "losses reach their players": (
            "look for a detach, a no_grad, a round or a term of another player in that loss"
        ),
        "noise comes from the step": (
            "draw with step.randn_like, step.rand_like or torch's generators, not with numpy or "
            "random"
        ),
        "prepare survives a reload": (
            "copy what prepare computes into buffers made by __init__, with copy_ under "
            "torch.no_grad()"
        ),
        "prepared by training frames alone": (
            "use only the frames that prepare and fit are given, and no other part of the film"
        ),
        "opposed terms oppose": (
            "check the sign of each adversarial term, and which player it belongs to"
        ),
        "fits one batch": (
            "return another lr from optimizer, such as zoo.Optimizer(lr=0.003), and look at the "
            "losses on only four frames"
        ),
    },
    "bits": {
        "codes latents without loss": (
            "test compress and decompress on the same levels; use whole numbers, not floats, "
            "and put what decompress needs into a submodule called coder"
        ),
    },
    "a-metric": {
        "says what it is": "set label and source, one line each",
        "gives one number per frame": "return shape (N,) for N frames; NaN if there is no value",
        "is defined for a film": "return NaN only where the metric is undefined",
        "measures a frame alone": "average over a frame's own pixels, not over the batch",
        "measures the same twice": "keep no state between calls, and use no random numbers",
        "leaves frames as they are": "work on a copy, with no in-place operations on arguments",
        "is measured on a gpu": "put its tensors on the device passed to __init__",
        "prefers originals to noise": "set better to the direction in which scores improve",
    },
    "a-codec": {
        "gives every frame back": "decode as many frames as the film has, at its size, as uint8",
        "decodes from the stream alone": "put everything that decoding needs into the stream",
        "codes the same twice": "fix seeds and threads; leave out dates and paths",
        "resumes from what it saved": "save everything that the next step depends on",
        "spends what it is given": "search for the right quality, or return a note saying why not",
        "leaves the film as it is": "work on copies of the film's frames",
    },
    "a-section-of-the-report": {
        "is written": "handle failed records and codecs, which lack some fields",
        "is written of nothing": "return '' if there are no records",
        "shows names as they are": "escape every name with self.escape or self.table",
        "is written the same twice": (
            "iterate in a fixed order, use no clock, and do not modify the results"
        ),
        "needs no torch": "put the section into a module of its own",
    },
    "a-training-callback": {
        "takes reports": "define __call__(self, event)",
        "writes nothing before training": (
            "create files at the first report, with self.run.place(name)"
        ),
        "closes without a report": "make close do nothing if there was no report",
    },
    "films": {
        "files are there": "build paths from the module's folder: Path(__file__).parent / name",
        "files are a film": "play the files with ffplay; parts of one film must have the same size",
        "states its licence": "set licence, such as 'CC BY 3.0, Blender Foundation'",
    },
}
"""Remedies for broken checks, by the section of `PAGE` with details, then by check."""


def remedy(finding: Finding) -> str | None:
    """What to do about a finding, with a link to the section of the page.

    None if the first check ended in the code's own error.
    """
    if finding.fault == ITS_WAIVER:
        return f"take {finding.check!r} out of waivers ({PAGE}#a-model)"
    check = finding.fault or finding.check
    for section, remedies in REMEDIES.items():
        if check in remedies:
            return f"{remedies[check]} ({PAGE}#{section})"
    return None
