"""Sweeps over sizes of the latent: one size for what must be compared, all of them for the rest."""

from __future__ import annotations

from functools import partial

from zoo.records import Record, Results
from zoo.report.standings import quantised_bytes

LATENT, BYTES = "latent", "bytes_a_frame"
SIZES = (LATENT, BYTES)
"""The options that set a rate: numbers a frame of a model, bytes a frame of a codec."""


def sizes(results: Results) -> list[int]:
    """The sizes of the latent that were compared, in numbers a frame, ascending."""
    found = {_size(record, LATENT) for record in results.records}
    return sorted(size for size in found if size is not None)


def main_size(results: Results) -> int | None:
    """The size that tables are of, the middle one of a sweep; None where there is but one."""
    found = sizes(results)
    return found[len(found) // 2] if len(found) > 1 else None


def at_main_size(results: Results) -> Results:
    """The results at one size of the latent, and of codecs at the bytes that these latents take.

    A larger latent is better at anything: rows of several sizes would be compared by size alone.
    """
    main = main_size(results)
    if main is None:
        return results
    kept = [record for record in results.records if _size(record, LATENT) in (None, main)]
    there = {asked for record in kept if (asked := _size(record, BYTES)) is not None}
    taken = {
        size
        for record in kept
        if record.role == "model" and (size := quantised_bytes(record)) is not None
    }
    # The nearest of those that there are: a window that is not full takes more than it declares.
    # Where every model failed the latents have eight bits a number.
    allowed = {min(there, key=partial(_apart, size)) for size in taken or {float(main)} if there}
    kept = [record for record in kept if _size(record, BYTES) in (None, *allowed)]
    return results.model_copy(update={"records": kept})


def _apart(one: float, other: float) -> float:
    return abs(one - other)


def _size(record: Record, option: str) -> int | None:
    size = record.options.get(option)
    return size if isinstance(size, int) else None
