"""From a file to the crops of its faces: hash, decode, detect, align."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from dseinvert.errors import InputError
from dseinvert.faces.align import crop, face_quad
from dseinvert.faces.detect import Detector
from dseinvert.media.atomic import shown
from dseinvert.media.images import open_image
from dseinvert.run.journal import Status
from dseinvert.run.plan import Item, file_sha256

Pixels = NDArray[np.uint8]
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Crop:
    """One face as the encoder sees it."""

    pixels: Pixels
    """[R, R, 3] sRGB."""
    quad: NDArray[np.float64]
    """[4, 2] its corners in the photo: top-left, bottom-left, bottom-right, top-right."""


@dataclass(frozen=True)
class Prepared:
    """One input, read; `status` is "done" unless `reason` says why it goes no further."""

    item: Item
    sha256: str = ""
    size: tuple[int, int] = (0, 0)
    """Width and height of the upright photo."""
    crops: tuple[Crop, ...] = ()
    warnings: tuple[str, ...] = ()
    status: Status = "done"
    reason: str = ""


def preparer(side: int, detector: Detector | None) -> Callable[[Item], Prepared]:
    """A function for reader threads that reads an item and cuts out its faces at `side` pixels.

    `detector` None = take the image as it is. The function never raises.
    """

    def prepare(item: Item) -> Prepared:
        try:
            return _prepare(item, side, detector)
        except InputError as error:
            return Prepared(item, status="refused", reason=reason_of(item, error))
        except Exception as error:  # the top of the batch loop: one input never stops the others
            return Prepared(item, status="failed", reason=unexpected(error))

    return prepare


def _prepare(item: Item, side: int, detector: Detector | None) -> Prepared:
    sha256 = file_sha256(item.source)
    picture = open_image(item.source)
    photo, notes = picture.pixels, picture.warnings
    if detector is None:
        crops, notes = [whole(photo, side)], (*notes, *_not_square(photo))
    else:
        quads = [face_quad(face.points) for face in detector.detect(photo)]
        crops = [Crop(crop(photo, quad, side), quad) for quad in quads]
    seen: dict[str, Any] = {} if crops else {"status": "skipped", "reason": "no face found"}
    return Prepared(item, sha256, photo.shape[1::-1], tuple(crops), notes, **seen)


def whole(photo: Pixels, side: int) -> Crop:
    """The whole photo at `side` x `side` pixels."""
    height, width = photo.shape[:2]
    corners = np.array([[0, 0], [0, height], [width, height], [width, 0]]) - 0.5
    method = cv2.INTER_AREA if min(height, width) > side else cv2.INTER_CUBIC
    if (height, width) != (side, side):
        photo = cv2.resize(photo, (side, side), interpolation=method)
    return Crop(photo, corners)


def _not_square(photo: Pixels) -> tuple[str, ...]:
    height, width = photo.shape[:2]
    if height == width:
        return ()
    return (f"not square ({width}x{height}): squeezed to a square; leave out --no-align to crop",)


def reason_of(item: Item, error: InputError) -> str:
    """The error's line without the file's name, which every report says before it."""
    return str(error).removeprefix(f"{shown(item.source)}: ")


def unexpected(error: Exception) -> str:
    """One line for an exception that is a mistake of this program."""
    _log.debug("unexpected", exc_info=error)
    said = " ".join(str(error).split())[:200]
    return f"unexpected {type(error).__name__}: {said} (this is a bug; -v shows the traceback)"
