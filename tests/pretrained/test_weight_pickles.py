"""Pickles of weights: plain arrays are read, and nothing in them is run."""

from __future__ import annotations

import os
import pickle
from pathlib import Path

import numpy as np
import pytest

from zoo.pretrained.weights import read_arrays


class Malice:
    """Unpickled by pickle itself, this makes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, ...]:
        return os.mkdir, (str(self.path),)


def test_arrays_are_read_as_they_were_written() -> None:
    array = np.random.default_rng(0).normal(size=(3, 1, 5)).astype(np.float32)
    for protocol in (3, 4):
        found = read_arrays(pickle.dumps({"a": {"b": array}, "c": array[0]}, protocol))
        assert list(found) == ["a/b", "c"]
        np.testing.assert_array_equal(found["a/b"], array)
        found["c"][:] = 0  # Ours to write to.


def test_a_pickle_that_calls_something_is_refused(tmp_path: Path) -> None:
    for thing in ({"a": Malice(tmp_path / "ran")}, Malice(tmp_path / "ran")):
        with pytest.raises(pickle.UnpicklingError, match="mkdir"):
            read_arrays(pickle.dumps(thing))
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    "thing",
    [
        {"a": np.array([print], dtype=object)},
        {"a": np.zeros(3, dtype=np.float64)},
        {"a": np.zeros(3, dtype=">f4")},
        {"a": np.zeros((3, 2), dtype=np.float32, order="F")},
        {"a": np.float32(1)},
        {"a": [1, 2]},
        "text",
        {"a": np.load},
    ],
    ids=["objects", "64 bit", "big-endian", "Fortran", "scalar", "list", "text", "function"],
)
def test_a_pickle_of_anything_but_plain_arrays_is_refused(thing: object) -> None:
    with pytest.raises(pickle.UnpicklingError):
        read_arrays(pickle.dumps(thing, 3))


def test_a_damaged_pickle_is_refused() -> None:
    whole = pickle.dumps({"a": np.ones((4, 4), dtype=np.float32)}, 3)
    for length in range(len(whole)):
        with pytest.raises(pickle.UnpicklingError):
            read_arrays(whole[:length])
