"""What a stranger left in the folder of unfinished work of a clip is damage, and no more."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest

from dseinvert.faces.detect import Detector
from dseinvert.media.rows import write_rows
from dseinvert.run.video import tune
from dseinvert.run.video.faces import _Begun
from dseinvert.run.video.steady import Steady, _file
from dseinvert.video.tracks import Tracker

NOBODY = cast(Detector, SimpleNamespace(name="none"))
GOOD: dict[str, Any] = {
    "3.time": np.array([1.0]),
    "3.crop": np.zeros((8, 8, 3), np.uint8),
    "3.change": np.zeros((16, 16, 3), np.float32),
}


def steadied(folder: Path, state: dict[str, Any]) -> dict[str, Any]:
    """What the next frame becomes after going on from a file with this state."""
    write_rows(_file(folder, 25), state)
    steady = Steady(0.5, {"age": folder}, 25)
    steady.resume(25)
    crop, patch = np.full((8, 8, 3), 9, np.uint8), np.ones((16, 16, 3), np.float32)
    return steady.feed(3, 1.04, crop, {"age": patch})


def test_a_state_that_was_kept_is_gone_on_with(tmp_path: Path) -> None:
    assert (steadied(tmp_path, GOOD)["age"] < 1).any()


@pytest.mark.parametrize(
    "changed",
    [
        {"3.time": np.array([np.nan])},
        {"3.time": np.zeros(0)},
        {"3.crop": np.zeros((8, 8, 3), np.float32)},
        {"3.crop": np.zeros((8, 9, 3), np.uint8)},
        {"3.crop": np.zeros(8, np.uint8)},
        {"3.crop": np.zeros((4, 4, 3), np.uint8)},
        {"3.change": np.zeros((0, 0, 3), np.float32)},
        {"3.change": np.full((16, 16, 3), np.inf, np.float32)},
        {"3.change": np.zeros((32, 32, 3), np.float32)},
        {"3.change": np.zeros((16, 16, 3), np.int64)},
        {"x.time": np.zeros(1)},
    ],
)
def test_another_state_is_none(changed: dict[str, Any], tmp_path: Path) -> None:
    state = {**GOOD, **changed}
    made = steadied(tmp_path, state)["age"]
    assert made.shape == (16, 16, 3) and (made == 1).all()


@pytest.mark.parametrize("rewind", [3, -1, 2**62, 0.5, float("nan")])
def test_begun_tracks_that_go_on_elsewhere_are_damage(
    rewind: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "tracks.begun.safetensors"
    write_rows(path, {"a": np.zeros(3), "clip_pts": np.arange(3)}, {"sound": "1"})
    went = {"to": 2.0}
    monkeypatch.setattr(Tracker, "unpack", lambda *_: SimpleNamespace(rewind=went["to"]))
    assert _Begun(path, 1, "auto").load(NOBODY)[1:] == ([0, 1, 2], True)
    went["to"] = rewind
    tracker, pts, sound = _Begun(path, 1, "auto").load(NOBODY)
    assert isinstance(tracker, Tracker) and (pts, sound) == ([], True)


@pytest.mark.parametrize(
    "changed", [{"loss": "ab"}, {"psnr": [1, None]}, {"kept": "x"}, {"method": 3}, {"steps": -1}]
)
def test_stages_that_are_no_numbers_are_damage(changed: dict[str, Any]) -> None:
    good = {"method": "generator", "steps": 1, "kept": 1, "loss": [2, 1], "psnr": [20, 21]}
    assert tune._stage(good).loss == (2, 1)
    with pytest.raises((ValueError, TypeError, KeyError)):
        tune._stage({**good, **changed})
