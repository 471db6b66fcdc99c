from __future__ import annotations

import numpy as np
import pytest

from dseinvert.video.choose import choose, persons, presence, weight, without_face
from dseinvert.video.tracks import Track

FACE = np.array([[40.0, 50], [60, 50], [50, 62], [42, 72], [58, 72]])


def track(
    first: int, last: int, person: int = 0, size: float = 1, shot: int = 0, whole: bool = True
) -> Track:
    frames = np.arange(first, last + 1)
    look = np.zeros(8, np.float32)
    look[person] = 1
    return Track(
        frames=frames,
        times=frames / 25,
        points=np.repeat(size * FACE[None], len(frames), 0),
        scores=np.ones(len(frames)),
        measured=np.ones(len(frames), bool),
        look=look,
        shot=shot,
        from_cut=whole,
        to_cut=whole,
    )


def test_the_largest_is_the_one_who_takes_the_most_of_the_clip() -> None:
    brief, lasting = track(0, 10, person=0, size=1.5), track(0, 60, person=1)
    assert choose([brief, lasting]) == (lasting,)
    assert weight(lasting) > weight(brief)


def test_the_largest_is_kept_across_cuts_although_another_is_larger_in_one_shot() -> None:
    one, other = track(0, 50, person=0), track(51, 60, person=1, size=2, shot=1)
    again = track(61, 120, person=0, shot=2)
    assert choose([one, other, again]) == (one, again)


def test_all_and_a_number() -> None:
    tracks = [track(0, 50, person=k, size=1 + k) for k in range(3)]
    assert choose(tracks, "all") == tuple(tracks)
    assert choose(tracks, 2) == tuple(tracks[1:]) and choose(tracks, 9) == tuple(tracks)
    assert choose([], "largest") == choose([], "all") == choose([], 1) == ()


def test_the_caller_may_know_better_who_is_who() -> None:
    tracks = [track(0, 50, person=0), track(51, 80, person=1), track(81, 110, person=2)]
    assert choose(tracks, "largest", people=[0, 1, 1]) == tuple(tracks[1:])


def test_persons_who_look_the_same_are_one_unless_seen_together() -> None:
    tracks = [track(0, 50, 0), track(60, 80, 0), track(60, 80, 1), track(70, 90, 0)]
    people = persons(tracks)
    assert people[0] == people[1] and len({people[k] for k in (1, 2, 3)}) == 3


def test_persons_may_be_told_apart_by_embeddings() -> None:
    tracks = [track(10 * k, 10 * k + 9, person=k, shot=k) for k in range(3)]
    vectors = np.array([[1, 0], [0.8, 0.6], [0, 1.0]])
    assert persons(tracks, vectors, alike=0.7) == (0, 0, 1)
    assert persons([]) == ()


@pytest.mark.parametrize(("whole", "ends"), [(True, 1.0), (False, 0.2)])
def test_an_edit_comes_and_goes_softly_within_a_shot_only(whole: bool, ends: float) -> None:
    share = presence(track(0, 50, whole=whole))
    assert share[25] == 1 and share[0] <= ends and share[-1] <= ends and (share > 0).all()
    assert (np.diff(share[:26]) >= 0).all() and np.abs(np.diff(share)).max() < 0.3
    assert share[6:-6].min() == 1


def test_a_track_of_one_frame_has_a_share() -> None:
    assert presence(track(3, 3, whole=False)).shape == (1,)


def test_frames_that_no_track_covers_are_named() -> None:
    tracks = [track(2, 4), track(4, 5, person=1)]
    assert without_face(tracks, 8).tolist() == [0, 1, 6, 7]
    assert without_face([], 2).tolist() == [0, 1]


def test_nothing_is_shown_where_a_face_was_not_seen_and_it_goes_and_comes_softly() -> None:
    count, hidden = 40, range(16, 25)
    measured = np.array([k not in hidden for k in range(count)])
    unseen = Track(
        frames=np.arange(count),
        times=np.arange(count) / 25,
        points=np.zeros((count, 5, 2)),
        scores=measured.astype(float),
        measured=measured,
        look=np.ones(1, np.float32),
        shot=0,
        from_cut=True,
        to_cut=True,
    )
    shown = presence(unseen)
    assert (shown[16:25] == 0).all() and (shown[:12] == 1).all() and (shown[29:] == 1).all()
    assert np.abs(np.diff(shown)).max() < 0.5 and 0 < shown[15] < shown[14] < shown[13] < 1
