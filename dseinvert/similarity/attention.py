"""Three-scale centre crops, which make the losses look harder at the target (DSE, Section III-B).

The crops keep their size: the losses average over pixels, so enlarging a crop changes nothing.
"""

from __future__ import annotations

from torch import Tensor

from dseinvert.similarity.weights import Attention


def at1(images: Tensor) -> Tensor:
    """[B, 3, H, W] -> all rows, without an eighth of the columns on either side."""
    width = images.shape[-1]
    margin = width // 8
    return images[..., margin : width - margin]


def at2(images: Tensor) -> Tensor:
    """[B, 3, H, W] -> the middle: 15.625 % (1/8 + 1/32) are cut off on all four sides."""
    height, width = images.shape[-2:]
    top, left = height * 5 // 32, width * 5 // 32
    return images[..., top : height - top, left : width - left]


def scales(real: Tensor, fake: Tensor, attention: Attention) -> list[tuple[float, Tensor, Tensor]]:
    """Pairs of the whole images and of both crops, each with its weight (Equation 6)."""
    return [
        (1, real, fake),
        (attention.mu1, at1(real), at1(fake)),
        (attention.mu2, at2(real), at2(fake)),
    ]
