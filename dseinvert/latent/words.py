"""The words of latents: their spaces, what a generator takes, and the names of tensors."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Space = Literal["z", "z+", "w", "w+"]
Skip = Literal["keep", "drop"]
OPTIONAL = ("feature", "label", "style")
"""The fields of `Latent` that are tensors beside `code`, or None."""
TUNING = "tuning/"
"""What the names of `Latent.tuning` begin with among all tensors."""


@dataclass(frozen=True)
class LatentSpec:
    """The latent a generator takes: its space, number of layers L and width D."""

    space: Space
    layers: int
    dim: int
    classes: int = 0
    """Width of `Latent.label`; 0 = the generator has no classes."""
