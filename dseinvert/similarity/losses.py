"""The diverse similarities of DSE (Section III, Equations 3-8), one number for each sample.

Every function takes two batches and returns [B]: a sample's loss is free of its batch.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
import torch.nn.functional as F
from pytorch_msssim import ssim as windowed_ssim
from torch import Tensor

from dseinvert.similarity.attention import Scales
from dseinvert.similarity.weights import LossWeights

Distance = Callable[[Tensor, Tensor], Tensor]
"""Two batches of images [B, 3, H, W] in [-1, 1] -> the perceptual distance of each pair [B]."""

LARGEST_SIDE = 256  # SSIM and the perceptual distance see at most this many rows


def mse(real: Tensor, fake: Tensor) -> Tensor:
    """Mean squared difference of all numbers of a sample (Equation 3, first term)."""
    return _each(real - fake).square().mean(1)


def cosine(real: Tensor, fake: Tensor) -> Tensor:
    """1 - cosine along the last axis, averaged over the axes between (Equation 3, second term).

    Of latents [B, L, D] it compares row by row of w; flatten images first, to compare them whole.
    """
    return _each(1 - F.cosine_similarity(real, fake, dim=-1)).mean(1)


def kl(real: Tensor, fake: Tensor) -> Tensor:
    """KL divergence of softmaxes over the last axis, averaged over the axes between (Equation 4).

    The paper names no axis. The last is a row of w for latents and a row of pixels for images.
    """
    log_real, log_fake = real.log_softmax(-1), fake.log_softmax(-1)
    divergence = (log_fake.exp() * (log_fake - log_real)).sum(-1)  # Equation 4
    return _each(divergence).mean(1)


def ssim(real: Tensor, fake: Tensor) -> Tensor:
    """SSIM of images in [-1, 1]: Gaussian window 11x11, sigma 1.5, no padding, mean of channels.

    The window shrinks to the largest odd size that fits where a side is below 11.
    """
    window = min(11, (min(real.shape[-2:]) - 1) // 2 * 2 + 1)
    return windowed_ssim(
        real, fake, data_range=2, size_average=False, win_size=window, win_sigma=1.5
    )


def latent_loss(real: Tensor, fake: Tensor, weights: LossWeights) -> Tensor:
    """L_LV of codes [B, L, D] (Equation 5); epsilon is left to the caller."""
    terms = {"kl": kl(real, fake), "mse": mse(real, fake), "cos": cosine(real, fake)}
    return weigh(terms, weights)


def image_terms(real: Tensor, fake: Tensor, perceptual: Distance | None) -> dict[str, Tensor]:
    """The unweighted terms of Equation 7 for images [B, 3, H, W] in [-1, 1].

    Args:
        perceptual: None = without that term.
    """
    small = _halved(real), _halved(fake)
    terms = {
        "kl": kl(real, fake),
        "mse": mse(real, fake),
        "cos": cosine(real.flatten(1), fake.flatten(1)),
        "ssim": 1 - ssim(*small),
    }
    if perceptual is not None:
        terms["perceptual"] = perceptual(*small)
    return terms


def image_loss(
    real: Tensor,
    fake: Tensor,
    weights: LossWeights,
    scales: Scales,
    perceptual: Distance | None,
) -> tuple[Tensor, dict[str, Tensor]]:
    """L_IMG over three scales (Equations 6 and 7): the loss [B], and the terms of whole images."""
    pairs = scales(real, fake)
    terms = [image_terms(a, b, perceptual) for _, a, b in pairs]
    losses = [mu * weigh(t, weights) for (mu, _, _), t in zip(pairs, terms, strict=True)]
    return torch.stack(losses).sum(0), terms[0]


def weigh(terms: Mapping[str, Tensor], weights: LossWeights) -> Tensor:
    """The weighted sum of terms [B]."""
    factor = weights.by_term()
    return torch.stack([factor[name] * term for name, term in terms.items()]).sum(0)


def _each(x: Tensor) -> Tensor:
    """[B, ...] -> [B, N]."""
    return x.reshape(len(x), -1)


def _halved(images: Tensor) -> Tensor:
    while images.shape[-2] > LARGEST_SIDE:
        images = F.avg_pool2d(images, 2)
    return images
