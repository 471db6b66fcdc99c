"""Colours in floating point are read; what nothing reads is named."""

from __future__ import annotations

import struct

import cv2
import numpy as np
import pytest

from dseinvert.errors import InputError
from dseinvert.media.images import decode_image, sniff

COLOURS = np.random.default_rng(0).random((12, 20, 3)).astype(np.float32)
EIGHT = np.rint(COLOURS * 255)


def tiff(values: np.ndarray, **options: int) -> bytes:
    """Written by OpenCV, whose order is blue, green, red."""
    swapped = np.ascontiguousarray(values[..., [2, 1, 0, 3][: values.shape[2]]])
    return cv2.imencode(".tiff", swapped, [item for one in options.items() for item in one])[
        1
    ].tobytes()


def pfm(values: np.ndarray, order: str = "<") -> bytes:
    height, width = values.shape[:2]
    scale = {"<": "-1.0", ">": "1.0"}[order]
    return f"PF\n{width} {height}\n{scale}\n".encode() + values[::-1].astype(f"{order}f4").tobytes()


def cmyk_with_alpha() -> bytes:
    """A TIFF of five samples a pixel, uncompressed."""
    width, height, samples, start = 6, 4, 5, 8
    data = bytes(width * height * samples)
    tags = [(256, 3, width), (257, 3, height), (258, 3, 8), (259, 3, 1), (262, 3, 5), (273, 4, 0)]
    tags += [(277, 3, samples), (278, 3, height), (279, 4, len(data)), (284, 3, 1), (338, 3, 2)]
    end = start + 2 + 12 * len(tags) + 4
    table = struct.pack("<H", len(tags))
    for number, kind, value in tags:
        value = end if number == 273 else value
        table += struct.pack("<HHI", number, kind, 1) + struct.pack("<I", value)
    return b"II*\0" + struct.pack("<I", start) + table + bytes(4) + data


@pytest.mark.parametrize("data", [tiff(COLOURS), pfm(COLOURS), pfm(COLOURS, ">")])
def test_float_colours_are_read_and_it_is_said(data: bytes) -> None:
    picture = decode_image(data)
    assert np.abs(picture.pixels - EIGHT).max() <= 1
    assert picture.warnings == ("float pixels were read as 0 to 1",)


@pytest.mark.parametrize("white", [255, 65535])
def test_other_scales_are_seen_in_the_numbers(white: int) -> None:
    picture = decode_image(pfm(COLOURS * white))
    assert np.abs(picture.pixels - EIGHT).max() <= 1
    assert picture.warnings == (f"float pixels were read as 0 to {white}",)


def test_lights_beyond_white_are_cut_and_it_is_said() -> None:
    bright = COLOURS.copy()
    bright[0, 0] = 4
    picture = decode_image(tiff(bright))
    assert (picture.pixels[0, 0] == 255).all()
    assert "lighter as white" in picture.warnings[0]


def test_float_colours_with_alpha_are_laid_on_white() -> None:
    alpha = np.ones((12, 20, 1), np.float32)
    alpha[:6] = 0
    pixels = decode_image(tiff(np.concatenate([COLOURS, alpha], axis=-1))).pixels
    assert (pixels[:6] == 255).all() and np.abs(pixels[6:] - EIGHT[6:]).max() <= 1


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_what_is_no_number_is_refused(bad: float) -> None:
    broken = COLOURS.copy()
    broken[3, 3] = bad
    for data in (tiff(broken), pfm(broken)):
        with pytest.raises(InputError, match="NaN or infinite"):
            decode_image(data)


def test_a_pfm_that_is_cut_short_or_claims_too_much_is_refused() -> None:
    with pytest.raises(InputError, match="truncated PFM"):
        decode_image(pfm(COLOURS)[:-1])
    with pytest.raises(InputError, match="megapixels"):
        decode_image(b"PF\n99999 99999\n-1.0\n" + bytes(64))
    assert sniff(pfm(COLOURS)[:64]) == "PPM"


def test_a_cmyk_tiff_with_alpha_is_named_with_what_to_do() -> None:
    with pytest.raises(InputError, match=r"CMYK TIFF with an alpha.*save it without the alpha"):
        decode_image(cmyk_with_alpha())
