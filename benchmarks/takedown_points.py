"""The takedown score of codecs and of principal components on a film, as a table.

`python -m benchmarks.takedown_points FILM --points x264:218,pca:200` ingests the film at 256x144,
codes all of it at so many bytes per frame, or reconstructs it from so many components, and scores
every 4th frame, as the reference points that docs/matching.md quotes were, and all of them.
"""

from __future__ import annotations

import argparse
import itertools
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from zoo.api.codec import CodingTerms
from zoo.base.frame_size import FrameSize
from zoo.base.workspace import Workspace
from zoo.films.catalogue import Catalogue
from zoo.films.ingest import open_film
from zoo.films.ingested_film import Film
from zoo.matching.pdq_hashes import BATCH, HashBuffer, HashedFilm, Hashes, hash_film, pdq
from zoo.matching.takedown import Takedown, takedown
from zoo.plugins.model_building import build
from zoo.plugins.registry import registry
from zoo.training.training_frames import TrainingFrames

SIZE = FrameSize(256, 144)
CPU = torch.device("cpu")
Pixels = npt.NDArray[np.uint8]


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("film", help="a film's path, or its name")
    arguments.add_argument("--films", default="all", help="the catalogue that is searched")
    arguments.add_argument("--points", default="x264:218,x265:222,svtav1:195,pca:200")
    arguments.add_argument("--work", type=Path, default=Path(), help="the workspace")
    asked = arguments.parse_args()
    workspace = Workspace(asked.work)
    catalogue = Catalogue.open(workspace)
    films = [
        open_film(entry, SIZE, workspace, holdout=0)
        for entry in (*catalogue.choose(asked.film), *catalogue.choose(asked.films))
    ]
    hashed = [hash_film(film, CPU) for film in films]
    say("| | bytes | frames | matched | retrieved | found | precision |")
    say("|:--|--:|--:|--:|--:|--:|--:|")
    for point in asked.points.split(","):
        name, size = point.split(":")
        drawn, spent = draw(films[0], name, int(size))
        for every in (4, 1):
            thinned = thin(hashed[0], every)
            score = takedown(thinned, drawn[::every], hashed[1:])
            say(row(name, spent, score))


def draw(film: Film, name: str, numbers: int) -> tuple[Hashes, float]:
    """Return the hashes of a reference's frames, and the bytes (or components) per frame."""
    buffer = HashBuffer()
    if name in registry().codecs:
        codec = registry().codecs[name](film.size)
        coded = codec.code(film, CodingTerms(numbers))
        for batch in batched(codec.decode(coded.stream)):
            buffer.add(pdq(torch.from_numpy(np.stack(batch)).permute(0, 3, 1, 2)))
        return buffer.hashes(CPU), len(coded.stream) / len(film)
    model = build(registry().references[name], film.size, {"latent": numbers})
    model.fit(TrainingFrames(film))
    with torch.inference_mode():
        for batch in batched(film.store.array):
            frames = torch.from_numpy(np.stack(batch)).permute(0, 3, 1, 2).float() / 255
            buffer.add(pdq(model.decode(model.encode(frames))))
    return buffer.hashes(CPU), float(numbers)


def batched(frames: Iterator[Pixels] | Pixels) -> Iterator[list[Pixels]]:
    frames = iter(frames)
    while batch := list(itertools.islice(frames, BATCH)):
        yield batch


def thin(film: HashedFilm, every: int) -> HashedFilm:
    return HashedFilm(film.name, film.hashes[::every], film.times[::every], film.scenes)


def say(line: str) -> None:
    print(line, flush=True)  # noqa: T201


def row(name: str, spent: float, score: Takedown) -> str:
    shares = (score.matched, score.retrieved, score.found, score.precision)
    shown = " | ".join("n/a" if share is None else f"{share:.3f}" for share in shares)
    return f"| {name} | {spent:.0f} | {score.comparable} | {shown} |"


if __name__ == "__main__":
    main()
