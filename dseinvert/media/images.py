"""Any picture file a user may have as upright 8-bit sRGB pixels, or one line saying why not."""

from __future__ import annotations

import io
import re
import stat
import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, UnidentifiedImageError

from dseinvert.errors import InputError
from dseinvert.media.atomic import shown
from dseinvert.media.convert import SIGNIFICANT_BITS, on_white, orientation, turned
from dseinvert.media.deep import brighten
from dseinvert.media.floats import as_integers
from dseinvert.media.formats import CONVERT, like_targa, marked, unread
from dseinvert.media.gamma import gamma_profile
from dseinvert.media.memory import give_back
from dseinvert.media.strict import Strictness

_strictly = Strictness()

MAX_PIXELS = 220_000_000
"""Those of the largest sensors that phones have, and some more."""
# What any file may claim, and how much more for each of its bytes: PNG and GIF do not go beyond
# 8,300 even where one bit is a pixel and all are the same.
LIKELY_PIXELS, LIKELY_PER_BYTE = 16_000_000, 10_000
MAX_BYTES = 1 << 30
HEAD_BYTES = 64
# The transfer curves PQ and HLG in the cICP chunk of a PNG.
_HDR = (b"\x10", b"\x12")

CAMERA_RAW = frozenset(
    {".arw", ".cr2", ".cr3", ".dng", ".nef", ".nrw", ".orf", ".pef", ".raf", ".rw2", ".srw"}
)

_AGAIN = "copy or download it again"
_OPTION = "--max-pixels N"
_SMALLER = f"scale it down first, or give {_OPTION}"
_OTHERS = (  # what else turns up under a picture's name: its first bytes, what it is, what to do
    (rb"version https://git-lfs", "is a Git LFS pointer, not an image", "run `git lfs pull`"),
    (
        rb"(?i)(\xef\xbb\xbf)?\s*<(!doctype )?html",
        "is a web page, not an image",
        "download the image itself",
    ),
    (rb"PK\x03\x04", "is a zip archive, not an image", "unpack it first"),
    (rb"(?s)....ftyp|RIFF....AVI |\x1a\x45\xdf\xa3", "is a video", "use `dseinvert video`"),
    (rb"[\t\n\r\x20-\x7e]+\Z", "is text, not an image", _AGAIN),
)


@dataclass(frozen=True)
class Picture:
    """A decoded file."""

    pixels: np.ndarray
    """[H, W, 3] uint8, sRGB, upright."""

    warnings: tuple[str, ...]
    """What the user should know although the file was read, a phrase each."""


def read_image(path: Path, max_pixels: int | None = None) -> np.ndarray:
    """The pixels of `open_image`: [H, W, 3] uint8 sRGB, upright."""
    return open_image(path, max_pixels).pixels


def open_image(path: Path, max_pixels: int | None = None) -> Picture:
    """Read one picture file as `decode_image` does; an InputError names `path` and the reason."""
    with naming(path):
        return decode_image(file_bytes(path), max_pixels)


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """InputErrors from the body with the name of the file before them."""
    try:
        yield
    except InputError as error:
        raise InputError(f"{shown(path)}: {error.what}", error.advice) from error.__cause__


def decode_image(data: bytes, max_pixels: int | None = None) -> Picture:
    """Decode a picture file's bytes.

    EXIF orientation and colour profile are applied, alpha is laid on white, 16-bit and float
    samples are scaled, and of several frames or pages the first is taken. Raises InputError for
    what is damaged, unsupported, or larger than `max_pixels` (None = MAX_PIXELS, and what is
    likely for a file of so many bytes).
    """
    with decoded(data, max_pixels) as (image, notes):
        turn, pixels = orientation(image, notes), on_white(image, notes)
    del image  # before its copy is made
    give_back(pixels.size // 3)
    return Picture(turned(pixels, turn), tuple(dict.fromkeys(notes)))


@contextmanager
def decoded(data: bytes, max_pixels: int | None = None) -> Iterator[tuple[Image.Image, list[str]]]:
    """The first frame of a file as it is stored, and a list of what there is to say of it.

    Raises InputError as `decode_image` does, also for what Pillow raises in the body.
    """
    head = data[:1024]
    kind = sniff(head[:HEAD_BYTES]) or ("" if _other(head) or not like_targa(head) else "TGA")
    if not kind:
        raise _not_a_picture(head)
    notes: list[str] = []
    if kind in ("TIFF", "PPM"):
        limit = partial(check_size, size=len(data), max_pixels=max_pixels)
        if png := as_integers(data, limit, notes):
            data, kind = png, "PNG"
    data = _checked(data, kind, notes)
    if kind == "WEBP":  # whose decoder takes memory for all pixels when it opens a file
        check_size(_webp_size(data), len(data), max_pixels)
    try:
        with _strictly, Image.open(io.BytesIO(data), formats=[kind]) as image:
            check_size(image.size, len(data), max_pixels)
            if getattr(image, "is_animated", False):
                notes.append("holds several frames or pages; only the first is read")
            image.load()
            if kind == "PNG":
                image.info[SIGNIFICANT_BITS] = max(_chunk(data, b"sBIT"), default=0)
                notes += _follow_gamma(image, data)
            brighten(image, data, notes)
            yield image, notes
    except InputError:
        raise
    except Exception as error:  # a decoder given a damaged file raises whatever it likes
        raise _decoder_refused(error, kind) from error


def check_size(sides: tuple[int, int], size: int, max_pixels: int | None) -> None:
    """Raise InputError for more pixels than are allowed, or likely in a file of `size` bytes."""
    pixels = sides[0] * sides[1]
    limit = MAX_PIXELS if max_pixels is None else max_pixels
    if pixels > limit:
        said, most = (f"{count / 1e6:,.0f}" for count in (pixels, limit))
        raise InputError(f"has {said} megapixels, the limit is {most}", _SMALLER)
    if max_pixels is None and pixels > LIKELY_PIXELS + LIKELY_PER_BYTE * size:
        said = f"{pixels / 1e6:,.0f} megapixels in {size:,} bytes"
        raise InputError(f"claims {said}, which no photo has", f"if it does, give {_OPTION}")


def _checked(data: bytes, kind: str, notes: list[str]) -> bytes:
    """What Pillow does not check."""
    if kind == "HEIF":
        _load_heif_decoder()
    if kind == "JPEG":
        _check_jpeg_end(data)
    if kind == "ICO":  # which may hold a PNG of another size than it says
        for inner in re.finditer(rb"(?s)IHDR(.{8})", data):
            width, height = struct.unpack(">2I", inner[1])
            check_size((width, height), len(data), None)
    return _checked_png(data, notes) if kind == "PNG" else data


def _webp_size(data: bytes) -> tuple[int, int]:
    """Width and height that the first chunk of a WebP claims; 0, 0 = Pillow will refuse it."""
    kind, head = data[12:16], data[20:30]
    if len(head) < 10:
        return 0, 0
    if kind == b"VP8X":
        return 1 + int.from_bytes(head[4:7], "little"), 1 + int.from_bytes(head[7:10], "little")
    if kind == b"VP8L":
        bits = int.from_bytes(head[1:5], "little")
        return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    width, height = struct.unpack_from("<2H", head, 6)
    return width & 0x3FFF, height & 0x3FFF


def sniff(head: bytes) -> str:
    """Pillow's name of the supported format a file's first HEAD_BYTES show; "" = none."""
    if head[4:8] == b"ftyp":
        return _sniff_brands(head[8 : int.from_bytes(head[:4], "big")])
    return marked(head)


def encode_png(image: np.ndarray) -> bytes:
    """PNG file bytes of an [H, W, 3] uint8 sRGB image."""
    return _encoded(image, format="PNG", compress_level=2)


def encode_jpeg(image: np.ndarray, quality: int = 92) -> bytes:
    """JPEG file bytes of an [H, W, 3] uint8 sRGB image, colour at full resolution."""
    return _encoded(image, format="JPEG", quality=quality, subsampling=0)


def _encoded(image: np.ndarray, **options: Any) -> bytes:
    file = io.BytesIO()
    Image.fromarray(image).save(file, **options)
    give_back(image.shape[0] * image.shape[1])
    return file.getvalue()


def file_bytes(path: Path) -> bytes:
    """All of a picture file; InputError where that cannot be read or is a camera's raw data."""
    if path.suffix.lower() in CAMERA_RAW:
        raise InputError("is a camera raw file, which is not supported", "export it as JPEG")
    try:
        about = path.stat()
        if stat.S_ISDIR(about.st_mode):
            raise InputError("is a folder, not an image")
        if not stat.S_ISREG(about.st_mode):  # reading a pipe or a device might never end
            raise InputError("is not a regular file")
        if about.st_size > MAX_BYTES:
            raise InputError(f"is larger than {MAX_BYTES >> 20} MiB, the limit for an image")
        return path.read_bytes()
    except OSError as error:
        raise InputError(f"cannot be read: {(error.strerror or str(error)).lower()}") from error
    except ValueError as error:  # a name that no file can have
        raise InputError(f"cannot be read: {error}") from error


def _sniff_brands(brands: bytes) -> str:
    """AVIF or HEIF by the brands of an ISO media file; "" for a video."""
    if b"avif" in brands or b"avis" in brands:
        return "AVIF"
    return "HEIF" if re.match(rb"he[ivx][cmsx]|mif1|msf1", brands) else ""


def _not_a_picture(head: bytes) -> InputError:
    if len(head) < 12:
        return InputError("is a few bytes, not an image" if head else "is empty", _AGAIN)
    what, advice = _other(head) or ("is not an image of a supported format", CONVERT)
    return InputError(what, advice)


def _other(head: bytes) -> tuple[str, str] | None:
    """What a file that is not read is, and what to do; None = nothing that is known."""
    what, advice = unread(head)
    if what:
        return what, advice
    return next(((what, do) for mark, what, do in _OTHERS if re.match(mark, head)), None)


def _load_heif_decoder() -> None:
    try:
        from pillow_heif import register_heif_opener  # type: ignore[import-not-found]
    except ImportError as error:
        advice = "`pip install pillow-heif`, or convert it to JPEG"
        raise InputError("is a HEIC image, which needs one more package", advice) from error
    register_heif_opener()


def _checked_png(data: bytes, notes: list[str]) -> bytes:
    """Check what Pillow does not (checksums of pixel data) and drop what it need not refuse.

    A PNG marks by a lower-case first letter the chunks that a decoder may do without.
    """
    view, kept = memoryview(data), []
    start, end, kind = 0, 8, b""
    for kind, at, end in _png_chunks(data):
        if zlib.crc32(view[at + 4 : end - 4]) == int.from_bytes(view[end - 4 : end], "big"):
            continue
        name = f"{kind.decode('latin-1')!a}"
        if not kind[:1].islower():
            raise InputError(f"damaged PNG: wrong checksum in {name}", _AGAIN)
        notes.append(f"a damaged {name} chunk was ignored")
        kept.append(view[start:at])
        start = end
    if kind != b"IEND":
        notes.append("the end of the file is missing")
        end = len(data)
    return b"".join([*kept, view[start:end]]) if start or end < len(data) else data


def _follow_gamma(image: Image.Image, data: bytes) -> Iterator[str]:
    """Give a PNG the profile that its gamma and primaries mean; what is not followed, in words."""
    coded = _chunk(data, b"cICP")
    if coded[1:2] in _HDR:
        yield "its HDR colours were read as sRGB"
    profile = None if coded else gamma_profile(image)
    if profile is not None:
        image.info["icc_profile"] = profile


def _chunk(data: bytes, wanted: bytes) -> bytes:
    """What a chunk of a PNG holds that stands before its pixels; nothing = there is none."""
    for kind, at, end in _png_chunks(data):
        if kind == wanted:
            return data[at + 8 : end - 4]
        if kind == b"IDAT":
            break
    return b""


def _png_chunks(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Kind, start and end of each chunk that is there whole."""
    at, kind = 8, b""
    while kind != b"IEND" and at + 12 <= len(data):
        size, kind = struct.unpack_from(">I4s", data, at)
        if at + 12 + size > len(data):
            return
        yield kind, at, at + 12 + size
        at += 12 + size


def _check_jpeg_end(data: bytes) -> None:
    """Refuse a JPEG without end marker: Pillow takes the zeros of a broken copy for pixels."""
    at = 2
    while data[at : at + 1] == b"\xff" and (marker := data[at + 1 : at + 2]) != b"\xda":
        # Segment by segment, for the previews in them have ends of their own; 0xff may be repeated.
        at += 1 if marker == b"\xff" else 2 + int.from_bytes(data[at + 2 : at + 4], "big")
    if data.find(b"\xff\xd9", at) < 0:
        raise _cut_short("JPEG")


def _cut_short(kind: str) -> InputError:
    return InputError(f"truncated {kind}: the file ends before the picture does", _AGAIN)


def _decoder_refused(error: Exception, kind: str) -> InputError:
    said = " ".join(str(error).split())[:100] or type(error).__name__
    if isinstance(error, MemoryError):
        return InputError("does not fit into memory", "scale it down first")
    if isinstance(error, UnidentifiedImageError):
        advice = f"{_AGAIN}, or {CONVERT}"
        return InputError(f"damaged or unusual {kind}: its header cannot be read", advice)
    if "truncated" in said.lower():
        return _cut_short(kind)
    return InputError(f"damaged {kind}: {said}", _AGAIN)
