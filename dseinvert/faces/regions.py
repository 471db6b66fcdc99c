"""`--region`: soft parts of a face in the FFHQ framing, which are as steady as its crop is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from dseinvert.faces.mask import Mask, open_mask
from dseinvert.faces.paste import FACE_CENTRE, FACE_RADII, MOUTH, mask_weight
from dseinvert.media.pixels import Levels
from dseinvert.written import regions_of

Oval = tuple[tuple[float, float], tuple[float, float]]
"""Centre and radii in fractions of the side of a crop, as far as it reaches."""
Singles = NDArray[np.float32]
# How much of the way to its middle a region takes to rise: more than a mask, for it is small.
_FEATHER = 0.6
_EYES: tuple[Oval, Oval] = ((0.377, 0.455), (0.14, 0.1)), ((0.623, 0.455), (0.14, 0.1))
_FACE: Oval = FACE_CENTRE, FACE_RADII
# The face with its forehead, around which the hair is, and the whole head.
_BARE: Oval = (0.5, 0.57), (0.31, 0.44)
_HEAD: Oval = (0.5, 0.42), (0.5, 0.55)


def open_where(mask: str | None, region: str | None, side: int) -> Mask | None:
    """Where an edit may show in crops of that side: `--mask`, and in it `--region`; None = all.

    A region is of the head: of what is behind it, it takes nothing.

    Raises:
        UsageError: neither a mask nor a region that is known.
    """
    opened = open_mask(mask, side)
    if region is None:
        return opened
    shape, name = region_mask(region, side), "+".join(sorted(regions_of(region)))
    if opened is None:
        return Mask(name, lambda edited, recon: shape, on_head=True)
    of = opened.of

    def both(edited: Levels, recon: Levels) -> Singles:
        return np.asarray(of(edited, recon) * shape, np.float32)

    return replace(opened, name=f"{opened.name} {name}", of=both, on_head=True)


def region_mask(region: str, side: int) -> Singles:
    """1 in a region, or several with commas, softly to 0 around it: [side, side]."""
    shapes = [_SHAPES[name](side) for name in regions_of(region)]
    return np.asarray(np.max(shapes, axis=0), np.float32)


def _oval(side: int, oval: Oval) -> Singles:
    place = (np.arange(side) + 0.5) / side
    (x, y), (across, down) = oval
    u, v = (place[None] - x) / across, (place[:, None] - y) / down
    return mask_weight(u, v, _FEATHER, roundness=2.0)


def _mouth(side: int) -> Singles:
    return _oval(side, MOUTH)


def _eyes(side: int) -> Singles:
    return np.maximum(*(_oval(side, eye) for eye in _EYES))


def _skin(side: int) -> Singles:
    return _oval(side, _FACE) * (1 - _eyes(side)) * (1 - _mouth(side))


def _hair(side: int) -> Singles:
    return _oval(side, _HEAD) * (1 - _oval(side, _BARE))


_SHAPES: dict[str, Callable[[int], Singles]] = {
    "mouth": _mouth,
    "eyes": _eyes,
    "hair": _hair,
    "skin": _skin,
}
