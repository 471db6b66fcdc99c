"""An edited crop back into its frame: a soft mask of the face, its colours led over at the rim.

Where the mask is 0, frames stay as they are, bit for bit.
"""

from __future__ import annotations

from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from dseinvert.faces.align import crop_matrix
from dseinvert.faces.paste import put, warp_back, window_of
from dseinvert.media.pixels import Floats, Pixels

Mode = Literal["difference", "replace"]
Window = tuple[slice, slice]
Singles = NDArray[np.float32]

# The oval around brow, chin and hair, in distances from eyes to mouth: its centre below the eyes,
# its half width and half height; and how much of its radius the rim takes to rise from 0 to 1.
CENTRE, WIDTH, HEIGHT, RIM = 0.2, 1.3, 1.65, 0.35
# How much narrower the oval is on the far side of a turned head, for each distance from eyes to
# mouth that the nose is ahead.
FAR = 1.5
# Sides of a mask and of a field of colour offsets.
MASK_SIDE, FIELD_SIDE = 256, 8


def face_mask(points: Floats, quad: Floats, side: int = MASK_SIDE, grown: float = 1.0) -> Singles:
    """A soft oval [side, side] over the crop of `quad`: 1 on the face, 0 from its rim on.

    `points` [5, 2] are the face's in frame pixels, `grown` is how much larger than usual the oval
    is; the crop's own border is always 0.
    """
    matrix = crop_matrix(quad, side)
    left_eye, right_eye, nose, left_mouth, right_mouth = (
        np.asarray(points, np.float64) @ matrix[:, :2].T + matrix[:, 2]
    )
    eyes = (left_eye + right_eye) / 2
    down = (left_mouth + right_mouth) / 2 - eyes
    ahead = nose - eyes - down / 2
    length = max(1e-6, float(np.hypot(*down)))
    x = np.arange(side, dtype=np.float32)[None]
    y = x.T
    dx, dy = x - (eyes + CENTRE * down)[0], y - (eyes + CENTRE * down)[1]
    u = (dx * down[1] - dy * down[0]) / length / (grown * WIDTH * length)
    v = (dx * down[0] + dy * down[1]) / length / (grown * HEIGHT * length)
    lead = (ahead[0] * down[1] - ahead[1] * down[0]) / length**2
    u = np.where(u * lead > 0, u * (1 + FAR * min(1.0, abs(lead))), u)
    oval = _rise((1 - np.hypot(u, v)) / RIM)
    border = np.minimum(np.minimum(x, side - 1 - x), np.minimum(y, side - 1 - y)) / (side - 1)
    return (oval * _rise((border - 2 / side) / 0.1)).astype(np.float32)


def blend(
    frame: Pixels,
    quad: Floats,
    edited: Pixels | Singles,
    reconstruction: Pixels,
    mask: Singles,
    mode: Mode = "difference",
    offset: Singles | None = None,
) -> Pixels:
    """The frame uint8 [H, W, 3] with the edit in the quad; a new array.

    Args:
        edited: crop [N, N, 3], 0 .. 255, uint8 or float32.
        reconstruction: the same without the edit; used by "difference" only.
        mask: [M, M] in 0 .. 1 over the crop, such as `face_mask`.
        mode: "difference" adds what the edit changed, so the frame keeps its own detail and an edit
            that changes nothing returns it; "replace" puts the edited crop in its place.
        offset: [K, K, 3] added to the edited crop, from `rim_offset`; None = nothing.
    """
    window, weight = mask_in_frame(frame, quad, mask)
    patch = edited.astype(np.float32)
    if offset is not None:
        patch += cv2.resize(offset, patch.shape[1::-1], interpolation=cv2.INTER_CUBIC)
    if mode == "difference":
        change = warp_back(patch - reconstruction, quad, window)
    else:
        change = warp_back(patch, quad, window) - frame[window]
    return put(frame, window, frame[window] + weight[..., None] * change)


def mask_in_frame(frame: Pixels, quad: Floats, mask: Singles) -> tuple[Window, Singles]:
    """The rows and columns of the frame that a crop's mask may touch, and the mask there [h, w]."""
    window = window_of(frame, quad)
    matrix = crop_matrix(quad, len(mask))
    rows, columns = window
    matrix[:, 2] += matrix[:, :2] @ [columns.start, rows.start]
    size = (columns.stop - columns.start, rows.stop - rows.start)
    # Linear, for a cubic kernel would ring beyond the rim.
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    return window, cv2.warpAffine(mask, matrix, size, flags=flags, borderValue=0)


def rim_offset(wanted: Pixels, edited: Pixels, mask: Singles) -> Singles:
    """What to add to an edited crop for it to meet `wanted` at the mask's rim: [8, 8, 3].

    Both crops are uint8 [N, N, 3]. Only broad differences of colour on the rim count, spread over
    the rest; the field is small, so that `smooth.smooth_stream` can steady it in time.
    """
    weight = cv2.resize(mask, edited.shape[1::-1], interpolation=cv2.INTER_AREA)
    rim = (weight * (1 - weight))[..., None]
    gap = rim * (wanted.astype(np.float32) - edited)
    field, total = (
        cv2.GaussianBlur(
            cv2.resize(part, (FIELD_SIDE, FIELD_SIDE), interpolation=cv2.INTER_AREA),
            (0, 0),
            1.5,
            borderType=cv2.BORDER_CONSTANT,
        )
        for part in (gap, np.repeat(rim, 3, 2))
    )
    return np.asarray(field / np.maximum(total, 1e-6), np.float32)


def _rise(value: NDArray[np.floating]) -> NDArray[np.floating]:
    """0 below 0, 1 above 1, without a corner in between."""
    value = np.clip(value, 0, 1)
    return value * value * (3 - 2 * value)
