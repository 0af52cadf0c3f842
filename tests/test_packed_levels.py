"""Many coordinates in few bytes: levels, their allocation, and the search for codes."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn
from zoo_plugins.architectures.blocks.packed_levels import (
    COUNTS,
    LEVELS_OF_A_BYTE,
    ByteCode,
    allocate_levels,
    placed,
    searched,
)

SPREADS = torch.tensor([8.0, 4.0, 2.0, 1.0, 0.5, 0.25])


def samples(count: int = 4000) -> Tensor:
    """Normal samples (S, 6) whose spreads halve from coordinate to coordinate."""
    return torch.randn(count, 6, generator=torch.Generator().manual_seed(0)) * SPREADS


def fitted(numbers: int, values: Tensor) -> ByteCode:
    code = ByteCode(values.shape[1], numbers)
    code.fit(values, torch.ones(len(values)), torch.ones(values.shape[1]))
    return code


def left_by(code: ByteCode, values: Tensor) -> float:
    return float((code.levels_of(code.nearest(values)) - values).square().sum(dim=1).mean())


@pytest.mark.parametrize(("count", "error"), [(2, 0.3634), (4, 0.1175), (8, 0.03454)])
def test_levels_are_those_of_max_for_a_normal_distribution(count: int, error: float) -> None:
    # Max, Quantizing for minimum distortion, 1960, table I. Quantiles stand for samples.
    share = (torch.arange(20001, dtype=torch.float64) + 0.5) / 20001
    values = math.sqrt(2) * torch.erfinv(2 * share - 1)[:, None]
    levels, left = placed(values, torch.ones_like(values), count)
    assert float(left) == pytest.approx(error, rel=0.02)
    assert torch.allclose(levels, -levels.flip(1), atol=1e-3)


def test_levels_go_where_the_weight_is() -> None:
    values = torch.tensor([[0.0], [1.0], [10.0], [11.0]], dtype=torch.float64)
    even, _ = placed(values, torch.ones(4, 1, dtype=torch.float64), 2)
    assert even.tolist() == [[0.5, 10.5]]
    heavy = torch.tensor([[1.0], [3.0], [1.0], [1.0]], dtype=torch.float64)
    levels, left = placed(values, heavy, 2)
    assert levels.tolist() == [[0.75, 10.5]]
    assert float(left) == pytest.approx((1 * 0.75**2 + 3 * 0.25**2 + 2 * 0.25) / 6)


def test_as_many_levels_as_values_leave_nothing() -> None:
    values = torch.tensor([[-1.0], [0.5], [3.0]], dtype=torch.float64)
    levels, left = placed(values, torch.ones_like(values), 3)
    assert levels.tolist() == [[-1.0, 0.5, 3.0]] and float(left) == 0


@pytest.mark.parametrize("numbers", [1, 2, 4])
def test_no_byte_has_more_than_256_and_hardly_any_has_much_less(numbers: int) -> None:
    errors = [[float(spread**2) / count**2 for count in COUNTS] for spread in SPREADS.repeat(4)]
    allocation = allocate_levels(errors, numbers)
    taken = [1] * numbers
    for count, byte in zip(allocation.counts, allocation.byte, strict=True):
        taken[byte] *= count
    assert taken == allocation.taken
    assert all(200 <= product <= LEVELS_OF_A_BYTE for product in taken)


def test_what_varies_more_gets_more_levels_and_what_gains_nothing_gets_none() -> None:
    errors = [[float(spread**2) / count**2 for count in COUNTS] for spread in SPREADS]
    counts = allocate_levels([*errors, [0.0] * len(COUNTS)], 2).counts
    # By twice the spread about twice as many; the last has nothing to gain.
    assert counts[:-1] == sorted(counts[:-1], reverse=True) and counts[0] > 4 * counts[3]
    assert counts[-1] == 1


def test_six_coordinates_in_two_bytes_are_nearer_than_two_of_them_alone() -> None:
    values = samples()
    code = fitted(2, values)
    two_alone = float(SPREADS[2:].square().sum())
    assert left_by(code, values) < 0.5 * two_alone
    # Fresh draws of the same distribution are hardly worse.
    fresh = torch.randn(2000, 6, generator=torch.Generator().manual_seed(1)) * SPREADS
    assert left_by(code, fresh) == pytest.approx(left_by(code, values), rel=0.15)


def test_every_number_stands_for_its_digits_and_they_for_it() -> None:
    code = fitted(2, samples())
    capacity = [math.prod(code.base[code.byte == byte].tolist()) for byte in range(2)]
    for byte, count in enumerate(capacity):
        numbers = torch.zeros(count, 2)
        numbers[:, byte] = torch.arange(count)
        digits = code.unpack(numbers)
        assert (digits < code.base).all() and len({tuple(row) for row in digits.tolist()}) == count
        assert torch.equal(code.pack(digits), numbers)


def test_numbers_that_are_nearly_whole_are_taken_for_whole() -> None:
    code = fitted(2, samples())
    numbers = code.pack(code.nearest(samples(50)))
    off = 0.49 * torch.sin(torch.arange(100.0)).view(50, 2)
    assert torch.equal(code.unpack(numbers + off), code.unpack(numbers))


def test_the_first_coordinate_of_a_byte_has_the_highest_place() -> None:
    code = fitted(1, samples())
    kept = code.base > 1
    assert (code.place[kept].diff() < 0).all()


class Bent(nn.Module):
    """The error of a drawing that is not a linear function of its coordinates."""

    def __init__(self) -> None:
        super().__init__()
        self.mixing = nn.Parameter(torch.eye(6) + 0.3)

    def forward(self, coordinates: Tensor, wanted: Tensor) -> Tensor:
        return (coordinates @ self.mixing - wanted).square().sum(dim=1)


def test_a_search_finds_better_codes_and_never_worse_ones() -> None:
    code, error, wanted = fitted(2, samples()), Bent(), samples(40)
    start = code.nearest(wanted)
    curvature = 2 * error.mixing.detach().square().sum(dim=1)
    with torch.inference_mode():
        found = searched(error, code, start, [wanted], curvature, 12)
        alone = searched(error, code, start[3:4], [wanted[3:4]], curvature, 12)
        before, after = (error(code.levels_of(digits), wanted) for digits in (start, found))
    assert (after <= before).all() and after.mean() < 0.5 * before.mean()
    assert (found >= 0).all() and (found < code.base).all()
    # Kernels round otherwise for one row than for forty, so the digits may differ, the error not.
    with torch.inference_mode():
        by_itself = error(code.levels_of(alone), wanted[3:4])
    torch.testing.assert_close(after[3:4], by_itself, rtol=1e-3, atol=1e-6)
    assert error.mixing.grad is None


def test_a_search_with_a_wrong_curvature_makes_nothing_worse() -> None:
    code, error, wanted = fitted(2, samples()), Bent(), samples(40)
    start = code.nearest(wanted)
    found = searched(error, code, start, [wanted], torch.zeros(6), 12)
    with torch.no_grad():
        before, after = (error(code.levels_of(digits), wanted) for digits in (start, found))
    assert (after <= before).all() and (after < before).any()


def test_a_search_works_on_what_was_made_in_inference_mode() -> None:
    with torch.inference_mode():
        code, error, wanted = fitted(2, samples()), Bent(), samples(10)
        start = code.nearest(wanted)
        found = searched(error, code, start, [wanted], torch.ones(6), 4)
        assert (error(code.levels_of(found), wanted) <= error(code.levels_of(start), wanted)).all()
