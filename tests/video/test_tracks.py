from __future__ import annotations

from collections.abc import Callable, Sequence
from fractions import Fraction

import numpy as np
import pytest

from dseinvert.errors import InputError
from dseinvert.faces.detect import Detector, open_detector
from dseinvert.video.metrics import jitter
from dseinvert.video.tracks import Track, Tracker, pack, placed, unpack
from tests.video.drawing import CORNER, Actor, Knowing, draw

RATE = 25


def tracked(
    actors: Sequence[Actor],
    count: int,
    detector: Detector | None = None,
    time: Callable[[int], Fraction | float] = lambda k: Fraction(k, RATE),
    seed: Callable[[int], int] = lambda k: 0,
) -> tuple[Track, ...]:
    tracker = Tracker(detector or Knowing(actors))
    for k in range(count):
        tracker.feed(draw(actors, k, seed=seed(k)), k, time(k))
    return tracker.finish()


def swaying(portrait: int = 1, x: float = 160) -> Actor:
    def at(k: int) -> tuple[float, float, float, float]:
        return x + 30 * np.sin(k / 12), 125 + 8 * np.cos(k / 9), 0.75, 6 * np.sin(k / 15)

    return Actor(portrait, at)


def truth(actor: Actor, track: Track) -> np.ndarray:
    return np.stack([actor.points(int(k)) for k in track.frames])


def error(actor: Actor, track: Track) -> np.ndarray:
    """[N] pixels."""
    return np.hypot(*np.moveaxis(track.points - truth(actor, track), -1, 0)).mean(1)


def test_a_moving_face_is_one_track_on_its_points() -> None:
    actor = swaying()
    (track,) = tracked([actor], 60)
    assert track.frames.tolist() == list(range(60)) and track.measured.all()
    assert track.from_cut and track.to_cut and track.shot == 0
    assert error(actor, track).max() < 0.8
    np.testing.assert_allclose(track.times, np.arange(60) / RATE)


def test_the_points_are_steadier_and_truer_than_the_detectors() -> None:
    actor = swaying()
    (track,) = tracked([actor], 60, Knowing([actor], error=1.0))
    frame_by_frame = np.stack([Knowing([actor], 1.0)._face(k, actor).points for k in range(60)])
    exact = truth(actor, track)
    assert jitter(track.points - exact + exact[0]) < 0.25 * jitter(
        frame_by_frame - exact + exact[0]
    )
    assert error(actor, track).mean() < 0.7 * np.sqrt(np.pi / 2)


def test_few_frames_are_searched_and_some_are_placed() -> None:
    actor = swaying()
    detector = Knowing([actor])
    tracked([actor], 75, detector)
    assert detector.calls.count("detect") <= 4
    assert 12 <= detector.calls.count("place") <= 30


@pytest.mark.parametrize("blind", [range(20, 30), range(21, 22)])
def test_a_gap_in_what_the_detector_sees_is_followed_by_flow(blind: range) -> None:
    actor = swaying()
    (track,) = tracked([actor], 50, Knowing([actor], blind=lambda k: k in blind))
    assert len(track) == 50 and track.measured.all() and error(actor, track).max() < 1.5


def test_a_short_occlusion_is_bridged_by_a_straight_line() -> None:
    """For ten frames the face is not in the picture at all."""

    def at(k: int) -> tuple[float, float, float, float] | None:
        return None if 20 <= k < 30 else (100 + 2.0 * k, 125, 0.7, 0)

    actor = Actor(1, at)
    (track,) = tracked([actor], 50)
    assert len(track) == 50
    assert not track.measured[22:29].any() and track.measured[:18].all()
    assert (track.scores[~track.measured] == 0).all()
    moving = Actor(1, lambda k: (100 + 2.0 * k, 125, 0.7, 0))
    assert error(moving, track).max() < 4


def test_a_long_absence_ends_the_track_and_a_new_one_begins() -> None:
    actor = Actor(1, lambda k: None if 20 <= k < 50 else (160, 125, 0.7, 0))
    first, second = tracked([actor], 75)
    assert 16 <= first.frames[-1] < 20 and 50 <= second.frames[0] < 54
    assert not first.to_cut and not second.from_cut and second.to_cut


def test_a_face_that_comes_between_searches_is_led_back_to_its_first_frame() -> None:
    def at(k: int) -> tuple[float, float, float, float] | None:
        return (160, 125, 0.3 + 0.4 * min(1, (k - 8) / 20), 0) if k >= 8 else None

    actor = Actor(1, at)
    (track,) = tracked([actor], 60)
    assert 8 <= track.frames[0] <= 10 and not track.from_cut


def test_tracks_end_at_cuts() -> None:
    actor = Actor(1, lambda k: (120 if k < 30 else 200, 125, 0.75, 0))
    tracker = Tracker(Knowing([actor]))
    for k in range(60):
        frame = draw([actor], k, seed=int(k >= 30))
        tracker.feed(frame if k < 30 else frame // 2, k, k / RATE)
    # The number in the corner is halved too, but the face stays where it is after the cut.
    first, second = tracker.finish()
    assert tracker.starts == (0, 30)
    assert (first.frames[-1], second.frames[0]) == (29, 30)
    assert (first.shot, second.shot) == (0, 1) and first.to_cut and second.from_cut


def test_two_faces_are_two_tracks() -> None:
    actors = [swaying(1, 90), swaying(3, 230)]
    tracks = tracked(actors, 50)
    assert len(tracks) == 2
    by_place = sorted(tracks, key=lambda track: track.points[0, 0, 0])
    for actor, track in zip(actors, by_place, strict=True):
        assert len(track) == 50 and error(actor, track).max() < 1.5


@pytest.mark.parametrize("speed", [4.0, 6.0, 9.0])
def test_faces_that_cross_keep_their_tracks(speed: float) -> None:
    count = int(180 / speed)
    behind = Actor(1, lambda k: (70 + speed * k, 125, 0.6, 0))
    before = Actor(3, lambda k: (250 - speed * k, 125, 0.6, 0))
    tracks = tracked([behind, before], count)
    for actor in (behind, before):
        ends = [
            track for track in tracks if error(actor, track)[0] < 3 and error(actor, track)[-1] < 3
        ]
        assert len(ends) == 1, [(t.frames[[0, -1]], error(actor, t)[[0, -1]]) for t in tracks]
        assert len(ends[0]) == count


def test_variable_frame_rates_are_tracked_by_time() -> None:
    times = np.cumsum(np.random.default_rng(0).choice([1 / 60, 1 / 25, 1 / 10], 60))
    actor = Actor(1, lambda k: (100 + 60 * times[k % 60] / times[-1], 125, 0.75, 0))
    (track,) = tracked([actor], 60, time=lambda k: float(times[k]))
    assert error(actor, track).max() < 1 and np.array_equal(track.times, times)


@pytest.mark.parametrize("count", [0, 1, 2])
def test_a_clip_may_be_as_short_as_it_likes(count: int) -> None:
    tracks = tracked([swaying()], count)
    assert [len(track) for track in tracks] == [count][: min(1, count)]


def test_a_clip_without_a_face_has_no_track() -> None:
    assert tracked([], 30) == ()


def test_what_was_seen_once_only_is_no_face() -> None:
    actor = Actor(1, lambda k: (160, 125, 0.7, 0))
    assert tracked([actor], 40, Knowing([actor], blind=lambda k: k > 0)) == ()


def test_memory_does_not_grow_with_the_clip() -> None:
    actor = swaying()
    tracker = Tracker(Knowing([actor]))
    for k in range(80):
        tracker.feed(draw([actor], k), k, Fraction(k, RATE))
        assert len(tracker._history) <= RATE + 1 and len(tracker._waiting) <= 16


@pytest.mark.parametrize("stop", [1, 3, 14, 30, 38, 47, 70])
def test_a_tracker_that_was_saved_goes_on_as_if_it_had_not_been(stop: int) -> None:
    """Two people whom nobody sees for a while, and a cut after 40 frames."""
    actors = [swaying(1, 90), swaying(3, 230)]
    detector = Knowing(actors, error=0.5, blind=lambda k: 26 <= k < 36)
    frames = [draw(actors, k, seed=k // 40) for k in range(75)]
    for frame in frames[40:]:
        frame[CORNER:] = 255 - frame[CORNER:] // 2
    straight = Tracker(detector)
    for k, frame in enumerate(frames):
        straight.feed(frame, k, Fraction(k, RATE))
    first = Tracker(detector)
    for k in range(stop):
        first.feed(frames[k], k, Fraction(k, RATE))
    again = Tracker.unpack(detector, {name: array.copy() for name, array in first.pack().items()})
    assert stop - RATE - 16 <= again.rewind < stop
    for k in range(again.rewind, stop):
        again.remind(frames[k], k, Fraction(k, RATE))
    for k in range(stop, len(frames)):
        again.feed(frames[k], k, Fraction(k, RATE))
    wanted, found = pack(straight.finish()), pack(again.finish())
    assert again.starts == straight.starts == (0, 40) and wanted.keys() == found.keys()
    for name, array in wanted.items():
        assert array.dtype == found[name].dtype and array.tobytes() == found[name].tobytes(), name


def test_the_same_frames_give_the_same_tracks() -> None:
    actor = swaying()
    one, two = (tracked([actor], 30, Knowing([actor], 1.0)) for _ in range(2))
    np.testing.assert_array_equal(one[0].points, two[0].points)


def test_tracks_survive_being_saved(tmp_path) -> None:
    tracks = tracked([swaying(1, 90), swaying(3, 230)], 10)
    np.savez(tmp_path / "tracks.npz", **pack(tracks))
    with np.load(tmp_path / "tracks.npz") as file:
        again = unpack(dict(file))
    assert pack(again).keys() == pack(tracks).keys()
    for name, array in pack(tracks).items():
        np.testing.assert_array_equal(pack(again)[name], array)
    assert again[0].shot == 0 and again[0].to_cut is True
    assert unpack({}) == ()


def test_saved_tracks_that_lack_something_are_refused() -> None:
    arrays = pack(tracked([swaying()], 3))
    del arrays["0.points"]
    with pytest.raises(InputError, match=r"0\.points is missing"):
        unpack(arrays)


def test_the_embedded_detector_tracks_a_drawn_face() -> None:
    actor = swaying(3)
    (track,) = tracked([actor], 30, open_detector("embedded"))
    assert len(track) == 30 and error(actor, track).mean() < 3


def test_a_detector_that_cannot_place_searches_around_the_face() -> None:
    class Searching:
        name = "searching"
        sizes: list[tuple[int, int]] = []

        def detect(self, image):
            self.sizes.append(image.shape[:2])
            return embedded.detect(image)

        def place(self, image, points):
            return None

    embedded, actor = open_detector("embedded"), swaying(3)
    frame, points = draw([actor], 0), actor.points(0)
    found, score = placed(Searching(), frame, points + 3)
    assert score > 0.8 and np.abs(found - points).mean() < 3
    assert Searching.sizes[0] <= frame.shape[:2]
    assert placed(Searching(), np.full_like(frame, 90), points) == (pytest.approx(points), 0.0)
