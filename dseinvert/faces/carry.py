"""An edit carried into a photo: its own pixels move as the edit moves the face.

Between a reconstruction and its edit all motion can be seen, however soft both are. The photo is
warped along it, with all of its detail, and what motion does not explain is added as a change:

    W(photo, f) + trust * (edited - W(reconstruction, f))

Added alone, the change of a mouth that got wider pales the lips and leaves them where they are.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from dseinvert.faces.align import crop_matrix, quad_side
from dseinvert.faces.led import led, middle_of
from dseinvert.faces.paste import as_samples, face_mask, level_of, window_of
from dseinvert.faces.tone import Tone
from dseinvert.media.pixels import Floats
from dseinvert.media.warp import warp

Singles = NDArray[np.float32]
Window = tuple[slice, slice]
Patch = NDArray[np.float32]
"""[N, N, 5] over a crop: what is added, in grey levels, and where the pixel there comes from, right
and down in sides of the crop."""

# The least side in pixels of a patch, and the sides at which motion is sought, one after another.
SIDE, _SIDES = 256, (64, 128)
# Of the pictures that are compared, in pixels of the last side: what is blurred away, what is too
# broad to be a feature, over how much contrasts are evened out; the grey levels below which they
# are not, and by which a brighter feature is brighter than the middle, of 255.
_FINE, _BROAD, _EVEN, _FAINT, _CONTRAST = 0.75, 8.0, 12.0, 6.0, 40.0
# Steps at each side, over how many pixels they are one and how smooth their sum is; what holds them
# back where features are faint, and for how long a step is taken whole, in pixels.
_STEPS, _ONE, _SUM, _DAMP, _WHOLE = 4, 2.5, 1.25, 160.0, 1.5
# How far what motion explains is seen, and how smooth motion is, in pixels of the last side; the
# square of the grey levels that count as nothing; what holds a motion that little speaks for back.
_NEAR, _SMOOTH, _NOISE, _STILL = 2.0, 2.5, 25.0, 0.15
# The grey levels left unexplained at which a motion is 1/e, and how far they are seen, in pixels.
_LEFT, _LEFT_NEAR = 20.0, 3.0
# The longest motion, and how far within a mask motion ends, in sides of the crop.
_LONGEST, _RIM = 0.06, 6 / 256
# The side of the largest part of a photo, in pixels, that is done at once; steps of a pixel in
# which OpenCV looks between pixels.
_BLOCK, _BETWEEN = 1024, np.float32(32)


def carry(
    edited: NDArray[Any],
    reconstruction: NDArray[Any],
    mask: Singles,
    trust: Singles | None = None,
    source: NDArray[Any] | None = None,
) -> Patch:
    """What an edit does to a face, as motion and a change: [M, M, 5].

    Args:
        edited, reconstruction: [N, N, 3] in 0 .. 255 of one quad in the FFHQ framing.
        mask: [M, M] in 0 .. 1, how much of the edit is shown; only the face itself moves, and only
            well within the mask.
        trust: [K, K] in 0 .. 1, how true the change is of the photo, such as `agreement`; None = 1.
        source: [M, M, 3] the same quad of the photo, by whose colours the change is led, while the
            outline of the face moves only where that explains it; None = neither is so.

    Where nothing was changed all of it is 0.
    """
    side = len(mask)
    flow = motion(edited, reconstruction)
    if source is not None:
        flow = _held(flow, edited, reconstruction)
    flow = (_within(mask) * face_mask(side))[..., None] * _sized(flow, side)
    pixels = flow * np.float32(side)
    after, before = (_sized(one.astype(np.float32), side) for one in (edited, reconstruction))
    change = after - warp(before, pixels)
    shown = mask if trust is None else mask * warp(_sized(trust, side), pixels)
    if source is None:
        change = shown[..., None] * change
    else:
        change = led(change, warp(source.astype(np.float32), pixels), shown)
    return np.concatenate([change, flow], axis=-1, dtype=np.float32)


def motion(edited: NDArray[Any], reconstruction: NDArray[Any]) -> Singles:
    """Where in the reconstruction each pixel of its edit was: [128, 128, 2], in sides of the crop.

    Lucas and Kanade (1981), from coarse to fine, on features without broad light, so that another
    tone of the skin is no motion; kept where it makes the two alike, and smooth. Nothing in it
    decides by a threshold: a rounding of the pictures stays one.
    """
    after, before = (_sized(one.astype(np.float32), _SIDES[-1]) for one in (edited, reconstruction))
    flow = _sought(_features(after), _features(before))
    explained = _explained(after, before, flow)
    near = _blurred(explained, _SMOOTH) + _STILL
    flow = (1 + _STILL) * _blurred(explained[..., None] * flow, _SMOOTH) / near[..., None]
    length = np.hypot(flow[..., :1], flow[..., 1:]) / (len(flow) * _LONGEST)
    return np.asarray(flow / np.maximum(1, length) / len(flow), np.float32)


def carried(
    photo: NDArray[Any],
    quad: Floats,
    patch: Patch,
    weight: Singles | None = None,
    tone: Tone | None = None,
    hidden: NDArray[np.bool_] | None = None,
) -> NDArray[Any]:
    """The photo uint8 or uint16 [H, W, 3] with a patch of `carry` in the quad; a new array.

    Args:
        weight: of the patch at each pixel of `window_of(photo, quad)`, in 0 .. 1; None = 1.
        tone: that of a photo without colours; None = it has some.
        hidden: [H, W] where colours cannot be seen, such as beside a head that was cut out: they
            stay as they are, and none of them moves into sight. None = nowhere.

    Where the patch or its weight is 0, the photo stays as it is, bit for bit.
    """
    result, window = photo.copy(), window_of(photo, quad)
    side = min(len(patch), max(1, round(quad_side(quad))))
    # Apart, for OpenCV shrinks four channels at most.
    fitted = np.dstack([_sized(part, side) for part in (patch[..., :3], patch[..., 3:])])
    for block in _blocks(window):
        here = _seen_from(block, fitted, quad)
        if weight is not None:
            rows, columns = (
                slice(b.start - w.start, b.stop - w.start)
                for b, w in zip(block, window, strict=True)
            )
            here *= weight[rows, columns, None]
        if here.any():
            result[block] = _moved(photo, block, quad, here, tone, hidden)
    return result


def _moved(
    photo: NDArray[Any],
    block: Window,
    quad: Floats,
    here: Patch,
    tone: Tone | None,
    hidden: NDArray[np.bool_] | None,
) -> NDArray[Any]:
    """One block of the photo with its part of the patch [h, w, 5]."""
    corners = np.asarray(quad, np.float64)
    sides = np.stack([corners[3] - corners[0], corners[1] - corners[0]]).astype(np.float32)
    moved, level, change = photo[block].astype(np.float32), level_of(photo), here[..., :3]
    part = _moving(here)
    if part is not None:
        where = tuple(
            slice(whole.start + inner.start, whole.start + inner.stop)
            for whole, inner in zip(block, part, strict=True)
        )
        offset = here[part][..., 3:] @ sides
        moved[part] = _fetched(photo, (where[0], where[1]), offset, hidden)
    if tone is not None:
        change = tone(moved / level, change)
    moved += level * change
    result = as_samples(moved, photo)
    return result if hidden is None else np.where(hidden[block][..., None], photo[block], result)


def _moving(here: Patch) -> Window | None:
    """The rows and columns of a patch in which something moves; None = nothing does."""
    moves = (here[..., 3] != 0) | (here[..., 4] != 0)
    rows, columns = (np.flatnonzero(moves.any(axis=k)) for k in (1, 0))
    if not len(rows):
        return None
    return slice(int(rows[0]), int(rows[-1]) + 1), slice(int(columns[0]), int(columns[-1]) + 1)


def _fetched(
    photo: NDArray[Any], block: Window, offset: Singles, hidden: NDArray[np.bool_] | None
) -> Singles:
    """The pixels of a block from `offset` [h, w, 2] pixels away, between pixels cubic."""
    reach = int(np.ceil(np.hypot(offset[..., 0], offset[..., 1]).max())) + 3
    if hidden is not None:  # what stands in for a hidden pixel is as far away again
        reach *= 2
    around = tuple(
        slice(max(0, part.start - reach), min(size, part.stop + reach))
        for part, size in zip(block, photo.shape[:2], strict=True)
    )
    pixels = _in_sight(photo, around, hidden).astype(np.float32)
    y, x = (
        np.arange(part.start, part.stop, dtype=np.float32) - whole.start
        for part, whole in zip(block, around, strict=True)
    )
    low = np.floor(offset * _BETWEEN) / _BETWEEN
    places = x[None] + low[..., 0], y[:, None] + low[..., 1]
    here, right, down = (
        _between(pixels, places[0] + across / _BETWEEN, places[1] + below / _BETWEEN)
        for across, below in ((0, 0), (1, 0), (0, 1))
    )
    # OpenCV looks at whole steps; less than one must show too, or a rounding would be a jump.
    part = (offset - low) * _BETWEEN
    for other, share in ((right, part[..., :1]), (down, part[..., 1:])):  # in place: much memory
        other -= here
        other *= share
    here += right
    here += down
    return here


def _between(pixels: Singles, x: Singles, y: Singles) -> Singles:
    result = cv2.remap(pixels, x, y, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(result, np.float32)


def _in_sight(
    photo: NDArray[Any], around: tuple[slice, ...], hidden: NDArray[np.bool_] | None
) -> NDArray[Any]:
    """A part of the photo, with the nearest colour that is seen where one is hidden."""
    if hidden is None or not hidden[around].any() or hidden[around].all():
        return photo[around]
    under = hidden[around].astype(np.uint8)
    _, labels = cv2.distanceTransformWithLabels(
        under, cv2.DIST_L2, cv2.DIST_MASK_5, labelType=cv2.DIST_LABEL_PIXEL
    )
    seen = np.flatnonzero(under == 0)
    nearest = np.zeros(labels.max() + 1, np.intp)
    nearest[labels.ravel()[seen]] = seen
    return np.asarray(photo[around].reshape(-1, 3)[nearest[labels]])


def _seen_from(block: Window, patch: Patch, quad: Floats) -> Patch:
    """The patch at each pixel of a block of the photo."""
    matrix = crop_matrix(quad, len(patch))
    y, x = (np.arange(part.start, part.stop, dtype=np.float64) for part in block)
    u, v = ((row[0] * x[None] + row[1] * y[:, None] + row[2]).astype(np.float32) for row in matrix)
    return np.asarray(cv2.remap(patch, u, v, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE))


def _blocks(window: Window) -> Iterator[Window]:
    rows, columns = window
    for top in range(rows.start, rows.stop, _BLOCK):
        for left in range(columns.start, columns.stop, _BLOCK):
            yield (
                slice(top, min(top + _BLOCK, rows.stop)),
                slice(left, min(left + _BLOCK, columns.stop)),
            )


def _within(mask: Singles) -> Singles:
    """A mask [N, N] with a rim of nothing, for an outline that half moves is seen twice."""
    width = 1 + 2 * round(_RIM * len(mask))
    return np.asarray(cv2.erode(mask, np.ones((width, width))), np.float32)


def _features(image: Singles) -> Singles:
    """A picture [N, N, 3] as a grey one of even contrast, without broad light."""
    grey = image.mean(-1)
    fine = _blurred(grey, _FINE) - _blurred(grey, _BROAD)
    return _CONTRAST * fine / np.sqrt(_blurred(fine * fine, _EVEN) + _FAINT**2)


def _sought(after: Singles, before: Singles) -> Singles:
    """The flow [N, N, 2] in pixels by which the features `before` are those `after`."""
    flow = np.zeros((_SIDES[0], _SIDES[0], 2), np.float32)
    for side in _SIDES:
        flow = np.float32(side / len(flow)) * _sized(flow, side)
        one, other = (_graded(_sized(features, side)) for features in (after, before))
        for _ in range(_STEPS):
            step = _step(one, warp(other, flow))
            length = np.square(step).sum(-1, keepdims=True) / _WHOLE**2
            flow = _blurred(flow + step / np.sqrt(1 + length), _SUM)
    return flow


def _graded(features: Singles) -> Singles:
    """Features [N, N] with their slopes right and down: [N, N, 3]."""
    right, down = (cv2.Scharr(features, cv2.CV_32F, *way, scale=1 / 32) for way in ((1, 0), (0, 1)))
    return np.dstack([features, right, down])


def _step(after: Singles, before: Singles) -> Singles:
    """How much farther each pixel is to come from: least squares nearby, held back: [N, N, 2]."""
    gap = after[..., 0] - before[..., 0]
    right, down = (np.float32(0.5) * (after + before)[..., k] for k in (1, 2))
    sums = np.dstack([right * right, right * down, down * down, right * gap, down * gap])
    xx, xy, yy, x, y = (_blurred(sums[..., k], _ONE) for k in range(5))
    xx, yy = xx + _DAMP, yy + _DAMP
    step = np.dstack([yy * x - xy * y, xx * y - xy * x]) / (xx * yy - xy * xy)[..., None]
    return np.asarray(step, np.float32)


def _held(flow: Singles, edited: NDArray[Any], reconstruction: NDArray[Any]) -> Singles:
    """A flow [N, N, 2] held back around the middle of the face where it leaves much unexplained.

    There an outline went where nothing like it was, as wall to where a cheek is when a head turns.
    """
    side = len(flow)
    after, before = (_sized(one.astype(np.float32), side) for one in (edited, reconstruction))
    left = after - warp(before, flow * np.float32(side))
    left -= _blurred(left, _BROAD)  # another tone or light is no outline
    size = _blurred(np.square(left).mean(-1), _LEFT_NEAR)
    held = _blurred(np.exp(-size / _LEFT**2), _SMOOTH)
    middle = middle_of(side)
    return (middle + (1 - middle) * held)[..., None] * flow


def _explained(after: Singles, before: Singles, flow: Singles) -> Singles:
    """How much of the difference of two pictures is gone along a flow: [N, N] in 0 .. 1."""
    still, moved = (
        _blurred(np.square(after - other).mean(-1), _NEAR) for other in (before, warp(before, flow))
    )
    return np.asarray(np.clip(2 * (still - moved) / (still + _NOISE), 0, 1), np.float32)


def _blurred(image: Singles, sigma: float) -> Singles:
    return np.asarray(cv2.GaussianBlur(image, (0, 0), sigma), np.float32)


def _sized(image: Singles, side: int) -> Singles:
    if side == len(image):
        return image
    method = cv2.INTER_AREA if side < len(image) else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(image, (side, side), interpolation=method), np.float32)
