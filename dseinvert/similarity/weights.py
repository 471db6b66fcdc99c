"""How much each similarity counts: the hyper-parameters of DSE (Section III) in one place."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Literal

from dseinvert.errors import UsageError
from dseinvert.names import suggested

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
    identity: float = 0.1
    """1 - cosine of what a face recognition network sees, where there is one (pSp, Section 3.2)."""

    def by_term(self) -> dict[str, float]:
        """The weight of each term by the name the losses give it."""
        return {
            "kl": self.kl,
            "mse": self.alpha,
            "cos": self.beta,
            "perceptual": self.gamma,
            "ssim": self.delta,
        }


FIELDS = {
    "mse": "alpha",
    "cos": "beta",
    "perceptual": "gamma",
    "ssim": "delta",
    "kl": "kl",
    "latent": "epsilon",
    "identity": "identity",
}
"""The weight of each term that a user can name."""


def weighted(texts: Iterable[str], base: LossWeights) -> LossWeights:
    """`base` with what is told: "perceptual=0.8".

    Raises:
        UsageError: no such term, or no number of 0 or more.
    """
    told = {}
    for text in texts:
        name, _, number = text.replace(" ", "").partition("=")
        if name not in FIELDS:
            advice = suggested(name, FIELDS, f"TERM=NUMBER with one of {', '.join(FIELDS)}")
            raise UsageError(f"--weight {text!r}: no such term", advice)
        try:
            told[FIELDS[name]] = float(number)
        except ValueError as error:
            raise UsageError(f"--weight {text!r}: not a number", f"--weight {name}=1") from error
        if not 0 <= told[FIELDS[name]] < math.inf:
            raise UsageError(f"--weight {text!r}: out of range", "0 or more; 0 = leave it out")
    return replace(base, **told)


@dataclass(frozen=True)
class Attention:
    """Weights mu of the two attentions AT1 and AT2 in Equation 6."""

    mu1: float
    mu2: float


STRATEGIES = {1: Attention(1, 1), 2: Attention(5, 9)}
"""Section III-D. 1 = latent regression: image losses are measured but carry no gradient;
2 = full image gradients."""
