"""A photo in memory: upright sRGB pixels from whatever a program has, and back to a file."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from dseinvert.errors import InputError, OutputError
from dseinvert.media.atomic import shown, write_bytes
from dseinvert.media.images import Picture, decode_image, encode_jpeg, encode_png, open_image
from dseinvert.media.pixels import Pixels

Encode = Callable[[Pixels], bytes]


def _encode_webp(pixels: Pixels) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, format="WEBP", lossless=True)
    return file.getvalue()


ENCODERS: dict[str, Encode] = {
    ".png": encode_png,
    ".jpg": encode_jpeg,
    ".jpeg": encode_jpeg,
    ".webp": _encode_webp,
}
"""By the suffix of a file that is written; WebP is lossless."""

_OTHERS = "open_photo takes paths, bytes, PIL images and other arrays"
_ARRAYS = "a photo is uint8, or floats from 0 to 1, [H, W, 3] or [H, W]"


@dataclass(frozen=True, eq=False, repr=False)
class Photo:
    """Upright pixels in sRGB; numpy takes it as an array.

    `np.asarray(photo)` gives `pixels`, and `PIL.Image.fromarray(photo.pixels)` a PIL image.
    """

    pixels: Pixels
    """uint8 [H, W, 3]."""
    warnings: tuple[str, ...] = ()
    """What was odd about the file although it was read, a phrase each."""
    path: Path | None = None
    """The file it came from; None = it came from memory."""

    def __post_init__(self) -> None:
        if not isinstance(self.pixels, np.ndarray):
            raise InputError(f"a photo is an array, not a {type(self.pixels).__name__}", _OTHERS)
        shape = self.pixels.shape
        if self.pixels.dtype != np.uint8 or len(shape) != 3 or shape[2] != 3 or 0 in shape:
            raise InputError(
                f"a photo is uint8 [H, W, 3], not {self.pixels.dtype} {list(shape)}",
                _OTHERS,
            )

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in pixels."""
        return self.pixels.shape[1], self.pixels.shape[0]

    def __repr__(self) -> str:
        return f"Photo({self.size[0]}x{self.size[1]})"

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        """The pixels, for numpy."""
        if copy is False:
            return np.asarray(self.pixels, dtype)
        return np.array(self.pixels, dtype)

    def save(self, path: str | Path) -> Path:
        """Write PNG, JPEG or WebP, as the suffix says; under that name whole or not at all.

        Raises:
            OutputError: another suffix, or a place that cannot be written.
        """
        path = Path(path)
        encode = ENCODERS.get(path.suffix.lower())
        if encode is None:
            raise OutputError(f"{shown(path)}: not a kind of picture", ", ".join(ENCODERS))
        write_bytes(path, encode(self.pixels))
        return path


def open_photo(source: str | Path | bytes | Image.Image | np.ndarray | Photo) -> Photo:
    """A photo from a file, its bytes, a PIL image or an array.

    Files, bytes and PIL images are turned upright by their EXIF orientation and converted to sRGB
    by their colour profile; alpha is laid on white. Arrays are taken as they are: uint8, or floats
    from 0 to 1, [H, W, 3] RGB or [H, W] grey.

    Raises:
        InputError: damaged, not a picture, or an array of another kind.
    """
    if isinstance(source, Photo):
        return source
    if isinstance(source, str | Path):
        path = Path(source)
        return _photo(open_image(path), path)
    if isinstance(source, bytes):
        return _from_memory(source, "bytes")
    if isinstance(source, Image.Image):
        return _from_memory(_as_file(source), "a PIL image")
    try:
        return Photo(_bytes(np.asarray(source)))
    except (TypeError, ValueError) as error:  # such as a tensor on a GPU, or a ragged list
        raise InputError(f"not a photo: a {type(source).__name__}", _ARRAYS) from error


def _photo(picture: Picture, path: Path | None = None) -> Photo:
    return Photo(picture.pixels, picture.warnings, path)


def _from_memory(data: bytes, what: str) -> Photo:
    try:
        return _photo(decode_image(data))
    except InputError as error:
        raise InputError(f"{what}: {error.what}", error.advice) from error


def _as_file(image: Image.Image) -> bytes:
    """The image as a file in memory, so that it is read as every other: upright, in sRGB."""
    if 0 in image.size:
        raise InputError("a PIL image without a pixel")
    try:
        return _saved(image)
    except (ValueError, OSError) as error:  # closed, cut short, or of a mode that nothing reads
        raise InputError(f"a PIL image that cannot be read: {error}") from error


def _saved(image: Image.Image) -> bytes:
    file, kind = io.BytesIO(), "TIFF" if image.mode in ("CMYK", "F") else "PNG"
    kept = {"icc_profile": image.info.get("icc_profile"), "exif": image.getexif().tobytes()}
    if image.mode not in ("1", "L", "LA", "P", "RGB", "RGBA", "I", "I;16", "CMYK", "F"):
        image = image.convert("RGB")
    image.save(file, format=kind, **{name: value for name, value in kept.items() if value})
    return file.getvalue()


def _bytes(array: np.ndarray) -> Pixels:
    """uint8 [H, W, 3] of an array of grey or RGB."""
    floats = np.issubdtype(array.dtype, np.floating)
    grey = array.ndim == 2
    if (array.dtype != np.uint8 and not floats) or not (grey or array.shape[2:] == (3,)):
        raise InputError(f"{_ARRAYS}, not {array.dtype} {list(array.shape)}")
    if array.size == 0:
        raise InputError(f"a photo without a pixel: {list(array.shape)}")
    if floats:
        if not (np.isfinite(array).all() and array.min() >= 0 and array.max() <= 1):
            raise InputError("an array of floats holds a photo's pixels from 0 to 1", "array / 255")
        array = np.rint(array * 255).astype(np.uint8)
    return np.ascontiguousarray(np.repeat(array[..., None], 3, axis=2) if grey else array)
