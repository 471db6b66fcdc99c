"""The way back into the photo: a feathered paste of a crop, or of what an edit changed in it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from dseinvert.faces.align import crop, crop_matrix, quad_side
from dseinvert.faces.tone import Tone, tone_of
from dseinvert.media.pixels import Floats, Levels, Pixels, rounded

# The exponent of the mask's outline: 2 is an ellipse, 4 a rounded square, more a square.
ROUNDNESS = 4.0
# How much of the way from the crop's border to its centre the mask takes to rise from 0 to 1.
FEATHER = 0.3
# Where an FFHQ crop holds the face, in fractions of its side, as far as the mask reaches.
FACE_CENTRE, FACE_RADII = (0.5, 0.58), (0.33, 0.4)
# The same of its middle, an open mouth, and the head with its hair.
MIDDLE, MOUTH = ((0.5, 0.6), (0.22, 0.3)), ((0.5, 0.735), (0.2, 0.13))
HEAD_CENTRE, HEAD_RADII = (0.5, 0.5), (0.42, 0.52)
# Changes of a pixel, of 255, that an automatic mask leaves out and takes in whole; and those beyond
# the head, where a generator tints what is behind it.
LITTLE, MUCH = 6.0, 24.0
TINT, NO_TINT = 36.0, 84.0
# The side at which a reconstruction is compared with its original; what is blurred away of their
# difference, and what is broad in it and does no harm; grey levels, and times the mean, at which
# trust falls to 1/e; how far distrust reaches and how softly it ends.
AGREEMENT_SIDE, FINE, BROAD = 64, 1.0, 8.0
DOUBT, DOUBT_MEANS, REACH, SOFT = 20.0, 2.0, 5, 2.0
# Pixels of a window that is done at once, and of each strip of a larger one; the largest side, in
# pixels, that a change is drawn at before it is put in place.
_WHOLE, _STRIP, _LARGEST = 4 << 20, 1 << 20, 4096
# Grey levels of change for which the rim of a mask is squared.
ABRUPT = 15.0


def paste(
    photo: Pixels,
    patch: Pixels,
    quad: Floats,
    feather: float = FEATHER,
    roundness: float = ROUNDNESS,
    match_color: bool = False,
) -> Pixels:
    """The photo uint8 [H, W, 3] with `patch` uint8 [N, N, 3] blended into the quad; a new array.

    Pixels where the mask is 0 stay bit-identical. `match_color` first shifts the patch to the
    photo's mean colour in the feathered ring.
    """
    source = patch.astype(np.float32)
    if match_color:
        source += _ring_shift(photo, patch, quad, feather, roundness)
    window = window_of(photo, quad)
    under = photo[window].astype(np.float32)
    mask = _mask(window, quad, feather, roundness)
    return put(photo, window, under + mask * (warp_back(source, quad, window) - under))


def paste_difference(
    photo: NDArray[Any],
    edited: Levels,
    reconstruction: Levels,
    quad: Floats,
    feather: float = FEATHER,
    roundness: float = ROUNDNESS,
    trust: NDArray[np.float32] | None = None,
    tone: Tone | None = None,
) -> NDArray[Any]:
    """The photo with `edited - reconstruction` (both [N, N, 3]) added in the quad; a new array.

    The photo, uint8 or uint16, keeps its own sharpness, and an edit that changes nothing returns it
    bit for bit.
    `trust` [N, N] says how much of the change to add, such as `agreement`; None = all. `tone` is
    that of a photo without colours; None = it has some.
    """
    change = edited.astype(np.float32) - reconstruction.astype(np.float32)
    if trust is not None:
        change *= trust[..., None]
    result, fitted = photo.copy(), _fitted(change, quad)
    for window in _strips(window_of(photo, quad)):
        mask = _mask(window, quad, feather, roundness)
        added = mask * _warped(fitted, quad, window)
        if tone is not None:
            added = tone(photo[window] / level_of(photo), added)
        result[window] = as_samples(photo[window] + level_of(photo) * added, photo)
    return result


def level_of(photo: NDArray[Any]) -> np.float32:
    """What one of 255 grey levels is in the samples of a photo."""
    return np.float32(257 if photo.dtype == np.uint16 else 1)


def as_samples(values: NDArray[Any], photo: NDArray[Any]) -> NDArray[Any]:
    """Values rounded to samples such as a photo has, uint8 or uint16."""
    whole = np.rint(values)
    return np.clip(whole, 0, np.iinfo(photo.dtype).max, out=whole).astype(photo.dtype)


def keep_original(
    original: Pixels, edited: Levels, reconstruction: Levels, mask: NDArray[np.float32]
) -> Levels:
    """The crop with what an edit changed added where the mask [N, N] is above 0.

    All [N, N, 3]; rounded where the edit is. As in a photo that is pasted into, the original keeps
    its detail, and where the mask is 0 its pixels bit for bit; one without colours gets none.
    """
    change = mask[..., None] * (edited.astype(np.float32) - reconstruction.astype(np.float32))
    tone = tone_of(original)
    if tone is not None:
        change = tone(original, change)
    result = np.asarray(original + change, np.float32).clip(0, 255)
    return rounded(result) if edited.dtype == np.uint8 else result


def agreement(original: Pixels, reconstruction: Levels) -> NDArray[np.float32]:
    """How far what an edit changed in a reconstruction is true of the original: [N, N], 0 .. 1.

    Args:
        original: uint8 crop [M, M, 3].
        reconstruction: [N, N, 3] of the same quad.

    Where they show different things (a mouth that is shut in one only, hair before a cheek), a
    change leaves the old thing standing beside the new one. So trust is exp(-(gap / doubt)^2) of
    the largest gap nearby. A gap that is broad is another light or tone, and is left out; a model
    that meets nothing well is doubted less, for an edit should be seen.
    """
    side = (AGREEMENT_SIDE, AGREEMENT_SIDE)
    one, other = (
        cv2.resize(crop, side, interpolation=cv2.INTER_AREA).astype(np.float32)
        for crop in (original, reconstruction)
    )
    gap = cv2.GaussianBlur(one - other, (0, 0), FINE)
    gap -= cv2.GaussianBlur(gap, (0, 0), BROAD)
    size = cv2.dilate(np.sqrt((gap * gap).mean(-1)), np.ones((REACH, REACH)))
    doubt = max(DOUBT, DOUBT_MEANS * float(size.mean()))
    trust = cv2.GaussianBlur(np.exp(-((size / doubt) ** 2)), (0, 0), SOFT)
    shape = reconstruction.shape[1::-1]
    return np.asarray(cv2.resize(trust, shape, interpolation=cv2.INTER_LINEAR), np.float32)


def tightened(mask: NDArray[np.float32], change: NDArray[np.floating[Any]]) -> NDArray[np.float32]:
    """A mask [N, N] with less of its rim where the change [M, M, 3] is large.

    Half of a slight change is still that change; half of skin on hair is a veil.
    """
    size = cv2.GaussianBlur(np.abs(change).max(-1), (0, 0), len(change) / 64)
    size = cv2.resize(size, mask.shape[::-1], interpolation=cv2.INTER_LINEAR)
    return np.asarray(mask ** (1 + size / ABRUPT), np.float32)


def change_mask(edited: Levels, reconstruction: Levels) -> NDArray[np.float32]:
    """1 where an edit changed much and around it, softly to 0 where it changed little: [N, N].

    Beyond the head generators tint what is behind it: there only what is far more counts.
    """
    change = edited.astype(np.float32) - reconstruction.astype(np.float32)
    side = len(change)
    width = 1 + 2 * (side // 64)
    size = cv2.dilate(np.abs(change).max(-1), np.ones((width, width)))
    inside = head_mask(side)
    little, much = (
        inside * head + (1 - inside) * beyond for head, beyond in ((LITTLE, TINT), (MUCH, NO_TINT))
    )
    rise = np.clip((cv2.GaussianBlur(size, (0, 0), side / 64) - little) / (much - little), 0, 1)
    return np.asarray(cv2.GaussianBlur(rise, (0, 0), side / 64), np.float32)


def face_mask(side: int) -> NDArray[np.float32]:
    """1 on the face of an FFHQ crop, from brows to chin, softly to 0 around it: [N, N]."""
    return oval(side, FACE_CENTRE, FACE_RADII)


def head_mask(side: int) -> NDArray[np.float32]:
    """1 on the head of an FFHQ crop with its hair, softly to 0 around it: [N, N]."""
    return oval(side, HEAD_CENTRE, HEAD_RADII)


def crop_mask(side: int) -> NDArray[np.float32]:
    """1 within any crop, softly to 0 at its border, as `paste` takes it: [N, N]."""
    place = (np.arange(side) + 0.5) / side * 2 - 1
    return mask_weight(place[None], place[:, None])


def oval(side: int, centre: tuple[float, float], radii: tuple[float, float]) -> NDArray[np.float32]:
    """1 in an oval of a crop, softly to 0 at its radii, in fractions of the side: [N, N]."""
    place = (np.arange(side) + 0.5) / side
    (x, y), (across, down) = centre, radii
    return mask_weight((place[None] - x) / across, (place[:, None] - y) / down, roundness=2.5)


def mask_weight(
    u: Floats, v: Floats, feather: float = FEATHER, roundness: float = ROUNDNESS
) -> NDArray[np.float32]:
    """The mask at u, v in [-1, 1] of the crop: 1 inside, smoothly to exactly 0 at its border."""
    distance = (np.abs(u) ** roundness + np.abs(v) ** roundness) ** (1 / roundness)
    rise = np.clip((1 - distance) / feather, 0, 1)
    return (rise * rise * (3 - 2 * rise)).astype(np.float32)


def _mask(
    window: tuple[slice, slice], quad: Floats, feather: float, roundness: float
) -> NDArray[np.float32]:
    """The mask [h, w, 1] over a window of the photo, computed at each pixel's own place."""
    matrix = crop_matrix(quad, 2)  # crop pixels -0.5 .. 1.5
    y, x = (np.arange(part.start, part.stop, dtype=np.float64) for part in window)
    u, v = (row[0] * x[None] + row[1] * y[:, None] + row[2] - 0.5 for row in matrix)
    return mask_weight(u, v, feather, roundness)[..., None]


def window_of(photo: Pixels, quad: Floats) -> tuple[slice, slice]:
    """The rows and columns of the photo that the quad may touch, at least one of each."""
    shape = np.array(photo.shape[1::-1])
    start = np.clip(np.floor(np.min(quad, 0)), 0, shape - 1).astype(int)
    stop = np.clip(np.ceil(np.max(quad, 0)) + 1, start + 1, shape).astype(int)
    return slice(start[1], stop[1]), slice(start[0], stop[0])


def warp_back(
    patch: NDArray[np.float32], quad: Floats, window: tuple[slice, slice]
) -> NDArray[np.float32]:
    """The patch in a window of the photo; resized first, so that the warp is one to one."""
    return _warped(_fitted(patch, quad), quad, window)


def _fitted(patch: NDArray[np.float32], quad: Floats) -> NDArray[np.float32]:
    """The patch at the size of the quad, as far as that is of use."""
    side = min(_LARGEST, max(1, round(quad_side(quad))))
    method = cv2.INTER_AREA if side < len(patch) else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(patch, (side, side), interpolation=method), np.float32)


def _warped(
    patch: NDArray[np.float32], quad: Floats, window: tuple[slice, slice]
) -> NDArray[np.float32]:
    matrix = crop_matrix(quad, len(patch))
    rows, columns = window
    matrix[:, 2] += matrix[:, :2] @ [columns.start, rows.start]
    return cv2.warpAffine(
        patch,
        matrix,
        (columns.stop - columns.start, rows.stop - rows.start),
        flags=cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_REPLICATE,
    )


def _strips(window: tuple[slice, slice]) -> Iterator[tuple[slice, slice]]:
    """The window, in strips of rows where it is so large that its numbers would fill memory."""
    rows, columns = window
    count, width = rows.stop - rows.start, columns.stop - columns.start
    high = count if count * width <= _WHOLE else max(1, _STRIP // width)
    for start in range(rows.start, rows.stop, high):
        yield slice(start, min(start + high, rows.stop)), columns


def _ring_shift(
    photo: Pixels, patch: Pixels, quad: Floats, feather: float, roundness: float
) -> NDArray[np.float32]:
    """The mean of photo - patch [3] where the mask is neither 0 nor 1."""
    place = (np.arange(len(patch)) + 0.5) / len(patch) * 2 - 1
    mask = mask_weight(place[None], place[:, None], feather, roundness)
    ring = mask * (1 - mask) + 1e-9
    gap = crop(photo, quad, len(patch)).astype(np.float32) - patch
    return np.asarray(np.average(gap, axis=(0, 1), weights=ring), np.float32)


def put(photo: Pixels, window: tuple[slice, slice], pixels: NDArray[Any]) -> Pixels:
    """A copy of the photo with `pixels` [h, w, 3] of 0 .. 255 in the window, rounded."""
    result = photo.copy()
    result[window] = np.rint(pixels).clip(0, 255).astype(np.uint8)
    return result
