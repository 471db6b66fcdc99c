"""Numbers of 8 to 12 bits in larger ones are read as what they are; dark photos stay dark."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image

from dseinvert.media.images import Picture, decode_image
from dseinvert.media.whole import open_whole
from tests.media.pngs import png, with_chunk
from tests.media.tiffs import tiff


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


def colours(most: int, channels: int = 3, alpha: int = 65_535) -> np.ndarray:
    """[64, 64, C] in uint16, as RGB or RGBA."""
    grey = ramp(most)
    stack = [grey, grey[::-1], grey.T, np.full_like(grey, alpha)][:channels]
    return np.stack(stack, axis=-1).astype(np.uint16)


def encoded(array: np.ndarray, suffix: str) -> bytes:
    order = [2, 1, 0, 3][: array.shape[2]]
    return bytes(cv2.imencode(suffix, array[..., order])[1])


@pytest.mark.parametrize("suffix", [".png", ".tiff", ".ppm"])
@pytest.mark.parametrize(("most", "white"), [(4095, 4095), (3000, 4095), (1000, 1023)])
def test_colours_of_fewer_bits_in_16_are_seen_too(suffix: str, most: int, white: int) -> None:
    picture = decode_image(encoded(colours(most), suffix))
    expected = colours(most) * (255 / white)
    assert np.abs(picture.pixels - expected).max() <= 0.51
    assert f"0 to {white}" in picture.warnings[0]


@pytest.mark.parametrize("alpha", [4095, 65_535])
@pytest.mark.parametrize("suffix", [".png", ".tiff"])
def test_alpha_beside_them_is_opaque_where_it_is_at_its_most(suffix: str, alpha: int) -> None:
    picture = decode_image(encoded(colours(4095, 4, alpha), suffix))
    assert np.abs(picture.pixels - colours(4095) * (255 / 4095)).max() <= 0.51


def test_grey_with_alpha_is_seen_too() -> None:
    """A PNG of colour type 4, which OpenCV does not write."""
    pair = np.stack([ramp(4095), np.full((64, 64), 4095)], axis=-1).astype(">u2")
    rows = b"".join(b"\0" + row.tobytes() for row in pair)
    data = png((64, 64, 16, 4, 0, 0, 0), rows)
    picture = decode_image(data)
    assert np.abs(picture.pixels[..., 0] - ramp(4095) * (255 / 4095)).max() <= 0.51
    assert "0 to 4095" in picture.warnings[0]


@pytest.mark.parametrize("suffix", [".png", ".tiff", ".ppm"])
@pytest.mark.parametrize("most", [65_535, 20_000, 16_383, 8_000, 400])
def test_dark_colours_of_16_bits_stay_dark(suffix: str, most: int) -> None:
    picture = decode_image(encoded(colours(most), suffix))
    assert abs(int(picture.pixels.max()) - round(most / 257)) <= 1 and picture.warnings == ()


@pytest.mark.parametrize("magic", [b"P5", b"P6"])
def test_a_ppm_says_how_far_its_numbers_go(magic: bytes) -> None:
    pixels = ramp(4095) if magic == b"P5" else colours(4095)
    data = magic + b"\n# made by hand\n64 64\n4095\n" + pixels.astype(">u2").tobytes()
    picture = decode_image(data)
    gap = picture.pixels - (colours(4095) if magic == b"P6" else pixels[..., None]) * (255 / 4095)
    assert np.abs(gap).max() <= 1 and picture.warnings == ()


def test_14_bits_of_colours_are_taken_where_the_file_says_so() -> None:
    data = encoded(colours(16_383), ".png")
    picture = decode_image(with_chunk(data, b"sBIT", bytes([14, 14, 14])))
    assert picture.pixels.max() == 255 and "0 to 16383" in picture.warnings[0]


def test_12_bits_in_32_and_in_a_grey_ppm_are_seen() -> None:
    assert read(ramp(4095).astype(np.int32)).pixels.max() == 255
    data = b"P5\n64 64\n65535\n" + ramp(4095).astype(">u2").tobytes()
    assert decode_image(data).pixels.max() == 255


@pytest.mark.parametrize("suffix", [".png", ".tiff", ".ppm"])
def test_a_whole_photo_of_them_is_written_on_the_whole_scale(tmp_path: Path, suffix: str) -> None:
    (tmp_path / f"a{suffix}").write_bytes(encoded(colours(4095), suffix))
    photo = open_whole(tmp_path / f"a{suffix}")
    assert photo.samples.dtype == np.uint16 and photo.samples.max() == 65_535
    assert np.abs(photo.samples / 257 - photo.colours).max() <= 0.51


@pytest.mark.parametrize(
    ("dtype", "most", "said"),
    [(np.uint8, 255, 0), (np.uint16, 65535, 0), (np.uint16, 4095, 1)],
)
def test_a_tiff_that_counts_from_white_is_no_negative(dtype: Any, most: int, said: int) -> None:
    picture = decode_image(tiff((most - ramp(most)).astype(dtype), 0))
    upright = decode_image(tiff(ramp(most).astype(dtype), 1))
    assert np.abs(picture.pixels.astype(int) - upright.pixels).max() <= 1
    assert picture.pixels[0, 0, 0] == 0 and len(picture.warnings) == said


@pytest.mark.parametrize("most", [1.5, 7.5, 16.0])
def test_floats_a_little_beyond_white_are_no_black_picture(most: float) -> None:
    values = np.linspace(-0.2, most, 4096).reshape(64, 64).astype(np.float32)
    picture = decode_image(tiff(values, 1))
    expected = np.rint(255 * values.clip(0, 1))
    assert np.abs(picture.pixels[..., 0] - expected).max() <= 1
    assert picture.warnings == ("float pixels were read as 0 to 1, what is lighter as white",)


def test_floats_up_to_255_are_read_as_before() -> None:
    picture = decode_image(tiff(ramp(20).astype(np.float32), 1))
    assert picture.pixels.max() == 20
    assert picture.warnings == ("float pixels were read as 0 to 255",)
