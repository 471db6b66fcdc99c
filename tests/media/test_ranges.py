"""Numbers of 8 to 12 bits in larger ones are read as what they are; dark photos stay dark."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
from PIL import Image

from dseinvert.media.images import Picture, decode_image
from tests.media.pngs import with_chunk


def ramp(most: int) -> np.ndarray:
    """[64, 64] from 0 to `most`."""
    return np.linspace(0, most, 4096).reshape(64, 64).round()


def read(array: np.ndarray, kind: str = "TIFF", sbit: int = 0, **options: Any) -> Picture:
    file = io.BytesIO()
    Image.fromarray(array).save(file, format=kind, **options)
    data = file.getvalue()
    return decode_image(with_chunk(data, b"sBIT", bytes([sbit])) if sbit else data)


def test_32_bit_integers_up_to_255_are_no_black_picture() -> None:
    picture = read(ramp(255).astype(np.int32))
    assert np.array_equal(picture.pixels[..., 0], ramp(255)) and "0 to 255" in picture.warnings[0]


def test_32_bit_integers_up_to_65535_are_read_as_before() -> None:
    picture = read(ramp(65535).astype(np.int32))
    assert picture.pixels.max() == 255 and picture.warnings == ()


@pytest.mark.parametrize("kind", ["TIFF", "PNG"])
@pytest.mark.parametrize(("most", "white"), [(4095, 4095), (3000, 4095), (1000, 1023), (255, 255)])
def test_fewer_bits_in_16_are_seen_by_their_numbers(kind: str, most: int, white: int) -> None:
    picture = read(ramp(most).astype(np.uint16), kind)
    assert picture.pixels.max() == round(255 * most / white)
    assert f"0 to {white}" in picture.warnings[0]


@pytest.mark.parametrize("most", [65535, 20_000, 16_383, 8_000, 4_200, 1_500, 400, 90, 0])
def test_dark_photos_of_16_bits_stay_dark(most: int) -> None:
    picture = read(ramp(most).astype(np.uint16))
    assert picture.pixels.max() == round(most / 257) and picture.warnings == ()


def test_hot_pixels_in_the_dark_do_not_brighten_it() -> None:
    dark = np.full((64, 64), 60, np.uint16)
    dark[5, 5] = 4000
    assert read(dark).pixels.max() == 16


@pytest.mark.parametrize("most", [16_383, 9_000, 300])
def test_a_tiff_may_say_how_far_its_numbers_go(most: int) -> None:
    picture = read(ramp(most).astype(np.uint16), tiffinfo={281: 16_383})
    assert picture.pixels.max() == round(255 * most / 16_383)
    assert read(ramp(65535).astype(np.uint16), tiffinfo={281: 16_383}).pixels.max() == 255


def test_significant_bits_of_a_png_count_where_its_numbers_keep_to_them() -> None:
    assert read(ramp(16_383).astype(np.uint16), "PNG", sbit=14).pixels.max() == 255
    assert read(ramp(65_535).astype(np.uint16), "PNG", sbit=14).warnings == ()
