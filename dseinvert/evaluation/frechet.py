"""How far one set of pictures is from another: FID, or the same distance of features at hand.

Fréchet Inception distance (Heusel et al., 2017) is what it is with the standard weights of
Inception only; with other features the number has another name, for it compares with nothing else.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from dseinvert.errors import MissingError
from dseinvert.evaluation.inception import open_inception, standard_file
from dseinvert.similarity.features import FeatureDistance

SetMeasure = Literal["auto", "fid", "features", "none"]
AT_ONCE = 25


@dataclass(frozen=True)
class Features:
    """What sets of pictures are compared by."""

    name: str
    """Of the distance: FID only where it is that."""
    about: str
    """For the protocol."""
    embed: Callable[[Tensor], Tensor]
    """Images [B, 3, R, R] in [-1, 1] -> [B, K]."""

    @torch.inference_mode()
    def of(self, images: Tensor) -> Tensor:
        """Of all images [N, 3, R, R]: [N, K] in float64 on the CPU."""
        return torch.cat([self.embed(part).double().cpu() for part in images.split(AT_ONCE)])


def open_features(
    wanted: SetMeasure, inception: Path | None = None, device: torch.device | str = "cpu"
) -> Features | None:
    """What --sets and --inception ask for; None = nothing.

    Args:
        wanted: auto = fid where the weights are here, else features where those are.
        inception: weights of the standard Inception; None = the file in torch's cache.
        device: where they are computed.

    Raises:
        MissingError: weights that were asked for are not here.
        InputError: a file that is not the standard Inception.
    """
    if wanted == "none":
        return None
    if wanted == "fid" or inception is not None or (wanted == "auto" and standard_file().is_file()):
        net = open_inception(inception or standard_file(), device)
        return Features("FID", "of Inception's 2048 numbers, images resized to 299", net)
    try:
        return _at_hand(device)
    except MissingError:
        if wanted == "auto":
            return None
        raise


@dataclass(frozen=True)
class Crowd:
    """What of the features of a set is enough for mean and covariance; parts of sets are joined."""

    count: int
    mean: Tensor
    """[K] in float64."""
    root: Tensor
    """[n, K], n <= K: its product with itself is that of the centred features."""

    @property
    def scaled(self) -> Tensor:
        """[n, K], whose product with itself is the covariance."""
        return self.root / (self.count - 1) ** 0.5


def crowd_of(features: Tensor) -> Crowd:
    """The crowd of features [N, K], N >= 1."""
    mean = features.mean(0)
    return Crowd(len(features), mean, _low(features - mean))


def joined(crowds: Sequence[Crowd]) -> Crowd:
    """That of all pictures of several, exactly.

    The scatter of a whole is that of its parts about their means, and of those means.
    """
    count = sum(one.count for one in crowds)
    mean = torch.stack([one.count * one.mean for one in crowds]).sum(0) / count
    moved = [one.count**0.5 * (one.mean - mean)[None] for one in crowds]
    return Crowd(count, mean, _low(torch.cat([*(one.root for one in crowds), *moved])))


def frechet(a: Crowd, b: Crowd) -> float:
    """|mean a - mean b|^2 + tr(A + B - 2 (A B)^1/2) of two sets of at least two pictures.

    The trace of the root is the sum of the singular values of the centred sets' product, which is
    small where the pictures are few.
    """
    moved = (a.mean - b.mean).square().sum()
    x, y = a.scaled, b.scaled
    common = torch.linalg.svdvals(x @ y.T).sum()
    return max(0.0, float(moved + x.square().sum() + y.square().sum() - 2 * common))


def _low(centred: Tensor) -> Tensor:
    """At most as many rows as columns, with the same product with itself."""
    tall = len(centred) > centred.shape[1]
    return torch.linalg.qr(centred, mode="r").R if tall else centred


def _at_hand(device: torch.device | str) -> Features:
    net = FeatureDistance().to(device)

    def embed(images: Tensor) -> Tensor:
        maps = net.features(images.to(device).float())
        return torch.cat([one.mean((2, 3)) for one in maps], dim=1)

    return Features("Fréchet", "of the means of EfficientNet-lite0's four maps, not FID", embed)
