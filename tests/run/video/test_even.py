"""A moved edit evened over neighbouring frames, wherever a run begins."""

from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest

from dseinvert.run.video.draw import Shot
from dseinvert.run.video.even import Patched, evened_in_time
from dseinvert.video.even import MOST

SIGMA = 0.08


def frame(place: int, tracks: Sequence[int], presence: float = 1.0, depth: int = 5) -> Patched:
    faces = [SimpleNamespace(track=track, presence=presence) for track in tracks]
    shot = SimpleNamespace(place=place, faces=faces, frame=SimpleNamespace(time=place / 25))
    random = np.random.default_rng(place)
    patches = [{"smile": random.normal(size=(8, 8, depth)).astype(np.float32)} for _ in tracks]
    return cast(Shot, shot), patches


def motions(frames: Sequence[Patched]) -> list[Any]:
    """The motion of the first face of each."""
    found = list(evened_in_time(frames, SIGMA))
    assert [shot.place for shot, _ in found] == [shot.place for shot, _ in frames]
    return [patches[0]["smile"][..., 3:] for _, patches in found]


def test_it_makes_no_difference_where_a_run_begins() -> None:
    frames = [frame(place, [0]) for place in range(30)]
    later = motions(frames[12 - MOST :])[MOST:]
    np.testing.assert_array_equal(np.stack(later), np.stack(motions(frames)[12:]))


def test_motion_and_change_tremble_less() -> None:
    frames = [frame(place, [0]) for place in range(20)]
    raw = np.stack([patches[0]["smile"] for _, patches in frames])
    made = np.stack([patches[0]["smile"] for _, patches in evened_in_time(frames, SIGMA)])
    assert (made.std((0, 1, 2)) < 0.6 * raw.std((0, 1, 2))).all()


def test_frames_are_held_only_as_long_as_they_matter() -> None:
    read: list[int] = []

    def frames() -> Any:
        for place in range(50):
            read.append(place)
            yield frame(place, [0])

    for done, _ in enumerate(evened_in_time(frames(), SIGMA)):
        assert len(read) <= done + 1 + MOST


def test_another_shot_another_face_and_an_unseen_one_do_not_count() -> None:
    alone = motions([frame(place, [0]) for place in range(6)])
    for strange in (frame(6, [1]), frame(6, [0], presence=0.0)):
        found = motions([*(frame(place, [0]) for place in range(6)), strange])
        np.testing.assert_array_equal(np.stack(found[:6]), np.stack(alone))
        np.testing.assert_array_equal(found[6], strange[1][0]["smile"][..., 3:])


@pytest.mark.parametrize(("depth", "sigma"), [(3, SIGMA), (5, 0.0)])
def test_what_has_no_motion_and_what_is_not_to_be_steadied_stays(depth: int, sigma: float) -> None:
    frames = [frame(place, [0], depth=depth) for place in range(6)]
    for (_, before), (_, after) in zip(frames, evened_in_time(frames, sigma), strict=True):
        np.testing.assert_array_equal(after[0]["smile"], before[0]["smile"])
