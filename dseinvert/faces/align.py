"""The FFHQ crop of a face: five points -> square quad -> antialiased crop, and the way back.

Coordinates are (x, y) pixels with the centre of the first pixel at (0, 0), so a photo or a crop of
side n spans -0.5 .. n - 0.5. Karras et al., "A Style-Based Generator Architecture", appendix A.
"""

from __future__ import annotations

import math

import cv2
import numpy as np
from numpy.typing import NDArray

from dseinvert.errors import InputError
from dseinvert.media.pixels import Floats, Pixels

# The least width of the zone where a photo's border melts into padding, in sides of the quad.
PADDING = 0.3


def face_quad(points: Floats) -> NDArray[np.float64]:
    """Corners [4, 2] of the FFHQ crop: top-left, bottom-left, bottom-right, top-right.

    `points` [5, 2] are left eye, right eye, nose, left and right mouth corner in photo pixels.
    """
    left_eye, right_eye, _, left_mouth, right_mouth = np.asarray(points, np.float64)
    eyes = (left_eye + right_eye) / 2
    eye_to_eye = right_eye - left_eye
    eye_to_mouth = (left_mouth + right_mouth) / 2 - eyes
    x = eye_to_eye - _rot90(eye_to_mouth)
    length = math.hypot(*x)
    if not (math.isfinite(length) and length > 0):
        raise InputError("the face points do not span a face", "choose another photo")
    x *= max(2.0 * math.hypot(*eye_to_eye), 1.8 * math.hypot(*eye_to_mouth)) / length
    y = _rot90(x)
    centre = eyes + 0.1 * eye_to_mouth
    return np.array([centre - x - y, centre - x + y, centre + x + y, centre + x - y], np.float64)


def _rot90(vector: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.array([-vector[1], vector[0]])


def quad_side(quad: Floats) -> float:
    """The side of the quad in photo pixels."""
    return math.hypot(*(quad[3] - quad[0]))


def outside(quad: Floats, width: int, height: int) -> float:
    """The share of the quad that lies outside a photo of that size, from 0 to 1."""
    photo = np.array([[0, 0], [0, height], [width, height], [width, 0]], np.float32) - 0.5
    shared, _ = cv2.intersectConvexConvex(np.asarray(quad, np.float32), photo)
    return min(1.0, max(0.0, 1 - shared / quad_side(quad) ** 2))


def crop_matrix(quad: Floats, size: int) -> NDArray[np.float64]:
    """The affine map [2, 3] from photo pixels to the pixels of a crop of side `size`."""
    places = np.column_stack([np.asarray(quad, np.float64), np.ones(4)])
    return np.asarray(np.linalg.solve(places[:3], _corners(size)[:3]).T, np.float64)


def quad_from_matrix(matrix: Floats, size: int) -> NDArray[np.float64]:
    """The quad [4, 2] that `crop_matrix(quad, size)` was made from."""
    inverse = cv2.invertAffineTransform(np.asarray(matrix, np.float64))
    return _corners(size) @ inverse[:, :2].T + inverse[:, 2]


def matrix_to_list(matrix: Floats) -> list[float]:
    """The six numbers of a crop matrix, row by row, for a text or a header."""
    return [float(value) for value in np.asarray(matrix, np.float64).ravel()]


def crop(image: Pixels, quad: Floats, size: int) -> Pixels:
    """The quad's content as uint8 [size, size, 3], antialiased.

    What lies outside the photo is its reflection, ever more blurred and then fading to the median
    colour, as in FFHQ; unlike there, the photo itself is left sharp up to its border.
    """
    ratio = quad_side(quad) / size
    over = 2 if ratio > 1 else 1  # supersample when shrinking
    region, quad = _cut(image, np.asarray(quad, np.float64), min(1.0, over / ratio))
    matrix = crop_matrix(quad, size * over)
    side = (size * over, size * over)
    result = cv2.warpAffine(
        region, matrix, side, flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT_101
    )
    if over > 1:
        result = cv2.resize(result, (size, size), interpolation=cv2.INTER_AREA)
    return result


def _cut(
    image: Pixels, quad: NDArray[np.float64], scale: float
) -> tuple[Pixels, NDArray[np.float64]]:
    """The photo around the quad, shrunk by `scale` and padded, and the quad in its pixels."""
    margin = 4 / scale  # room for the cubic kernel
    shape = np.array(image.shape[1::-1])
    low, high = np.floor(quad.min(0) - margin), np.ceil(quad.max(0) + margin) + 1
    start = np.clip(low, 0, shape - 1).astype(int)
    stop = np.clip(high, start + 1, shape).astype(int)
    region = image[start[1] : stop[1], start[0] : stop[0]]
    small = np.maximum(1, np.rint((stop - start) * scale)).astype(int)
    if scale < 1:
        region = cv2.resize(region, (int(small[0]), int(small[1])), interpolation=cv2.INTER_AREA)
    ratio = small / (stop - start) if scale < 1 else np.ones(2)
    before = np.ceil(np.maximum(0, start - low) * ratio).astype(int)
    after = np.ceil(np.maximum(0, high - stop) * ratio).astype(int)
    quad = (quad - start + 0.5) * ratio - 0.5 + before
    if before.any() or after.any():
        region = _pad(region, before, after, quad_side(quad))
    return region, quad


def _pad(region: Pixels, before: NDArray[np.int_], after: NDArray[np.int_], side: float) -> Pixels:
    """The region with its reflection, blurred from the border outwards and ending in its median."""
    (left, top), (right, bottom) = before.tolist(), after.tolist()
    padded = cv2.copyMakeBorder(region, top, bottom, left, right, cv2.BORDER_REFLECT_101)
    depth = _depth(padded.shape[0], top, bottom, side)[:, None]
    depth = np.maximum(depth, _depth(padded.shape[1], left, right, side)[None, :])[..., None]
    soft = padded.astype(np.float32)
    soft += (cv2.GaussianBlur(soft, (0, 0), 0.02 * side) - soft) * np.clip(3 * depth, 0, 1)
    soft += (np.median(region, axis=(0, 1)) - soft) * np.clip(depth, 0, 1)
    return np.rint(soft).clip(0, 255).astype(np.uint8)


def _depth(length: int, before: int, after: int, side: float) -> NDArray[np.float32]:
    """How far each of `length` pixels lies out of the photo: 0 at its border, 1 in the median."""
    pixel = np.arange(length, dtype=np.float32)
    depth = np.full(length, -1, np.float32)
    if before:
        depth = np.maximum(depth, (before - pixel) / max(before, PADDING * side))
    if after:
        depth = np.maximum(depth, (pixel - (length - 1 - after)) / max(after, PADDING * side))
    return depth


def _corners(size: int) -> NDArray[np.float64]:
    """The corners of a crop of side `size`, in the order of a quad."""
    return np.array([[0, 0], [0, size], [size, size], [size, 0]]) - 0.5
