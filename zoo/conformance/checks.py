"""All promises, in the order in which they are checked: one function each."""

from __future__ import annotations

from collections.abc import Callable

from zoo.conformance.importing import importing_does_no_work
from zoo.conformance.inference import (
    batch_invariant,
    comes_back_from_coordinates,
    deterministic,
    draws_from_the_latent_alone,
    latent_as_declared,
    reloads_to_the_bit,
    shapes_and_range,
    works_on_a_gpu,
)
from zoo.conformance.subject import Subject
from zoo.conformance.training import (
    fits_one_batch,
    losses_reach_their_players,
    noise_comes_from_the_step,
    opposed_terms_oppose,
    players_cover_the_model,
    players_hold_what_they_name,
    prepare_survives_a_reload,
    prepared_by_training_frames_alone,
    trains_on_every_frame,
)

CHECKS: tuple[Callable[[Subject], None], ...] = (
    importing_does_no_work,
    shapes_and_range,
    latent_as_declared,
    deterministic,
    batch_invariant,
    reloads_to_the_bit,
    draws_from_the_latent_alone,
    comes_back_from_coordinates,
    works_on_a_gpu,
    trains_on_every_frame,
    players_cover_the_model,
    players_hold_what_they_name,
    losses_reach_their_players,
    noise_comes_from_the_step,
    prepare_survives_a_reload,
    prepared_by_training_frames_alone,
    opposed_terms_oppose,
    fits_one_batch,
)
