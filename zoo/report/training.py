"""What training each model received, and whether a film is long enough for its latents."""

from __future__ import annotations

import statistics

from zoo.records import Results
from zoo.report import numbers
from zoo.report.standings import standings
from zoo.report.text import one_line


def latent_notes(results: Results) -> list[str]:
    """A warning for each film that is short for the size of its latents."""
    notes = []
    for film in results.films:
        sizes = {
            record.latent.numbers
            for record in results.records
            if record.watched == film.name and record.latent and record.latent.numbers
        }
        large = sorted(size for size in sizes if size > film.seen_frames / 10)
        if large:
            notes.append(
                f"{one_line(film.name, 60)}: a latent of "
                f"{numbers.listed([f'{size:,}' for size in large])} numbers is more than a tenth "
                f"of the {numbers.counted(film.seen_frames, 'training frame')}. Even a linear "
                "projection to so many numbers can come close to storing the film, so only "
                "held-out numbers can tell models apart here."
            )
    return notes


def training(results: Results) -> list[str]:
    """What training each model received, and whether it was the same for all."""
    sentences = []
    for film in results.films:
        spent: dict[int, list[str]] = {}
        seconds = []
        for row in standings(results, film.name):
            if row.role != "model":
                continue
            for record in row.records:
                if record.spent:
                    names = spent.setdefault(record.spent.frames, [])
                    if row.name not in names:
                        names.append(row.name)
                    if record.spent.seconds is not None:
                        seconds.append(record.spent.seconds)
        name = one_line(film.name, 60)
        if len(spent) == 1:
            told = f"{name}: {next(iter(spent)):,} training frames for every model"
        elif spent:
            told = f"{name}: not the same number of training frames: " + "; ".join(
                f"{frames:,} for {numbers.listed(names)}" for frames, names in spent.items()
            )
        else:
            continue
        if seconds:
            middle = numbers.duration(statistics.median(seconds))
            told += f", in {middle} at the median"
            if len(seconds) > 1:
                told += (
                    f" (from {numbers.duration(min(seconds))} to {numbers.duration(max(seconds))})"
                )
        sentences.append(told + ".")
    return sentences
