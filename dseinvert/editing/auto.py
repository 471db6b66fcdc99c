"""How far an edit may go: to the largest strength at which the person stays who it is."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from dseinvert.editing.apply import apply_edits
from dseinvert.editing.edits import AutoEdit, Edit, Step
from dseinvert.generators import Generator
from dseinvert.generators.tuned import synthesize
from dseinvert.latent import Latent

MOST = 3
"""Units that `auto` goes at most: beyond, pictures break even where the person is still known."""
HALVINGS = 5

Likeness = Callable[[Tensor], Tensor]
"""Strengths [B], one for each sample -> cosine of the person edited so to the one before [B]."""


@torch.no_grad()
def settle(latent: Latent, edits: Sequence[Step], generator: Generator) -> tuple[Step, ...]:
    """The same edits, with a strength for each sample in place of `auto`.

    The person is compared with the picture of the latent as it is, the other edits act as well.
    """
    auto = next((edit for edit in edits if isinstance(edit, AutoEdit)), None)
    if auto is None:
        return tuple(edits)
    others = [edit for edit in edits if edit is not auto]
    keeper = auto.keeper
    person = keeper.identity(_drawn(generator, latent))

    def edit(strengths: Tensor) -> Edit:
        return Edit(auto.direction, strengths, auto.rows)

    def likeness(strengths: Tensor) -> Tensor:
        moved = apply_edits(latent, [*others, edit(strengths)], generator)
        return (keeper.identity(_drawn(generator, moved)) * person).sum(1)

    ways = [auto.sign] if auto.sign else [1, -1]
    reached = [largest(likeness, len(latent), way, keeper.floor).to(person) for way in ways]
    best = reached[0]
    for other in reached[1:]:
        best = torch.where(other.abs() > best.abs(), other, best)
    return tuple(edit(best) if one is auto else one for one in edits)


def largest(likeness: Likeness, count: int, sign: int, floor: float, most: int = MOST) -> Tensor:
    """Whole units until the likeness first falls below `floor`, then halving between: [count].

    0 for samples that no strength leaves above the floor.
    """
    good, alive = torch.zeros(count), torch.ones(count, dtype=torch.bool)
    for unit in range(1, most + 1):
        alive &= likeness(torch.full((count,), float(sign * unit))).cpu() >= floor
        good = torch.where(alive, float(unit), good)
        if not alive.any():
            break
    bad = (good + 1).clamp(max=most)
    for _ in range(HALVINGS):
        middle = (good + bad) / 2
        kept = likeness(sign * middle).cpu() >= floor
        good, bad = torch.where(kept, middle, good), torch.where(kept, bad, middle)
    return sign * good


def _drawn(generator: Generator, latent: Latent) -> Tensor:
    return synthesize(generator, latent.to(generator.device)).clamp(-1, 1)
