"""What is promised of a film codec, one function each; all are given a `CodecSubject`."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from zoo.api.codec import TOLERANCE, CodedFilm, CodingTerms, FilmCodec, made
from zoo.base.errors import ZooError
from zoo.base.frame_size import FrameSize
from zoo.conformance.subject import scene_as_film
from zoo.conformance.verdict import Broken, CannotTell, expect
from zoo.evaluation.coding import check_coded, checked_frames
from zoo.films.film import Film
from zoo.training.budget import Budget

SIZE = FrameSize(64, 36)
FRAMES, BYTES = 12, 300
TERMS = CodingTerms(BYTES, device=torch.device("cpu"))
BUDGET = Budget(4, "steps")


@dataclass(frozen=True)
class CodecSubject:
    """A codec under examination."""

    codec: type[FilmCodec]

    def fresh(self) -> FilmCodec:
        """A new instance with its options as they are by default."""
        return made(self.codec, SIZE, {})

    def coded(self) -> CodedFilm:
        """The scene, coded once; CannotTell where the codec is not there."""
        codec: Any = self.codec
        return _coded(codec)

    def decoded(self) -> npt.NDArray[np.uint8]:
        """The frames of that stream, decoded by a new instance."""
        stream = bytes(bytearray(self.coded().stream))
        return np.stack(list(checked_frames(self.fresh(), stream, film())))


def film() -> Film:
    """A film of 12 frames of one shot, on which a codec is tried."""
    return scene_as_film(SIZE, count=FRAMES)


def terms_of(codec: type[FilmCodec]) -> CodingTerms:
    """What a comparison would give it, with a small budget."""
    return replace(TERMS, seed=1, budget=BUDGET, batch=4) if codec.trains else TERMS


@functools.lru_cache(maxsize=1)
def _coded(codec: Any) -> CodedFilm:
    try:
        return check_coded(codec, made(codec, SIZE, {}).code(film(), terms_of(codec)))
    except ZooError as reason:
        raise CannotTell(f"it does not code here: {reason}") from None


def gives_every_frame_back(subject: CodecSubject) -> None:
    """As many frames come back as the film has, of its size, uint8."""
    subject.coded()
    try:
        subject.decoded()
    except ZooError as reason:
        raise Broken(str(reason)) from None


def decodes_from_the_stream_alone(subject: CodecSubject) -> None:
    """New instances draw the same film from the stream, each time, and it is the film's."""
    first, second = subject.decoded(), subject.decoded()
    expect(np.array_equal(first, second), "two instances decode one stream to other frames")
    original = film().store.array.astype(np.float32)
    error = float(np.square(original - first).mean())
    still = float(np.square(original - original.mean(axis=(0, 1, 2))).mean())
    expect(
        error < still,
        f"the squared error is {error:.0f}; that of one colour is {still:.0f}",
    )


def codes_the_same_twice(subject: CodecSubject) -> None:
    """One film on one set of terms gives one stream."""
    again = subject.fresh().code(film(), terms_of(subject.codec))
    expect(again.stream == subject.coded().stream, "coded twice, the stream is another")


def spends_what_it_is_given(subject: CodecSubject) -> None:
    """The stream has the bytes that were asked for, within 3 %, or a note says why not."""
    coded = subject.coded()
    spent = len(coded.stream) / FRAMES
    near = abs(spent / BYTES - 1) <= TOLERANCE
    expect(near or coded.note.strip(), f"{spent:.1f} bytes a frame of {BYTES}, and no note")
    expect("\n" not in coded.note and not coded.note.endswith("."), "the note is no clause")


def leaves_the_film_as_it_is(subject: CodecSubject) -> None:
    """The film's frames are not changed."""
    given = film()
    before = given.store.array.copy()
    subject.coded()
    subject.fresh().code(given, terms_of(subject.codec))
    expect(np.array_equal(given.store.array, before), "the film's frames have changed")


CHECKS: tuple[Callable[[CodecSubject], None], ...] = (
    gives_every_frame_back,
    decodes_from_the_stream_alone,
    codes_the_same_twice,
    spends_what_it_is_given,
    leaves_the_film_as_it_is,
)
