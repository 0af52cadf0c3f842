"""The cells of a comparison: every model trained on every film, evaluated on every film."""

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
from zoo.api.samples_and_latents import BITS
from zoo.base.errors import BadInput
from zoo.evaluation.codec_runs import BYTES_OPTION, codec_config, codec_options
from zoo.films.ingested_film import Film
from zoo.plugins.model_building import (
    DoesNotFit,
    check_fit,
    fits_directly,
    latent_spec,
    option_class,
)
from zoo.plugins.registry import registry
from zoo.training.run_folder import TrainingConfig
from zoo.training.settings import Settings, whole_number

MOST_SEEDS = 100
MOST_SETTINGS = 1000
"""The most settings in one comparison: more are taken for a typing error."""


ModelOrCodec = type[Autoencoder] | type[FilmCodec]
"""A row of a comparison: a model, a reference or a codec."""


@dataclass(frozen=True, eq=False)
class Cell:
    """One model, reference or codec, trained on one film and evaluated on the same or another.

    Cells are compared by identity, not by value.
    """

    trained_on: Film
    architecture: ModelOrCodec
    settings: Settings
    evaluated_on: Film

    @property
    def gpu(self) -> bool:
        """Whether it computes on a GPU."""
        return self.settings.device.type == "cuda"

    @property
    def own(self) -> bool:
        """Whether it is evaluated on the film that it is trained on."""
        return self.evaluated_on.name == self.trained_on.name

    @property
    def run(self) -> tuple[str, str, int, int, str]:
        """The key of its training, which several cells share: film, model, settings and seed."""
        chosen = self.settings
        options = json.dumps(dict(chosen.options), sort_keys=True, default=str)
        return self.trained_on.name, self.architecture.name, chosen.latent, chosen.seed, options


def sweep_settings(
    settings: Settings,
    latents: str | None,
    seeds: int,
    swept: Mapping[str, Sequence[str]] | None = None,
) -> list[Settings]:
    """Make the settings of a sweep: every latent size and option value with each of `seeds` seeds.

    `latents` are numbers separated by commas; `swept` are options with several values each, in all
    combinations. Raises BadInput on invalid values and on too many settings.
    """
    if not 1 <= seeds <= MOST_SEEDS:
        raise BadInput(f"--seeds must be from 1 to {MOST_SEEDS}; not {seeds}")
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
    if (count := len(numbers) * len(choices) * seeds) > MOST_SETTINGS:
        raise BadInput(
            f"that is {count:,} settings of every model; at most {MOST_SETTINGS:,} are allowed"
        )
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


def fitting_models(
    named: Sequence[ModelOrCodec], settings: Sequence[Settings], notify: Callable[[str], None]
) -> list[ModelOrCodec]:
    """The models that support these frames and latents; the others are reported to `notify`.

    Raises DoesNotFit if there are none.
    """
    fitting: list[ModelOrCodec] = []
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
            notify(f"left out: {reason}")
    if not fitting:
        raise reasons[0]
    return fitting


def check_options(named: Sequence[ModelOrCodec], settings: Sequence[Settings]) -> None:
    """Raise BadInput on an option that none of the named models and codecs has, or a wrong value.

    Models do not get options that only a codec named with them has.
    """
    for each in settings:
        options: set[str] = set()
        for entry in named:
            if issubclass(entry, FilmCodec):
                codec_options(entry, each)
                options |= {*entry.Options.model_fields}
            else:
                own_settings(entry, each, named).options_of(entry)
                options |= {*option_class(entry).model_fields}
        for option in each.options:
            if option not in options:
                known = ", ".join(sorted(options)) or "none"
                names = " and ".join(entry.name for entry in named)
                raise BadInput(f"{names}: there is no option {option!r}; there are: {known}")


def own_settings(
    entry: type[Autoencoder], settings: Settings, named: Sequence[ModelOrCodec]
) -> Settings:
    """Return the settings of a model without options that only codecs named with it have."""
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


def plan_cells(
    films: Sequence[Film],
    models: Sequence[ModelOrCodec],
    settings: Sequence[Settings],
    cross_film: bool = True,
    codecs: bool = True,
) -> list[Cell]:
    """Plan cells: film by film all models, references and codecs; then those on other films.

    References have no seed: there is one for each latent size, and a pretrained one only if
    `models` names it. Codecs encode each film anew, so they have no cells on other films; there is
    one for each size of the models' latents. If `models` names codecs, only those run; if it names
    none, the default codecs are added if `codecs`.
    `cross_film` says whether models are evaluated on other films.
    """
    references = [r for r in registry().references.values() if r not in models and not r.pretrained]
    chosen = [each for each in models if issubclass(each, FilmCodec)]
    if codecs and not chosen:
        chosen = [codec for codec in registry().codecs.values() if codec.default]
    first_seeds = [s for s in settings if s.seed == settings[0].seed]
    # Codecs have the sizes of the models' latents, whichever settings those come from.
    one_size = [replace(each, latent=settings[0].latent) for each in settings]
    first_ones = [each for each in one_size if each.seed == settings[0].seed]
    rows: list[tuple[ModelOrCodec, Settings]] = [
        *(
            row
            for model in models
            if not issubclass(model, FilmCodec)
            for row in _distinct(model, [own_settings(model, each, models) for each in settings])
        ),
        # Options of models do not apply to references: there is one for all of them.
        *(row for reference in references for row in _distinct(reference, first_seeds)),
        *(
            (codec, replace(each, options={**each.options, BYTES_OPTION: size}))
            for codec in chosen
            for _, each in _distinct(codec, one_size if codec.trains else first_ones)
            for size in latent_bytes_per_frame(models, first_seeds)
        ),
    ]
    own = [
        Cell(film, entry, _without_gpu(entry, each), film) for film in films for entry, each in rows
    ]
    if not cross_film:
        return own
    foreign = [
        replace(cell, evaluated_on=film)
        for cell in own
        if not issubclass(cell.architecture, FilmCodec)
        for film in films
        if film.name != cell.trained_on.name
    ]
    return own + foreign


def latent_bytes_per_frame(
    models: Sequence[ModelOrCodec], settings: Sequence[Settings]
) -> list[int]:
    """Bytes per frame of the models' latents after quantisation: distinct sizes, ascending.

    Without a model, the size of a latent with as many numbers as the settings state.
    """
    declared = (
        bits_per_frame(model, own_settings(model, each, models))
        for model in models
        if not issubclass(model, FilmCodec) and model.role == "model"
        for each in settings
    )
    bits = {each for each in declared if each is not None}
    bits = bits or {float(each.latent * BITS) for each in settings}
    return sorted({max(1, math.ceil(each / 8)) for each in bits})


def bits_per_frame(model: type[Autoencoder], settings: Settings) -> float | None:
    """Bits per frame of a model's latent after quantisation, as the model declares them.

    None if the model cannot be built: its cells fail with the reason. Raises BadInput on an option
    that it does not have.
    """
    options = settings.options_of(model)
    if model.latent_spec is Autoencoder.latent_spec:
        return float(options.latent * BITS)
    # On the meta device nothing is computed, but a plugin's model may read values.
    for device in ("meta", "cpu"):
        with suppress(Exception, SystemExit), torch.device(device), warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)
            return latent_spec(model(settings.size, options)).bits / model.window
    return None


def _without_gpu(architecture: ModelOrCodec, settings: Settings) -> Settings:
    """Return the settings, moved to the CPU for what is not trained: codecs, fitted references.

    Such cells would block a GPU without using it.
    """
    if issubclass(architecture, FilmCodec):
        trained = architecture.trains
    else:
        trained = not fits_directly(architecture)
    if trained or settings.device.type == "cpu":
        return settings
    return replace(settings, device=torch.device("cpu"), precision="32-true", compile="none")


def _distinct(
    entry: ModelOrCodec, settings: Sequence[Settings]
) -> list[tuple[ModelOrCodec, Settings]]:
    """An entry once for each distinct latent, seed and set of its own options."""
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
    """The configuration of a cell's run; raises BadInput on bad options."""
    if issubclass(cell.architecture, FilmCodec):
        return codec_config(cell.architecture, cell.trained_on, cell.settings)
    return cell.settings.config(cell.architecture, cell.trained_on)
