"""Which latents a generator takes."""

from __future__ import annotations

from dseinvert.generators import Generator
from dseinvert.latent import Latent


def drawable(generator: Generator, latent: Latent) -> bool:
    """Whether the generator takes a latent of this space and shape."""
    spec, shape = generator.spec, tuple(latent.code.shape[1:])
    shapes = {(spec.space, (spec.layers, spec.dim))}
    if spec.space == "w+":
        z_dim = generator.z_dim
        shapes |= {("w", (1, spec.dim)), ("z", (1, z_dim)), ("z+", (spec.layers, z_dim))}
    return (latent.space, shape) in shapes
