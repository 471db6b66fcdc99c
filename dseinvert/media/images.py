"""Any picture file a user may have as upright 8-bit sRGB pixels, or one line saying why not."""

from __future__ import annotations

import io
import re
import stat
import struct
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import ExifTags, Image, ImageCms, UnidentifiedImageError

from dseinvert.errors import InputError
from dseinvert.media.atomic import shown
from dseinvert.media.strict import Strictness

_strictly = Strictness()

MAX_PIXELS = 100_000_000
MAX_BYTES = 1 << 30
HEAD_BYTES = 64

CAMERA_RAW = frozenset(
    {".arw", ".cr2", ".cr3", ".dng", ".nef", ".nrw", ".orf", ".pef", ".raf", ".rw2", ".srw"}
)

_PICTURES = {
    b"\xff\xd8\xff": "JPEG",
    b"\x89PNG\r\n\x1a\n": "PNG",
    b"GIF87a": "GIF",
    b"GIF89a": "GIF",
    b"II*\0": "TIFF",
    b"MM\0*": "TIFF",
    b"II+\0": "TIFF",
    b"MM\0+": "TIFF",
}
_AGAIN = "copy or download it again"
_CONVERT = "convert it to JPEG or PNG"
_OTHERS = (  # what else turns up under a picture's name: its first bytes, what it is, what to do
    (rb"version https://git-lfs", "is a Git LFS pointer, not an image", "run `git lfs pull`"),
    (rb"%PDF-", "is a PDF document, which is not supported", _CONVERT),
    (rb"(?i)\s*<(!doctype )?html", "is a web page, not an image", "download the image itself"),
    (rb"(?s)\s*(<.*)?<svg[\s>]", "is an SVG drawing, which is not supported", _CONVERT),
    (rb"\xff\x0a|\0\0\0\x0cJXL ", "is a JPEG XL image, which is not supported", _CONVERT),
    (rb"\0\0\0\x0cjP  |\xff\x4f\xff\x51", "is a JPEG 2000 image, which is not supported", _CONVERT),
    (rb"8BPS", "is a Photoshop document, which is not supported", _CONVERT),
    (rb"PK\x03\x04", "is a zip archive, not an image", "unpack it first"),
    (rb"(?s)....ftyp|RIFF....AVI |\x1a\x45\xdf\xa3", "is a video", "use `dseinvert video`"),
    (rb"[\t\n\r\x20-\x7e]+\Z", "is text, not an image", _AGAIN),
)

_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_ICC_MODES = {"RGB ": "RGB", "GRAY": "L", "CMYK": "CMYK"}
_GREY_MODES = ("1", "L", "LA")
_FLOAT_WHITES = (1.0, 255.0, 65535.0)
_INTEGER_WHITES = (65535.0, 2.0**31)


@dataclass(frozen=True)
class Picture:
    """A decoded file."""

    pixels: np.ndarray
    """[H, W, 3] uint8, sRGB, upright."""

    warnings: tuple[str, ...]
    """What the user should know although the file was read, a phrase each."""


def read_image(path: Path, max_pixels: int = MAX_PIXELS) -> np.ndarray:
    """The pixels of `open_image`: [H, W, 3] uint8 sRGB, upright."""
    return open_image(path, max_pixels).pixels


def open_image(path: Path, max_pixels: int = MAX_PIXELS) -> Picture:
    """Read one picture file as `decode_image` does; an InputError names `path` and the reason."""
    try:
        if path.suffix.lower() in CAMERA_RAW:
            raise InputError("is a camera raw file, which is not supported", "export it as JPEG")
        return decode_image(_read(path), max_pixels)
    except InputError as error:
        raise InputError(f"{shown(path)}: {error.what}", error.advice) from error.__cause__


def decode_image(data: bytes, max_pixels: int = MAX_PIXELS) -> Picture:
    """Decode a picture file's bytes.

    EXIF orientation and colour profile are applied, alpha is laid on white, 16-bit and float
    samples are scaled, and of several frames or pages the first is taken. Raises InputError for
    what is damaged, unsupported, or larger than `max_pixels` (above 178,956,970 Pillow's own
    limit holds).
    """
    kind = sniff(data[:HEAD_BYTES])
    if not kind:
        raise _not_a_picture(data[:1024])
    if kind == "HEIF":
        _load_heif_decoder()
    notes: list[str] = []
    if kind == "PNG":
        data = _checked_png(data, notes)
    if kind == "JPEG":
        _check_jpeg_end(data)
    return _decoded(data, kind, max_pixels, notes)


def sniff(head: bytes) -> str:
    """Pillow's name of the supported format a file's first HEAD_BYTES show; "" = none."""
    if head[4:8] == b"ftyp":
        return _sniff_brands(head[8 : int.from_bytes(head[:4], "big")])
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "WEBP"
    if head[:2] == b"BM" and head[15:18] == bytes(3):  # the header's length is a small number
        return "BMP"
    return next((kind for magic, kind in _PICTURES.items() if head.startswith(magic)), "")


def encode_png(image: np.ndarray) -> bytes:
    """PNG file bytes of an [H, W, 3] uint8 sRGB image."""
    return _encoded(image, format="PNG", compress_level=2)


def encode_jpeg(image: np.ndarray, quality: int = 92) -> bytes:
    """JPEG file bytes of an [H, W, 3] uint8 sRGB image, colour at full resolution."""
    return _encoded(image, format="JPEG", quality=quality, subsampling=0)


def _encoded(image: np.ndarray, **options: Any) -> bytes:
    file = io.BytesIO()
    Image.fromarray(image).save(file, **options)
    return file.getvalue()


def _read(path: Path) -> bytes:
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
    for pattern, what, advice in _OTHERS:
        if re.match(pattern, head):
            return InputError(what, advice)
    return InputError("is not an image of a supported format", _CONVERT)


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
    kept, at = [data[:8]], 8
    while at + 12 <= len(data):
        size, kind = struct.unpack_from(">I4s", data, at)
        chunk = data[at : at + 12 + size]
        if len(chunk) < 12 + size:
            break
        if zlib.crc32(chunk[4:-4]) == int.from_bytes(chunk[-4:], "big"):
            kept.append(chunk)
        elif kind[:1].islower():
            notes.append(f"a damaged {kind.decode('latin-1')!a} chunk was ignored")
        else:
            raise InputError(f"damaged PNG: wrong checksum in {kind.decode('latin-1')!a}", _AGAIN)
        at += len(chunk)
        if kind == b"IEND":
            return b"".join(kept)
    notes.append("the end of the file is missing")
    return b"".join([*kept, data[at:]])


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


def _decoded(data: bytes, kind: str, max_pixels: int, notes: list[str]) -> Picture:
    try:
        with _strictly, Image.open(io.BytesIO(data), formats=[kind]) as image:
            if image.width * image.height > max_pixels:
                raise _too_large(image.width * image.height, max_pixels)
            if getattr(image, "is_animated", False):
                notes.append("holds several frames or pages; only the first is read")
            image.load()
            pixels = np.array(_upright_srgb(image, notes))
    except InputError:
        raise
    except Exception as error:  # a decoder given a damaged file raises whatever it likes
        raise _decoder_refused(error, kind, max_pixels) from error
    return Picture(pixels, tuple(dict.fromkeys(notes)))


def _too_large(pixels: int, max_pixels: int) -> InputError:
    size, limit = (f"{count / 1e6:,.0f}" for count in (pixels, max_pixels))
    return InputError(f"has {size} megapixels, the limit is {limit}", "scale it down first")


def _decoder_refused(error: Exception, kind: str, max_pixels: int) -> InputError:
    said = " ".join(str(error).split())[:100] or type(error).__name__
    if isinstance(error, Image.DecompressionBombError):
        pixels = int(re.findall(r"\d+", said)[0])
        return _too_large(pixels, min(max_pixels, 2 * (Image.MAX_IMAGE_PIXELS or max_pixels)))
    if isinstance(error, MemoryError):
        return InputError("does not fit into memory", "scale it down first")
    if isinstance(error, UnidentifiedImageError):
        advice = f"{_AGAIN}, or {_CONVERT}"
        return InputError(f"damaged or unusual {kind}: its header cannot be read", advice)
    if "truncated" in said.lower():
        return _cut_short(kind)
    return InputError(f"damaged {kind}: {said}", _AGAIN)


def _upright_srgb(image: Image.Image, notes: list[str]) -> Image.Image:
    if image.mode == "LAB":
        raise InputError("has L*a*b* colours, which are not supported", _CONVERT)
    profile = image.info.get("icc_profile")
    image = _eight_bits(_turned(image, notes), notes)
    layout = "CMYK" if image.mode == "CMYK" else "L" if image.mode in _GREY_MODES else "RGB"
    rgb = _converted(image.convert(layout), profile, notes)
    return _on_white(rgb, image, notes) if image.has_transparency_data else rgb


def _turned(image: Image.Image, notes: list[str]) -> Image.Image:
    """Apply the EXIF orientation; decoders that did so themselves have reset it."""
    try:
        turn = _TURNS.get(image.getexif().get(ExifTags.Base.Orientation, 1))
    except Exception:  # any damage in a block of data that the pixels do not need
        notes.append("its EXIF data are damaged and were ignored")
        return image
    return image if turn is None else image.transpose(turn)


def _eight_bits(image: Image.Image, notes: list[str]) -> Image.Image:
    """Scale 16-bit, 32-bit and float grey to 8 bits; Pillow's own conversion clips them."""
    if image.mode not in ("I", "F") and not image.mode.startswith("I;16"):
        return image
    values = np.asarray(image, dtype=np.float32)
    if not np.isfinite(values).all():
        raise InputError("has pixels that are NaN or infinite")
    white = 65535.0 if image.mode.startswith("I;") else _white(float(values.max()), image.mode)
    if image.mode == "F":
        notes.append(f"float pixels were read as 0 to {white:g}")
    return Image.fromarray(np.rint(np.clip(values / white, 0, 1) * 255).astype(np.uint8))


def _white(peak: float, mode: str) -> float:
    """The lowest customary white level that `peak` does not exceed."""
    whites = _FLOAT_WHITES if mode == "F" else _INTEGER_WHITES
    for white in whites:
        if peak <= white:
            return white
    raise InputError(f"has pixel values up to {peak:g}, on no known scale", _CONVERT)


def _converted(image: Image.Image, profile: bytes | None, notes: list[str]) -> Image.Image:
    """`image` in sRGB by its colour profile (None = it has none)."""
    if profile:
        try:
            source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
            mode = _ICC_MODES[source.profile.xcolor_space]
            if mode not in ("RGB", image.mode) and not (mode == "L" and _is_grey(image)):
                raise ValueError(f"a profile for {mode}, an image in {image.mode}")
            srgb = ImageCms.createProfile("sRGB")
            converted = ImageCms.profileToProfile(
                image.convert(mode), source, srgb, outputMode="RGB"
            )
            if converted is not None:
                return converted
        except (ImageCms.PyCMSError, OSError, ValueError, TypeError, KeyError):
            notes.append("its colour profile is broken or does not fit and was ignored")
    return image.convert("RGB")


def _is_grey(image: Image.Image) -> bool:
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
