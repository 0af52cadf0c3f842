"""Paths through latent space: where they start, how they turn, and their distribution."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from zoo.base.time_code import FrameTimes
from zoo.reconstruct.latent_paths import LatentStatistics, closed_walk, frames_at, path_through


@pytest.fixture
def latents() -> Tensor:
    """Latents (400, 6) far from zero, with unequal and correlated spreads, one of them zero."""
    generator = torch.Generator().manual_seed(0)
    mixed = torch.randn(400, 6, generator=generator) @ torch.randn(6, 6, generator=generator)
    mixed[:, 3] = -23
    return mixed + torch.arange(6) * 10


@pytest.mark.parametrize("kind", ["spherical", "linear"])
def test_stops_are_met_exactly(kind: str, latents: Tensor) -> None:
    stops = latents[[3, 90, 200]]
    way = path_through(stops, 21, LatentStatistics.of(latents), kind)
    assert way.shape == (21, 6)
    assert torch.equal(way[[0, 10, 20]], stops)


def test_a_linear_way_is_straight_and_a_spherical_one_keeps_its_distance() -> None:
    generator = torch.Generator().manual_seed(1)
    cloud = torch.randn(2000, 64, generator=generator)
    space = LatentStatistics.of(cloud)
    for kind, least, most in (("linear", 0.5, 0.8), ("spherical", 0.97, 1.03)):
        way = (path_through(cloud[:2], 41, space, kind) - space.mean) / space.sd
        middle, ends = way[20].norm(), way[[0, -1]].norm(dim=1).mean()
        assert least < middle / ends < most
        steps = way.diff(dim=0).norm(dim=1)
        assert steps.max() / steps.min() < 1.3


def test_a_way_between_opposite_or_equal_latents_is_straight() -> None:
    space = LatentStatistics(torch.zeros(2), torch.ones(2), -torch.ones(2), torch.ones(2))
    for stops in (torch.tensor([[1.0, 0], [-1, 0]]), torch.tensor([[0.5, 0.5], [0.5, 0.5]])):
        way = path_through(stops, 5, space, "spherical")
        assert torch.allclose(way, path_through(stops, 5, space, "linear"))


def test_no_way_leaves_the_range_of_the_film(latents: Tensor) -> None:
    space = LatentStatistics.of(latents)
    for way in (
        path_through(latents[:2], 50, space, "spherical"),
        closed_walk(latents, 500, 5, seed=3),
    ):
        assert (way >= space.lowest).all() and (way <= space.highest).all()


def test_a_drift_has_the_statistics_of_the_film(latents: Tensor) -> None:
    """Over many seeds each moment has the film's mean and covariance."""
    ways = torch.stack([closed_walk(latents, 8, 4, seed) for seed in range(3000)])
    for moment in (0, 3):
        there = ways[:, moment]
        spread = latents.std(dim=0).clamp_min(1)
        assert ((there.mean(dim=0) - latents.mean(dim=0)).abs() / spread < 0.1).all()
        apart = (there.T.cov() - latents.T.cov()).abs() / (spread[:, None] * spread)
        assert apart.max() < 0.15
    assert (ways[..., 3] - 7).abs().max() < 1e-4


def test_a_drift_is_slow_seeded_and_closed(latents: Tensor) -> None:
    way = closed_walk(latents, 240, 3, seed=1)
    assert torch.equal(way, closed_walk(latents, 240, 3, seed=1))
    assert not torch.allclose(way, closed_walk(latents, 240, 3, seed=2))
    steps = torch.cat([way, way[:1]]).diff(dim=0).norm(dim=1)
    # The step back to the beginning is no larger than others.
    assert steps[-1] <= steps.max() and steps.max() < 0.2 * (way[0] - way[120]).norm()
    faster = closed_walk(latents, 240, 12, seed=1).diff(dim=0).norm(dim=1).mean()
    assert faster > 2 * steps.mean()


def test_the_frame_that_is_shown_at_a_moment() -> None:
    times = FrameTimes.of([0.5, 1.0, 1.04, 1.08, 2.0, 2.04])
    moments = [0.5, 0.99, 1.0, 1.04, 1.9, 2.03, 2.07]
    assert frames_at(moments, times) == [0, 0, 1, 2, 3, 4, 5]
    for outside in (0.4, 2.09):
        with pytest.raises(ValueError):
            frames_at([outside], times)
