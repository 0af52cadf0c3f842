"""The contract for a metric: frames and reconstructions in, one value per frame out."""

from __future__ import annotations

import contextlib
import functools
import inspect
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from typing import Any, ClassVar, Literal, ParamSpec, TypeVar

import torch
from torch import Tensor

_PROCESSOR = torch.device("cpu")
_P = ParamSpec("_P")
_T = TypeVar("_T")


class Unavailable(Exception):
    """A metric cannot be measured on this machine; its column shows `n/a` with this reason."""


class Metric:
    """Base class of every metric.

    A metric is given frames as they would be shown: clamped and rounded to 8 bits, as floats that
    are whole multiples of 1/255. Originals and reconstructions have the same shape. A metric must
    not change them, and a frame's value must not depend on the other frames in the batch. If the
    constructor lacks something (weights, say), it raises `Unavailable` with the reason and never
    substitutes anything else.

    It uses only the attributes and methods below; a subclass may use every other name.
    """

    name: ClassVar[str]
    """Key in records: `psnr`."""
    label: ClassVar[str]
    """Heading in tables, naming the network where there is one: `LPIPS (AlexNet)`."""
    unit: ClassVar[str] = ""
    better: ClassVar[Literal["higher", "lower", "one"]] = "higher"
    """`one`: nearer to 1 is better, on a logarithmic scale: 0.5 is as far off as 2."""
    digits: ClassVar[int] = 3
    """Number of decimals to print."""
    source: ClassVar[str]
    """Where the formula or the weights come from."""
    default: ClassVar[bool] = True
    """Whether it is measured by default."""
    frame_shape: ClassVar[tuple[int, ...]] = ()
    """Shape of what `__call__` returns per frame: () for a number, else `over_film` reduces it."""

    def __init__(self, device: torch.device = _PROCESSOR) -> None:
        """Put the metric's own tensors on `device`, where the frames are.

        A metric without tensors needs no constructor, or may have one without parameters.
        """
        self.device = device

    def __call__(self, originals: Tensor, reconstructions: Tensor) -> Tensor:
        """Compare frame by frame: two float (B, 3, H, W) in [0, 1] give float (B, *frame_shape).

        Return NaN for a frame on which the metric is not defined; means leave such frames out.
        """
        raise TypeError(f"{type(self).__name__} defines no __call__")

    def over_film(self, values: Tensor) -> Tensor:
        """Reduce the results for all frames of a film, (N, *frame_shape), to one per frame, (N,).

        Override it if a frame's value also depends on later frames.
        """
        return values


def build_metric(metric: type[Metric], device: torch.device) -> Metric:
    """Make a metric on a device; raises whatever its constructor raises.

    The device is passed to a constructor that takes one.
    """
    if inspect.signature(metric).parameters:
        return metric(device)
    made = metric()
    made.device = device
    return made


class TemporalMetric(Metric):
    """Base class of every metric that compares a frame with the previous one.

    `__call__` is given four batches: originals, reconstructions, previous originals and previous
    reconstructions, in this order.

    The first frame of a shot has no previous frame: its value is replaced by NaN. The metric is
    given the frame before the cut instead, or, for the first frame of a film, that frame itself.
    """

    def __call__(  # type: ignore[override]
        self,
        originals: Tensor,
        reconstructions: Tensor,
        earlier_originals: Tensor,
        earlier_reconstructions: Tensor,
    ) -> Tensor:
        """Compare frame by frame: four float (B, 3, H, W) in [0, 1] give float (B, *frame_shape).

        `earlier_originals[i]` is the frame before `originals[i]`, also across batches. Return NaN
        for a frame on which the metric is not defined, such as one where nothing moves.
        """
        raise TypeError(f"{type(self).__name__} defines no __call__")


_KNOWN: ContextVar[dict[tuple[Any, ...], tuple[Any, Any]] | None] = ContextVar(
    "known of this batch", default=None
)


def shared(function: Callable[_P, _T]) -> Callable[_P, _T]:
    """Decorate a computation that several metrics share, such as luma: it runs once per batch.

    `function` takes tensors by position. While a batch is scored, a second call with the same
    tensor objects returns the first result. At any other time nothing is cached.
    """

    @functools.wraps(function)
    def once(*tensors: _P.args, **none: _P.kwargs) -> _T:
        known = _KNOWN.get()
        if known is None or none:
            return function(*tensors, **none)
        key = (function, *map(id, tensors))
        if key not in known:
            # The tensors are kept too, so that their ids are not reused.
            known[key] = (tensors, function(*tensors, **none))
        found: _T = known[key][1]
        return found

    return once


@contextlib.contextmanager
def sharing_results() -> Iterator[None]:
    """Cache the results of functions decorated by `shared` while the block scores a batch."""
    token = _KNOWN.set({})
    try:
        yield
    finally:
        _KNOWN.reset(token)
