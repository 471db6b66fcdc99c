"""What is compared besides whole images, to look harder at the target (DSE, Section III-B)."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from dseinvert.similarity.weights import Attention

Scales = Callable[[Tensor, Tensor], list[tuple[float, Tensor, Tensor]]]
"""Real and fake images [B, 3, H, W] -> the pairs to compare, each with its weight (Equation 6);
the first pair is the whole images."""


def whole(real: Tensor, fake: Tensor) -> list[tuple[float, Tensor, Tensor]]:
    """The Scales without attentions: the whole images alone."""
    return [(1, real, fake)]


def centre_crops(mu: Attention) -> Scales:
    """The whole images and both centre crops: for images whose target is in the middle.

    The crops keep their size: the losses average over pixels, so enlarging a crop changes nothing.
    """

    def scales(real: Tensor, fake: Tensor) -> list[tuple[float, Tensor, Tensor]]:
        crops = [(mu.mu1, at1(real), at1(fake)), (mu.mu2, at2(real), at2(fake))]
        return whole(real, fake) + crops

    return scales


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
