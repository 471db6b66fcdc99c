"""In a clip, too, the wall behind a head keeps its colours, and steadily so."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import cv2
import numpy as np
import pytest

from dseinvert.run.video.paste import RECON, patches_of
from dseinvert.similarity.identity import FFHQ_POINTS

SIDE = 128
BLENDS = pytest.mark.parametrize("moved", [False, True], ids=["difference", "moved"])
WALL, TINTED, HAIR, LIGHT, SKIN = (
    (230,) * 3,
    (170, 190, 230),
    (40, 30, 25),
    (150, 110, 70),
    (205, 160, 135),
)
Colour = tuple[int, int, int]


def head(hair: Colour, wall: Colour) -> np.ndarray:
    picture = np.full((SIDE, SIDE, 3), wall, np.uint8)
    cv2.ellipse(picture, (64, 59), (41, 50), 0, 0, 360, hair, -1)
    cv2.ellipse(picture, (64, 75), (30, 42), 0, 0, 360, SKIN, -1)
    return picture


def change(frame: np.ndarray, moved: bool) -> np.ndarray:
    """What is put into a frame whose edit lightens hair and tints the wall."""
    quad = np.array([[0.0, 0], [0, SIDE], [SIDE, SIDE], [SIDE, 0]]) - 0.5
    face = SimpleNamespace(quad=quad, points=np.array(FFHQ_POINTS) * SIDE)
    studio = SimpleNamespace(edits={"hair": ()}, paste="difference", where=None, moved=moved)
    shot = SimpleNamespace(frame=SimpleNamespace(pixels=frame), faces=[face])
    blurred = [cv2.GaussianBlur(one, (0, 0), 2) for one in (frame, head(LIGHT, TINTED))]
    drawn = {RECON: blurred[0], "hair": blurred[1]}
    (patches,) = patches_of(cast(Any, studio), cast(Any, shot), [drawn])
    patch = patches["hair"][..., :3]
    return cv2.resize(patch, (SIDE, SIDE), interpolation=cv2.INTER_AREA)


@BLENDS
def test_the_wall_keeps_its_colours_and_the_hair_takes_its_new_ones(moved: bool) -> None:
    found = change(head(HAIR, WALL), moved)
    for x, y in ((12, 64), (14, 40), (114, 80), (16, 84)):
        assert np.abs(found[y - 1 : y + 2, x - 1 : x + 2]).max() < 5, (x, y)
    assert found[29:32, 60:68, 0].min() > 30


@BLENDS
def test_noise_does_not_make_it_flicker(moved: bool) -> None:
    rng, quiet = np.random.default_rng(0), head(HAIR, WALL)
    frames = [
        np.clip(quiet + rng.normal(0, 4, quiet.shape), 0, 255).astype(np.uint8) for _ in range(3)
    ]
    found = np.stack([change(frame, moved) for frame in frames])
    assert np.abs(np.diff(found, axis=0)).mean() < 1.5
