"""Sweeps over sizes of the latent: one size for what must be compared, all of them for the rest."""

from __future__ import annotations

from zoo.records import Record, Results

SIZES = ("latent", "bytes_a_frame")
"""The options that set a rate: numbers a frame of a model, bytes a frame of a codec."""


def sizes(results: Results) -> list[int]:
    """The sizes of the latent that were compared, ascending."""
    found = {
        size
        for record in results.records
        if record.kind != "codec" and (size := _size(record)) is not None
    }
    return sorted(found)


def main_size(results: Results) -> int | None:
    """The size that tables are of, the middle one of a sweep; None where there is but one."""
    found = sizes(results)
    return found[len(found) // 2] if len(found) > 1 else None


def at_main_size(results: Results) -> Results:
    """The results at one size of the latent, and of codecs at as many bytes a frame.

    A larger latent is better at anything: rows of several sizes would be compared by size alone.
    """
    main = main_size(results)
    if main is None:
        return results
    kept = [record for record in results.records if _size(record) in (None, main)]
    return results.model_copy(update={"records": kept})


def _size(record: Record) -> int | None:
    for option in SIZES:
        size = record.options.get(option)
        if isinstance(size, int):
            return size
    return None
