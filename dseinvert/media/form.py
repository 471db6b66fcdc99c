"""The form in which a picture is written: PNG, JPEG or WebP, with what goes along with it."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from dseinvert.errors import UsageError
from dseinvert.media.along import NOTHING, Along
from dseinvert.media.images import encode_jpeg, encode_png

Format = Literal["png", "jpg", "webp"]
FORMATS: tuple[Format, ...] = ("png", "jpg", "webp")
_INCH = 0.0254
_LONGEST = 65_000  # what one segment of a JPEG holds
_XMP = b"http://ns.adobe.com/xap/1.0/\0"
_IPTC = b"Photoshop 3.0\0" + b"8BIM" + struct.pack(">H", 0x0404) + b"\0\0"
_CALLED = {"exif": "EXIF data", "xmp": "XMP", "iptc": "IPTC", "comment": "comment"}
_PNG_XMP = b"XML:com.adobe.xmp"


@dataclass(frozen=True)
class Form:
    """How a picture is written."""

    format: Format = "png"
    quality: int | None = None
    """1 to 100; None = 92 of JPEG, and WebP loses nothing."""

    @property
    def text(self) -> str:
        """As a key names it; "" = the usual PNG."""
        given = "" if self.quality is None else f" {self.quality}"
        return "" if self.format == "png" else self.format + given

    def encode(
        self, pixels: NDArray[Any], along: Along = NOTHING, notes: list[str] | None = None
    ) -> bytes:
        """File bytes of [H, W, C], uint8 or uint16, grey or colours, each with alpha or without.

        What the format cannot hold goes into `notes`, a phrase each.
        """
        lost = [] if notes is None else notes
        if self.format == "png":
            return _with_chunks(_png(pixels), along, lost)
        pixels = _shallow(pixels, lost)
        if self.format == "jpg":
            return self._jpeg(_opaque(pixels, lost), along, lost)
        return self._webp(pixels, along, lost)

    def _jpeg(self, pixels: NDArray[Any], along: Along, lost: list[str]) -> bytes:
        quality = 92 if self.quality is None else self.quality
        if along == NOTHING and pixels.shape[2] == 3:
            return encode_jpeg(pixels, quality)
        options: dict[str, Any] = {"quality": quality, "subsampling": 0}
        options |= _segments(along, lost)
        if along.dpi is not None:
            options["dpi"] = along.dpi
        return _saved(pixels, "JPEG", icc_profile=along.profile, **options)

    def _webp(self, pixels: NDArray[Any], along: Along, lost: list[str]) -> bytes:
        if along.dpi is not None:
            lost.append("WebP holds no dots per inch")
        if along.iptc or along.comment:
            kinds = [what for what in ("iptc", "comment") if getattr(along, what)]
            lost.append(f"WebP holds no {' and no '.join(_CALLED[kind] for kind in kinds)}")
        _tell_of_texts(along, lost)
        lossless = self.quality is None
        quality = {} if self.quality is None else {"quality": self.quality}
        return _saved(
            _colours(pixels),
            "WEBP",
            lossless=lossless,
            exact=lossless,
            exif=along.described,
            xmp=along.xmp,
            icc_profile=along.profile,
            **quality,
        )


PNG = Form()


def form_of(format: Format, quality: int | None) -> Form:
    """The form that `--format` and `--quality` mean; UsageError where they do not go together."""
    if quality is not None and format == "png":
        raise UsageError("--quality: a PNG loses nothing", "give --format jpg or webp too")
    return Form(format, quality)


def _png(pixels: NDArray[Any]) -> bytes:
    if pixels.dtype == np.uint8:
        return encode_png(pixels[..., 0] if pixels.shape[2] == 1 else pixels)
    order = {1: [0], 2: [0, 0, 0, 1], 3: [2, 1, 0], 4: [2, 1, 0, 3]}[pixels.shape[2]]
    return bytes(cv2.imencode(".png", pixels[..., order])[1])


def _segments(along: Along, lost: list[str]) -> dict[str, Any]:
    """What Pillow writes before the pixels of a JPEG; what is too long for a segment is not."""
    parts = {
        "exif": along.described,
        "xmp": along.xmp,
        "iptc": along.iptc,
        "comment": along.comment,
    }
    for what, data in parts.items():
        if len(data) > _LONGEST:
            lost.append(f"its {_CALLED[what]} is too long for a JPEG and was left out")
            parts[what] = b""
    _tell_of_texts(along, lost)
    extra = []
    if parts["xmp"]:
        extra.append((b"\xff\xe1", _XMP + parts["xmp"]))
    if parts["iptc"]:
        padded = parts["iptc"] + b"\0" * (len(parts["iptc"]) % 2)
        extra.append((b"\xff\xed", _IPTC + struct.pack(">I", len(parts["iptc"])) + padded))
    segments = [mark + struct.pack(">H", len(data) + 2) + data for mark, data in extra]
    return {
        "exif": parts["exif"],
        "extra": b"".join(segments),
        **({"comment": parts["comment"]} if parts["comment"] else {}),
    }


def _tell_of_texts(along: Along, lost: list[str]) -> None:
    if along.placeless:
        lost.append(f"not kept of its texts: {', '.join(along.placeless)}; --format png keeps them")


def _with_chunks(png: bytes, along: Along, lost: list[str]) -> bytes:
    """A PNG with what goes along, before its pixels."""
    chunks: list[tuple[bytes, bytes]] = []
    if along.profile is not None:
        chunks.append((b"iCCP", b"profile\0\0" + zlib.compress(along.profile)))
    if along.dpi is not None:
        across, down = (round(one / _INCH) for one in along.dpi)
        chunks.append((b"pHYs", struct.pack(">2IB", across, down, 1)))
    if along.exif:
        chunks.append((b"eXIf", along.exif.removeprefix(b"Exif\0\0")))
    if along.iptc:
        lost.append(f"a PNG holds no {_CALLED['iptc']}; --format jpg keeps it")
    chunks += _texts(along)
    head = 8 + 25  # the signature and IHDR
    return b"".join([png[:head], *_chunks(chunks), png[head:]]) if chunks else png


def _texts(along: Along) -> Iterator[tuple[bytes, bytes]]:
    """Chunks of XMP, of a JPEG's comment, and of what was a PNG's own."""
    if along.xmp:
        yield b"iTXt", _PNG_XMP + b"\0\0\0\0\0" + along.xmp
    texts = list(along.texts)
    if along.comment:
        texts.append(("Comment", along.comment.decode("utf-8", "replace")))
    for keyword, text in texts:
        key = keyword.encode("latin-1", "replace")[:79]
        try:
            yield b"tEXt", key + b"\0" + text.encode("latin-1")
        except UnicodeEncodeError:
            yield b"iTXt", key + b"\0\0\0\0\0" + text.encode("utf-8", "replace")


def _chunks(parts: Sequence[tuple[bytes, bytes]]) -> list[bytes]:
    return [
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in parts
    ]


def _shallow(pixels: NDArray[Any], lost: list[str]) -> NDArray[Any]:
    if pixels.dtype == np.uint8:
        return pixels
    lost.append("was written with 8 bits; --format png keeps 16")
    return np.rint(pixels / 257).astype(np.uint8)


def _opaque(pixels: NDArray[Any], lost: list[str]) -> NDArray[Any]:
    """Laid on white where there is alpha."""
    if pixels.shape[2] in (1, 3):
        return pixels
    lost.append("was laid on white, for a JPEG has no alpha; --format png or webp keeps it")
    alpha = pixels[..., -1:].astype(np.float32) / 255
    laid = pixels[..., :-1] * alpha + 255 * (1 - alpha)
    return np.rint(laid).astype(np.uint8)


def _colours(pixels: NDArray[Any]) -> NDArray[Any]:
    """Three channels in place of grey."""
    order = {1: [0, 0, 0], 2: [0, 0, 0, 1]}.get(pixels.shape[2])
    return pixels if order is None else pixels[..., order]


def _saved(pixels: NDArray[Any], kind: str, **options: Any) -> bytes:
    file = io.BytesIO()
    plain = pixels[..., 0] if pixels.shape[2] == 1 else pixels
    Image.fromarray(np.ascontiguousarray(plain)).save(file, format=kind, **options)
    return file.getvalue()
