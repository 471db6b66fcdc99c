"""Scorers: an attribute of a face, read from a few labelled pictures.

Ridge regression on EfficientNet-lite0 features, pooled on a 3x3 grid; the pictures are first
brought to the size at which the generator draws, so that sharpness says nothing.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from dseinvert.similarity.features import FeatureDistance
from dseinvert.training.pictures import light

Box = tuple[float, float, float, float]
"""A part of a picture: left, top, right, bottom as shares of its side."""

FACE: Box = (0.22, 0.3, 0.78, 0.92)
"""Forehead to chin in FFHQ framing."""
HEAD: Box = (0.1, 0.0, 0.9, 1.0)
"""With all of the hair."""


class FaceFeatures:
    """Pictures to feature vectors; `side` is the size the face part is reduced to."""

    def __init__(self, side: int) -> None:
        self.net = FeatureDistance().eval()
        self.side = side

    @torch.no_grad()
    def __call__(self, images: Tensor, box: Box = (0, 0, 1, 1), batch: int = 64) -> Tensor:
        """[B, 3, H, W] in [-1, 1] -> [B, K]."""
        return torch.cat([self.seen(part, box) for part in images.split(batch)])

    def seen(self, images: Tensor, box: Box) -> Tensor:
        """The same in one go, with a gradient for the images."""
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


def relit(images: Tensor, seed: int) -> Tensor:
    """The same faces [B, 3, H, W] in other light and colours, every third one in grey.

    Old people's photos are often pale or grey; a scorer must not take that for age.
    """
    rng = np.random.default_rng(seed)
    pictures = ((images + 1) / 2).permute(0, 2, 3, 1).numpy()
    varied = np.stack([light(rng, picture) for picture in pictures])
    varied[::3] = varied[::3].mean(3, keepdims=True)
    return torch.from_numpy(varied).permute(0, 3, 1, 2) * 2 - 1


def appearance(images: Tensor) -> Tensor:
    """Brightness, contrast and saturation of the pictures: [B, 3]."""
    grey = images.mean(1)
    saturation = (images.amax(1) - images.amin(1)).mean((1, 2))
    return torch.stack([grey.mean((1, 2)), grey.std((1, 2)), saturation], dim=1)


class Scorer:
    """A linear score of face features, fitted to labelled pictures."""

    def __init__(
        self, features: FaceFeatures, weight: Tensor, bias: float, box: Box = FACE
    ) -> None:
        self.features, self.weight, self.bias, self.box = features, weight, bias, box

    def __call__(self, images: Tensor) -> Tensor:
        """FFHQ-framed [B, 3, H, W] in [-1, 1] -> [B], in the units of the labels."""
        return self.of(self.features(images, self.box))

    def of(self, features: Tensor) -> Tensor:
        """The score [B] of the features [B, K] of FFHQ-framed faces."""
        return features @ self.weight + self.bias


def fit_scorer(
    features: FaceFeatures,
    versions: Sequence[Tensor],
    labels: NDArray[np.float64],
    weights: NDArray[np.float64] | None = None,
    box: Box = FACE,
) -> tuple[Scorer, float]:
    """Fit on nine tenths of the pictures.

    Args:
        versions: features [N, K] of the pictures, and of varied copies that have the same labels.
        weights: how much each picture counts; 0 = not at all. None = all alike.
        box: the part of the pictures that the features are of.

    Returns:
        The scorer, and the correlation of its scores with the labels of the other tenth.
    """
    from sklearn.linear_model import RidgeCV

    weights = np.ones(len(labels)) if weights is None else weights
    held = np.arange(len(labels)) % 10 == 0
    used, asked_of = ~held & (weights > 0), held & (weights > 0)
    known = np.concatenate([x.numpy()[used] for x in versions]).astype(np.float64)
    mean, scale = known.mean(0), known.std(0) + 1e-6
    taught, counted = (np.tile(x[used], len(versions)) for x in (labels, weights))
    x = (known - mean) / scale
    # Leaving out one copy of a picture while others stay favours a weak penalty, and that is meant:
    # it costs correlation, but its unit agrees with an independent network (docs/experiments.md).
    model = RidgeCV(alphas=np.logspace(1, 5, 9)).fit(x, taught, counted)
    asked = (versions[0].numpy()[asked_of] - mean) / scale
    correlation = float(np.corrcoef(model.predict(asked), labels[asked_of])[0, 1])
    weight = model.coef_ / scale
    bias = float(model.intercept_ - mean @ weight)
    return Scorer(features, torch.from_numpy(weight).float(), bias, box), correlation
