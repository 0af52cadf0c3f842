"""The takedown score of every record: what a search of all the films of a comparison finds.

It depends on which films are searched, so it is no part of what a run keeps: hashes are, and the
search is made for every comparison anew.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch

from zoo.base.records import FilmInfo, Record, Takedown
from zoo.base.untrusted_files import read_arrays
from zoo.base.workspace import Workspace
from zoo.evaluation.judge import HASHES
from zoo.films.film import Film
from zoo.matching.film_hashes import HashedFilm, hash_film
from zoo.matching.pdq import MATCHES_WITHIN, Hashes, nearest_distances
from zoo.matching.takedown import takedown
from zoo.training.run_folder import RunFolder

MOST_FRAMES = 6000
"""Of a film that are searched: a search of all pairs takes the square of it."""
MOST_ASKED = 1000
"""Frames of a film that are looked for in every other one."""


def with_takedowns(
    workspace: Workspace, records: Sequence[Record], films: Sequence[Film], device: torch.device
) -> list[Record]:
    """The records, with a score in each good one whose model watched its own film."""
    steps = {film.name: -(-len(film) // MOST_FRAMES) for film in films}
    catalogue = {film.name: _thinned(hash_film(film, device), steps[film.name]) for film in films}
    return [
        record.model_copy(
            update={
                "takedown": _score(workspace, record, catalogue, steps[record.evaluated_on], device)
            }
        )
        if record.status == "ok" and record.evaluated_on == record.trained_on
        else record
        for record in records
    ]


def with_overlaps(
    described: Sequence[FilmInfo], films: Sequence[Film], device: torch.device
) -> list[FilmInfo]:
    """The films, each with the share of its own frames that match a frame of every other one."""
    hashed = {film.name: hash_film(film, device).hashes for film in films}
    return [
        info.model_copy(
            update={
                "overlaps": {
                    name: _shared(hashed[info.name], other)
                    for name, other in hashed.items()
                    if name != info.name
                }
            }
        )
        for info in described
    ]


@torch.inference_mode()
def _shared(one: Hashes, other: Hashes) -> float:
    asked = one.bits[one.comparable]
    asked = asked[:: -(-len(asked) // MOST_ASKED) or 1]
    if not len(asked):
        return 0.0
    nearest = nearest_distances(asked, other.bits[other.comparable])
    return int((nearest <= MATCHES_WITHIN).sum()) / len(asked)


def _score(
    workspace: Workspace,
    record: Record,
    catalogue: dict[str, HashedFilm],
    step: int,
    device: torch.device,
) -> Takedown:
    assert record.run is not None, "a good record has a run"
    place = RunFolder(workspace.root / record.run).evaluation(record.evaluated_on) / HASHES
    held = read_arrays(place, ["bits", "quality"])
    drawn = Hashes.unpacked(held["bits"], held["quality"]).to(device)[::step]
    found = takedown(catalogue[record.evaluated_on], drawn, list(catalogue.values()))
    return Takedown(
        frame_step=step,
        comparable=found.comparable,
        matched=found.matched,
        retrieved=found.retrieved,
        found=found.found,
        film_matches=found.film_matches,
        precision=found.precision,
        false_matches=found.false_matches,
    )


def _thinned(film: HashedFilm, step: int) -> HashedFilm:
    return replace(film, hashes=film.hashes[::step], times=film.times[::step])
