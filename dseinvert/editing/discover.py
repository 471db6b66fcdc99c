"""Finding directions: from codes and scores of the same images to named steps.

One unit of a direction is one standard deviation of its attribute over the generator's samples.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from dseinvert.editing.apply import Edit, apply_edits
from dseinvert.editing.directions import Direction, Place
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
    inverted: Latent | None = None,
    space: Place = "w+",
) -> float:
    """The factor that makes `vector` [L, D] one standard deviation of `score` over samples.

    Args:
        generator: whose samples give the deviation.
        vector: the direction.
        score: the attribute.
        seeds: of the samples.
        psi: their truncation.
        step: how far both ways the effect is measured.
        batch: latents at once.
        inverted: latents whose change is measured, features and all (a feature that an encoder
            found holds on to what it saw, so that edits move inverted pictures less than
            samples); None = the samples.
        space: of the vector; in s it is [1, S].

    Returns 0 where the vector does not raise the score at all.
    """
    direction = Direction("step", vector, space, "", "")
    samples = [generator.sample(seeds[k : k + batch], psi) for k in range(0, len(seeds), batch)]
    plain = torch.cat([score(generator.synthesize(one).clamp(-1, 1)) for one in samples])
    moved = samples
    if inverted is not None:
        inverted = replace(inverted, origin={})
        moved = [inverted[k : k + batch] for k in range(0, len(inverted), batch)]
    slopes = []
    for one in moved:
        ends = (apply_edits(one, [Edit(direction, sign * step)], generator) for sign in (1, -1))
        up, down = (score(generator.synthesize(end).clamp(-1, 1)) for end in ends)
        slopes.append((up - down) / (2 * step))
    slope = torch.cat(slopes).mean()
    return float(plain.std() / slope) if slope > 0 else 0.0


def spread(codes: Tensor, vector: Tensor) -> Tensor:
    """The step [L, D] along `vector` that is one standard deviation of the codes [N, L, D] there.

    Rows in which the vector is zero do not count.
    """
    step = vector / vector.norm()
    return step * (codes * step).sum((1, 2)).std()
