"""Seeds as they are written: `0-15,42`."""

from __future__ import annotations

import re
from dataclasses import dataclass

from dseinvert.errors import UsageError

MOST_SEEDS = 100_000
NVLABS = "nv:"
"""Before seeds that are drawn as NVlabs' scripts draw them."""
_RANGE = re.compile(r"(\d+)(?:-(\d+))?")


@dataclass(frozen=True)
class Seeds:
    """Which samples, and how each is drawn."""

    numbers: tuple[int, ...]
    nvlabs: bool = False
    """As generate.py of NVlabs draws it, by numpy; else by PyTorch."""


def read_seeds(text: str) -> Seeds:
    """`0-15,42`, or `nv:0-15,42`; raises as `parse_seeds`."""
    word = text.strip()
    nvlabs = word.startswith(NVLABS)
    return Seeds(tuple(parse_seeds(word.removeprefix(NVLABS), text)), nvlabs)


def parse_seeds(text: str, said: str | None = None) -> list[int]:
    """`0-15,42` -> the numbers, in that order.

    Args:
        said: what was typed; None = `text`.

    Raises:
        UsageError: not of that form, or too many.
    """
    said = text if said is None else said
    seeds: list[int] = []
    for part in text.split(","):
        match = _RANGE.fullmatch(part.strip())
        first, last = (int(n or match[1]) for n in match.groups()) if match else (1, 0)
        if last < first or last >= 2**32:
            raise UsageError(f"--seeds {said!r}: not seeds", "write them as 0-15,42")
        if last - first + len(seeds) >= MOST_SEEDS:
            raise UsageError(f"--seeds {said!r}: too many", f"at most {MOST_SEEDS} at once")
        seeds += range(first, last + 1)
    return list(dict.fromkeys(seeds))
