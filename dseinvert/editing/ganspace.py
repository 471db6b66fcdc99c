"""GANSpace (Härkönen et al., 2020): the principal components of what a generator draws from."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from dseinvert.editing.sefa import upright
from dseinvert.errors import UsageError
from dseinvert.generators import Generator
from dseinvert.latent import Latent


def principal(points: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """The components [count, D] of points [N, D], of length one, and the deviation along each.

    Exact, by whichever of the matrices [D, D] and [N, N] is smaller.

    Raises:
        UsageError: more components than the points can have.
    """
    if count > min(len(points) - 1, points.shape[1]):
        size = f"{len(points)} samples of {points.shape[1]} numbers"
        raise UsageError(f"{count} components of {size}", "ask for fewer, or draw more --samples")
    centred = points - points.mean(0)
    if len(points) > points.shape[1]:
        values, vectors = torch.linalg.eigh((centred.T @ centred).double())
        found = vectors.flip(1)[:, :count].T
    else:
        values, vectors = torch.linalg.eigh((centred @ centred.T).double())
        found = (centred.T @ vectors.flip(1)[:, :count].to(centred)).T.double()
        found = found / found.norm(dim=1, keepdim=True)
    deviations = (values.flip(0)[:count].clamp_min(0) / (len(points) - 1)).sqrt()
    return upright(found).to(points), deviations.to(points)


def components_of_w(codes: Tensor, count: int) -> Tensor:
    """Steps [count, L, D] of one deviation of codes [N, L, D] of samples (Section 3.1).

    Rows that are all alike are taken as one w: the step is then the same in each.
    """
    first = codes[:, :1]
    alike = bool((codes == first).all())
    points = codes[:, 0] if alike else codes.flatten(1)
    found, deviations = principal(points, count)
    steps = (found * deviations[:, None]).unflatten(1, (-1, codes.shape[2]))
    return steps.expand(-1, codes.shape[1], -1).contiguous()


@torch.inference_mode()
def components_of_z(
    generator: Generator,
    seeds: Sequence[int],
    count: int,
    label: int | None = None,
    layer: int = 1,
    batch: int = 50,
) -> Tensor:
    """Steps [count, 1, D] of z that move early features by one deviation of a component.

    The components x of the features at `layer` are found first; then z is fitted to them by least
    squares, U = argmin sum |U x - z|^2 (Section 3.2). The x are uncorrelated, so that each column
    of U is a mean of products.

    Args:
        generator: that takes z.
        seeds: of the samples.
        count: how many.
        label: the class of all samples; None = drawn from their seeds, where there are classes.
        layer: whose features.
        batch: samples at once.
    """
    codes, features = [], []
    for k in range(0, len(seeds), batch):
        some = seeds[k : k + batch]
        latent: Latent = generator.sample(
            some, labels=None if label is None else [label] * len(some)
        )
        codes.append(latent.code[:, 0].cpu())
        features.append(generator.features(latent, layer).flatten(1).cpu())
    points, z = torch.cat(features), torch.cat(codes)
    found, deviations = principal(points, count)
    x = (points - points.mean(0)) @ found.T / deviations.clamp_min(1e-12)
    return (x.T @ (z - z.mean(0)) / (len(z) - 1))[:, None]
