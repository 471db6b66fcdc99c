"""FID-lite0: the Fréchet distance of EfficientNet-lite0 features, for the progress of one run.

Not FID: another network and far fewer pictures. Its values compare with each other alone.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from dseinvert.similarity.features import FeatureDistance


@dataclass(frozen=True)
class Spread:
    """Mean [K] and covariance [K, K] of feature vectors, in float64."""

    mean: Tensor
    covariance: Tensor


@torch.no_grad()
def spread(net: FeatureDistance, batches: Iterable[Tensor]) -> Spread:
    """Of the spatial means of the four feature maps of images [B, 3, H, W] in [-1, 1]."""
    rows = [torch.cat([m.mean((2, 3)) for m in net.features(part)], dim=1) for part in batches]
    features = torch.cat(rows).double().cpu()
    return Spread(features.mean(0), features.T.cov())


def frechet(a: Spread, b: Spread) -> float:
    """|mean a - mean b|^2 + tr(A + B - 2 (A B)^1/2)."""
    root = _root(a.covariance)
    common = torch.linalg.eigvalsh(root @ b.covariance @ root).clamp(min=0).sqrt().sum()
    moved = (a.mean - b.mean).square().sum()
    return float(moved + a.covariance.trace() + b.covariance.trace() - 2 * common)


def _root(covariance: Tensor) -> Tensor:
    values, vectors = torch.linalg.eigh(covariance)
    return vectors * values.clamp(min=0).sqrt() @ vectors.T
