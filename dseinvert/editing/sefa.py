"""SeFa (Shen and Zhou, 2021): directions in closed form, from the weights of a generator alone."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from dseinvert.errors import UsageError
from dseinvert.generators import Generator


def sefa(
    generator: Generator, count: int, layers: tuple[int, int] | None = None
) -> tuple[Tensor, Tensor]:
    """The steps of a latent that change most what the first weights make of it.

    n = argmax |A n|^2 with |n| = 1 (Equations 4 and 5): the eigenvectors of A^T A with the largest
    eigenvalues. Each row of A is of length one, and A stacks what the published code stacks: of a
    family with styles those of the convolutions and of the last ToRGB.

    Args:
        generator: its `first_weights` are A.
        count: how many, strongest first.
        layers: first and last row of w+ whose styles count; None = all.

    Returns:
        Directions [count, D] of length one, their largest number positive, and eigenvalues [count].

    Raises:
        UsageError: more directions than the latent is wide, or rows without styles.
    """
    try:
        first = generator.first_weights(layers)
    except ValueError as error:
        raise UsageError(f"SeFa: {error}", "name others, or none for all") from error
    weight = F.normalize(first.detach().double().cpu(), dim=1)
    if count > weight.shape[1]:
        raise UsageError(f"{count} directions in {weight.shape[1]} dimensions", "ask for fewer")
    values, vectors = torch.linalg.eigh(weight.T @ weight)  # ascending
    found = vectors.flip(1)[:, :count].T
    return upright(found).float(), values.flip(0)[:count].float()


def upright(vectors: Tensor) -> Tensor:
    """Vectors [N, D] with the largest number of each positive, which settles their sign."""
    largest = vectors.gather(1, vectors.abs().argmax(1, keepdim=True))
    return vectors * largest.sign()
