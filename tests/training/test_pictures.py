"""Training pictures are read by name, and varied the same way each time."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from dseinvert.errors import InputError
from dseinvert.training.pictures import Variations, foreground, read_tar


def portrait(side: int = 96) -> np.ndarray:
    """A dark head and shoulders before a plain wall."""
    picture = np.full((side, side, 3), (200, 205, 210), np.uint8)
    cv2.ellipse(
        picture, (side // 2, side // 2), (side // 3, side // 2 - 4), 0, 0, 360, (90, 60, 50), -1
    )
    cv2.rectangle(picture, (side // 8, side * 7 // 8), (side * 7 // 8, side), (30, 30, 60), -1)
    return picture


def test_the_person_is_told_from_a_plain_wall() -> None:
    mask = foreground(portrait())
    assert mask[48, 48] == 255 and mask[92, 48] == 255
    assert mask[5, 5] == 0 and mask[30, 90] == 0


def test_a_busy_background_is_left_alone() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (96, 96, 3), dtype=np.uint8)
    assert foreground(noise).min() == 255


def test_a_batch_depends_on_seed_and_step_alone() -> None:
    pictures = np.stack([portrait()] * 3)
    masks = np.stack([foreground(p) for p in pictures])
    one, other = (Variations(pictures, masks, 64, 4, seed=7) for _ in range(2))
    assert torch.equal(one.at(5), other.at(5))
    assert torch.equal(next(iter(one.from_step(5))), other.at(5))
    assert not torch.equal(one.at(5), one.at(6))
    assert one.at(5).shape == (4, 3, 64, 64) and one.at(5).abs().max() <= 1


def test_a_tar_is_read_in_the_order_of_names(real_tar: Path) -> None:
    pictures = read_tar(real_tar, 32)
    assert pictures.shape == (12, 32, 32, 3)
    part = read_tar(real_tar, 16, crop=(0, 0, 16, 16))
    assert np.array_equal(part, pictures[:, :16, :16])


def test_a_file_that_is_no_tar_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.tar").write_bytes(b"no tar")
    with pytest.raises(InputError, match="not a readable tar"):
        read_tar(tmp_path / "a.tar", 32)
