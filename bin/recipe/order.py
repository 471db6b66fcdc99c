"""What is asked of a recipe: of which pictures, and where the model is to go."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from recipe.labels.attributes import Effort

HELD_OUT = 250
"""The last pictures of the tar are never trained on."""


@dataclass(frozen=True)
class Sources:
    """The tars the bundled model is made from."""

    faces: Path
    """Aligned pictures; the only ones whose pixels the networks learn."""
    labelled: Path
    """CelebA's aligned pictures with attributes.csv: teaches the scorers of directions."""
    aged: Path
    """Tight face crops with ages.csv: teaches the scorer of age."""


@dataclass(frozen=True)
class Order:
    """One model to be made."""

    sources: Sources
    work: Path
    """Folder for checkpoints and logs, where a recipe that was stopped goes on."""
    out: Path
    """Folder for the model."""
    name: str
    """Of a new model; one that is only given new parts keeps its own."""
    effort: Effort = field(default_factory=Effort)
