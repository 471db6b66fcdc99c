"""From what a decoder gives to upright sRGB pixels, and the parts of a picture on the way."""

from __future__ import annotations

import io
import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageCms

from dseinvert.errors import InputError
from dseinvert.media.formats import CONVERT
from dseinvert.media.pixels import Floats, Pixels

# How an EXIF orientation is undone: rows and columns change places, then rows, columns are turned
# round.
_TURNS = {
    2: (False, False, True),
    3: (False, True, True),
    4: (False, True, False),
    5: (True, False, False),
    6: (True, False, True),
    7: (True, True, True),
    8: (True, True, False),
}
_STRIP = 512  # rows
_ICC_MODES = {"RGB ": "RGB", "GRAY": "L", "CMYK": "CMYK"}
_GREY_MODES = ("1", "L", "LA", "I", "F")
_FLOAT_WHITES = (1.0, 255.0, 65535.0)
# Of floats that go a little beyond 1, which is white: lights of a picture of high dynamic range.
_HIGHLIGHTS = 16.0
_DEEP = 65535.0
_INTEGER_WHITES = (_DEEP, 2.0**31)
# Of 8, 10 and 12 bits in 16; 14 would be as many as a dark photo has.
_SMALL_WHITES = (255.0, 1023.0, 4095.0)
_S_MAX_SAMPLE, _MAX_SAMPLE = 341, 281
_PHOTOMETRIC, _WHITE_IS_ZERO = 262, 0
SIGNIFICANT_BITS = "significant bits"
"""Of each sample: where `Image.info` has it from a PNG, which Pillow does not tell."""


def on_white(image: Image.Image, notes: list[str]) -> Pixels:
    """The pixels of a decoded image in sRGB, alpha laid on white; not yet turned."""
    rgb = srgb(image, notes)
    if image.has_transparency_data:
        rgb = _on_white(rgb, image, notes)
    return pixels_of(rgb)


def pixels_of(image: Image.Image) -> Pixels:
    """A new array [H, W, C] of an image, strip by strip: Pillow's own way takes it three times."""
    array = np.empty((image.height, image.width, len(image.getbands())), np.uint8)
    for top in range(0, image.height, _STRIP):
        box = (0, top, image.width, min(top + _STRIP, image.height))
        array[top : box[3]] = np.asarray(image.crop(box)).reshape(array[top : box[3]].shape)
    return array


def orientation(image: Image.Image, notes: list[str]) -> int:
    """The EXIF orientation, 1 to 8; decoders that turned the image have reset it."""
    try:
        return int(image.getexif().get(ExifTags.Base.Orientation, 1))
    except Exception:  # any damage in a block of data that the pixels do not need
        notes.append("its EXIF data are damaged and were ignored")
        return 1


def turned(array: NDArray[Any], turn: int) -> NDArray[Any]:
    """An array [H, W, ...] as an EXIF orientation wants it; the same array where that is 1."""
    if turn not in _TURNS:
        return array
    across, rows, columns = _TURNS[turn]
    if across:
        array = array.swapaxes(0, 1)
    step = {False: 1, True: -1}
    return np.array(array[:: step[rows], :: step[columns]], order="C")


def srgb(image: Image.Image, notes: list[str]) -> Image.Image:
    """`image` as RGB in sRGB, of 8 bits, whatever its alpha; not a copy where it is that."""
    image = _eight_bits(image, notes)
    layout = "CMYK" if image.mode == "CMYK" else "L" if is_grey(image) else "RGB"
    image = image if image.mode == layout else image.convert(layout)
    return _by_profile(image, image.info.get("icc_profile"), notes)


def is_grey(image: Image.Image) -> bool:
    """Whether an image has but one channel beside its alpha."""
    return image.mode in _GREY_MODES or image.mode.startswith("I;16")


def levels(image: Image.Image, notes: list[str]) -> NDArray[np.float32] | None:
    """The pixels [H, W] of deep grey from 0 to 1; None = the image has 8 bits.

    Pillow's own conversion clips them.
    """
    if image.mode not in ("I", "F") and not image.mode.startswith("I;16"):
        return None
    values = np.asarray(image, dtype=np.float32)
    if not np.isfinite(values).all():
        raise InputError("has pixels that are NaN or infinite")
    white = _white(values, image)
    if image.mode == "F":
        notes.append(said_float(float(values.max()), white))
    elif white < _DEEP:
        notes.append(said_small(float(values.max()), white))
    shares = np.clip(values / np.float32(white), 0, 1)
    return 1 - shares if _is_negative(image) else shares


def _is_negative(image: Image.Image) -> bool:
    """Whether a TIFF counts from white, of which Pillow undoes only that of 8 bits."""
    photometric = getattr(image, "tag_v2", {}).get(_PHOTOMETRIC)
    return bool(photometric == _WHITE_IS_ZERO)


def said_float(peak: float, white: float) -> str:
    """What there is to say of floating point numbers."""
    cut = ", what is lighter as white" if peak > white else ""
    return f"float pixels were read as 0 to {white:g}{cut}"


def said_small(peak: float, white: float) -> str:
    """What there is to say of numbers of fewer bits than their file has room for."""
    return f"its numbers, up to {peak:g}, were read as 0 to {white:g}"


@dataclass(frozen=True, eq=False)
class Profile:
    """A colour profile of RGB with the way to sRGB and back."""

    data: bytes
    there: Any
    back: Any

    def from_srgb(self, pixels: Pixels) -> Pixels:
        """[H, W, 3] of sRGB in the colours of the profile."""
        image = Image.fromarray(np.ascontiguousarray(pixels))
        return np.asarray(ImageCms.applyTransform(image, self.back))

    def from_levels(self, levels: Floats) -> NDArray[np.float64]:
        """The same of levels in 0 .. 255 that are not rounded, nor are those that come of them.

        Profiles are asked about whole levels; between these it is linear.
        """
        low = np.floor(levels).clip(0, 254)
        share = levels - low
        result = np.zeros(levels.shape)
        for corner in itertools.product((0, 1), repeat=3):
            weight = np.where(corner, share, 1 - share).prod(axis=-1, keepdims=True)
            result += weight * self.from_srgb((low + corner).astype(np.uint8))
        return result

    def to_srgb(self, pixels: Pixels) -> Pixels:
        """[H, W, 3] of the profile's colours in sRGB; the same as `srgb` makes of the image."""
        return np.asarray(ImageCms.applyTransform(Image.fromarray(pixels), self.there))


def profile_of(image: Image.Image) -> Profile | None:
    """The profile of an RGB image that can be gone back to; None = there is none."""
    data = image.info.get("icc_profile")
    if not data or image.mode not in ("RGB", "RGBA"):
        return None
    try:
        own, standard = ImageCms.ImageCmsProfile(io.BytesIO(data)), ImageCms.createProfile("sRGB")
        if own.profile.xcolor_space != "RGB ":
            return None
        there, back = (
            ImageCms.buildTransform(one, other, "RGB", "RGB")
            for one, other in ((own, standard), (standard, own))
        )
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError):
        return None
    return Profile(data, there, back)


def _eight_bits(image: Image.Image, notes: list[str]) -> Image.Image:
    if image.mode == "LAB":
        raise InputError("has L*a*b* colours, which are not supported", CONVERT)
    deep = levels(image, notes)
    if deep is None:
        return image
    shallow = Image.fromarray(np.rint(deep * 255).astype(np.uint8))
    shallow.info = image.info
    return shallow


def _white(values: NDArray[np.float32], image: Image.Image) -> float:
    """The white level of deep grey: as the file says, else the lowest that suits the numbers."""
    peak, tagged = float(values.max()), tagged_white(image)
    if tagged is not None and peak <= tagged:
        return tagged
    if image.mode != "F" and (small := _small_white(values, image)) is not None:
        return small
    if image.mode.startswith("I;"):
        return _DEEP
    return float_white(peak) if image.mode == "F" else _least(_INTEGER_WHITES, peak)


def float_white(peak: float) -> float:
    """The white of floating point numbers up to `peak`: 1, 255 or 65535.

    Raises:
        InputError: there are larger ones.
    """
    return _FLOAT_WHITES[0] if peak <= _HIGHLIGHTS else _least(_FLOAT_WHITES, peak)


def _least(whites: Sequence[float], peak: float) -> float:
    for white in whites:
        if peak <= white:
            return white
    raise InputError(f"has pixel values up to {peak:g}, on no known scale", CONVERT)


def _small_white(values: NDArray[np.float32], image: Image.Image) -> float | None:
    """White of fewer bits than there is room for, by a look at the numbers; None = of all."""
    if image.mode == "I" and values.max() <= _SMALL_WHITES[0]:
        return _SMALL_WHITES[0]
    return next((white for white in _SMALL_WHITES if fills(values, white)), None)


def fills(values: NDArray[np.float32], white: float) -> bool:
    """Whether a picture of 16 bits is rather one of fewer, up to `white`, than a dark one.

    Its numbers must reach the upper half of that range and, so that a few hot pixels in the dark
    do not count, be in it on the mean; on the whole scale it would be black to the eye.
    """
    return bool(white / 2 < values.max() <= white and values.mean() >= white / 16)


def tagged_white(image: Image.Image) -> float | None:
    """The largest number that a TIFF or PNG says it holds; None = it does not say."""
    if image.mode == "F":
        return None
    try:
        tags = getattr(image, "tag_v2", {})
        largest = tags.get(_S_MAX_SAMPLE, tags.get(_MAX_SAMPLE))
        largest = largest[0] if isinstance(largest, tuple) else largest
        bits = image.info.get(SIGNIFICANT_BITS, 0)
        white = float(largest) if largest is not None else 2.0**bits - 1
    except (TypeError, ValueError, ArithmeticError, IndexError):
        return None
    return white if 1 < white < _DEEP else None


def _by_profile(image: Image.Image, profile: bytes | None, notes: list[str]) -> Image.Image:
    """`image` in sRGB by its colour profile (None = it has none)."""
    if profile:
        try:
            source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
            mode = _ICC_MODES[source.profile.xcolor_space]
            if not _fits(mode, image):
                raise ValueError(f"a profile for {mode}, an image in {image.mode}")
            standard = ImageCms.createProfile("sRGB")
            given = image if image.mode == mode else image.convert(mode)
            converted = ImageCms.profileToProfile(given, source, standard, outputMode="RGB")
            if converted is not None:
                return converted
        except (ImageCms.PyCMSError, OSError, ValueError, TypeError, KeyError):
            notes.append("its colour profile is broken or does not fit and was ignored")
    return image if image.mode == "RGB" else image.convert("RGB")


def _fits(mode: str, image: Image.Image) -> bool:
    """Whether a profile for `mode` says something about the image."""
    if mode == "L":
        return image.mode == "L" or (image.mode == "RGB" and _is_colourless(image))
    return image.mode == mode or (mode == "RGB" and image.mode == "L")


def _is_colourless(image: Image.Image) -> bool:
    """True where all channels are the same, as in the 16-bit grey with alpha Pillow calls RGBA."""
    return len({band.tobytes() for band in image.split()}) == 1


def _on_white(rgb: Image.Image, source: Image.Image, notes: list[str]) -> Image.Image:
    """`rgb` laid on white by the transparency of `source`."""
    alpha = source.convert("RGBA").getchannel("A")
    if alpha.getextrema() == (0, 0):
        notes.append("is fully transparent; only the white background is seen")
    white = Image.new("RGB", rgb.size, "white")
    white.paste(rgb, mask=alpha)
    return white
