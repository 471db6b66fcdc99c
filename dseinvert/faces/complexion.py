"""A change of a face that keeps its complexion: lighter or darker, but not yellow or lilac.

A generator changes the colour of all of the skin along with hair, age or a smile, and draws teeth
greener than any are.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from dseinvert.faces.paste import MIDDLE, MOUTH, head_mask, oval
from dseinvert.faces.tone import LUMA
from dseinvert.media.pixels import Doubles

Singles = NDArray[np.float32]

# The side at which casts are found, how broad they are in its pixels, and the share of skin around
# from which on one counts.
_SIDE, _BROAD, _FEW = 64, 6.0, 0.02
# How far the colours of skin stray, over their luma; shares of its luma below which hair is, and
# from which on none is; grey levels that tell no colour.
_STRAY, _HAIR, _BARE, _DARK = 0.1, 0.35, 0.7, 8.0
# How green a colour is, beside grey; how much of what skin is so, teeth are at most; and what takes
# one level of it away while the luma stays.
_GREEN, _TEETH = np.array([-0.5, 1, -0.5], np.float32), np.float32(0.3)
_LESS = (LUMA[1] - np.array([0, 1, 0])).astype(np.float32)


def in_complexion(change: Singles, source: Singles, seen: Singles) -> Singles:
    """A change [N, N, 3] in levels without the cast that is broad on the skin.

    Args:
        source: [N, N, 3] in 0 .. 255, what it is added to.
        seen: [N, N] in 0 .. 1, how much of the change is shown.

    In the mouth nothing gets greener than teeth are beside such skin, but for what was so.
    """
    side, colours = len(change), _small(source)
    bright = (colours @ LUMA).clip(1)[..., None]
    skin = np.average(colours, axis=(0, 1), weights=bright[..., 0] * oval(_SIDE, *MIDDLE)).clip(1)
    alike = _alike(colours, bright, skin)
    mouth = oval(_SIDE, *MOUTH)
    cast = _cast(_small(change), colours, bright, alike * (1 - mouth) * _small(seen))
    there = np.maximum(oval(_SIDE, *MIDDLE), head_mask(_SIDE) * alike)
    broad = cv2.resize((there[..., None] * cast).astype(np.float32), (side, side))
    kept = change - source * broad
    most = _TEETH * np.float32(skin @ _GREEN / (skin @ LUMA))
    return kept + (oval(side, *MOUTH) * _too_green(kept, source, most))[..., None] * _LESS


def _cast(changes: Doubles, colours: Doubles, bright: Doubles, weight: Doubles) -> Doubles:
    """How much each channel grows broadly, in shares of itself, beyond what luma does."""
    own = changes / colours.clip(_DARK) - (changes @ LUMA)[..., None] / bright
    around = cv2.GaussianBlur(weight, (0, 0), _BROAD)[..., None]
    broad = cv2.GaussianBlur(weight[..., None] * own, (0, 0), _BROAD)
    return np.asarray(broad / (around + _FEW))


def _alike(colours: Doubles, bright: Doubles, skin: Doubles) -> Doubles:
    """1 where colours [S, S, 3] of luma `bright` [S, S, 1] are those of skin [3], to 0."""
    own = skin @ LUMA
    apart = np.square(colours / bright - skin / own).sum(axis=-1)
    light = np.clip((bright[..., 0] / own - _HAIR) / (_BARE - _HAIR), 0, 1)
    return np.asarray(light * np.exp(-apart / (2 * _STRAY**2)))


def _too_green(change: Singles, source: Singles, most: np.float32) -> Singles:
    """Levels by which the result is greener than the source and `most` of its luma: [N, N]."""
    after = source + change
    allowed = np.maximum(most * (after @ LUMA.astype(np.float32)), source @ _GREEN)
    return np.maximum(after @ _GREEN - allowed, 0)


def _small(image: Singles) -> Doubles:
    small = cv2.resize(image, (_SIDE, _SIDE), interpolation=cv2.INTER_AREA)
    return np.asarray(small, np.float64)
