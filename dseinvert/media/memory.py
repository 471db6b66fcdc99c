"""What a large photo took is the system's again, not kept by the allocator for the next one."""

from __future__ import annotations

import ctypes
from contextlib import suppress

_MUCH = 30_000_000  # pixels; giving back takes milliseconds


def give_back(pixels: int) -> None:
    """Return freed memory to the system, where so many pixels were freed; else do nothing."""
    if pixels >= _MUCH:
        give_all_back()


def give_all_back() -> None:
    """Return all freed memory to the system; only glibc keeps it, and has a function for it."""
    with suppress(OSError, AttributeError, TypeError):
        ctypes.CDLL(None).malloc_trim(0)
