"""What each kind of encoder is judged by in a training step, as its paper says.

All are held to the image loss of DSE, so that encoders and not losses are compared; what a method
adds of its own stands here.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from dseinvert.encoders.dse_feature import DSEFeatureEncoder
from dseinvert.encoders.feature_style import FeatureStyleEncoder
from dseinvert.encoders.parts import deviation
from dseinvert.encoders.psp import PSPEncoder, summed
from dseinvert.encoders.restyle import ReStyleEncoder
from dseinvert.generators import Generator
from dseinvert.latent import Latent

E4E_DELTA = 2e-4  # weight of the offsets' lengths (e4e, Section 4)
E4E_OPEN = 0.5  # share of the training after which all rows may leave the first one
FEATURE_WEIGHT = 0.01  # lambda_2 of Feature-Style Encoder, Equation 5
BLEND = 1 / 12  # share of the training in which F takes over from the generator's own feature
SMALL_WEIGHT = 0.01  # of the squared correction of F, in variances: what w can say, w shall say


@dataclass(frozen=True)
class Lesson:
    """What an encoder made of a batch, and what it is to be blamed for besides its images."""

    attempts: list[tuple[float, Latent]]
    """Shares of the image loss, which sum to 1, and latents; the last is the result."""
    penalties: dict[str, Tensor] = field(default_factory=dict)
    """Terms of the loss, weighted."""


Teach = Callable[[Any, Generator, Tensor, Tensor | None, float], Lesson]
"""Encoder, generator, images [B, 3, R, R], labels, share of the training that is done."""


def teach(
    encoder: Any, generator: Generator, images: Tensor, labels: Tensor | None, progress: float
) -> Lesson:
    """The lesson of a batch for an encoder of any kind; `progress` goes from 0 to 1."""
    return LESSONS.get(encoder.kind, _once)(encoder, generator, images, labels, progress)


def _once(
    encoder: Any, generator: Generator, images: Tensor, labels: Tensor | None, progress: float
) -> Lesson:
    """DSE, pSp: one look, one result."""
    return Lesson([(1.0, encoder.encode(images, labels))])


def _psp(
    encoder: Any, generator: Generator, images: Tensor, labels: Tensor | None, progress: float
) -> Lesson:
    """e4e starts in W and opens w+ row by row, with short offsets (Section 4); pSp has none.

    Its discriminator of latents is left out.
    """
    network = encoder.network
    if not network.config.relative:
        return _once(encoder, generator, images, labels, progress)
    rows = network.head(network.trunk(network.shrink(images)))
    count = rows.shape[1]
    opened = 1 + int((count - 1) * min(1.0, progress / E4E_OPEN))
    offsets = rows * (torch.arange(count, device=rows.device) < opened)[:, None]
    latent = Latent(encoder.w_avg + summed(offsets), "w+", label=labels)
    lengths = offsets[:, 1:].float().norm(dim=-1).sum(1).mean()
    return Lesson([(1.0, latent)], {"delta": E4E_DELTA * lengths})


def _restyle(
    encoder: Any, generator: Generator, images: Tensor, labels: Tensor | None, progress: float
) -> Lesson:
    """ReStyle: every correction has its own loss (Section 4)."""
    rows = encoder.attempts(images)
    return Lesson([(1 / len(rows), Latent(one, "w+", label=labels)) for one in rows])


def _feature_style(
    encoder: Any, generator: Generator, images: Tensor, labels: Tensor | None, progress: float
) -> Lesson:
    """Both inversions at once, by w+ alone and with F, and F near the generator's own (Eq. 4)."""
    rows, feature = encoder(images)
    plain = Latent(rows, "w+", label=labels)
    layer = encoder.config.layer
    own = generator.features(plain, layer).detach()
    share = min(1.0, progress / BLEND)
    blended = torch.lerp(own, feature.to(own), share)
    full = Latent(rows, "w+", feature=blended, layer=layer, label=labels)
    gap = FEATURE_WEIGHT * F.mse_loss(feature.float(), own.float())
    return Lesson([(0.5, plain), (0.5, full)], {"feature": gap})


def _dse_feature(
    encoder: Any, generator: Generator, images: Tensor, labels: Tensor | None, progress: float
) -> Lesson:
    """Both inversions at once, and a small correction."""
    rows, own, correction = encoder(images)
    plain = Latent(rows, "w+", label=labels)
    full = Latent(rows, "w+", feature=own + correction, layer=encoder.config.layer, label=labels)
    small = (correction / deviation(own)).float().square().mean()
    return Lesson([(0.5, plain), (0.5, full)], {"small": SMALL_WEIGHT * small})


SCHEDULED = frozenset({"e4e", "feature-style"})
"""Methods whose lessons change with the share of the training that is done."""
LESSONS: dict[str, Teach] = {
    PSPEncoder.kind: _psp,
    ReStyleEncoder.kind: _restyle,
    FeatureStyleEncoder.kind: _feature_style,
    DSEFeatureEncoder.kind: _dse_feature,
}
