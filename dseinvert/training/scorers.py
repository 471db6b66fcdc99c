"""Scorers: an attribute of a face, read from a few labelled pictures.

Ridge regression on EfficientNet-lite0 features, pooled on a 3x3 grid; the pictures are first
brought to the size at which the generator draws, so that sharpness says nothing.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from dseinvert.similarity.features import FeatureDistance

Box = tuple[float, float, float, float]
"""A part of a picture: left, top, right, bottom as shares of its side."""

FACE: Box = (0.22, 0.3, 0.78, 0.92)
"""Forehead to chin in FFHQ framing."""


class FaceFeatures:
    """Pictures to feature vectors; `side` is the size the face part is reduced to."""

    def __init__(self, side: int) -> None:
        self.net = FeatureDistance().eval()
        self.side = side

    @torch.inference_mode()
    def __call__(self, images: Tensor, box: Box = (0, 0, 1, 1), batch: int = 64) -> Tensor:
        """[B, 3, H, W] in [-1, 1] -> [B, K]."""
        return torch.cat([self._batch(part, box) for part in images.split(batch)])

    def _batch(self, images: Tensor, box: Box) -> Tensor:
        height, width = images.shape[-2:]
        left, top, right, bottom = box
        part = images[
            ...,
            round(top * height) : round(bottom * height),
            round(left * width) : round(right * width),
        ]
        if min(part.shape[-2:]) > self.side:
            part = F.interpolate(part, (self.side, self.side), mode="bilinear", antialias=True)
        part = F.interpolate(part, (96, 96), mode="bilinear", antialias=True)
        grids = [F.adaptive_avg_pool2d(m, 3).flatten(1) for m in self.net.features(part)]
        return torch.cat(grids, dim=1)


class Scorer:
    """A linear score of face features, fitted to labelled pictures."""

    def __init__(self, features: FaceFeatures, weight: Tensor, bias: float) -> None:
        self.features, self.weight, self.bias = features, weight, bias

    def __call__(self, images: Tensor) -> Tensor:
        """FFHQ-framed [B, 3, H, W] in [-1, 1] -> [B], in the units of the labels."""
        return self.of(self.features(images, FACE))

    def of(self, features: Tensor) -> Tensor:
        """The score [B] of the features [B, K] of FFHQ-framed faces."""
        return features @ self.weight + self.bias


def fit_scorer(
    features: FaceFeatures, x: Tensor, labels: NDArray[np.float64]
) -> tuple[Scorer, float]:
    """Fit on nine tenths of the pictures whose features are `x` [N, K].

    Returns:
        The scorer, and the correlation of its scores with the labels of the other tenth.
    """
    from sklearn.linear_model import RidgeCV

    known = x.numpy().astype(np.float64)
    held = np.arange(len(known)) % 10 == 0
    mean, scale = known[~held].mean(0), known[~held].std(0) + 1e-6
    known = (known - mean) / scale
    model = RidgeCV(alphas=np.logspace(1, 5, 9)).fit(known[~held], labels[~held])
    correlation = float(np.corrcoef(model.predict(known[held]), labels[held])[0, 1])
    weight = model.coef_ / scale
    bias = float(model.intercept_ - mean @ weight)
    return Scorer(features, torch.from_numpy(weight).float(), bias), correlation
