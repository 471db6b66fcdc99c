from __future__ import annotations

import numpy as np
import torch

from recipe.gan.device_pictures import DevicePictures

CPU = torch.device("cpu")


def noise(mask: int = 255, batch: int = 6, seed: int = 0) -> DevicePictures:
    rng = np.random.default_rng(0)
    pictures = rng.integers(0, 256, (9, 16, 16, 3), dtype=np.uint8)
    return DevicePictures(pictures, np.full((9, 16, 16), mask, np.uint8), batch, seed, CPU)


def black(mask: int, batch: int) -> DevicePictures:
    masks = np.full((3, 16, 16), mask, np.uint8)
    return DevicePictures(np.zeros((3, 16, 16, 3), np.uint8), masks, batch, 0, CPU)


def test_a_batch_depends_on_seed_and_step_alone():
    forwards = [noise().at(step) for step in range(3)]
    pictures = noise()
    backwards = [pictures.at(step) for step in reversed(range(3))][::-1]
    assert all(torch.equal(a, b) for a, b in zip(forwards, backwards, strict=True))


def test_drawing_leaves_the_global_random_numbers_alone():
    torch.manual_seed(0)
    before = torch.get_rng_state()
    noise().at(0)
    assert torch.equal(before, torch.get_rng_state())


def test_steps_and_seeds_differ():
    assert not torch.equal(noise().at(0), noise().at(1))
    assert not torch.equal(noise().at(0), noise(seed=1).at(0))


def test_batches_are_images():
    batch = noise(mask=100).at(0)
    assert batch.shape == (6, 3, 16, 16)
    assert batch.dtype == torch.float32
    assert -1 <= batch.min() < -0.5 < 0.5 < batch.max() <= 1


def test_people_keep_their_pixels():
    """Light may lift black a little."""
    assert black(mask=255, batch=64).at(0).max() < -0.6


def test_half_of_the_backgrounds_are_replaced():
    """By black pictures or by colours; where it is colours, black turns bright."""
    bright = black(mask=0, batch=800).at(0).mean((1, 2, 3)) > -0.6
    assert 0.15 < bright.float().mean() < 0.35


def test_half_of_the_pictures_are_mirrored():
    half = np.zeros((1, 16, 16, 3), np.uint8)
    half[:, :, 8:] = 255
    pictures = DevicePictures(half, np.full((1, 16, 16), 255, np.uint8), 400, 0, CPU)
    batch = pictures.at(0)
    mirrored = batch[..., :6].mean((1, 2, 3)) > batch[..., 10:].mean((1, 2, 3))
    assert 0.4 < mirrored.float().mean() < 0.6
