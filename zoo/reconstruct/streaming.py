"""Pictures of a film in order, while the next ones are read and drawn."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from contextlib import closing
from typing import Any

from zoo.evaluation.watch import batches
from zoo.films.overlap import made_ahead
from zoo.reconstruct.panels import Panel
from zoo.video.convert import Pixels


def pictures(panels: Sequence[Panel], start: int, stop: int) -> Generator[list[Pixels], None, None]:
    """The panels' pictures of each frame from `start` up to and without `stop`, in order.

    Reading and the networks have a thread each, so that both go on while the caller uses a
    picture; no more than seven batches of a panel are held at once. Networks see the film in the
    batches in which it is scored: a frame's last bit can depend on the frames beside it.
    """
    spans = [s for s in batches(panels[0].film) if s.start < stop and s.stop > start]
    reading = _read(panels, spans)
    with (
        closing(reading),
        closing(made_ahead(reading, 1)) as read,
        closing(_drawn(panels, read)) as drawing,
        closing(made_ahead(drawing, 1)) as drawn,
    ):
        for span, batch in zip(spans, drawn, strict=True):
            for frame in range(max(start, span.start), min(stop, span.stop)):
                yield [panel[frame - span.start] for panel in batch]


def _read(panels: Sequence[Panel], spans: Sequence[slice]) -> Generator[list[Any], None, None]:
    for span in spans:
        yield [panel.read(span) for panel in panels]


def _drawn(
    panels: Sequence[Panel], read: Iterator[list[Any]]
) -> Generator[list[Pixels], None, None]:
    for one in read:
        yield [panel.draw(of) for panel, of in zip(panels, one, strict=True)]
