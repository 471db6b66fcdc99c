"""What is carried into a frame: of a line that only the reconstruction has, no negative."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest

from dseinvert.run.video import paste
from dseinvert.run.video.draw import Shot
from dseinvert.run.video.paste import patches_of

SIDE = 256
QUAD = np.array([[0, 0], [0, SIDE], [SIDE, SIDE], [SIDE, 0]], np.float64)
POINTS = np.array([[98, 120], [158, 120], [128, 155], [104, 190], [152, 190]], np.float64)


def skin(line: int = 0) -> np.ndarray:
    """A crop uint8 [128, 128, 3] of skin, with a line across its middle that is so much darker."""
    picture = np.full((128, 128, 3), 150, np.uint8)
    picture[72:75] -= np.uint8(line)
    return picture


def change(recon: np.ndarray, edited: np.ndarray) -> np.ndarray:
    """What is added to a frame of plain skin, beside what it moves: [256, 256, 3]."""
    studio = SimpleNamespace(paste="difference", moved=True, edits={"age": ()}, where=None)
    frame = SimpleNamespace(pixels=np.full((SIDE, SIDE, 3), 150, np.uint8))
    shot = SimpleNamespace(frame=frame, faces=[SimpleNamespace(quad=QUAD, points=POINTS)])
    drawn = [{"recon": recon, "age": edited}]
    ((patch,),) = (one.values() for one in patches_of(cast(Any, studio), cast(Shot, shot), drawn))
    return patch[..., :3]


def test_a_line_that_only_the_reconstruction_has_leaves_no_trace(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    held = change(skin(line=24), skin())
    monkeypatch.setattr(paste, "held_between", lambda change, source, edited: change)
    assert change(skin(line=24), skin()).max() > 12 and held.max() < 8


def test_a_line_that_the_edit_draws_is_seen() -> None:
    assert change(skin(), skin(line=24)).min() < -16
