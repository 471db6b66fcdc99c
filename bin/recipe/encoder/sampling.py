"""How samples are drawn of a pair that learned without any: z -> w fitted to what it encodes."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from dseinvert.generators.stylegan2 import Mapping
from recipe.encoder.joint import Pair, encode, schedule


@torch.inference_mode()
def codes(pair: Pair, images: Tensor, batch: int = 64) -> tuple[Tensor, Tensor]:
    """[N, 3, R, R] -> (w+ rows [N, L, D], base codes in w [N, D])."""
    rows, bases = [], []
    for part in images.split(batch):
        full, taps = encode(pair, part, torch.zeros(len(part), dtype=torch.bool), noise=0)
        rows.append(full)
        bases.append((full - taps)[:, 0])
    return torch.cat(rows), torch.cat(bases)


def set_sampling(pair: Pair, bases: Tensor, seed: int, steps: int) -> float:
    """Fit the mapping network to the base codes and move the encoder's origin to its mean."""
    distance = fit_mapping(pair.generator.mapping.requires_grad_(True), bases.clone(), steps, seed)
    pair.generator.mapping.requires_grad_(False)
    mean, encoder = pair.generator.mapping.w_avg, pair.encoder
    assert encoder.base is not None
    with torch.no_grad():  # the same codes, now as offsets from the generator's mean latent
        encoder.base.bias.add_(encoder.w_avg - mean)
        encoder.w_avg.copy_(mean)
    return distance


@torch.inference_mode()
def drawn_sharp(mapping: Mapping, rows: Tensor, share: float, wider: float) -> Tensor:
    """Codes [N, D] of pictures, moved to where a critic has taught the generator to be sharp.

    A critic judges what z is mapped to; that moves away from what the encoder finds (`rows`
    [N, L, D]), where the generator stays soft. Its own codes are sharp and lie too far apart. So:
    the pictures' codes, `wider` apart, about a mean that lies `share` of the way to z's.
    """
    z = torch.randn(20_000, mapping.z_dim, generator=torch.Generator().manual_seed(0))
    codes = rows.mean(1)
    mean = codes.mean(0)
    return torch.lerp(mean, mapping(z).mean(0), share) + wider * (codes - mean)


def fit_mapping(
    mapping: Mapping, codes: Tensor, steps: int, seed: int = 0, batch: int = 512, slices: int = 48
) -> float:
    """Teach z -> w the distribution of `codes` [N, D]; sets `w_avg` to the mean it then draws.

    Sliced Wasserstein distance along random directions and along principal axes of the codes, in
    units of the codes' deviation; returns its last value.
    """
    random = torch.Generator().manual_seed(seed)
    count, width = codes.shape
    mean, scale = codes.mean(0), codes.std()
    axes = torch.linalg.eigh(torch.cov(codes.T))[1]
    optimiser = torch.optim.Adam(mapping.parameters(), lr=1e-3, betas=(0.9, 0.99))
    distance = math.inf
    for step in range(steps):
        for group in optimiser.param_groups:
            group["lr"] = 1e-3 * schedule(step, steps, 100)
        z = torch.randn(batch, mapping.z_dim, generator=random)
        real = codes[torch.randint(count, (batch,), generator=random)]
        some = axes[:, torch.randint(width, (slices,), generator=random)]
        others = F.normalize(torch.randn(width, slices, generator=random), dim=0)
        lines = torch.cat([some, others], dim=1)
        drawn, wanted = (((x - mean) / scale @ lines).sort(dim=0)[0] for x in (mapping(z), real))
        loss = (drawn - wanted).square().mean()
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        optimiser.step()
        distance = float(loss.detach())
    with torch.no_grad():
        mapping.w_avg.copy_(mapping(torch.randn(20_000, mapping.z_dim, generator=random)).mean(0))
    return distance
