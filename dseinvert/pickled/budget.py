"""How much may be made of a file: so many bytes for each byte that it has."""

from __future__ import annotations

LEAST = 128 << 20
"""Bytes that may be made of any file, however small."""
TIMES = 8


class Budget:
    """Bytes that are still to spend; one for a whole file, with all that lies in it."""

    def __init__(self, size: int) -> None:
        """size: of the file, in bytes."""
        self.left = max(LEAST, TIMES * size)

    def spend(self, count: int) -> None:
        """Take that many bytes, before they are made.

        Raises:
            ValueError: there are not so many left.
        """
        self.left -= count
        if self.left < 0:
            raise ValueError("it would take far more memory than a file of its size may")
