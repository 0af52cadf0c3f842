"""Checks of codecs: one function per promise."""

from __future__ import annotations

import contextlib
import functools
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

from zoo.api.codec import TOLERANCE, CodedFilm, CodingTerms, FilmCodec, make_codec
from zoo.base.errors import ZooError
from zoo.base.frame_size import FrameSize
from zoo.base.presets_and_budgets import Budget
from zoo.conformance.fixtures import Broken, Inconclusive, expect, scene_as_film
from zoo.evaluation.codec_runs import check_coded_film, decoded_frames
from zoo.films.ingested_film import Film

CODEC_SIZE = FrameSize(64, 36)
FRAMES, BYTES = 12, 300
TERMS = CodingTerms(BYTES, device=torch.device("cpu"))
BUDGET = Budget(300, "steps")
"""Enough for a small network to distinguish twelve frames from one colour."""


@dataclass(frozen=True)
class CodecSubject:
    """A codec under test."""

    codec: type[FilmCodec]

    def fresh(self) -> FilmCodec:
        """A new instance with its options as they are by default."""
        return make_codec(self.codec, CODEC_SIZE, {})

    def coded(self) -> CodedFilm:
        """The scene, coded once; Inconclusive if the codec is not available."""
        codec: Any = self.codec
        return _coded(codec)[0]

    def decoded(self) -> npt.NDArray[np.uint8]:
        """The frames of that stream, decoded by a new instance."""
        stream = bytes(bytearray(self.coded().stream))
        return np.stack(list(decoded_frames(self.fresh(), stream, film())))


def film() -> Film:
    """A film of 12 frames of one shot, on which a codec is tried."""
    return scene_as_film(CODEC_SIZE, count=FRAMES)


def terms_of(codec: type[FilmCodec]) -> CodingTerms:
    """What a comparison would give it, with a small budget."""
    return replace(TERMS, seed=1, budget=BUDGET, batch=4) if codec.trains else TERMS


@functools.lru_cache(maxsize=1)
def _coded(codec: Any) -> tuple[CodedFilm, Film]:
    """The scene as a codec codes it, and the film that it was given for that."""
    given = film()
    try:
        coded = make_codec(codec, CODEC_SIZE, {}).code(given, terms_of(codec))
        return check_coded_film(codec, coded), given
    except ZooError as reason:
        raise Inconclusive(f"it does not code here: {reason}") from None


def gives_every_frame_back(subject: CodecSubject) -> None:
    """The codec gives back as many frames as the film has, of its size, uint8."""
    subject.coded()
    try:
        subject.decoded()
    except ZooError as reason:
        raise Broken(str(reason)) from None


def decodes_from_the_stream_alone(subject: CodecSubject) -> None:
    """New instances, one in a new process, decode the same frames, which resemble the film's."""
    first, second = subject.decoded(), subject.decoded()
    expect(np.array_equal(first, second), "two instances decode one stream to other frames")
    in_new_process = _decoded_in_new_process(subject)
    if in_new_process is not None:
        expect(
            np.array_equal(first, in_new_process),
            "another process decodes the stream to other frames: something else than the stream is "
            "kept between `code` and `decode`",
        )
    original = film().store.array.astype(np.float32)
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
    """The frames as a new process decodes them; None if it could not import the codec."""
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
    """One film on one set of terms gives one stream."""
    again = subject.fresh().code(film(), terms_of(subject.codec))
    expect(again.stream == subject.coded().stream, "coded twice, the stream is another")


class _Interrupted(Exception):
    """Stops a coding at the moment at which it has saved its state."""


def resumes_from_what_it_saved(subject: CodecSubject) -> None:
    """Interrupted where it saved its state, and given that state, it codes the same stream."""
    if not subject.codec.trains:
        return
    saved: list[dict[str, torch.Tensor]] = []

    def save(state: Mapping[str, torch.Tensor]) -> None:
        saved.append({name: tensor.detach().cpu().clone() for name, tensor in state.items()})
        raise _Interrupted

    terms = terms_of(subject.codec)
    with contextlib.suppress(_Interrupted):
        subject.fresh().code(film(), replace(terms, save=save))
    if not saved:
        raise Inconclusive("it saves no state in so short a training: interrupted, it starts again")
    again = subject.fresh().code(film(), replace(terms, load=lambda: saved[0]))
    expect(
        again.stream == subject.coded().stream,
        "interrupted where it saves its state and gone on with that state, the stream is another",
    )


def spends_what_it_is_given(subject: CodecSubject) -> None:
    """The stream has the bytes that were asked for, within 3 %, or a note says why not."""
    coded = subject.coded()
    spent = len(coded.stream) / FRAMES
    near = abs(spent / BYTES - 1) <= TOLERANCE
    expect(near or coded.note.strip(), f"{spent:.1f} bytes per frame of {BYTES}, and no note")
    expect("\n" not in coded.note and not coded.note.endswith("."), "the note is not a clause")


def leaves_the_film_as_it_is(subject: CodecSubject) -> None:
    """The film's frames are not changed."""
    codec: Any = subject.codec
    _, given = _coded(codec)
    expect(np.array_equal(given.store.array, film().store.array), "the film's frames have changed")


CHECKS: tuple[Callable[[CodecSubject], None], ...] = (
    gives_every_frame_back,
    decodes_from_the_stream_alone,
    codes_the_same_twice,
    resumes_from_what_it_saved,
    spends_what_it_is_given,
    leaves_the_film_as_it_is,
)
