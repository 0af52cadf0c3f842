"""What a comparison is made of: every model trained on every film, watching every film."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from zoo.autoencoder import Autoencoder
from zoo.codec import FilmCodec
from zoo.errors import BadInput
from zoo.films.film import Film
from zoo.plugins import registry
from zoo.training.jobs import Settings, whole_number

MOST_SEEDS = 100


@dataclass(frozen=True)
class Cell:
    """One model or reference, trained on one film, that watches a film: its own or another."""

    film: Film
    """What it is trained on."""
    architecture: type[Autoencoder] | type[FilmCodec]
    settings: Settings
    watched: Film

    @property
    def own(self) -> bool:
        """Whether it watches the film it was trained on."""
        return self.watched.name == self.film.name

    @property
    def run(self) -> tuple[str, str, int, int]:
        """What the cells of one training have in common: film, model, latent and seed."""
        chosen = self.settings
        return self.film.name, self.architecture.name, chosen.latent, chosen.seed


def variants(settings: Settings, latents: str | None, seeds: int) -> list[Settings]:
    """The settings of a sweep: every size of the latent, from each of `seeds` seeds on.

    `latents` are numbers separated by commas. Raises BadInput on what is none.
    """
    if not 1 <= seeds <= MOST_SEEDS:
        raise BadInput(f"--seeds takes from 1 to {MOST_SEEDS}; not {seeds}")
    sizes = [settings.latent]
    if latents is not None:
        sizes = [whole_number(word.strip(), "--latents") for word in latents.split(",")]
    return [
        replace(settings, latent=latent, seed=settings.seed + seed)
        for latent in dict.fromkeys(sizes)
        for seed in range(seeds)
    ]


def plan(
    films: Sequence[Film],
    models: Sequence[type[Autoencoder]],
    settings: Sequence[Settings],
    elsewhere: bool = True,
) -> list[Cell]:
    """Every model on its own film, film by film, then every reference; then all on other films.

    References have no seed: they stand there once a latent size. Codecs code each film anew, so
    that no film is another one to them. `elsewhere` says whether models watch other films.
    """
    references = [r for r in registry().references.values() if r not in models]
    codecs = list(registry().codecs.values())
    first_seeds = [s for s in settings if s.seed == settings[0].seed]
    unseeded: list[type[Autoencoder] | type[FilmCodec]] = [*references, *codecs]
    rows = [
        *((model, each) for model in models for each in settings),
        *((reference, each) for reference in unseeded for each in first_seeds),
    ]
    own = [Cell(film, entry, each, film) for film in films for entry, each in rows]
    if not elsewhere:
        return own
    foreign = [
        replace(cell, watched=film)
        for cell in own
        if not issubclass(cell.architecture, FilmCodec)
        for film in films
        if film.name != cell.film.name
    ]
    return own + foreign
