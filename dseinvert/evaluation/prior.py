"""How far codes are from where a generator's own samples lie: what editing them will feel.

Codes that leave the distribution of w draw their image, but directions learned from samples do not
hold there (LSAP, Cao et al., 2022; Improved StyleGAN Embedding, Zhu et al., 2020).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from dseinvert.generators import Generator
from dseinvert.latent import Latent

SAMPLES, AT_ONCE = 4096, 256
FIRST_SEED = 2**31 + 2**30  # among the held-out half
LEAST_SHARE = 1e-6  # of the largest variance: directions with less are noise


@dataclass(frozen=True)
class Prior:
    """The mean [D] of the rows of a generator's samples, and what makes them white [D, D]."""

    generator: Generator
    mean: Tensor
    white: Tensor

    def distance(self, latent: Latent) -> Tensor:
        """[B]: Mahalanobis distance of the rows, root mean square over rows and D.

        1 = as far from the mean as samples are on the average.
        """
        rows = rows_of(self.generator, latent.to(self.generator.device)).double().cpu()
        return ((rows - self.mean) @ self.white).square().mean((1, 2)).sqrt()


@torch.inference_mode()
def prior(generator: Generator, samples: int = SAMPLES) -> Prior:
    """The distribution of w, or of z where the generator has no w, by its samples."""
    seeds = range(FIRST_SEED, FIRST_SEED + samples)
    parts = (list(seeds[k : k + AT_ONCE]) for k in range(0, samples, AT_ONCE))
    rows = [rows_of(generator, generator.sample(part))[:, 0].double().cpu() for part in parts]
    codes = torch.cat(rows)
    values, vectors = torch.linalg.eigh(codes.T.cov())
    kept = values > LEAST_SHARE * values.max()
    scale = torch.where(kept, values.clamp_min(1e-30).rsqrt(), 0.0)
    # Divided by what is kept, so that a sample's mean square is 1 whatever the rank.
    scale = scale * (len(kept) / kept.sum()).sqrt()
    return Prior(generator, codes.mean(0), vectors * scale)


def rows_of(generator: Generator, latent: Latent) -> Tensor:
    """The rows [B, L, D] that the layers see, in w where the generator has one."""
    return generator.rows(replace(latent, feature=None, layer=None))
