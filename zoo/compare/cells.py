"""What a comparison is made of: every model trained on every film, watching every film."""

from __future__ import annotations

import itertools
import json
import math
import warnings
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace

import pydantic
import torch

from zoo.api.autoencoder import Autoencoder, Options
from zoo.api.codec import FilmCodec
from zoo.api.latent_spec import BITS
from zoo.base.errors import BadInput
from zoo.evaluation.codec_runs import ASKED, codec_options, coding_config
from zoo.films.film import Film
from zoo.plugins.model_building import (
    DoesNotFit,
    check_fit,
    fits_directly,
    latent_spec,
    option_class,
)
from zoo.plugins.registry import registry
from zoo.training.jobs import Settings, whole_number
from zoo.training.run_folder import TrainingConfig

MOST_SEEDS = 100
MOST_VARIANTS = 1000
"""Of settings, in one comparison: more is a slip of the keyboard."""


Entry = type[Autoencoder] | type[FilmCodec]
"""What a comparison has in a row: a model, a reference or a codec."""


@dataclass(frozen=True, eq=False)
class Cell:
    """One model or reference, trained on one film, that watches a film: its own or another.

    Cells are told apart by who they are and not by what they hold.
    """

    film: Film
    """What it is trained on."""
    architecture: Entry
    settings: Settings
    evaluated_on: Film

    @property
    def gpu(self) -> bool:
        """Whether it computes on a GPU."""
        return self.settings.device.type == "cuda"

    @property
    def own(self) -> bool:
        """Whether it watches the film it was trained on."""
        return self.evaluated_on.name == self.film.name

    @property
    def run(self) -> tuple[str, str, int, int, str]:
        """What the cells of one training have in common: film, model, settings and seed."""
        chosen = self.settings
        options = json.dumps(dict(chosen.options), sort_keys=True, default=str)
        return self.film.name, self.architecture.name, chosen.latent, chosen.seed, options


def variants(
    settings: Settings,
    latents: str | None,
    seeds: int,
    swept: Mapping[str, Sequence[str]] | None = None,
) -> list[Settings]:
    """The settings of a sweep: every size of the latent, every option, from each of `seeds` seeds.

    `latents` are numbers separated by commas; `swept` are options with several values each, which
    multiply out. Raises BadInput on what is none, and on too many.
    """
    if not 1 <= seeds <= MOST_SEEDS:
        raise BadInput(f"--seeds takes from 1 to {MOST_SEEDS}; not {seeds}")
    if settings.seed + seeds > 2**63:
        raise BadInput(f"the last of {seeds} seeds from --seed {settings.seed} on is too large")
    swept = dict(swept or {})
    sizes: Sequence[str | int] = swept.pop("latent", [settings.latent])
    if latents is not None:
        sizes = [word.strip() for word in latents.split(",")]
    numbers = dict.fromkeys(whole_number(size, "--latents") for size in sizes)
    choices = [
        dict(zip(swept, values, strict=True)) for values in itertools.product(*swept.values())
    ]
    if (count := len(numbers) * len(choices) * seeds) > MOST_VARIANTS:
        raise BadInput(f"these are {count:,} settings of every model; {MOST_VARIANTS:,} at most")
    return [
        replace(
            settings,
            latent=latent,
            seed=settings.seed + seed,
            options={**settings.options, **choice},
        )
        for latent in numbers
        for choice in choices
        for seed in range(seeds)
    ]


def those_that_fit(
    named: Sequence[Entry], settings: Sequence[Settings], tell: Callable[[str], None]
) -> list[Entry]:
    """Of all models, those that can take the frames and the latents; `tell` hears of the others.

    Raises DoesNotFit where none can.
    """
    fitting: list[Entry] = []
    reasons: list[DoesNotFit] = []
    for entry in named:
        try:
            if not issubclass(entry, FilmCodec):
                for each in settings:
                    latent = Options(latent=each.latent)
                    check_fit(entry, each.size, latent)
            fitting.append(entry)
        except DoesNotFit as reason:
            reasons.append(reason)
            tell(f"left out: {reason}")
    if not fitting:
        raise reasons[0]
    return fitting


def check_options(named: Sequence[Entry], settings: Sequence[Settings]) -> None:
    """Raise BadInput on an option that what is named does not have, or a value that is wrong.

    Models have all that is set, but for what a codec that is named beside them has.
    """
    for each in settings:
        options: set[str] = set()
        for entry in named:
            if issubclass(entry, FilmCodec):
                codec_options(entry, each)
                options |= {*entry.Options.model_fields}
            else:
                meant_for(entry, each, named).options_of(entry)
                options |= {*option_class(entry).model_fields}
        for option in each.options:
            if option not in options:
                known = ", ".join(sorted(options)) or "none"
                names = " and ".join(entry.name for entry in named)
                raise BadInput(f"{names}: there is no option {option!r}; there are: {known}")


def meant_for(entry: type[Autoencoder], settings: Settings, named: Sequence[Entry]) -> Settings:
    """Settings of a model without the options that only codecs named beside it have."""
    of_codecs = {
        option
        for each in named
        if issubclass(each, FilmCodec)
        for option in each.Options.model_fields
    } - {*option_class(entry).model_fields}
    if not of_codecs & {*settings.options}:
        return settings
    kept = {name: value for name, value in settings.options.items() if name not in of_codecs}
    return replace(settings, options=kept)


def plan(
    films: Sequence[Film],
    models: Sequence[Entry],
    settings: Sequence[Settings],
    elsewhere: bool = True,
) -> list[Cell]:
    """Every model on its own film, film by film, then every reference; then all on other films.

    References have no seed: they stand there once a latent size. Codecs code each film anew, so
    that no film is another one to them, once at each size that the models' latents have; where
    `models` has some, they are the only ones, else all are that come by default. `elsewhere` says
    whether models watch other films.
    """
    references = [r for r in registry().references.values() if r not in models]
    codecs = [each for each in models if issubclass(each, FilmCodec)]
    codecs = codecs or [codec for codec in registry().codecs.values() if codec.default]
    first_seeds = [s for s in settings if s.seed == settings[0].seed]
    # The sizes of codecs are those of the models, whatever the settings they come from.
    one_size = [replace(each, latent=settings[0].latent) for each in settings]
    first_ones = [each for each in one_size if each.seed == settings[0].seed]
    rows: list[tuple[Entry, Settings]] = [
        *(
            row
            for model in models
            if not issubclass(model, FilmCodec)
            for row in _distinct(model, [meant_for(model, each, models) for each in settings])
        ),
        # Options of models say nothing to references: they stand there once for all of them.
        *(row for reference in references for row in _distinct(reference, first_seeds)),
        *(
            (codec, replace(each, options={**each.options, ASKED: size}))
            for codec in codecs
            for _, each in _distinct(codec, one_size if codec.trains else first_ones)
            for size in latent_bytes(models, first_seeds)
        ),
    ]
    own = [
        Cell(film, entry, _without_gpu(entry, each), film) for film in films for entry, each in rows
    ]
    if not elsewhere:
        return own
    foreign = [
        replace(cell, evaluated_on=film)
        for cell in own
        if not issubclass(cell.architecture, FilmCodec)
        for film in films
        if film.name != cell.film.name
    ]
    return own + foreign


def latent_bytes(models: Sequence[Entry], settings: Sequence[Settings]) -> list[int]:
    """Bytes of a frame that the latents of models take after quantisation, each once, ascending.

    Those of a latent of as many numbers as the settings say where there is no model.
    """
    declared = (
        bits_per_frame(model, meant_for(model, each, models))
        for model in models
        if not issubclass(model, FilmCodec)
        for each in settings
    )
    bits = {each for each in declared if each is not None}
    bits = bits or {float(each.latent * BITS) for each in settings}
    return sorted({max(1, math.ceil(each / 8)) for each in bits})


def bits_per_frame(model: type[Autoencoder], settings: Settings) -> float | None:
    """Bits of a frame that a model's latent takes after quantisation, as the model declares them.

    None where the model cannot be built: its cells say why. Raises BadInput on an option that it
    does not have.
    """
    options = settings.options_of(model)
    if model.latent_spec is Autoencoder.latent_spec:
        return float(options.latent * BITS)
    # On the meta device nothing is computed, but a plugin's model may ask for numbers.
    for device in ("meta", "cpu"):
        with suppress(Exception, SystemExit), torch.device(device), warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)
            return latent_spec(model(settings.size, options)).bits / model.window
    return None


def _without_gpu(architecture: Entry, settings: Settings) -> Settings:
    """The settings, on the processor for what is not trained: most codecs, and what is fitted.

    A GPU would wait for it, and other cells for the GPU.
    """
    if issubclass(architecture, FilmCodec):
        trained = architecture.trains
    else:
        trained = not fits_directly(architecture)
    if trained or settings.device.type == "cpu":
        return settings
    return replace(settings, device=torch.device("cpu"), precision="32-true", compile="none")


def _distinct(entry: Entry, settings: Sequence[Settings]) -> list[tuple[Entry, Settings]]:
    """An entry once for each latent, seed and set of options that it knows."""
    found: dict[tuple[int, int, str], Settings] = {}
    for each in settings:
        options: pydantic.BaseModel
        if issubclass(entry, FilmCodec):
            options = codec_options(entry, each)
        else:
            options = each.options_of(entry)
        found.setdefault((each.latent, each.seed, options.model_dump_json()), each)
    return [(entry, each) for each in found.values()]


def config_of(cell: Cell) -> TrainingConfig:
    """What decides a cell's run; raises BadInput on bad options."""
    if issubclass(cell.architecture, FilmCodec):
        return coding_config(cell.architecture, cell.film, cell.settings)
    return cell.settings.config(cell.architecture, cell.film)
