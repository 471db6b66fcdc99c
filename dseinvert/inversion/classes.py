"""The class of a real image for a generator that needs one: the class that redraws it best.

An encoder that is told a wrong class can still find some z, but what is drawn from it is further
from the image. Trying all of a thousand classes is dear, so a soft label is fitted to each image
first, by a few steps of gradient descent through encoder and generator; only the classes it ends up
with are tried in earnest. That is the work of 3 `steps` + `keep` trials instead of one a class.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from dseinvert.encoders import Encoder
from dseinvert.generators import Generator
from dseinvert.inversion.adam import Adam
from dseinvert.similarity.losses import Distance


@dataclass(frozen=True)
class ClassSearch:
    """How classes are searched for."""

    steps: int = 20
    """Of gradient descent on the soft labels."""
    keep: int = 16
    """Classes tried in earnest; with as many as there are, no soft label is fitted."""
    lr: float = 0.5
    """Of Adam on the logits of the soft labels."""

    def __post_init__(self) -> None:
        if self.steps < 1 or self.keep < 1 or self.lr <= 0:
            raise ValueError(f"steps, keep and lr must be above 0: {self}")


@dataclass(frozen=True)
class Classes:
    """The classes tried for each image [B, K], the best first, and their losses [B, K]."""

    classes: Tensor
    scores: Tensor
    label: Tensor
    """[B, number of classes], one at the best class: what `encode` takes."""


def find_classes(
    generator: Generator,
    encoder: Encoder,
    images: Tensor,
    search: ClassSearch | None = None,
    distance: Distance | None = None,
) -> Classes:
    """The classes of `images` [B, 3, R, R] in [-1, 1]; an image's answer is free of its batch.

    Args:
        generator: one with classes.
        encoder: its own, attached to it.
        images: on any device.
        search: None = the defaults.
        distance: what "best" means; None = the mean squared error.

    Raises:
        ValueError: the generator has no classes.
    """
    search, distance = search or ClassSearch(), distance or _squared_error
    count = generator.spec.classes
    if count == 0:
        raise ValueError(f"this {generator.family} has no classes to search")

    def loss(label: Tensor) -> Tensor:
        return distance(images, generator.synthesize(encoder.encode(images, label)))

    # Inside inference mode, and from its tensors, no gradient could be had.
    with torch.inference_mode(False):
        images = images.to(generator.device).clone()
        if search.keep < count:
            tried = _soft_labels(loss, images, count, search).topk(search.keep).indices
        else:
            tried = torch.arange(count, device=images.device).expand(len(images), -1)
        with torch.no_grad():
            scores = torch.stack([loss(_one_hot(column, count)) for column in tried.t()], dim=1)
    scores, order = scores.sort(dim=1, stable=True)
    tried = tried.gather(1, order)
    return Classes(tried, scores, _one_hot(tried[:, 0], count))


def _soft_labels(
    loss: Callable[[Tensor], Tensor], images: Tensor, count: int, search: ClassSearch
) -> Tensor:
    """Logits [B, count] of a label that mixes classes so as to redraw each image."""
    with torch.enable_grad():
        logits = images.new_zeros(len(images), count).requires_grad_()
        adam = Adam([logits])
        for _ in range(search.steps):
            slopes = torch.autograd.grad(loss(logits.softmax(1)).sum(), logits)
            adam.step(slopes, [search.lr])
    return logits.detach()


def _one_hot(classes: Tensor, count: int) -> Tensor:
    return F.one_hot(classes, count).float()


def _squared_error(images: Tensor, drawn: Tensor) -> Tensor:
    return (drawn - images).square().mean(dim=(1, 2, 3))
