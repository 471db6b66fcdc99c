"""What lies behind a head, told from the head by its colours: edits leave it as it is.

A generator tints the wall when it changes hair, and paints wall where hair or an ear was.
"""

from __future__ import annotations

from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

from dseinvert.faces.paste import head_mask, oval
from dseinvert.media.pixels import Levels, Pixels

Singles = NDArray[np.float32]

# The side at which a crop is judged, and that of the grid of samples that it is compared with.
SIDE, _GRID = 64, 12
# How far a sample speaks for what is around it, in sides; grey levels at which it is of another
# colour; what is smoothed away before, in pixels.
_NEAR, _OTHER, _SMOOTH = 0.2, 14.0, 0.7
# How much more a sample of the head counts, and the likelihood at which neither is meant.
_HEAD_FIRST, _NEITHER = 4.0, 0.05
# Samples of what is behind lie beside the head, above the shoulders, where long hair is seldom:
# from so far out of the middle on, and down to there, in sides, with the widths of the slopes.
_BESIDE, _ABOVE = (0.28, 0.1), (0.75, 0.15)
# Centres and radii, as far as they reach: of the part of a face that every head shows, however it
# is turned, and of where samples are of the head, which leaves out most wall beside one that is.
_CORE = (0.5, 0.58), (0.25, 0.34)
_INNER = (0.5, 0.5), (0.38, 0.54)
_HEAD = 0.8
# Shares to which all is of the head, and from which on all is behind it.
_HEADS, _BEHIND = 0.27, 0.52


def before(original: Pixels, edited: Levels, side: int) -> Singles:
    """1 where both pictures of a crop show a head, softly to 0 where one shows what is behind it.

    Args:
        original: uint8 [M, M, 3], in the framing of FFHQ.
        edited: [N, N, 3] of the same quad.
        side: of the result [side, side].

    What an edit changes there is a tint, or an outline that moved: half of either is a veil.
    """
    kept = (1 - behind(original)) * (1 - behind(edited))
    return np.asarray(cv2.resize(kept, (side, side), interpolation=cv2.INTER_LINEAR), np.float32)


def behind(crop: Levels) -> Singles:
    """How likely each place of a crop [N, N, 3] shows what is behind the head: [64, 64].

    The share of samples nearby, outside and inside the head, that are of its colour. It is low
    where both are and where none is, and 0 in the middle of the face.
    """
    colours = _colours(crop)
    samples = cv2.resize(colours, (_GRID, _GRID), interpolation=cv2.INTER_AREA).reshape(-1, 3)
    colours = colours.reshape(-1, 3)
    outside, inside = (
        (weights * _alike(colours, samples[chosen])).sum(axis=1) for chosen, weights in _sampled()
    )
    share = outside / (outside + _HEAD_FIRST * inside + _NEITHER)
    rise = np.clip((share - _HEADS) / (_BEHIND - _HEADS), 0, 1)
    likely = (rise * rise * (3 - 2 * rise)).reshape(SIDE, SIDE)
    return np.asarray(likely * (1 - oval(SIDE, *_CORE)), np.float32)


def _colours(crop: Levels) -> Singles:
    method = cv2.INTER_AREA if len(crop) > SIDE else cv2.INTER_LINEAR
    small = cv2.resize(crop, (SIDE, SIDE), interpolation=method).astype(np.float32)
    return np.asarray(cv2.GaussianBlur(small, (0, 0), _SMOOTH), np.float32)


def _alike(colours: Singles, samples: Singles) -> Singles:
    """1 for equal colours [P, 3] and [K, 3], to 0 for others: [P, K]."""
    squares = (colours**2).sum(1)[:, None] + (samples**2).sum(1) - 2 * colours @ samples.T
    return np.exp(squares / (-6 * _OTHER**2))


@lru_cache(maxsize=1)
def _sampled() -> tuple[tuple[NDArray[np.bool_], Singles], tuple[NDArray[np.bool_], Singles]]:
    """Which samples are outside and inside the head, each with what it says of a place [P, K]."""
    place = (np.arange(SIDE) + 0.5) / SIDE
    aside = np.clip((np.abs(place - 0.5) - _BESIDE[0]) / _BESIDE[1], 0, 1)
    high = np.clip((_ABOVE[0] - place) / _ABOVE[1], 0, 1)
    head = head_mask(SIDE)
    outside = np.clip(1 - 1.5 * head, 0, 1) * high[:, None] * aside
    inner = oval(SIDE, *_INNER) > _HEAD
    return _speaking(outside), _speaking(inner.astype(np.float32))


def _speaking(share: Singles) -> tuple[NDArray[np.bool_], Singles]:
    size = (_GRID, _GRID)
    weights = cv2.resize(share.astype(np.float32), size, interpolation=cv2.INTER_AREA).ravel()
    chosen = weights > 0.05
    near = _nearness(_GRID, SIDE)
    said = np.einsum("yv,xu->yxvu", near, near).reshape(SIDE * SIDE, -1)[:, chosen]
    said = said * weights[chosen]
    return chosen, np.asarray(said / said.sum(axis=1, keepdims=True), np.float32)


def _nearness(samples: int, places: int) -> Singles:
    """Of places to samples along one side: [places, samples]."""
    apart = (np.arange(places)[:, None] + 0.5) / places - (np.arange(samples) + 0.5) / samples
    return np.asarray(np.exp(-(apart**2) / (2 * _NEAR**2)), np.float32)
