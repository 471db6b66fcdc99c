"""Directions by descent through the generator: what they shall do, and what they shall leave alone.

A regressed direction is where codes of people with an attribute lie, with all that goes along with
it. Here every direction is moved until, on pictures, it moves its own score as far as it is asked
(Goetschalckx et al., "GANalyze", ICCV 2019, Equation 2) and nothing else: not the other scores, not
what lies beside the head, not what makes the face that person's.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dseinvert.faces.paste import head_mask
from dseinvert.generators.stylegan2 import StyleGAN2
from dseinvert.latent import Latent
from recipe.labels.shaken import shake

Scoring = Callable[[Tensor], Tensor]
"""[B, 3, R, R] in [-1, 1] -> scores [B, A]."""


@dataclass(frozen=True)
class Steering:
    """For how long, and what weighs how much; a score counts in its deviations."""

    steps: int = 500
    rate: float = 0.02
    """Of a vector's own size, a step; falls to nothing."""
    longest: float = 2.5
    """Strengths are drawn up to it, on both sides."""
    others: float = 0.06
    beside: float = 12.0
    """Of the absolute change beside the head."""
    person: float = 0.25
    """Of the distance of features."""
    tint: float = 1.0
    """Of the absolute change of the head's light, blurred; of its hues three times as much."""
    kept: float = 0.02
    """Of the squared distance from where a vector began, in its own size."""
    shaken: bool = False
    """Whether scores are of pictures that are moved and lit a little."""
    seed: int = 0


@dataclass(frozen=True)
class Faces:
    """What directions are tried on: latents, and what is known of their pictures."""

    latents: Latent
    images: Tensor
    """[N, 3, R, R], as the latents draw them."""

    def __getitem__(self, at: Tensor) -> Faces:
        return Faces(self.latents[at], self.images[at])


def steer(
    generator: StyleGAN2,
    faces: Faces,
    vectors: Tensor,
    scoring: Scoring,
    spared: Tensor,
    tinted: Tensor,
    distance: nn.Module,
    options: Steering,
) -> Tensor:
    """The vectors [V, L, D] after descent; the k-th moves the k-th score.

    Args:
        vectors: each moves its own score by about one.
        scoring: scores [B, A] in deviations, with a gradient.
        spared: [V, A], how much each vector shall leave each score alone: 0 = as it likes.
        tinted: [V], 1 for those that may not change the head's colours, else 0.
        distance: images, images -> [B].
    """
    size = vectors.flatten(1).norm(dim=1)[:, None, None]
    shift = torch.zeros_like(vectors).requires_grad_(True)
    unit = size / vectors[0].numel() ** 0.5
    adam = torch.optim.Adam([shift], options.rate, betas=(0.9, 0.99))
    chance = torch.Generator().manual_seed(options.seed)
    for step in range(options.steps):
        adam.param_groups[0]["lr"] = options.rate * (1 - step / options.steps)
        few = faces[torch.randint(len(faces.images), (len(vectors),), generator=chance)]
        strengths = drawn_strengths(len(vectors), options.longest, chance)
        moved = vectors + shift * unit
        after = edited(generator, few.latents, strengths[:, None, None] * moved)
        shown = shake(len(few.images), chance) if options.shaken else torch.nn.Identity()
        with torch.no_grad():
            before = scoring(shown(few.images))
        loss = (
            _scored(scoring(shown(after)) - before, strengths, spared, options)
            + _left(few.images, after, tinted, options)
            + options.person * distance(few.images, after).mean()
            + options.kept * shift.square().mean()
        )
        adam.zero_grad()
        loss.backward()
        adam.step()
    return (vectors + shift * unit).detach()


def drawn_strengths(count: int, longest: float, chance: torch.Generator) -> Tensor:
    """[count], of both signs, from a fifth of the longest on."""
    sizes = 0.2 + 0.8 * torch.rand(count, generator=chance)
    signs = torch.randint(2, (count,), generator=chance) * 2 - 1
    return longest * sizes * signs


def edited(generator: StyleGAN2, latents: Latent, steps: Tensor) -> Tensor:
    """The pictures [B, 3, R, R] of latents moved by steps [B, L, D], F by the difference rule.

    What `apply_edits` and the generator make of them, with a gradient for the steps.
    """
    net, rows, layer = generator.synthesis, latents.code + steps, latents.layer
    if latents.feature is None or layer is None:
        return net(rows)
    with torch.no_grad():
        own = net.features(latents.code, layer)
    feature = latents.feature + net.features(rows, layer) - own
    return net(rows, feature, layer, latents.skip)


def _scored(moved: Tensor, strengths: Tensor, spared: Tensor, options: Steering) -> Tensor:
    """How far the scores [V, A] moved otherwise than meant."""
    own = (moved.diagonal() - strengths).square().mean()
    return own + options.others * (spared * moved.square()).sum(1).mean()


def _left(before: Tensor, after: Tensor, tinted: Tensor, options: Steering) -> Tensor:
    """How far pictures changed where and in what they shall not."""
    side = before.shape[-1]
    head = torch.from_numpy(head_mask(side)).to(before)
    change = after - before
    beside = (change.abs().mean(1) * (1 - head)).mean() / (1 - head).mean()
    light = change.mean(1, keepdim=True)
    lit = F.avg_pool2d(light * head, side // 8).abs().mean((1, 2, 3))
    hued = F.avg_pool2d((change - light) * head, side // 16).abs().mean((1, 2, 3))
    return options.beside * beside + options.tint * (tinted * (lit + 3 * hued)).mean()
