"""The form in which a picture is written: PNG, JPEG or WebP, with what goes along with it."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from dseinvert.errors import UsageError
from dseinvert.media.images import encode_jpeg, encode_png

Format = Literal["png", "jpg", "webp"]
FORMATS: tuple[Format, ...] = ("png", "jpg", "webp")
_INCH = 0.0254
_LONGEST_EXIF = 65_000  # what one segment of a JPEG holds


@dataclass(frozen=True)
class Along:
    """What stands in a picture file besides its pixels."""

    exif: bytes = b""
    profile: bytes | None = None
    """None = sRGB, as pictures without a profile are read."""
    dpi: tuple[float, float] | None = None
    """Across and down; None = unknown."""


NOTHING = Along()


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
        if self.format == "png":
            return _with_chunks(_png(pixels), along)
        lost = [] if notes is None else notes
        pixels = _shallow(pixels, lost)
        if self.format == "jpg":
            return self._jpeg(_opaque(pixels, lost), along, lost)
        return self._webp(pixels, along, lost)

    def _jpeg(self, pixels: NDArray[Any], along: Along, lost: list[str]) -> bytes:
        quality = 92 if self.quality is None else self.quality
        if along == NOTHING and pixels.shape[2] == 3:
            return encode_jpeg(pixels, quality)
        if len(along.exif) > _LONGEST_EXIF:
            lost.append("its EXIF data are too long for a JPEG and were left out")
        exif = along.exif if len(along.exif) <= _LONGEST_EXIF else b""
        options: dict[str, Any] = {"quality": quality, "subsampling": 0, "exif": exif}
        if along.dpi is not None:
            options["dpi"] = along.dpi
        return _saved(pixels, "JPEG", icc_profile=along.profile, **options)

    def _webp(self, pixels: NDArray[Any], along: Along, lost: list[str]) -> bytes:
        if along.dpi is not None:
            lost.append("WebP holds no dots per inch")
        lossless = self.quality is None
        quality = {} if self.quality is None else {"quality": self.quality}
        return _saved(
            _colours(pixels),
            "WEBP",
            lossless=lossless,
            exact=lossless,
            exif=along.exif,
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


def _with_chunks(png: bytes, along: Along) -> bytes:
    """A PNG with what goes along, before its pixels."""
    chunks: list[tuple[bytes, bytes]] = []
    if along.profile is not None:
        chunks.append((b"iCCP", b"profile\0\0" + zlib.compress(along.profile)))
    if along.dpi is not None:
        across, down = (round(one / _INCH) for one in along.dpi)
        chunks.append((b"pHYs", struct.pack(">2IB", across, down, 1)))
    if along.exif:
        chunks.append((b"eXIf", along.exif.removeprefix(b"Exif\0\0")))
    head = 8 + 25  # the signature and IHDR
    return b"".join([png[:head], *_chunks(chunks), png[head:]]) if chunks else png


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
