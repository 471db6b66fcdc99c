"""People before other backgrounds without the rim that a cut-out leaves, for a critic to look at.

A critic learns whatever all of its pictures share, and asks a generator for it: pale outlines, too.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from dseinvert.media.pixels import Pixels
from dseinvert.training.pictures import Variations, Vary, foreground

_SOLID = 250  # of 255: where a pixel is the person's alone
_REACH = 2.0  # pixels that the person's own colours are carried outwards


def cut_out(picture: Pixels) -> tuple[Pixels, Pixels]:
    """The person with their own colours carried outwards, and a mask a little inside the outline.

    Both uint8, [S, S, 3] and [S, S]; the picture itself and all 255 before no plain background.
    """
    mask = foreground(picture)
    if mask.min() == 255:
        return picture, mask
    kernel = np.ones((3, 3), np.uint8)
    solid = cv2.erode((mask > _SOLID).astype(np.uint8), kernel, iterations=2).astype(np.float32)
    inside = cv2.GaussianBlur(picture * solid[..., None], (0, 0), _REACH)
    weight = cv2.GaussianBlur(solid, (0, 0), _REACH)[..., None]
    own = np.where(solid[..., None] > 0, picture, inside / np.maximum(weight, 1e-3))
    narrow = cv2.GaussianBlur(cv2.erode(mask, kernel), (0, 0), 0.8)
    return own.clip(0, 255).astype(np.uint8), narrow


def mildly(people: Pixels, masks: Pixels, share: float = 0.5) -> Vary:
    """Variations in framing and, less than for an encoder, in light.

    Args:
        people: [N, S, S, 3] of `cut_out`, as are `masks` [N, S, S].
        masks: all 255 = this one keeps its background.
        share: of the others that stand before another background.
    """

    def vary(varied: Variations, rng: np.random.Generator, index: int) -> NDArray[np.float32]:
        picture = varied.pictures[index].astype(np.float32) / 255
        if rng.random() < share and masks[index].min() < 255:
            mask = masks[index].astype(np.float32)[..., None] / 255
            person = people[index].astype(np.float32) / 255
            picture = (mask * person + (1 - mask) * varied.background(rng)).astype(np.float32)
        return (little_light(rng, varied.frame(rng, picture)) * 2 - 1).astype(np.float32)

    return vary


def little_light(rng: np.random.Generator, picture: NDArray[np.float32]) -> NDArray[np.float32]:
    """Exposure, tint, saturation, contrast and a side light, each a little: [S, S, 3] in 0..1."""
    picture = np.clip(picture, 1e-3, 1) ** np.exp(rng.normal(0, 0.1))
    picture = picture * np.exp(rng.normal(0, 0.03, 3)) * np.exp(rng.normal(0, 0.06))
    grey = picture.mean(axis=2, keepdims=True)
    picture = grey + (picture - grey) * rng.uniform(0.75, 1.2)
    picture = 0.5 + (picture - 0.5) * rng.uniform(0.9, 1.1)
    if rng.random() < 0.3:
        angle, ramp = rng.uniform(0, 2 * np.pi), np.linspace(-1, 1, len(picture))
        slope = np.cos(angle) * ramp[:, None] + np.sin(angle) * ramp[None]
        picture = picture * (1 + rng.uniform(0, 0.3) * slope[..., None])
    return np.clip(picture, 0, 1).astype(np.float32)
