"""What a PNG says of its gamma and primaries is followed, and stays in what is pasted into."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dseinvert.media.form import PNG
from dseinvert.media.images import decode_image
from dseinvert.media.whole import open_whole

GREYS = np.arange(256, dtype=np.uint8).reshape(16, 16)
SRGB = (31270, 32900, 64000, 33000, 30000, 60000, 15000, 6000)
ADOBE = (31270, 32900, 64000, 33000, 21000, 71000, 15000, 6000)


def chunk(kind: bytes, content: bytes) -> bytes:
    check = struct.pack(">I", zlib.crc32(kind + content))
    return struct.pack(">I", len(content)) + kind + content + check


def gamma(value: float) -> bytes:
    return chunk(b"gAMA", struct.pack(">I", round(value * 100_000)))


def primaries(values: tuple[int, ...]) -> bytes:
    return chunk(b"cHRM", struct.pack(">8I", *values))


def png(pixels: np.ndarray, *chunks: bytes) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, format="PNG")
    data = file.getvalue()
    return data[:33] + b"".join(chunks) + data[33:]


def encoded(linear: np.ndarray) -> np.ndarray:
    """IEC 61966-2-1."""
    return np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)


@pytest.mark.parametrize("value", [1.0, 1 / 1.8])
@pytest.mark.parametrize("grey", [True, False])
def test_a_gamma_is_followed(value: float, grey: bool) -> None:
    pixels = GREYS if grey else np.repeat(GREYS[..., None], 3, axis=2)
    picture = decode_image(png(pixels, gamma(value)))
    expected = 255 * encoded((GREYS / 255) ** (1 / value))
    assert np.abs(picture.pixels - expected[..., None]).max() < 1.6 and not picture.warnings


def test_primaries_are_followed_where_there_is_a_gamma() -> None:
    pixels = np.full((8, 8, 3), (90, 200, 110), np.uint8)
    same = decode_image(png(pixels, gamma(0.45455), primaries(SRGB))).pixels
    alone = decode_image(png(pixels, primaries(ADOBE))).pixels
    assert np.array_equal(same, pixels) and np.array_equal(alone, pixels)
    wide = decode_image(png(pixels, gamma(0.45455), primaries(ADOBE))).pixels[0, 0].astype(int)
    # Adobe RGB (1998) to linear sRGB: red falls by 0.398 of green, above what it has.
    assert wide[0] < 5 and abs(wide[1] - 200) < 4 and abs(wide[2] - 105) < 8


@pytest.mark.parametrize(
    "mark", [chunk(b"sRGB", b"\0"), chunk(b"cICP", bytes([1, 13, 0, 1]))], ids=["sRGB", "cICP"]
)
def test_what_says_sRGB_goes_before_a_gamma(mark: bytes) -> None:
    assert np.array_equal(decode_image(png(GREYS, mark, gamma(1.0))).pixels[..., 0], GREYS)


@pytest.mark.parametrize("values", [(0,) * 8, (31270, 32900) + (30000, 30000) * 3])
def test_primaries_that_span_no_colours_do_no_harm(values: tuple[int, ...]) -> None:
    pixels = np.repeat(GREYS[..., None], 3, axis=2)
    odd, plain = (
        decode_image(png(pixels, gamma(1.0), *more)) for more in ([primaries(values)], [])
    )
    assert np.array_equal(odd.pixels, plain.pixels)


@pytest.mark.parametrize("value", [0.00001, 40.0])
def test_a_gamma_that_nothing_has_is_left_out(value: float) -> None:
    assert np.array_equal(decode_image(png(GREYS, gamma(value))).pixels[..., 0], GREYS)


def test_a_photo_that_is_pasted_into_keeps_its_gamma(tmp_path: Path) -> None:
    pixels = np.repeat(GREYS[..., None], 3, axis=2)
    (tmp_path / "a.png").write_bytes(png(pixels, gamma(1.0)))
    whole = open_whole(tmp_path / "a.png")
    changed = whole.colours.copy()
    changed[:4, :4] = 200
    written = whole.repainted(changed).encode(PNG, [])
    again = decode_image(written).pixels.astype(int)
    assert np.abs(again[:4, :4] - 200).max() <= 12  # samples of gamma 1 are coarse in the dark
    assert np.array_equal(again[4:], whole.colours[4:])
