"""Training pictures from a tar of aligned images, varied in light, colour and framing."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import tarfile
import warnings
import zlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError
from torch import Tensor

from dseinvert.errors import InputError
from dseinvert.media.atomic import shown
from dseinvert.media.pixels import Pixels
from dseinvert.names import printable

_LARGEST = 1 << 26  # bytes of a member
_WIDEST = 1 << 26  # pixels of a member
_UNPACKED, _TIMES = 1 << 25, 6
"""Bytes that any tar may be unpacked to, and those for each byte of its file."""
_KEPT, _KEPT_TIMES = 1 << 30, 64
"""The same of the pictures that come of it."""
_PACKED: dict[bytes, Callable[[Path], io.BufferedIOBase]] = {
    b"\x1f\x8b": gzip.GzipFile,
    b"BZh": bz2.BZ2File,
    b"\xfd7zXZ": lzma.LZMAFile,
}
_DAMAGES = (
    *(OSError, EOFError, ValueError, SyntaxError, tarfile.TarError, zlib.error, lzma.LZMAError),
    *(Image.DecompressionBombError, Image.DecompressionBombWarning),
)
"""What readers of tars and pictures raise on damaged ones."""


def read_tar(path: Path, side: int, crop: Sequence[int] | None = None) -> Pixels:
    """All JPEG and PNG members of a tar, area-averaged to uint8 [N, side, side, 3], by name.

    `crop` is left, top, right, bottom in pixels; None = the whole picture.
    """
    pictures: list[Pixels] = []
    try:
        size = _plain_size(path)
        with _opened(path, size) as tar:
            members = [m for m in tar if m.name.lower().endswith((".jpg", ".jpeg", ".png"))]
            if len(members) * side * side * 3 > max(_KEPT, _KEPT_TIMES * size):
                raise InputError(f"{shown(path)}: {len(members)} pictures in {size:,} bytes")
            for member in sorted(members, key=lambda m: m.name):
                image = _image(member.name, _content(path, tar, member))
                if crop is not None:
                    image = image.crop(tuple(crop))  # type: ignore[arg-type]
                pictures.append(
                    cv2.resize(np.asarray(image), (side, side), interpolation=cv2.INTER_AREA)
                )
    except _DAMAGES as error:
        said = printable(str(error))[:200]
        raise InputError(f"{shown(path)}: not a readable tar of images: {said}") from error
    if not pictures:
        raise InputError(f"{path}: holds no JPEG or PNG file")
    return np.stack(pictures)


class _Within(io.RawIOBase):
    """A file that is read up to `most` bytes; ValueError beyond."""

    def __init__(self, file: io.BufferedIOBase, most: int) -> None:
        super().__init__()
        self._file, self._most = file, most

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._file.tell()

    def seek(self, offset: int, whence: int = 0) -> int:
        self._check(offset if whence == 0 else 0)
        return self._file.seek(offset, whence)

    def read(self, size: int = -1) -> bytes:
        self._check(self._file.tell() + max(size, 0))
        return self._file.read(size)

    def _check(self, end: int) -> None:
        if end > self._most:
            raise ValueError("it would be unpacked to far more than a file of its size may")


def _plain_size(path: Path) -> int:
    if path.exists() and not path.is_file():  # reading a pipe might never end
        raise ValueError("not a regular file")
    return path.stat().st_size


@contextmanager
def _opened(path: Path, size: int) -> Iterator[tarfile.TarFile]:
    """A tar, also a compressed one, of which no more is unpacked than suits its size."""
    with path.open("rb") as file:
        start = file.read(6)
    unpack = next((one for mark, one in _PACKED.items() if start.startswith(mark)), None)
    with path.open("rb") if unpack is None else unpack(path) as opened:
        within = _Within(opened, max(_UNPACKED, _TIMES * size) if unpack else 2 * size + 4096)
        with tarfile.open(fileobj=within, mode="r:") as tar:
            yield tar


def _image(name: str, data: bytes) -> Image.Image:
    with warnings.catch_warnings():
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        try:
            image = Image.open(io.BytesIO(data), formats=("JPEG", "PNG"))
        except UnidentifiedImageError as error:
            raise ValueError(f"{printable(name)[:100]} is no JPEG or PNG picture") from error
    if image.width * image.height > _WIDEST:
        raise ValueError(f"a picture of {image.width} x {image.height}")
    return image.convert("RGB")


def _content(path: Path, tar: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    """The bytes of a file in a tar; InputError for what is a link or a device, or far too large."""
    file = tar.extractfile(member) if member.isreg() else None
    if file is None or member.size > _LARGEST:
        what = "is no plain file" if file is None else "is too large for a picture"
        raise InputError(f"{shown(path)}: its member {printable(member.name)[:200]} {what}")
    return file.read()


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

    def from_step(self, step: int) -> Iterator[Tensor]:
        """Batches [B, 3, side, side] in [-1, 1] from `step` on, prepared one ahead."""
        with ThreadPoolExecutor(1) as pool:
            ahead = pool.submit(self.at, step)
            while True:
                step += 1
                ready, ahead = ahead.result(), pool.submit(self.at, step)
                yield ready

    def at(self, step: int) -> Tensor:
        """The batch of one step."""
        rng = np.random.default_rng((self.seed, step))
        chosen = rng.integers(len(self.pictures), size=self.batch)
        images = np.stack([self.vary(self, rng, int(index)) for index in chosen])
        return torch.from_numpy(images).permute(0, 3, 1, 2).contiguous()

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
