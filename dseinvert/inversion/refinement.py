"""What may follow an encoder: improving each image's inversion, as long as a budget lasts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from dseinvert.latent import Latent
from dseinvert.similarity.losses import Distance

Watch = Callable[[int, Tensor], None]
"""Is called after each step with its number from 1 and the losses [B]."""


@dataclass(frozen=True)
class Budget:
    """When the refinement of an image ends: at whichever comes first."""

    steps: int
    """At most so many."""
    seconds: float | None = None
    """Wall seconds for each image, however many share a batch; None = no limit. The number of
    steps, and so the result, then depends on the machine."""
    until: float | None = None
    """An image is done once `goal` is at or below this; None = not before the steps are."""
    goal: Distance | None = None
    """What `until` is about; None = the refinement's own image loss."""

    def done(self, step: int, seconds: float, within: float = 0.5) -> float:
        """The share of the work that is behind, in the middle of the coming step; from 1 on, all.

        Args:
            step: steps taken.
            seconds: of wall time, for each image.
            within: another point of the coming step than its middle, 0..1.
        """
        share = (step + within) / self.steps if step < self.steps else 1.0
        if self.seconds is None:
            return share
        return max(share, seconds / max(1e-9, self.seconds))  # none may be left for a later stage

    def judged(self, images: Tensor, drawn: Tensor, losses: Tensor) -> Tensor:
        """[B] what `until` is about, lower is better.

        Args:
            images: [B, 3, R, R] in [-1, 1].
            drawn: the same shape, not clamped.
            losses: [B], the refinement's own.
        """
        if self.until is None or self.goal is None:
            return losses
        return self.goal(images, drawn.clamp(-1, 1))

    def reached(self, judged: Tensor) -> Tensor:
        """[B] bool: which images need no further step, by what `judged` says of them [B]."""
        if self.until is None:
            return torch.zeros_like(judged, dtype=torch.bool)
        return judged <= self.until


@dataclass(frozen=True)
class Before:
    """What a batch was before it entered a space that may not hold it."""

    latent: Latent
    images: Tensor
    """[B, 3, R, R] in [-1, 1], drawn from the latent."""
    losses: Tensor
    """[B] by the image loss of the refinement that followed."""


@dataclass(frozen=True)
class Refined:
    """What a refinement made of a batch: for each image the best that it met."""

    latent: Latent
    images: Tensor
    """[B, 3, R, R] in [-1, 1], drawn from the latent."""
    steps: Tensor
    """[B] int64: steps taken."""
    losses: Tensor
    """[B] the image loss of the best, at most that of the start within the space."""
    before: tuple[Before, ...] = ()
    """What the batch was each time that it entered a space, which may have been better."""
    maps: Tensor | None = None
    """[B, R, R] uint8: where F of which layer corrects the image, 0 = nowhere; None = no map."""


class Refine(Protocol):
    """A refinement with all its options; an image's result is free of its batch."""

    def __call__(
        self, images: Tensor, start: Latent, budget: Budget, watch: Watch | None = None
    ) -> Refined:
        """Improve `start`, the encoder's latents of `images` [B, 3, R, R] in [-1, 1].

        Never worse than the start by its own image loss: where nothing helps, the start returns.
        One that moves in a space which may not hold the start tells what that was in `before`.
        """
