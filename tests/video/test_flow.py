from __future__ import annotations

import cv2
import numpy as np
import pytest

from dseinvert.media.warp import warp
from dseinvert.video.flow import dense_flow, trusted


def texture(height: int = 120, width: int = 160, seed: int = 0) -> np.ndarray:
    picture = np.random.default_rng(seed).uniform(0, 255, (height, width, 3)).astype(np.float32)
    picture = cv2.GaussianBlur(picture, (0, 0), 3)
    return (127 + 8 * (picture - picture.mean())).clip(0, 255).astype(np.uint8)


def shifted(picture: np.ndarray, x: float, y: float) -> np.ndarray:
    matrix = np.array([[1, 0, x], [0, 1, y]], float)
    return cv2.warpAffine(picture, matrix, picture.shape[1::-1], borderMode=cv2.BORDER_REFLECT)


@pytest.mark.parametrize("fine", [True, False])
@pytest.mark.parametrize("move", [(3, 0), (-2.5, 4), (0, 0)])
def test_the_flow_of_a_shift_is_the_shift(move: tuple[float, float], fine: bool) -> None:
    flow = dense_flow(texture(), shifted(texture(), *move), fine)
    np.testing.assert_allclose(np.median(flow, axis=(0, 1)), move, atol=0.1)


def test_warping_along_the_flow_undoes_the_motion() -> None:
    start, end = texture(), shifted(texture(), 4, -3)
    gap = np.abs(warp(end, dense_flow(start, end)).astype(int) - start)[10:-10, 10:-10]
    assert gap.mean() < 2


def test_warp_reads_where_the_flow_points() -> None:
    picture = np.arange(12, dtype=np.float32).reshape(3, 4)
    flow = np.zeros((3, 4, 2), np.float32)
    flow[1, 1] = 1.5, 1
    result = warp(picture, flow)
    assert result[1, 1] == 10.5 and result[0, 0] == 0


def test_a_plain_shift_is_trusted_but_where_it_leaves_the_picture() -> None:
    flow = np.zeros((40, 60, 2), np.float32)
    flow[..., 0] = 5
    mask = trusted(flow, -flow)
    assert mask[:, :55].all() and not mask[:, 55:].any()


def test_flow_that_does_not_come_back_is_not_trusted() -> None:
    flow = np.zeros((40, 60, 2), np.float32)
    back = flow.copy()
    back[:, 30:] = 3
    mask = trusted(flow, back)
    assert mask[:, :30].all() and not mask[:, 30:].any()


def test_borders_of_motion_are_not_trusted() -> None:
    flow = np.zeros((40, 60, 2), np.float32)
    flow[10:30, 20:40, 1] = 2
    mask = trusted(flow, -flow)
    assert not mask[10, 25] and not mask[20, 20] and mask[20, 30] and mask[2, 2]


def test_frames_too_small_to_search_do_not_move() -> None:
    assert (dense_flow(texture(8, 8), texture(8, 8)) == 0).all()
