"""What `evaluate --baselines` asks for: its text, before any network."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from dseinvert.errors import UsageError
from dseinvert.names import suggested

BaselineName = Literal[
    "i2s-w", "i2s-w+", "indomain", "pti", "bdinvert", "sam", "pti-z+", "bdinvert-z+", "sam-z+"
]
BASELINES: tuple[BaselineName, ...] = get_args(BaselineName)
WITH_ENCODER = frozenset({"indomain"})
"""Those that need the model's encoder."""
STEPS = 200
"""Of a baseline that is given none."""


@dataclass(frozen=True)
class Baseline:
    """One baseline and its steps."""

    name: BaselineName
    steps: int = STEPS

    @property
    def text(self) -> str:
        """As it is asked for: `pti:200`."""
        return f"{self.name}:{self.steps}"


def parse_baselines(text: str) -> tuple[Baseline, ...]:
    """`none`, or `i2s-w+:500,pti`, or `all:100`.

    Raises:
        UsageError: what cannot be read.
    """
    found: list[Baseline] = []
    for part in [] if text == "none" else text.split(","):
        name, colon, steps = part.strip().partition(":")
        good = not colon or (steps.isdecimal() and int(steps) >= 2)
        if name not in ("all", *BASELINES) or not good:
            known = f"none, or all, {', '.join(BASELINES)}, each [:STEPS], several with commas"
            advice = suggested(name, ("none", "all", *BASELINES), known) if good else known
            raise UsageError(f"--baselines {text!r}", advice)
        count = int(steps) if colon else STEPS
        found += [Baseline(one, count) for one in BASELINES if name in ("all", one)]
    return tuple(dict.fromkeys(found))
