"""SeFa (Shen and Zhou, 2021): directions in closed form, from the weights of a generator alone."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from dseinvert.errors import UsageError
from dseinvert.generators import Generator
from dseinvert.generators.biggan import BigGAN
from dseinvert.generators.pggan import PGGAN
from dseinvert.generators.styles import style_layers


def sefa(
    generator: Generator, count: int, layers: tuple[int, int] | None = None
) -> tuple[Tensor, Tensor]:
    """The steps of a latent that change most what the first weights make of it.

    n = argmax |A n|^2 with |n| = 1 (Equations 4 and 5): the eigenvectors of A^T A with the largest
    eigenvalues. Each row of A is of length one, as in the published code.

    Args:
        generator: of a family that is known here.
        count: how many, strongest first.
        layers: first and last row of w+ whose styles count; None = all.

    Returns:
        Directions [count, D] of length one, their largest number positive, and eigenvalues [count].

    Raises:
        UsageError: a family whose weights are not known, or more directions than the latent is
            wide.
    """
    weight = F.normalize(_weight(generator, layers).detach().double().cpu(), dim=1)
    if count > weight.shape[1]:
        raise UsageError(f"{count} directions in {weight.shape[1]} dimensions", "ask for fewer")
    values, vectors = torch.linalg.eigh(weight.T @ weight)  # ascending
    found = vectors.flip(1)[:, :count].T
    return upright(found).float(), values.flip(0)[:count].float()


def upright(vectors: Tensor) -> Tensor:
    """Vectors [N, D] with the largest number of each positive, which settles their sign."""
    largest = vectors.gather(1, vectors.abs().argmax(1, keepdim=True))
    return vectors * largest.sign()


def _weight(generator: Generator, layers: tuple[int, int] | None) -> Tensor:
    """A [outputs, D]: the styles of some rows, or the first layer of z."""
    if styled := style_layers(generator):
        first, last = layers or (0, generator.spec.layers)
        if not 0 <= first <= last <= generator.spec.layers:
            raise ValueError(f"rows must be 0..{generator.spec.layers - 1}, got {first}-{last}")
        # The four numbers that place StyleGAN3's waves are no style.
        chosen = [s for s in styled if first <= s.row <= last and s.name != "input"]
        return torch.cat([layer.affine.weight for layer in chosen])
    width = generator.spec.dim  # what stands behind z is the class
    if isinstance(generator, PGGAN):
        first_conv = generator.convs[0].get_parameter("weight")  # [D, C, 4, 4]
        return first_conv.flatten(1).T[:, :width]
    if isinstance(generator, BigGAN):
        return generator.project.weight[:, :width]
    raise UsageError(f"SeFa does not know the weights of a {generator.family}", "--method ganspace")
