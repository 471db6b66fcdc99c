"""Faces that are there for a moment, between two searches of the whole frame, or on their side."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from dseinvert.faces.detect import open_detector
from dseinvert.faces.turns import turned
from dseinvert.video.tracks import Track, Tracker
from tests.moving_face import background, portrait

RATE, SIZE = 25, (320, 240)


def tracked(frames: list[np.ndarray]) -> tuple[Track, ...]:
    tracker = Tracker(open_detector("embedded"))
    for k, frame in enumerate(frames):
        tracker.feed(frame, k, k / RATE)
    return tracker.finish()


def showing(count: int, there: range, side: int) -> list[np.ndarray]:
    """A portrait on some frames; the face in it is about half as high."""
    frames = [background(SIZE) for _ in range(count)]
    for k in there:
        frames[k][60 : 60 + side, 90 : 90 + side] = portrait(1, side)
    return frames


@pytest.mark.parametrize("first", [6, 9, 17])
@pytest.mark.parametrize("side", [96, 150])
def test_a_face_that_stays_for_a_fifth_of_a_second_is_found(first: int, side: int) -> None:
    (track,) = tracked(showing(26, range(first, first + 5), side))
    assert track.frames[0] == first and len(track) >= 4


def test_a_face_that_comes_at_the_end_of_a_clip_is_found() -> None:
    (track,) = tracked(showing(20, range(15, 20), 150))
    assert track.frames.tolist() == [*range(15, 20)]


@pytest.mark.parametrize("turn", [90, 180, 270])
def test_a_clip_that_lies_on_its_side_is_tracked(turn: int) -> None:
    frames = [turned(frame, turn) for frame in showing(12, range(4, 12), 150)]
    (track,) = tracked(frames)
    assert track.frames.tolist() == [*range(4, 12)]


def test_a_still_scene_is_searched_once_a_second() -> None:
    calls = []
    detector = open_detector("embedded")

    class Counting:
        name = "counting"

        def detect(self, image: np.ndarray) -> list:
            calls.append(image.shape)
            return detector.detect(image)

        def place(self, image: np.ndarray, points: np.ndarray) -> object:
            return detector.place(image, points)

    tracker, grain = Tracker(Counting()), np.random.default_rng(0)
    for k, frame in enumerate(showing(50, range(50), 150)):
        noisy = frame + grain.normal(0, 4, frame.shape)
        tracker.feed(cv2.convertScaleAbs(noisy), k, k / RATE)
    assert len(tracker.finish()) == 1 and len(calls) == 2
