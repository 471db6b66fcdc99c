"""What a foreign file turned out to hold, in this program's own terms."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from torch import Tensor

from dseinvert.encoders import Encoder
from dseinvert.generators import Generator


@dataclass(frozen=True)
class Found:
    """The networks and directions of one file, on the CPU, in float32, ready for inference."""

    format: str
    """What the file is, for people: "StyleGAN2-ADA pickle of NVlabs"."""
    generator: Generator | None = None
    encoder: Encoder | None = None
    directions: Mapping[str, Tensor] = field(default_factory=dict)
    """[L, D] or [1, D] each, by name."""
    alignment: str = "none"
    """How the images it knows are cropped: "ffhq", or "none" where that is not known."""
    notes: tuple[str, ...] = ()
    """What was in the file and left out, or had to be assumed; one line each."""
    licence: str = ""
    """On what terms it was published, for its card; "" = not known."""
