"""Differentiable augmentation: what the discriminator sees of real and drawn images alike.

The operations are those of DiffAugment (Zhao et al., 2020), each applied to an image with a
probability that adapts to over-fitting (ADA, Karras et al., 2020).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

SHIFT = 1 / 8
"""Largest translation as a share of the side."""
HOLE = 1 / 2
"""Side of the grey square that is cut out, likewise."""


def augment(images: Tensor, probability: Tensor) -> Tensor:
    """Colour, shift and cut out, each with `probability` []: [B, 3, R, R] -> the same.

    Gradients flow to the images (once: not for second derivatives). Shifts and holes keep the
    range; colours may leave it, up to [-4.5, 4.5].
    """
    return cut_out(shift(colour(images, probability), probability), probability)


def colour(images: Tensor, probability: Tensor) -> Tensor:
    """Brightness +-0.5, saturation x 0 to 2, contrast x 0.5 to 1.5."""
    images = images + (_uniform(images) - 0.5) * _chosen(images, probability)
    grey = images.mean(1, keepdim=True)
    images = grey + (images - grey) * (
        1 + (2 * _uniform(images) - 1) * _chosen(images, probability)
    )
    mean = images.mean((1, 2, 3), keepdim=True)
    return mean + (images - mean) * (1 + (_uniform(images) - 0.5) * _chosen(images, probability))


def shift(images: Tensor, probability: Tensor) -> Tensor:
    """Move by whole pixels, grey coming in at the edges."""
    side = images.shape[-1]
    reach = int(side * SHIFT)
    pixels = torch.randint(-reach, reach + 1, (len(images), 2), device=images.device)
    theta = torch.eye(2, 3, device=images.device).repeat(len(images), 1, 1)
    theta[:, :, 2] = 2 / side * pixels * _chosen(images, probability)[:, 0, 0]
    places = F.affine_grid(theta, list(images.shape), align_corners=False)
    return F.grid_sample(images, places, mode="nearest", align_corners=False)


def cut_out(images: Tensor, probability: Tensor) -> Tensor:
    """A grey square somewhere, partly outside at times."""
    side = images.shape[-1]
    size = int(side * HOLE)
    line = torch.arange(side, device=images.device)
    across = (line - side * _uniform(images)).abs() < size / 2  # [B, 1, 1, R]
    down = (line[:, None] - side * _uniform(images)).abs() < size / 2  # [B, 1, R, 1]
    return images * (1 - (across & down) * _chosen(images, probability))


def _uniform(images: Tensor) -> Tensor:
    """One number in [0, 1) an image: [B, 1, 1, 1]."""
    return torch.rand(len(images), 1, 1, 1, device=images.device)


def _chosen(images: Tensor, probability: Tensor) -> Tensor:
    """1 for the images an operation applies to, else 0: [B, 1, 1, 1]."""
    return (_uniform(images) < probability).float()
