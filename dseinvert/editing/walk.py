"""Walks on the sphere that z is drawn from (F/Z+, Katsumata et al., 2024, Equation 1)."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from dseinvert.generators import Generator


def walk(z: Tensor, step: Tensor) -> Tensor:
    """Where tiny steps along `step`, each followed by a return to the sphere, lead in the limit.

    With the unit vector n along the step, s its length over the radius sqrt(D) and t the angle
    between z and n, tan(t / 2) shrinks by exp(-s): a step of any length ends on the sphere,
    and two steps along the same n are one.

    Args:
        z: [..., D], brought to the sphere first.
        step: [..., D] or what broadcasts to it; each row walks by itself.

    Returns [..., D] of length sqrt(D).
    """
    radius = z.shape[-1] ** 0.5
    z = F.normalize(z, dim=-1)
    length = step.norm(dim=-1, keepdim=True)
    towards = step / length.clamp(min=1e-12)
    cosine = (z * towards).sum(-1, keepdim=True)
    shrink = (-length / radius).exp()
    near, far = 1 + cosine, (1 - cosine) * shrink.square()
    moved = (near - far) * towards + 2 * shrink * (z - cosine * towards)
    return radius * moved / (near + far)


def on_sphere(generator: Generator) -> bool:
    """Whether only the direction of z counts; others take z as it is."""
    return generator.z_limit is None
