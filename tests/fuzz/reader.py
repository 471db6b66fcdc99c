"""What a reader of files is to the fuzzer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.fuzz.mutators import Mutator


@dataclass(frozen=True)
class Reader:
    """A door into the program."""

    file: str
    """The name that a mutated file gets."""
    mutators: Sequence[Mutator]
    seeds: Sequence[bytes]
    read: Callable[[Path], Any]
    """Raises a DseInvertError or nothing; of the path of the file."""
