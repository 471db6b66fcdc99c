from __future__ import annotations

import cv2
import numpy as np
import pytest

from dseinvert.video.follow import LONGEST, eye_distance, follow, look_of, view_of
from tests.video.drawing import Actor, draw


def walking(k: int) -> tuple[float, float, float, float]:
    return 150 + 4 * k, 125 - k, 0.75 + 0.005 * k, 1.5 * k


ACTOR = Actor(1, walking)


@pytest.mark.parametrize("apart", [1, 3])
def test_points_are_carried_along_shift_turn_and_growth(apart: int) -> None:
    before, after = (view_of(draw([ACTOR], k)) for k in (0, apart))
    step = follow(before, after, ACTOR.points(0))
    np.testing.assert_allclose(step.points, ACTOR.points(apart), atol=0.6)
    assert step.sure > 0.8 and (step.noise < 0.1 * eye_distance(ACTOR.points(0))).all()


def test_there_and_back_again() -> None:
    one, two = (view_of(draw([ACTOR], k)) for k in (0, 1))
    there = follow(one, two, ACTOR.points(0)).points
    np.testing.assert_allclose(follow(two, one, there).points, ACTOR.points(0), atol=0.15)


def test_frames_larger_than_flow_needs_are_shrunk_and_the_points_are_not() -> None:
    frames = [cv2.resize(draw([ACTOR], k), None, fx=6, fy=6) for k in (0, 1)]
    before, after = (view_of(frame) for frame in frames)
    assert max(before.gray.shape) == LONGEST < max(frames[0].shape)
    points = [(ACTOR.points(k) + 0.5) * 6 - 0.5 for k in (0, 1)]
    np.testing.assert_allclose(follow(before, after, points[0]).points, points[1], atol=2.5)


def test_a_face_that_is_gone_cannot_be_followed_surely() -> None:
    gone = np.random.default_rng(0).integers(0, 256, (240, 320, 3), np.uint8)
    assert follow(view_of(draw([ACTOR], 0)), view_of(gone), ACTOR.points(0)).sure < 0.4


def test_a_face_half_out_of_the_picture_is_no_error() -> None:
    points = ACTOR.points(0) - [130, 0]
    step = follow(view_of(draw([ACTOR], 0)), view_of(draw([ACTOR], 1)), points)
    assert np.isfinite(step.points).all() and np.isfinite(step.noise).all()


def test_one_lost_point_goes_with_the_others_and_is_less_sure() -> None:
    frames = [draw([ACTOR], k) for k in (0, 1)]
    x, y = ACTOR.points(1)[3].astype(int)
    frames[1][y - 4 : y + 5, x - 4 : x + 5] = 255
    step = follow(view_of(frames[0]), view_of(frames[1]), ACTOR.points(0))
    assert np.abs(step.points[3] - ACTOR.points(1)[3]).max() < 2
    assert step.noise[3] >= step.noise[2]


def test_a_face_looks_like_itself_wherever_it_goes() -> None:
    looks = [look_of(draw([ACTOR], k), ACTOR.points(k)) for k in (0, 8)]
    other = Actor(3, walking)
    assert looks[0].likeness(looks[1]) > 0.95
    assert looks[0].likeness(look_of(draw([other], 0), other.points(0))) < 0.85
    assert looks[0].likeness(looks[0]) == pytest.approx(1, abs=1e-5)


def test_the_inner_product_of_two_vectors_is_their_likeness() -> None:
    one, two = (look_of(draw([ACTOR], k), ACTOR.points(0)) for k in (0, 8))
    assert float(one.vector @ two.vector) == pytest.approx(one.likeness(two), abs=1e-5)


def test_eyes_are_as_far_apart_in_profile_as_from_the_front() -> None:
    front = np.array([[0.0, 0], [20, 0], [10, 12], [3, 24], [17, 24]])
    profile = front * [0.1, 1]
    assert eye_distance(front) == 20 and eye_distance(profile) == pytest.approx(19.2)
