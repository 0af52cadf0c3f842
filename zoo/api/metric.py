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
    """A metric cannot be measured here; its column reads `n/a` with this reason."""


class Metric:
    """Base of every metric.

    Frames reach a metric as they would be shown: clamped and rounded to 8 bits, as floats that
    are whole multiples of 1/255; originals and reconstructions have the same shape. A metric
    leaves them as they are, and a frame's value does not depend on the batch it comes in. A
    constructor that lacks something it needs (weights, say) raises `Unavailable` with the reason,
    and never puts a stand-in in its place.

    Its own attributes and methods are those below; every other name is a subclass's to use.
    """

    name: ClassVar[str]
    """Key in records: `psnr`."""
    label: ClassVar[str]
    """Heading in tables, naming the network where there is one: `LPIPS (AlexNet)`."""
    unit: ClassVar[str] = ""
    better: ClassVar[Literal["higher", "lower", "one"]] = "higher"
    """`one`: nearer to 1 is better on a logarithmic scale, so that a half is as far off as 2."""
    digits: ClassVar[int] = 3
    """Digits after the point worth printing."""
    source: ClassVar[str]
    """Where the formula or the weights come from."""
    default: ClassVar[bool] = True
    """Whether it is measured by default."""
    frame_shape: ClassVar[tuple[int, ...]] = ()
    """Of what `__call__` gives for one frame: a number, or what `over_film` makes a number of."""

    def __init__(self, device: torch.device = _PROCESSOR) -> None:
        """`device` is where frames are; put the metric's own tensors there.

        A metric that holds nothing need define no constructor, or one without parameters.
        """
        self.device = device

    def __call__(self, originals: Tensor, reconstructions: Tensor) -> Tensor:
        """Compare frame by frame: two float (B, 3, H, W) in [0, 1] give float (B, *frame_shape).

        NaN for a frame on which the metric is not defined: means leave such a frame out.
        """
        raise TypeError(f"{type(self).__name__} defines no __call__")

    def over_film(self, values: Tensor) -> Tensor:
        """Reduce what all frames of a film gave, (N, *frame_shape), to a value per frame, (N,).

        For a metric that must know a frame's followers too; others leave it as it is.
        """
        return values


def build_metric(metric: type[Metric], device: torch.device) -> Metric:
    """An instance of a metric on a device; raises whatever its constructor raises.

    The constructor is given the device where it takes one.
    """
    if inspect.signature(metric).parameters:
        return metric(device)
    made = metric()
    made.device = device
    return made


class TemporalMetric(Metric):
    """Base of every metric that uses a frame together with the one before it.

    `__call__` is given four batches: originals, reconstructions, originals one frame earlier and
    reconstructions one frame earlier, in this order.

    The first frame of a shot has none: whatever the metric gives for it is replaced by NaN. What
    stands in its place is the frame before the cut, and for a film's first frame that frame
    itself.
    """

    def __call__(  # type: ignore[override]
        self,
        originals: Tensor,
        reconstructions: Tensor,
        earlier_originals: Tensor,
        earlier_reconstructions: Tensor,
    ) -> Tensor:
        """Compare frame by frame: four float (B, 3, H, W) in [0, 1] give float (B, *frame_shape).

        `earlier_originals[i]` is the frame before `originals[i]`, whatever batch it came in. NaN
        for a frame on which the metric is not defined, such as one where nothing moves.
        """
        raise TypeError(f"{type(self).__name__} defines no __call__")


_KNOWN: ContextVar[dict[tuple[Any, ...], tuple[Any, Any]] | None] = ContextVar(
    "known of this batch", default=None
)


def shared(function: Callable[_P, _T]) -> Callable[_P, _T]:
    """Decorate work that several metrics begin with, such as luma: it is done once per batch.

    `function` takes tensors by position. Called again with the very same tensors while one batch
    is scored, it returns what it returned before; at any other time it is simply called.
    """

    @functools.wraps(function)
    def once(*tensors: _P.args, **none: _P.kwargs) -> _T:
        known = _KNOWN.get()
        if known is None or none:
            return function(*tensors, **none)
        key = (function, *map(id, tensors))
        if key not in known:
            # The tensors are kept too, so that no other can take their place in memory.
            known[key] = (tensors, function(*tensors, **none))
        found: _T = known[key][1]
        return found

    return once


@contextlib.contextmanager
def sharing_results() -> Iterator[None]:
    """Call functions that `shared` decorates only once per batch while the block runs."""
    token = _KNOWN.set({})
    try:
        yield
    finally:
        _KNOWN.reset(token)
