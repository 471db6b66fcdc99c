"""What an edit changed in a face, steadied along the motion of the source.

Each frame's change is mixed with the one before it, moved to where the source moved. So it does not
lag behind the face, while what flickers in it is averaged; the idea of temporally consistent video
editing (TCSVE, 2022: the edit should move as the photo does), done in the picture. Where the motion
cannot be trusted, only what is broad in the change goes on; the rest is new.
"""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from dseinvert.media.pixels import Pixels
from dseinvert.media.warp import warp
from dseinvert.video.flow import Singles, dense_flow, trusted

# Sides in pixels of the crops that flow is searched in.
SIDE = 256
# What is broad in a change: blurred with this deviation, in sides of the crop; and the side in
# pixels at which that is done.
BROAD, BROAD_SIDE = 0.03, 64


class Steadier:
    """Steadies the changes of one track; they come in order, one for each frame."""

    def __init__(self, seconds: float) -> None:
        """`seconds` until a change has been renewed by two thirds; 0 = leave them as they are."""
        self._seconds = seconds
        self.before: tuple[float, Pixels, Singles] | None = None
        """Time, source crop and steadied change of the frame before; None = there is none.

        It is all that the next frame depends on, so a run can be continued with it.
        """

    def feed(self, source: Pixels, change: NDArray[Any], time: Fraction | float) -> Singles:
        """The steadied change [N, N, 3] of the next frame.

        Args:
            source: the frame's own crop uint8 [M, M, 3] of the same quad; 256 pixels are enough.
            change: what is to be seen in the crop, such as edited - reconstruction, [N, N, 3].
            time: seconds.
        """
        source = _sized(source, min(SIDE, len(source)))
        result: Singles = np.asarray(change, np.float32)
        if self._seconds > 0 and (before := self._fitting(source, result)) is not None:
            then, crop, last = before
            kept = np.float32(np.exp((then - float(time)) / self._seconds))
            flow, back = dense_flow(source, crop), dense_flow(crop, source)
            share = kept * _sized(trusted(flow, back).astype(np.float32), len(result))[..., None]
            flow = _sized(flow, len(result)) * np.float32(len(result) / len(source))
            gap = warp(last, flow) - result
            result = result + share * gap + (kept - share) * _broad(gap)
        self.before = float(time), source, result
        return result

    def _fitting(self, crop: Pixels, change: Singles) -> tuple[float, Pixels, Singles] | None:
        """What is known of the frame before; None = nothing of these sizes."""
        if self.before is None:
            return None
        _, then, last = self.before
        return self.before if (then.shape, last.shape) == (crop.shape, change.shape) else None


def _broad(change: Singles) -> Singles:
    """A change [N, N, 3] without its detail."""
    small = _sized(change, min(BROAD_SIDE, len(change)))
    return _sized(cv2.GaussianBlur(small, (0, 0), BROAD * len(small)), len(change))


def _sized(image: NDArray[Any], side: int) -> NDArray[Any]:
    method = cv2.INTER_AREA if side < len(image) else cv2.INTER_LINEAR
    return image if side == len(image) else cv2.resize(image, (side, side), interpolation=method)
