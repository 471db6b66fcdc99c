"""What is edited follows what the frames show of a face: fades, flashes, dissolves and cuts."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import av
import numpy as np
import pytest

import dseinvert
from dseinvert.api.video import Video
from tests.moving_face import background, portrait

COUNT = 40


def shot(face: np.ndarray, count: int = COUNT) -> list[np.ndarray]:
    """A face [112, 112, 3] that goes to the right, with the grain of a camera."""
    chance, made = np.random.default_rng(5), []
    for k in range(count):
        frame = background()
        frame[16:128, 10 + k // 2 : 122 + k // 2] = face
        grain = chance.integers(-2, 3, frame.shape)
        made.append((frame.astype(int) + grain).clip(0, 255).astype(np.uint8))
    return made


def stored(path: Path, pictures: Sequence[np.ndarray]) -> Path:
    """A clip of 25 frames a second without loss."""
    with av.open(str(path), "w") as output:
        video = output.add_stream("ffv1", 25)
        video.height, video.width = pictures[0].shape[:2]
        video.pix_fmt = "bgr0"
        for index, picture in enumerate(pictures):
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24").reformat(format="bgr0")
            frame.pts = index
            output.mux(video.encode(frame))
        output.mux(video.encode(None))
    return path


def changes(video: Video, pictures: Sequence[np.ndarray]) -> np.ndarray:
    """How much each frame is changed: the sum over its pixels."""
    pairs = zip(video, pictures, strict=True)
    return np.array([np.abs(one.pixels.astype(int) - old).sum() for one, old in pairs])


@pytest.fixture(scope="module")
def gan(tiny_model: Path) -> dseinvert.Gan:
    return dseinvert.load(tiny_model, backend="torch")


@pytest.fixture(scope="module")
def faces() -> tuple[np.ndarray, np.ndarray]:
    """Two faces of the same colours: one, and its mirror image."""
    face = portrait(1)
    return face, np.ascontiguousarray(face[:, ::-1])


def test_a_change_fades_to_black_with_its_face_and_comes_back(
    gan: dseinvert.Gan, faces: tuple[np.ndarray, np.ndarray], tmp_path: Path
) -> None:
    amounts = np.ones(COUNT)
    amounts[12:20], amounts[20:24], amounts[24:32] = (
        np.linspace(1, 0, 9)[1:],
        0,
        np.linspace(0, 1, 9)[:-1],
    )
    pairs = zip(shot(faces[0]), amounts, strict=True)
    pictures = [(frame * amount).astype(np.uint8) for frame, amount in pairs]
    found = changes(gan.video(stored(tmp_path / "a.mkv", pictures)).edit("age=4"), pictures)
    full = np.median(found[:11])
    assert full > 0 and (found[20:24] == 0).all()
    faint = amounts < 0.25
    assert (found[faint] < 0.45 * full).all()
    assert found[36] > 0.5 * full


def test_a_frame_that_a_flash_burns_out_is_as_it_was(
    gan: dseinvert.Gan, faces: tuple[np.ndarray, np.ndarray], tmp_path: Path
) -> None:
    pictures = shot(faces[0])
    for k in (18, 19):
        pictures[k] = np.full_like(pictures[k], 255)
    found = changes(gan.video(stored(tmp_path / "a.mkv", pictures)).edit("age=4"), pictures)
    assert (found[18:20] == 0).all()
    assert found[:15].min() > 0 and found[25:].min() > 0


def test_a_dissolve_between_equal_colours_leaves_no_ghost_and_no_jump(
    gan: dseinvert.Gan, faces: tuple[np.ndarray, np.ndarray], tmp_path: Path
) -> None:
    first, second = (shot(face) for face in faces)
    share = np.clip((np.arange(COUNT) - 14) / 12, 0, 1)
    pictures = [
        (a * (1 - s) + b * s).astype(np.uint8) for a, b, s in zip(first, second, share, strict=True)
    ]
    found = changes(gan.video(stored(tmp_path / "a.mkv", pictures)).edit("age=4"), pictures)
    full = max(np.median(found[:12]), np.median(found[30:]))
    assert found[:12].min() > 0 and found[30:].min() > 0
    assert found.max() < 1.5 * full
    assert np.abs(np.diff(found)).max() < 0.7 * full


def test_a_cut_between_equal_colours_is_a_cut_for_edits(
    gan: dseinvert.Gan, faces: tuple[np.ndarray, np.ndarray], tmp_path: Path
) -> None:
    first = shot(faces[0], 16)
    chance = np.random.default_rng(8)
    blocks = chance.integers(40, 216, (9, 11, 3)).repeat(16, 0).repeat(16, 1).astype(np.uint8)
    second = shot(faces[1], 16)
    for wall, frames in ((blocks, first), (blocks[::-1, ::-1], second)):
        for frame in frames:  # the same colours elsewhere, but for the face
            face = frame[16:128, 20:120].copy()
            frame[...] = wall
            frame[16:128, 38:138] = face
    pictures = [*first, *second]
    video = gan.video(stored(tmp_path / "a.mkv", pictures))
    for number, inside in ((1, slice(0, 16)), (2, slice(16, 32))):
        found = changes(video.edit(f"age=4@shot{number}"), pictures)
        others = np.delete(found, np.arange(32)[inside])
        assert (others == 0).all() and found[inside].min() > 0


def test_a_cross_fade_into_nobody_takes_the_change_with_it(
    gan: dseinvert.Gan, faces: tuple[np.ndarray, np.ndarray], tmp_path: Path
) -> None:
    share = np.clip((np.arange(COUNT) - 14) / 12, 0, 1)
    pictures = [
        (frame * (1 - s) + background() * s).astype(np.uint8)
        for frame, s in zip(shot(faces[0]), share, strict=True)
    ]
    found = changes(gan.video(stored(tmp_path / "a.mkv", pictures)).edit("age=4"), pictures)
    full = np.median(found[:12])
    assert full > 0 and (found[27:] == 0).all()
    assert np.abs(np.diff(found)).max() < 0.6 * full
