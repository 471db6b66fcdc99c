"""How much each similarity counts: the hyper-parameters of DSE (Section III) in one place."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Perceptual = Literal["lpips", "features", "none"]
"""The perceptual term: LPIPS, the distance of EfficientNet-lite0 features, or left out."""

Gradients = Literal["maps", "images", "none"]
"""What the attentions of Grad-CAM hand gradients to: see `similarity.gradcam`."""


@dataclass(frozen=True)
class LossWeights:
    """Weights of Equations 5, 7 and 8; the defaults are those of the paper."""

    alpha: float = 5
    """Mean squared error."""
    beta: float = 3
    """Cosine distance."""
    gamma: float = 2
    """LPIPS, or the perceptual distance that stands in for it."""
    delta: float = 1
    """1 - SSIM."""
    epsilon: float = 0.01
    """The latent loss as a whole, against the image loss."""
    kl: float = 1
    """KL divergence: has no letter in the paper. 0 = as in its published code."""

    def by_term(self) -> dict[str, float]:
        """The weight of each term by the name the losses give it."""
        return {
            "kl": self.kl,
            "mse": self.alpha,
            "cos": self.beta,
            "perceptual": self.gamma,
            "ssim": self.delta,
        }


@dataclass(frozen=True)
class Attention:
    """Weights mu of the two attentions AT1 and AT2 in Equation 6."""

    mu1: float
    mu2: float


STRATEGIES = {1: Attention(1, 1), 2: Attention(5, 9)}
"""Section III-D. 1 = latent regression: image losses are measured but carry no gradient;
2 = full image gradients."""
