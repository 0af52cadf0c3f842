"""Training settings: what the user set, over a preset."""

from __future__ import annotations

import importlib.util
import sysconfig
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from zoo.api.autoencoder import Autoencoder, Options
from zoo.api.recipe_and_events import Recipe
from zoo.api.samples_and_latents import Sampling
from zoo.base import devices
from zoo.base.errors import BadInput
from zoo.base.frame_size import FrameSize
from zoo.base.presets_and_budgets import Budget, preset_named
from zoo.films.ingested_film import Film
from zoo.plugins.model_building import check_fit, fits_directly, option_class, parse_options
from zoo.plugins.registry import registry
from zoo.plugins.source_digest import source_digest
from zoo.training.run_folder import CompileMode, InitialWeights, TrainingConfig

LARGEST_BATCH = 65_536
LARGEST_NUMBER = 2**31 - 1
MOST_THREADS = 1024


@dataclass(frozen=True)
class Settings:
    """How models are trained: what the user set, over a preset."""

    preset: str
    size: FrameSize
    latent: int
    budget: Budget
    batch: int
    threads: int | None
    seed: int
    device: torch.device
    precision: str
    compile: CompileMode = "none"
    options: Mapping[str, Any] = field(default_factory=dict)
    recipe: Mapping[str, Any] = field(default_factory=dict)
    """The user's changes to every model's recipe."""
    batch_given: bool = False
    """Whether the user set the batch size, which then overrides a model's recipe."""
    precision_given: bool = False
    """Whether the user set the precision."""
    initial_weights: InitialWeights | None = None

    @classmethod
    def choose(
        cls,
        preset: str,
        *,
        size: str | None = None,
        latent: int | None = None,
        budget: str | None = None,
        batch: int | None = None,
        threads: int | None = None,
        seed: int = 0,
        device: str | torch.device = "auto",
        precision: str = "auto",
        compiled: bool = False,
        options: Mapping[str, Any] | None = None,
        recipe: Mapping[str, Any] | None = None,
        initial_weights: InitialWeights | None = None,
    ) -> Settings:
        """Read the user's settings over a preset; raises BadInput on the first that is wrong.

        A `torch.device` is taken as it is: it may be on another machine.
        """
        base = preset_named(preset)
        chosen = devices.choose_device(device) if isinstance(device, str) else device
        options = dict(options or {})
        # The latent size applies to models and references, by either option.
        set_latent = options.pop("latent", None)
        if set_latent is not None:
            if latent is not None:
                raise BadInput("--latent and --set latent=... set the same option; give only one")
            latent = set_latent
        batch_given = batch is not None
        batch = base.batch if batch is None else batch
        if not 1 <= batch <= LARGEST_BATCH:
            raise BadInput(f"a batch must have from 1 to {LARGEST_BATCH} frames; not {batch}")
        if not 0 <= seed < 2**63:
            raise BadInput(f"a seed must be a whole number from 0 to 2^63 - 1; not {seed}")
        return cls(
            preset=base.name,
            size=FrameSize.parse(size) if size else base.size,
            latent=base.latent if latent is None else whole_number(latent, "the option latent"),
            budget=Budget.parse(budget or base.budget),
            batch=batch,
            threads=base.threads
            if threads is None
            else whole_number(threads, "--threads", MOST_THREADS),
            seed=seed,
            device=chosen,
            precision=devices.choose_precision(precision, chosen, base.bf16_on_cpu),
            compile=choose_compile_mode(compiled, chosen),
            options=options,
            recipe=Recipe.check_names(recipe or {}),
            batch_given=batch_given,
            precision_given=precision != "auto",
            initial_weights=initial_weights,
        )

    def pin_threads(self) -> None:
        """Set this process's number of threads."""
        if self.threads:
            torch.set_num_threads(self.threads)

    def options_of(self, architecture: type[Autoencoder]) -> Options:
        """The options of one architecture; raises BadInput on an option it does not have."""
        set_by_user = self.options
        if architecture.role == "reference":
            # A comparison has models and references: options that a reference does not have are
            # meant for the models.
            known = option_class(architecture).model_fields
            set_by_user = {name: v for name, v in self.options.items() if name in known}
        own = architecture.presets.get(self.preset, {})
        options = parse_options(architecture, {"latent": self.latent, **own, **set_by_user})
        check_fit(architecture, self.size, options)
        return options

    def recipe_of(self, architecture: type[Autoencoder]) -> Recipe:
        """An architecture's recipe with the user's settings; raises BadInput on a wrong one."""
        return architecture.recipe.with_settings(self.recipe, architecture.name)

    def check(self, architecture: type[Autoencoder]) -> None:
        """Raise BadInput on an option or a recipe that is wrong, before a film is decoded."""
        from zoo.training.distributed import world_size  # its package takes seconds to import

        self.options_of(architecture)
        terms = self.terms(architecture)
        samples = Sampling.of(architecture).samples_in(terms["batch"])
        # Each process of a training cuts its own share of a batch.
        terms["recipe"].check_accumulation(max(1, samples // world_size()), architecture.name)

    def config(self, architecture: type[Autoencoder], film: Film) -> TrainingConfig:
        """The configuration of a run of this architecture; raises BadInput on bad options."""
        initial = None if fits_directly(architecture) else self.initial_weights
        return TrainingConfig(
            **self.terms(architecture),
            film=film.name,
            film_fingerprint=film.fingerprint,
            budget=str(self.budget),
            seed=self.seed,
            init_from=initial.digest if initial else None,
        )

    def terms(self, architecture: type[Autoencoder]) -> dict[str, Any]:
        """The fields of `TrainingConfig` that decide a training step of this architecture."""
        recipe = self.recipe_of(architecture)
        precision, batch = self.precision, self.batch
        if not self.precision_given and recipe.precision != "auto":
            precision = devices.choose_precision(recipe.precision, self.device)
        if not self.batch_given and recipe.batch is not None:
            batch = recipe.batch
        directly = fits_directly(architecture)
        return {
            "model": architecture.name,
            "origin": registry().origins[architecture.name],
            "source": source_digest(architecture),
            "options": self.options_of(architecture).model_dump(mode="json"),
            "size": str(self.size),
            "batch": batch,
            "precision": precision,
            # A model that is fitted directly takes no steps.
            "compile": "none" if directly else self.compile,
            "recipe": Recipe() if directly else recipe,
        }


def whole_number(value: Any, what: str, most: int = LARGEST_NUMBER) -> int:
    """Read a whole number from 1 to `most`; raises BadInput that names `what`."""
    try:
        number = int(value)
    except ValueError:
        number = 0
    if not 1 <= number <= most:
        raise BadInput(f"{what} must be a whole number from 1 to {most:,}; not {value!r}")
    return number


def choose_compile_mode(compiled: bool, device: torch.device) -> CompileMode:
    """The mode for --compile; raises BadInput if this machine lacks what torch.compile needs."""
    if not compiled:
        return "none"
    from torch._inductor.cpp_builder import get_cpp_compiler
    from torch._inductor.exc import InvalidCxxCompiler

    try:
        get_cpp_compiler()
    except InvalidCxxCompiler:
        raise BadInput("--compile needs a C++ compiler, and none was found") from None
    headers = Path(sysconfig.get_paths()["include"])
    if not (headers / "Python.h").exists():
        raise BadInput("--compile needs the headers of Python, which are not installed")
    if device.type == "cuda" and importlib.util.find_spec("triton") is None:
        raise BadInput("--compile needs the package triton on a GPU, which is not installed")
    return "default"
