"""Finding directions: from codes and scores of the same images to named steps.

One unit of a direction is one standard deviation of its attribute over the generator's samples.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from dseinvert.generators import Generator
from dseinvert.latent import Latent

Score = Callable[[Tensor], Tensor]
"""Images [B, 3, R, R] in [-1, 1] -> one number each [B]."""


def regress(codes: Tensor, scores: Tensor) -> Tensor:
    """How codes [N, L, D] move with each of the scores [N, A]: one vector an attribute [A, L, D].

    All attributes are fitted together, so that what two of them share (the old wear glasses more
    often) is not counted twice. Scores are standardised; a vector is the step of one deviation.
    """
    standard = (scores - scores.mean(0)) / scores.std(0)
    design = torch.cat([standard, torch.ones(len(standard), 1)], dim=1)
    solution = torch.linalg.lstsq(design.double(), codes.flatten(1).double()).solution
    return solution[:-1].float().unflatten(1, codes.shape[1:])


@torch.inference_mode()
def calibrate(
    generator: Generator,
    vector: Tensor,
    score: Score,
    seeds: Sequence[int],
    psi: float = 1.0,
    step: float = 1.0,
    batch: int = 50,
) -> float:
    """The factor that makes `vector` [L, D] one standard deviation of `score` over samples.

    Returns 0 where the vector does not raise the score at all.
    """
    plain, slopes = [], []
    for start in range(0, len(seeds), batch):
        code = generator.sample(seeds[start : start + batch], psi).code
        drawn = [
            score(generator.synthesize(Latent(code + sign * step * vector, "w+")).clamp(-1, 1))
            for sign in (-1, 0, 1)
        ]
        plain.append(drawn[1])
        slopes.append((drawn[2] - drawn[0]) / (2 * step))
    deviation, slope = torch.cat(plain).std(), torch.cat(slopes).mean()
    return float(deviation / slope) if slope > 0 else 0.0
