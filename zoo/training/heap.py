"""Memory that one training step frees and the next wants again: keep it in the process."""

from __future__ import annotations

import ctypes

# From <malloc.h>.
_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4
_NEVER = 2**31 - 1


def keep_freed_memory() -> bool:
    """Tell the C library to hold on to freed blocks, however large; False where it cannot.

    A step on a CPU allocates and frees the same activations as the one before. By default glibc
    hands large blocks back to the system, which then has to fetch and clear every page of them
    again in each step: measured at a tenth of a step's time (docs/training.md). Held memory stays
    at what one step needs at most.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):
        return False  # another C library: macOS, Windows
    return bool(mallopt(_M_MMAP_MAX, 0)) and bool(mallopt(_M_TRIM_THRESHOLD, _NEVER))
