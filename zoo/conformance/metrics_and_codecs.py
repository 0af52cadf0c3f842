"""Checks of metrics and codecs: one function per promise, called with the subject under test."""

from __future__ import annotations

import contextlib
import functools
import math
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode

from zoo.api.codec import TOLERANCE, CodedFilm, CodingTerms, FilmCodec, make_codec
from zoo.api.metric import Metric, TemporalMetric, Unavailable, build_metric
from zoo.base.errors import ZooError
from zoo.base.frame_size import FrameSize
from zoo.base.presets_and_budgets import Budget
from zoo.base.safe_text import one_line
from zoo.conformance.fake_gpu import GPU, quiet
from zoo.conformance.fixtures import Broken, Inconclusive, expect, extremes, scene, scene_as_film
from zoo.evaluation.codec_runs import check_coded_film, decoded_frames
from zoo.evaluation.metrics import score_pairs
from zoo.films.ingested_film import Film

SIZES = (FrameSize(64, 36), FrameSize(50, 38))
FRAMES, NEAR = 6, 1e-3
"""Number of frames in the scene, and the relative tolerance for numbers that should be equal."""


@dataclass(frozen=True)
class MetricSubject:
    """A metric under test."""

    metric: type[Metric]

    def made(self) -> Metric:
        """An instance on the CPU; raises Inconclusive if the metric is not available."""
        try:
            return build_metric(self.metric, torch.device("cpu"))
        except Unavailable as reason:
            raise Inconclusive(f"it is not available here: {reason}") from None

    def values(
        self,
        originals: Tensor,
        reconstructions: Tensor,
        batch: int = FRAMES,
        used: Metric | None = None,
    ) -> Tensor:
        """The values of all frames, (N,), in batches of `batch`, by `used` or a new instance."""
        pairs = zip(originals.split(batch), reconstructions.split(batch), strict=True)
        (found,) = score_pairs(pairs, [0], [used or self.made()]).values()
        return torch.from_numpy(found)


def noisy(frames: Tensor, level: float = 0.1) -> Tensor:
    """Frames with added noise, in whole multiples of 1/255."""
    noise = torch.randn(frames.shape, generator=torch.Generator().manual_seed(0))
    return ((frames + level * noise).clamp(0, 1) * 255).round() / 255


def says_what_it_is(subject: MetricSubject) -> None:
    """The label and the source are given, one line each."""
    for attribute in ("label", "source"):
        text = getattr(subject.metric, attribute)
        expect(text.strip() and "\n" not in text, f"its {attribute} is {text!r}")


def gives_one_number_per_frame(subject: MetricSubject) -> None:
    """Each frame, of any content and even size, gets one number, finite or NaN."""
    for size in SIZES:
        for frames in (scene(FRAMES, size), extremes(size)):
            for reconstructions in (frames, noisy(frames)):
                values = subject.values(frames, reconstructions)
                expect(not values.isinf().any(), f"a frame of {size} has the value {values.max()}")


def is_defined_for_a_film(subject: MetricSubject) -> None:
    """At least one frame of a moving scene with added noise has a value."""
    frames = scene(FRAMES, SIZES[0])
    expect(not subject.values(frames, noisy(frames)).isnan().all(), "every frame has NaN")


def measures_a_frame_alone(subject: MetricSubject) -> None:
    """A frame has the same value alone and in a batch."""
    frames = scene(FRAMES, SIZES[0])
    reconstructions = noisy(frames)
    together, alone = (
        subject.values(frames, reconstructions),
        subject.values(frames, reconstructions, batch=1),
    )
    expect(_near(together, alone), f"{_listed(together)} together and {_listed(alone)} one by one")


def measures_the_same_twice(subject: MetricSubject) -> None:
    """The same frames have the same values each time, no matter what was measured before."""
    frames, others = scene(FRAMES, SIZES[0]), extremes(SIZES[0])
    first, second = (subject.values(frames, noisy(frames)) for _ in range(2))
    expect(_near(first, second), f"{_listed(first)} and then {_listed(second)}")
    # In a comparison, one instance measures all films.
    used = subject.made()
    subject.values(others, noisy(others), used=used)
    after = subject.values(frames, noisy(frames), used=used)
    expect(_near(first, after), f"{_listed(first)}, and {_listed(after)} after another film")


def leaves_frames_as_they_are(subject: MetricSubject) -> None:
    """It does not modify the frames, which other metrics use after it."""
    frames = scene(FRAMES, SIZES[0])
    given = [frames.clone(), noisy(frames)]
    if issubclass(subject.metric, TemporalMetric):
        given += [torch.cat([f[:1], f[:-1]]) for f in given]
    before = [each.clone() for each in given]
    subject.made()(*given)
    names = ("originals", "reconstructions", "earlier originals", "earlier reconstructions")
    for name, each, was in zip(names, given, before, strict=False):
        expect(torch.equal(each, was), f"it changes the {name}")


def is_measured_on_a_gpu(subject: MetricSubject) -> None:
    """On a simulated GPU, its tensors and values are on the same device as the frames."""
    frames = 4 if issubclass(subject.metric, TemporalMetric) else 2
    # Errors that also occur on the CPU are found by the other checks.
    subject.values(scene(2, SIZES[0]), noisy(scene(2, SIZES[0])))
    width, height = SIZES[0]
    try:
        with FakeTensorMode(), quiet(), torch.no_grad():
            metric = build_metric(subject.metric, GPU)
            values = metric(*(torch.rand(2, 3, height, width, device=GPU) for _ in range(frames)))
            where = values.device.type
    except Unavailable as reason:
        raise Inconclusive(f"it is not available here: {reason}") from None
    except Exception as error:
        # Loaded tensors and moved modules do not work among fake tensors; that is no fault.
        if not re.search(r"two (different )?devices", str(error)):
            raise Inconclusive("its networks cannot be tried without a GPU") from None
        seen = f"on a simulated GPU: tensors are not on the device it was made for: {error}"
        raise Broken(one_line(seen)) from None
    expect(where == "cuda", f"on a simulated GPU: its values are on the {where}")


def prefers_originals_to_noise(subject: MetricSubject) -> None:
    """Original frames score better than noisy ones, according to `better`."""
    frames = scene(FRAMES, SIZES[0])
    same, worse = (
        float(subject.values(frames, reconstructions).nanmean())
        for reconstructions in (frames, noisy(frames))
    )
    if math.isnan(same) or math.isnan(worse):
        raise Inconclusive("it has no value for the one or the other")
    better = subject.metric.better
    holds = {
        "higher": same > worse,
        "lower": same < worse,
        "one": min(same, worse) > 0 and abs(math.log(same)) < abs(math.log(worse)),
    }[better]
    expect(holds, f"{same:g} as they were and {worse:g} with noise, where {better!r} is better")


def _near(first: Tensor, second: Tensor) -> bool:
    return torch.allclose(first, second, rtol=NEAR, atol=NEAR * 1e-2, equal_nan=True)


def _listed(values: Tensor) -> str:
    return ", ".join(f"{value:.5g}" for value in values.tolist()[:3])


METRIC_CHECKS: tuple[Callable[[MetricSubject], None], ...] = (
    says_what_it_is,
    gives_one_number_per_frame,
    is_defined_for_a_film,
    measures_a_frame_alone,
    measures_the_same_twice,
    leaves_frames_as_they_are,
    is_measured_on_a_gpu,
    prefers_originals_to_noise,
)


CODEC_SIZE = FrameSize(64, 36)
CODEC_FRAMES, BYTES = 12, 300
TERMS = CodingTerms(BYTES, device=torch.device("cpu"))
BUDGET = Budget(300, "steps")
"""Enough for a small network to reconstruct twelve frames better than a single colour would."""


@dataclass(frozen=True)
class CodecSubject:
    """A codec under test."""

    codec: type[FilmCodec]

    def fresh(self) -> FilmCodec:
        """A new instance with default options."""
        return make_codec(self.codec, CODEC_SIZE, {})

    def coded(self) -> CodedFilm:
        """The encoded scene, cached; raises Inconclusive if the codec is not available."""
        codec: Any = self.codec
        return _coded(codec)[0]

    def decoded(self) -> npt.NDArray[np.uint8]:
        """The frames that a new instance decodes from that stream."""
        stream = bytes(bytearray(self.coded().stream))
        return np.stack(list(decoded_frames(self.fresh(), stream, film_to_code())))


def film_to_code() -> Film:
    """A film of 12 frames and one shot to test codecs on."""
    return scene_as_film(CODEC_SIZE, count=CODEC_FRAMES)


def terms_of(codec: type[FilmCodec]) -> CodingTerms:
    """The terms that a comparison would give the codec, with a small budget."""
    return replace(TERMS, seed=1, budget=BUDGET, batch=4) if codec.trains else TERMS


@functools.lru_cache(maxsize=1)
def _coded(codec: Any) -> tuple[CodedFilm, Film]:
    """The scene as encoded by a codec, and the film that the codec was given."""
    given = film_to_code()
    try:
        coded = make_codec(codec, CODEC_SIZE, {}).code(given, terms_of(codec))
        return check_coded_film(codec, coded), given
    except ZooError as reason:
        raise Inconclusive(f"it does not code here: {reason}") from None


def gives_every_frame_back(subject: CodecSubject) -> None:
    """The codec returns as many frames as the film has, at its size, as uint8."""
    subject.coded()
    try:
        subject.decoded()
    except ZooError as reason:
        raise Broken(str(reason)) from None


def decodes_from_the_stream_alone(subject: CodecSubject) -> None:
    """New instances, one in a new process, decode the same frames, and these resemble the film."""
    first, second = subject.decoded(), subject.decoded()
    expect(np.array_equal(first, second), "two instances decode one stream to other frames")
    in_new_process = _decoded_in_new_process(subject)
    if in_new_process is not None:
        expect(
            np.array_equal(first, in_new_process),
            "another process decodes the stream to other frames: something else than the stream is "
            "kept between `code` and `decode`",
        )
    original = film_to_code().store.array.astype(np.float32)
    error = float(np.square(original - first).mean())
    still = float(np.square(original - original.mean(axis=(0, 1, 2))).mean())
    expect(
        error < still,
        f"the squared error is {error:.0f}; that of one colour is {still:.0f}",
    )


_DECODE = """
import sys
sys.path[:] = {path!r}
import importlib
import numpy as np
from zoo.api.codec import make_codec
from zoo.base.frame_size import FrameSize
module = importlib.import_module({module!r})
codec = make_codec(getattr(module, {name!r}), FrameSize{size!r}, {{}})
with open({stream!r}, "rb") as file:
    np.save({frames!r}, np.stack(list(codec.decode(file.read()))))
"""


def _decoded_in_new_process(subject: CodecSubject) -> npt.NDArray[np.uint8] | None:
    """The frames that a new process decodes; None if it could not import the codec."""
    codec = subject.codec
    if getattr(sys.modules.get(codec.__module__), codec.__qualname__, None) is not codec:
        return None
    with tempfile.TemporaryDirectory() as folder:
        stream, frames = Path(folder) / "stream", Path(folder) / "frames.npy"
        stream.write_bytes(subject.coded().stream)
        program = _DECODE.format(
            path=sys.path,
            module=codec.__module__,
            name=codec.__qualname__,
            size=tuple(CODEC_SIZE),
            stream=str(stream),
            frames=str(frames),
        )
        words = [sys.executable, "-c", program]
        ended = subprocess.run(words, capture_output=True, text=True, cwd=folder)
        if "ModuleNotFoundError" in ended.stderr and codec.__module__ in ended.stderr:
            return None
        said = (ended.stderr.strip() or "nothing").splitlines()[-1]
        expect(ended.returncode == 0, f"another process cannot decode the stream: {said}")
        return np.load(frames)


def codes_the_same_twice(subject: CodecSubject) -> None:
    """The same film, coded on the same terms, gives the same stream."""
    again = subject.fresh().code(film_to_code(), terms_of(subject.codec))
    expect(again.stream == subject.coded().stream, "coded twice, the stream is another")


class _Interrupted(Exception):
    """Raised to stop an encoding right after it has saved its state."""


def resumes_from_what_it_saved(subject: CodecSubject) -> None:
    """Interrupted after saving its state and resumed from it, it codes the same stream."""
    if not subject.codec.trains:
        return
    saved: list[dict[str, torch.Tensor]] = []

    def save(state: Mapping[str, torch.Tensor]) -> None:
        saved.append({name: tensor.detach().cpu().clone() for name, tensor in state.items()})
        raise _Interrupted

    terms = terms_of(subject.codec)
    with contextlib.suppress(_Interrupted):
        subject.fresh().code(film_to_code(), replace(terms, save=save))
    if not saved:
        raise Inconclusive("it saves no state in so short a training: interrupted, it starts again")
    again = subject.fresh().code(film_to_code(), replace(terms, load=lambda: saved[0]))
    expect(
        again.stream == subject.coded().stream,
        "interrupted where it saves its state and gone on with that state, the stream is another",
    )


def spends_what_it_is_given(subject: CodecSubject) -> None:
    """The stream is within 3 % of the requested size, or a note says why not."""
    coded = subject.coded()
    spent = len(coded.stream) / CODEC_FRAMES
    near = abs(spent / BYTES - 1) <= TOLERANCE
    expect(near or coded.note.strip(), f"{spent:.1f} bytes per frame of {BYTES}, and no note")
    expect("\n" not in coded.note and not coded.note.endswith("."), "the note is not a clause")


def leaves_the_film_as_it_is(subject: CodecSubject) -> None:
    """The film's frames are not changed."""
    codec: Any = subject.codec
    _, given = _coded(codec)
    expect(
        np.array_equal(given.store.array, film_to_code().store.array),
        "the film's frames have changed",
    )


CODEC_CHECKS: tuple[Callable[[CodecSubject], None], ...] = (
    gives_every_frame_back,
    decodes_from_the_stream_alone,
    codes_the_same_twice,
    resumes_from_what_it_saved,
    spends_what_it_is_given,
    leaves_the_film_as_it_is,
)
