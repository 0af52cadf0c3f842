"""What one latent is: its shape, and whether its numbers are quantities or codes."""

from __future__ import annotations

import math
from dataclasses import dataclass

from zoo.base.option_validation import names_its_fields

BITS = 8
"""Of a number that is not a code: what every score is measured at, unless it says otherwise."""
MOST_CODES = 1 << 24
"""Values that a number of a latent may have: a float holds the whole numbers up to here."""


def code_bits(codes: int) -> int:
    """Bits that so many codes need; one at least."""
    return max(1, (codes - 1).bit_length())


@names_its_fields
@dataclass(frozen=True)
class LatentSpec:
    """What one latent is: its shape, and whether its numbers are quantities or codes.

    Real numbers are stored in 8 bits each, on a scale of their own dimension. Codes are whole
    numbers from 0 to `codes` - 1 and are stored exactly, in as many bits as they need.
    """

    shape: tuple[int, ...]
    """Of what `encode` gives for one sample."""
    codes: int | None = None
    """How many values a number can have, from 1 to 16,777,216; None where numbers are real."""

    def __post_init__(self) -> None:
        if self.codes is not None and not 1 <= self.codes <= MOST_CODES:
            raise ValueError(f"a latent has from 1 to {MOST_CODES:,} codes; not {self.codes}")

    @property
    def numbers(self) -> int:
        """Numbers in one latent."""
        return math.prod(self.shape)

    @property
    def bits_per_number(self) -> int:
        """Bits in which one number is stored: 8 of a real number."""
        return BITS if self.codes is None else code_bits(self.codes)

    @property
    def bits(self) -> int:
        """Bits in which one latent is stored, before lossless coding."""
        return self.numbers * self.bits_per_number
