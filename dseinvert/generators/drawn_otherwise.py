"""A generator that draws the same latents with other noise, or turned and moved.

The given generator stays as it is; the one that comes back shares its weights.
"""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor, nn

from dseinvert.generators import Generator
from dseinvert.generators.sampling import seeded
from dseinvert.generators.tuned import private

NoiseMode = Literal["const", "none", "random"]
_NOISE, _TRANSFORM = "noise", "transform"


def has_noise(generator: Generator) -> bool:
    """Whether noise is added to its features (StyleGAN, StyleGAN2)."""
    return any(True for _ in _holding(generator.plain, _NOISE))


def has_transform(generator: Generator) -> bool:
    """Whether its input can be turned and moved (StyleGAN3)."""
    return any(True for _ in _holding(generator.plain, _TRANSFORM))


def with_noise(generator: Generator, mode: NoiseMode, seed: int = 0) -> Generator:
    """With the stored noise (const), none, or new maps drawn from `seed` (random)."""
    if mode == "const":
        return generator
    own, source = private(generator), seeded(seed)
    for module in _holding(own, _NOISE):
        stored: Tensor = module.get_buffer(_NOISE)
        drawn = torch.randn(stored.shape, generator=source).to(stored)
        module.register_buffer(_NOISE, torch.zeros_like(stored) if mode == "none" else drawn)
    return own  # type: ignore[return-value]


def with_transform(
    generator: Generator, rotate: float, translate: tuple[float, float]
) -> Generator:
    """With its image turned and moved, in place of as it is stored.

    Args:
        rotate: degrees counter-clockwise, around the centre.
        translate: to the right and down, in sides of the image.
    """
    own = private(generator)
    for module in _holding(own, _TRANSFORM):
        stored: Tensor = module.get_buffer(_TRANSFORM)
        module.register_buffer(_TRANSFORM, inverse(rotate, translate).to(stored))
    return own  # type: ignore[return-value]


def inverse(rotate: float, translate: tuple[float, float]) -> Tensor:
    """What is done to the coordinates [3, 3] that waves are read at: the opposite."""
    angle, (x, y) = math.radians(rotate), translate
    cos, sin = math.cos(angle), math.sin(angle)
    done = torch.tensor([[cos, sin, x], [-sin, cos, y], [0, 0, 1]], dtype=torch.float64)
    return torch.linalg.inv(done)


def _holding(network: nn.Module, name: str) -> list[nn.Module]:
    """Its modules that hold a buffer of that name."""
    return [module for module in network.modules() if name in dict(module.named_buffers("", False))]
