from __future__ import annotations

from collections.abc import Iterable, Iterator
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import pytest

from dseinvert.video.shots import ShotDetector

RATE = 25
EXAMPLES = Path(__file__).parents[2] / "examples" / "faces"


def shot_starts(frames: Iterable[tuple[np.ndarray, Fraction | float]]) -> list[int]:
    """The places of the frames that begin a shot, of frames with their times."""
    detector, answers = ShotDetector(), list[bool]()
    for frame, time in frames:
        answers += detector.feed(frame, time)
    answers += detector.finish()
    return [place for place, starts in enumerate(answers) if starts]


def scene(seed: int, count: int, speed: float = 0.5, size: int = 96) -> list[np.ndarray]:
    """A drifting texture in the colours of its seed, with film grain."""
    rng = np.random.default_rng(seed)
    base, spread = rng.uniform(50, 200, 3), rng.uniform(-50, 50, (4, 3))
    waves, turns = rng.uniform(0.02, 0.15, (4, 2)), rng.uniform(0, 6, 4)
    y, x = np.mgrid[:size, :size].astype(float)
    frames = []
    for k in range(count):
        parts = [
            np.sin((x + speed * k) * wave[0] + y * wave[1] + turn)
            for wave, turn in zip(waves, turns, strict=True)
        ]
        grain = rng.normal(0, 3, (size, size, 3))
        picture = base + np.einsum("khw,kc->hwc", parts, spread) + grain
        frames.append(picture.clip(0, 255).astype(np.uint8))
    return frames


def timed(
    frames: Iterable[np.ndarray], rate: int | Fraction = RATE
) -> Iterator[tuple[np.ndarray, Fraction]]:
    return ((frame, Fraction(k) / rate) for k, frame in enumerate(frames))


def bright(frame: np.ndarray, by: float) -> np.ndarray:
    return (frame.astype(float) * by).clip(0, 255).astype(np.uint8)


@pytest.mark.parametrize("rate", [6, 24, 60])
@pytest.mark.parametrize("seeds", [(1, 2, 3), (4, 5, 6), (7, 8, 9)])
def test_cuts_are_found_at_any_rate(seeds: tuple[int, ...], rate: int) -> None:
    frames = [frame for seed in seeds for frame in scene(seed, 30)]
    assert shot_starts(timed(frames, rate)) == [0, 30, 60]


def test_a_still_scene_is_one_shot() -> None:
    assert shot_starts(timed(scene(1, 60))) == [0]


@pytest.mark.parametrize("speed", [4, 12, 30])
def test_fast_motion_is_no_cut(speed: float) -> None:
    assert shot_starts(timed(scene(2, 20) + scene(2, 40, speed)[1:])) == [0]


@pytest.mark.parametrize("length", [1, 2, 3])
@pytest.mark.parametrize("strength", [2.5, 20])
def test_a_flash_is_no_cut(length: int, strength: float) -> None:
    frames = scene(3, 60)
    for k in range(30, 30 + length):
        frames[k] = bright(frames[k], strength)
    assert shot_starts(timed(frames)) == [0]


def test_a_cut_beside_a_flash_is_still_found() -> None:
    frames = scene(3, 30) + scene(5, 30)
    frames[20] = bright(frames[20], 20)
    assert shot_starts(timed(frames)) == [0, 30]


@pytest.mark.parametrize("level", [0, 255])
def test_a_fade_through_a_blank_is_one_new_shot(level: int) -> None:
    ramp = np.linspace(1, 0, 20)
    mixed = [
        [(frame * share + level * (1 - share)).astype(np.uint8) for frame, share in pairs]
        for pairs in (
            zip(scene(1, 20), ramp, strict=True),
            zip(scene(2, 20), ramp[::-1], strict=True),
        )
    ]
    blank = [np.full_like(mixed[0][0], level)] * 5
    starts = shot_starts(timed([*scene(1, 20), *mixed[0], *blank, *mixed[1], *scene(2, 20)]))
    assert len(starts) == 2 and 38 <= starts[1] <= 50


def blended(
    before: list[np.ndarray], after: list[np.ndarray], length: int, through: float | None = None
) -> list[np.ndarray]:
    """Both scenes with a dissolve between them, or a fade `through` a grey level."""
    frames = before[:30]
    for k in range(length):
        share = (k + 1) / (length + 1)
        amounts = [1 - share, share]
        if through is not None:
            amounts = [max(0, 1 - 2 * share), max(0, 2 * share - 1)]
        mixed = amounts[0] * before[30 + k].astype(float) + amounts[1] * after[k]
        mixed += (1 - sum(amounts)) * (through or 0)
        frames.append(mixed.clip(0, 255).astype(np.uint8))
    return frames + after[length : length + 30]


@pytest.mark.parametrize("seeds", [(1, 2), (3, 5), (4, 8)])
@pytest.mark.parametrize("length", [6, 12, 20, 30])
def test_a_dissolve_is_one_new_shot_from_its_middle_on(seeds: tuple[int, int], length: int) -> None:
    before, after = (scene(seed, 80, speed=0.2) for seed in seeds)
    starts = shot_starts(timed(blended(before, after, length)))
    assert len(starts) == 2
    assert abs(starts[1] - (30 + length / 2)) <= max(2, length / 3)


@pytest.mark.parametrize("length", [8, 16, 30])
@pytest.mark.parametrize("level", [0, 30, 255])
def test_a_fade_through_a_colour_that_hardly_lasts_is_one_new_shot(
    level: float, length: int
) -> None:
    starts = shot_starts(timed(blended(scene(1, 80), scene(2, 80), length, level)))
    assert len(starts) == 2 and 30 <= starts[1] <= 31 + length


def test_a_dissolve_soon_after_a_cut_is_found_too() -> None:
    frames = scene(4, 40) + blended(scene(1, 60), scene(2, 60), 10)
    starts = shot_starts(timed(frames))
    assert len(starts) == 3 and starts[1] == 40 and abs(starts[2] - 75) <= 2


def moving(zoom: float, speed: float, count: int = 45, portrait: int = 1) -> list[np.ndarray]:
    """A camera over a photo, `speed` pixels and `zoom` times as near with each frame."""
    photo = cv2.imread(str(EXAMPLES / f"portrait-{portrait}.jpg"))
    photo = np.hstack([photo, photo[:, ::-1], photo])
    frames = []
    for k in range(count):
        side = 200 / zoom**k
        x, y = speed * k + 100 - side / 2, 180 - side / 2
        matrix = np.array([[96 / side, 0, -x * 96 / side], [0, 96 / side, -y * 96 / side]])
        frames.append(cv2.warpAffine(photo, matrix, (96, 96), flags=cv2.INTER_AREA))
    return frames


@pytest.mark.parametrize("speed", [2, 4, 7, 12, 18])
@pytest.mark.parametrize("portrait", [1, 2, 3])
def test_a_pan_over_a_photo_is_no_cut(speed: float, portrait: int) -> None:
    assert shot_starts(timed(moving(1, speed, portrait=portrait))) == [0]


@pytest.mark.parametrize("zoom", [1.01, 1.02, 1.04, 0.99])
def test_a_zoom_is_no_cut(zoom: float) -> None:
    assert shot_starts(timed(moving(zoom, 0))) == [0]


def test_a_slow_change_of_light_is_no_cut() -> None:
    frames = [bright(frame, 0.4 + k / 60) for k, frame in enumerate(scene(6, 60))]
    assert shot_starts(timed(frames)) == [0]


def test_every_frame_gets_one_answer_and_few_wait() -> None:
    detector, answers, waiting = ShotDetector(), 0, 0
    for k, (frame, time) in enumerate(timed(scene(1, 100) + scene(2, 100))):
        answers += len(detector.feed(frame, time))
        waiting = max(waiting, k + 1 - answers)
        assert len(detector._views) <= 32
    answers += len(detector.finish())
    assert answers == 200 and waiting <= 16


def test_irregular_times_do_not_disturb_it() -> None:
    frames = scene(1, 30) + scene(2, 30)
    times = np.cumsum(np.random.default_rng(0).choice([1 / 60, 1 / 15, 1 / 10], 60))
    assert shot_starts(zip(frames, times.tolist(), strict=True)) == [0, 30]


@pytest.mark.parametrize("count", [0, 1, 2])
def test_a_clip_may_be_as_short_as_it_likes(count: int) -> None:
    assert shot_starts(timed(scene(1, count))) == [0][:count]


@pytest.mark.parametrize("seed", [1, 2, 3, 4])
def test_a_cut_between_equal_colours_is_found(seed: int) -> None:
    """The second shot has the blocks of the first one, shuffled: the same colours elsewhere."""
    frames = scene(seed, 60)
    order = np.random.default_rng(seed).permutation(36)

    def shuffled(frame: np.ndarray) -> np.ndarray:
        blocks = frame.reshape(6, 16, 6, 16, 3).swapaxes(1, 2).reshape(36, 16, 16, 3)[order]
        return blocks.reshape(6, 6, 16, 16, 3).swapaxes(1, 2).reshape(96, 96, 3)

    assert shot_starts(timed([*frames[:30], *map(shuffled, frames[30:])])) == [0, 30]


def test_a_dissolve_is_told_from_a_cut() -> None:
    detector = ShotDetector()
    answers = [
        detector.feed(frame, time) for frame, time in timed(blended(scene(1, 80), scene(2, 80), 12))
    ]
    answers.append(detector.finish())
    start = [one for part in answers for one in part].index(True, 1)
    assert detector.blended == pytest.approx(start / RATE)
