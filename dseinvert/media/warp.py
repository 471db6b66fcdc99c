"""Pictures warped along a flow."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray


def warp(image: NDArray[Any], flow: NDArray[np.float32]) -> NDArray[Any]:
    """W(image, flow)(p) = image(p + flow(p)), between pixels bilinear; flow [H, W, 2] in pixels."""
    y, x = np.mgrid[: flow.shape[0], : flow.shape[1]].astype(np.float32)
    return cv2.remap(
        image, x + flow[..., 0], y + flow[..., 1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
    )
