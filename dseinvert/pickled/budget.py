"""How much may be made of a file: so many bytes for each byte that it has."""

from __future__ import annotations

LEAST = 128 << 20
"""Bytes that may be made of any file, however small."""
TIMES = 8
NUMBERS = 1 << 23
"""Numbers in the tensors of any file; one more for each of its bytes, for none takes less."""


class Budget:
    """Bytes that are still to spend; one for a whole file, with all that lies in it."""

    def __init__(self, size: int) -> None:
        """size: of the file, in bytes."""
        self.left = max(LEAST, TIMES * size)
        self.numbers = NUMBERS + size

    def spend(self, count: int) -> None:
        """Take that many bytes, before they are made.

        Raises:
            ValueError: there are not so many left.
        """
        self.left -= count
        if self.left < 0:
            raise ValueError("it would take far more memory than a file of its size may")

    def hold(self, numbers: int) -> None:
        """Count a tensor: views of the same bytes take nothing here, and much where they are read.

        Raises:
            ValueError: they are more than the file can hold.
        """
        self.numbers -= numbers
        if self.numbers < 0:
            raise ValueError("it has tensors of more numbers than it holds")
