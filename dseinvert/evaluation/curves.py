"""Who is left after an edit: identity against strength (F/Z+, Figure 5)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from dseinvert.editing.apply import apply_edits
from dseinvert.editing.directions import Direction
from dseinvert.editing.edits import Edit
from dseinvert.evaluation.compare import Result
from dseinvert.evaluation.frechet import Crowd
from dseinvert.evaluation.panel import Panel
from dseinvert.generators import Generator
from dseinvert.generators.tuned import synthesize
from dseinvert.latent import Latent, concat

STRENGTHS = tuple(-3 + 0.6 * k for k in range(11))
"""Eleven steps, as in the paper; in deviations of the attribute."""


@dataclass(frozen=True)
class Curve:
    """One method and one direction."""

    method: str
    direction: str
    strengths: tuple[float, ...]
    identity: Tensor
    """[S, N]: cosine of each edited picture to its source image."""
    moved: Tensor
    """[S, N]: mean squared change of the reconstruction, for an edit that does nothing keeps
    everybody who they are."""
    scores: dict[str, Tensor] = field(default_factory=dict)
    """[S, N] each: what a scorer says of the edited picture less what of the reconstruction."""
    prior: Tensor | None = None
    """[S, N]: distance of the edited code from the generator's samples; None = not measured."""
    apart: tuple[float | None, ...] = ()
    """[S]: distance of all edited pictures from all images; empty = not measured."""
    crowds: tuple[Crowd, ...] = ()
    """[S]: of all edited pictures, where others are going to be joined to them; else empty."""


def curve(
    generator: Generator,
    result: Result,
    direction: Direction,
    images: Tensor,
    panel: Panel,
    batch: int,
    watch: Callable[[], None],
    strengths: Sequence[float] = STRENGTHS,
) -> Curve:
    """Edit all inversions of a method along a direction, strength by strength."""
    people, before, crowd = panel.who(images), panel.scores(result.drawn), panel.crowd(images)
    identity, moved, prior, apart, kept = [], [], [], [], []
    scores: dict[str, list[Tensor]] = {name: [] for name in before}
    for strength in strengths:
        drawn, latent = _edited(generator, result, Edit(direction, strength), batch)
        identity.append((panel.who(drawn) * people).sum(1))
        moved.append((drawn - result.drawn).square().mean((1, 2, 3)))
        prior.append(panel.prior.distance(latent).float())
        shown = panel.crowd(drawn)
        apart.append(panel.apart(crowd, shown))
        kept.append(panel.kept(shown))
        for name, score in panel.scores(drawn).items():
            scores[name].append(score - before[name])
        watch()
    return Curve(
        result.name,
        direction.name,
        tuple(strengths),
        torch.stack(identity),
        torch.stack(moved),
        {name: torch.stack(steps) for name, steps in scores.items()},
        torch.stack(prior),
        () if None in apart else tuple(apart),
        tuple(one for one in kept if one is not None),
    )


@torch.inference_mode()
def _edited(generator: Generator, result: Result, edit: Edit, batch: int) -> tuple[Tensor, Latent]:
    """The pictures and their latents, on the CPU."""
    assert result.latent is not None
    drawn, latents = [], []
    for start in range(0, len(result.latent), batch):
        latent = result.latent[start : start + batch].to(generator.device)
        edited = apply_edits(latent, [edit], generator)
        drawn.append(synthesize(generator, edited).clamp(-1, 1).float().cpu())
        latents.append(replace(edited, feature=None, layer=None, tuning={}).to("cpu"))
    return torch.cat(drawn), concat(latents)
