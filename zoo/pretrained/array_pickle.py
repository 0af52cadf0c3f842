"""Reading a pickle of numpy arrays without running a word of it.

A pickle is a program: it names functions and calls them. This reader knows four names, and
answers each with a plain holder of its own, so that nothing of numpy (or of anything else) is
called on the word of the file; the arrays are then made here from the bytes that the holders
were given. Any other name is an error.
"""

from __future__ import annotations

import io
import pickle
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

Arrays = dict[str, npt.NDArray[np.float32]]
"""Arrays by their path, the names joined by `/`."""


class _Ndarray:
    """Stands for `numpy.ndarray`: a name in the stream, never called."""


class _Dtype:
    """Holds what the stream says of an array's type: a code such as `f4`, and the byte order."""

    def __init__(self, code: object = None, *_: object) -> None:
        self.code = code
        self.order: object = None

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        self.order = state[1]


class _Array:
    """Holds what the stream says of an array until it is made."""

    def __init__(self, *_: object) -> None:
        self.state: tuple[Any, ...] | None = None

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        self.state = state

    def array(self) -> npt.NDArray[np.float32]:
        if not isinstance(self.state, tuple) or len(self.state) != 5:
            raise pickle.UnpicklingError("an array without content")
        _, shape, dtype, fortran, content = self.state
        if not isinstance(dtype, _Dtype) or (dtype.code, dtype.order) != ("f4", "<"):
            raise pickle.UnpicklingError("an array that is not of little-endian 32-bit floats")
        if not isinstance(content, bytes) or fortran:
            raise pickle.UnpicklingError("an array that is not plain bytes in C order")
        # A copy: what numpy reads from bytes cannot be written to.
        return np.frombuffer(content, dtype="<f4").reshape(shape).astype(np.float32)


_KNOWN = {
    ("numpy.core.multiarray", "_reconstruct"): _Array,
    ("numpy._core.multiarray", "_reconstruct"): _Array,
    ("numpy", "ndarray"): _Ndarray,
    ("numpy", "dtype"): _Dtype,
}


class _Reader(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> type:
        if (module, name) not in _KNOWN:
            raise pickle.UnpicklingError(f"it names {module[:100]}.{name[:100]}")
        return _KNOWN[module, name]


def read_arrays(content: bytes) -> Arrays:
    """Return the float32 arrays of a pickled nested dict, by path: `Net/Conv_0/kernel`.

    Arrays are as numpy pickles them in protocols 3 and 4, in C order and little-endian.
    Raises pickle.UnpicklingError if `content` holds or names anything else, or is damaged.
    """
    try:
        return dict(_flat(_Reader(io.BytesIO(content)).load(), ""))
    except pickle.UnpicklingError:
        raise
    # What a damaged stream can make a pickle machine stumble over, told as one thing.
    except (ArithmeticError, AttributeError, EOFError, LookupError, MemoryError) as error:
        raise pickle.UnpicklingError(f"it is damaged: {error}") from None
    except (ImportError, RecursionError, TypeError, ValueError) as error:
        raise pickle.UnpicklingError(f"it is damaged: {error}") from None


def _flat(thing: object, path: str) -> Iterator[tuple[str, npt.NDArray[np.float32]]]:
    if isinstance(thing, _Array):
        yield path, thing.array()
    elif isinstance(thing, dict):
        for name, value in thing.items():
            yield from _flat(value, f"{path}/{name}" if path else str(name))
    else:
        raise pickle.UnpicklingError(f"it holds a {type(thing).__name__}")
