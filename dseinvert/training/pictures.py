"""Training pictures from a set of aligned images, varied in light, colour and framing."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dseinvert.errors import InputError
from dseinvert.media.atomic import shown
from dseinvert.media.images import decode_image
from dseinvert.media.pixels import Pixels
from dseinvert.media.sets import Member, damaged, opened_set

_WIDEST = 1 << 26  # pixels of a member
_KEPT, _KEPT_TIMES = 1 << 30, 64
"""Bytes that the pictures of any file may come to, and those for each byte of it."""


def read_tar(path: Path, side: int, crop: Sequence[int] | None = None) -> Pixels:
    """All pictures of a tar, or another set, as `read_set`."""
    return read_set(path, side, crop)


def read_set(path: Path, side: int, crop: Sequence[int] | None = None) -> Pixels:
    """All pictures of a set, area-averaged to uint8 [N, side, side, 3], by name.

    Args:
        path: what `media.sets` opens; a file whose name tells nothing is a tar.
        crop: left, top, right, bottom in pixels; None = the whole picture.

    Raises:
        InputError: one that cannot be read, or more pixels than suit the set.
        NoInputError: no picture. MissingError: what reads it is not installed.
    """
    with opened_set(path, otherwise="tar") as members:
        _check_kept(path, len(members), side)
        pictures = np.empty((len(members), side, side, 3), np.uint8)
        for place, member in enumerate(members):
            pictures[place] = _small(path, member, side, crop)
    return pictures


def _check_kept(path: Path, count: int, side: int) -> None:
    if path.is_dir():  # of files that take what each takes
        return
    size = path.stat().st_size
    if count * side * side * 3 > max(_KEPT, _KEPT_TIMES * size):
        raise InputError(f"{shown(path)}: {count} pictures in {size:,} bytes")


def _small(path: Path, member: Member, side: int, crop: Sequence[int] | None) -> Pixels:
    data = member.read()
    try:
        pixels = decode_image(data, _WIDEST).pixels
    except InputError as error:
        raise damaged(path, f"{member.name[:100]} {error.what}", "tar") from error
    if crop is not None:
        left, top, right, bottom = crop
        pixels = pixels[top:bottom, left:right]
    return cv2.resize(pixels, (side, side), interpolation=cv2.INTER_AREA)


def foreground(picture: Pixels) -> Pixels:
    """A soft mask uint8 [S, S] of the person before a plain background; all 255 where it is not.

    The background is what can be reached from the top corners over slowly changing colours.
    """
    side = len(picture)
    smooth = cv2.bilateralFilter(picture, 5, 25, 3)
    reached = np.zeros((side + 2, side + 2), np.uint8)
    flags = 4 | cv2.FLOODFILL_MASK_ONLY | (255 << 8)
    for x in (0, side - 1):
        corner = smooth[0, x].astype(int)
        for y in range(0, side // 2, 3):
            if np.abs(smooth[y, x].astype(int) - corner).max() < 28 and not reached[y + 1, x + 1]:
                cv2.floodFill(smooth.copy(), reached, (x, y), 0, (4, 4, 4), (4, 4, 4), flags)
    person = 255 - reached[1:-1, 1:-1]
    person = cv2.morphologyEx(person, cv2.MORPH_OPEN, np.ones((3, 3), np.uint8))
    centre = person[side // 4 : -side // 4, side // 3 : -side // 3]
    if not 0.1 < (person == 0).mean() < 0.6 or (centre == 0).mean() > 0.02:
        return np.full((side, side), 255, np.uint8)
    return cv2.GaussianBlur(person, (0, 0), side / 96)


WHOLE = slice(None)
"""Of a batch: all of it."""
Vary = Callable[["Variations", np.random.Generator, int], NDArray[np.float32]]
"""Random numbers and the index of a picture -> the picture [side, side, 3], varied, in [-1, 1]."""


class Variations:
    """Endless varied batches of pictures; a step's batch depends on the seed and the step alone.

    Half of the people stand before another background; all are moved, turned, mirrored, lit and
    tinted a little, so that an encoder trained on plain portraits meets the variety of photos.
    """

    def __init__(
        self,
        pictures: Pixels,
        masks: Pixels,
        side: int,
        batch: int,
        seed: int,
        *,
        vary: Vary | None = None,
    ) -> None:
        """`vary`: how a picture is varied; None = `a_little`."""
        self.pictures, self.masks = pictures, masks
        self.side, self.batch, self.seed = side, batch, seed
        self.vary = vary or Variations.a_little

    def from_step(self, step: int, cut: slice = WHOLE) -> Iterator[Tensor]:
        """Batches [B, 3, side, side] in [-1, 1] from `step` on, prepared one ahead."""
        with ThreadPoolExecutor(1) as pool:
            ahead = pool.submit(self.at, step, cut)
            while True:
                step += 1
                ready, ahead = ahead.result(), pool.submit(self.at, step, cut)
                yield ready

    def at(self, step: int, cut: slice = WHOLE) -> Tensor:
        """The batch of one step, or these pictures of it, which are the same in any cut."""
        rng = np.random.default_rng((self.seed, step))
        chosen = rng.integers(len(self.pictures), size=self.batch)
        varied = [self._one(step, place, int(chosen[place])) for place in range(self.batch)[cut]]
        images = np.stack([*varied]) if varied else np.empty((0, self.side, self.side, 3), "f4")
        return torch.from_numpy(images).permute(0, 3, 1, 2).contiguous()

    def _one(self, step: int, place: int, index: int) -> NDArray[np.float32]:
        return self.vary(self, np.random.default_rng((self.seed, step, place)), index)

    def a_little(self, rng: np.random.Generator, index: int) -> NDArray[np.float32]:
        """A picture [side, side, 3] in [-1, 1]."""
        picture = self.before(rng, index, 0.5)
        picture = self.frame(rng, picture)
        return (light(rng, picture) * 2 - 1).astype(np.float32)

    def before(self, rng: np.random.Generator, index: int, share: float) -> NDArray[np.float32]:
        """The picture, with a chance of `share` before another background."""
        picture = self.pictures[index].astype(np.float32) / 255
        if rng.random() >= share:
            return picture
        mask = self.masks[index].astype(np.float32)[..., None] / 255
        return (mask * picture + (1 - mask) * self.background(rng)).astype(np.float32)

    def background(self, rng: np.random.Generator) -> NDArray[np.float32]:
        """A blurred, recoloured part of another picture, or smooth colour noise."""
        size = self.pictures.shape[1]
        if rng.random() < 0.5:
            other = self.pictures[rng.integers(len(self.pictures))].astype(np.float32) / 255
            part = other[:, :: rng.choice([-1, 1])][: size // 2, : size // 2]
            part = cv2.GaussianBlur(part, (0, 0), float(rng.uniform(0.3, 4)))
            colours = rng.permuted(part, axis=2) if rng.random() < 0.3 else part
            return cv2.resize(colours, (size, size)) * rng.uniform(0.2, 1.2)
        cells = int(rng.integers(1, 12))
        noise = rng.uniform(-0.5, 0.5, (cells, cells, 1)) * rng.uniform(0, 1)
        noise = noise + rng.uniform(-0.5, 0.5, (cells, cells, 3)) * rng.uniform(0, 0.3)
        tint = rng.uniform(0, 1) + rng.normal(0, 0.12, 3)
        ground = np.clip(tint + noise, 0, 1)
        return cv2.resize(ground.astype(np.float32), (size, size), interpolation=cv2.INTER_CUBIC)

    def frame(
        self, rng: np.random.Generator, picture: NDArray[np.float32], *, far: bool = False
    ) -> NDArray[np.float32]:
        """The picture moved, turned and mirrored, a little or `far`: [side, side, 3]."""
        size = len(picture)
        scale = self.side / size * (rng.uniform(0.85, 1.3) if far else rng.uniform(0.94, 1.1))
        angle = float(rng.normal(0, 6 if far else 2))
        matrix = cv2.getRotationMatrix2D((size / 2, size / 2), angle, float(scale))
        shift = rng.normal(0, 0.04 if far else 0.015, 2) * self.side
        matrix[:, 2] += self.side / 2 - size / 2 + shift
        if rng.random() < 0.5:
            picture = picture[:, ::-1]
        return cv2.warpAffine(
            np.ascontiguousarray(picture),
            matrix,
            (self.side, self.side),
            flags=cv2.INTER_LINEAR,
            borderMode=cv2.BORDER_REFLECT_101,
        )


def light(rng: np.random.Generator, picture: NDArray[np.float32]) -> NDArray[np.float32]:
    """Vary exposure, contrast, colour temperature, saturation and the direction of the light."""
    side = len(picture)
    picture = np.clip(picture, 1e-3, 1) ** np.exp(rng.normal(0, 0.18))
    picture = picture * np.exp(rng.normal(0, 0.06, 3)) * np.exp(rng.normal(0, 0.12))
    grey = picture.mean(axis=2, keepdims=True)
    picture = grey + (picture - grey) * rng.uniform(0.5, 1.5)
    picture = 0.5 + (picture - 0.5) * rng.uniform(0.8, 1.3)
    if rng.random() < 0.4:
        angle = rng.uniform(0, 2 * np.pi)
        ramp = np.linspace(-1, 1, side)
        slope = np.cos(angle) * ramp[:, None] + np.sin(angle) * ramp[None]
        picture = picture * (1 + rng.uniform(0, 0.4) * slope[..., None])
    return np.clip(picture, 0, 1).astype(np.float32)
