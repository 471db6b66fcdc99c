"""Grey, sepia and tinted photos keep their tone; coloured ones are as they were, bit for bit."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from dseinvert.faces.align import crop
from dseinvert.faces.crops import Crop
from dseinvert.faces.mask import HEAD, Blend, Mask, paste_edit
from dseinvert.faces.paste import paste_difference
from dseinvert.faces.tone import GREY, LUMA, Tone, tone_in, tone_of
from dseinvert.media.images import decode_image, encode_jpeg, read_image

FACES = Path(__file__).parents[2] / "examples" / "faces"
SEPIA = np.array([[0.393, 0.769, 0.189], [0.349, 0.686, 0.168], [0.272, 0.534, 0.131]])
QUAD = np.array([[20.0, 20], [20, 180], [180, 180], [180, 20]])


@pytest.fixture(scope="module")
def portrait() -> np.ndarray:
    photo = read_image(FACES / "portrait-1.jpg")
    return cv2.resize(photo, (200, 200), interpolation=cv2.INTER_AREA)


def grey(photo: np.ndarray) -> np.ndarray:
    return np.repeat(np.rint(photo @ LUMA)[..., None], 3, axis=2).astype(np.uint8)


def sepia(photo: np.ndarray) -> np.ndarray:
    return (photo @ SEPIA.T).clip(0, 255).astype(np.uint8)


def duotone(photo: np.ndarray) -> np.ndarray:
    powers = np.array([0.8, 1.0, 1.3])
    return (255 * (grey(photo) / 255) ** powers).astype(np.uint8)


def cyanotype(photo: np.ndarray) -> np.ndarray:
    level = grey(photo) / 255
    powers = np.array([1.8, 1.1, 0.8])
    return (255 * (np.array([0, 0.02, 0.3]) + np.array([0.9, 0.95, 0.7]) * level**powers)).astype(
        np.uint8
    )


def split(photo: np.ndarray) -> np.ndarray:
    """Blue shadows, warm lights."""
    level = grey(photo) / 255
    away = (level - 0.5) * np.abs(level - 0.5)
    return (255 * (level + np.array([0.48, 0, -0.56]) * away)).clip(0, 255).astype(np.uint8)


def nearly_grey(photo: np.ndarray) -> np.ndarray:
    return (grey(photo).astype(int) + np.array([4, 0, -5])).clip(0, 255).astype(np.uint8)


def faded(photo: np.ndarray) -> np.ndarray:
    return (np.array([60, 50, 40]) + sepia(photo) * 0.6).astype(np.uint8)


TONES = (sepia, duotone, cyanotype, split, nearly_grey, faded)


def spread(photo: np.ndarray) -> int:
    return int(np.ptp(photo.astype(int), axis=-1).max())


def edited(side: int = 64) -> tuple[np.ndarray, np.ndarray]:
    """An edit that turns skin into hair, and what it was made from."""
    recon = np.full((side, side, 3), (200, 160, 130), np.uint8)
    new = recon.copy()
    new[10:50, 10:50] = (60, 40, 120)
    return new, recon


def pasted(photo: np.ndarray, *, masked: bool, blend: Blend = "moved") -> np.ndarray:
    new, recon = edited()
    own = Crop(crop(photo, QUAD, 64), QUAD)
    everywhere = Mask("everywhere", lambda edited, recon: np.ones((64, 64), np.float32))
    return paste_edit(photo, own, new, recon, everywhere if masked else None, blend)


@pytest.mark.parametrize("masked", [False, True])
def test_a_grey_photo_stays_grey_and_is_changed(portrait: np.ndarray, masked: bool) -> None:
    photo = grey(portrait)
    result = pasted(photo, masked=masked)
    assert spread(result) == 0
    assert np.abs(result.astype(int) - photo).max() > 40


def test_noise_in_a_grey_photo_gives_no_stains(portrait: np.ndarray) -> None:
    noise = np.random.default_rng(0).normal(0, 4, portrait.shape)
    photo = (grey(portrait) + noise).clip(0, 255).astype(np.uint8)
    before, after = (
        cv2.GaussianBlur(one, (0, 0), 4) for one in (photo, pasted(photo, masked=True))
    )
    assert spread(after) <= spread(before) + 4


@pytest.mark.parametrize("toned", [sepia, duotone, cyanotype, split])
def test_a_toned_photo_keeps_its_tone(
    portrait: np.ndarray, toned: Callable[[np.ndarray], np.ndarray]
) -> None:
    """Also where it is cut off at white."""
    photo = toned(portrait)
    result = pasted(photo, masked=False)
    curve = toned(np.repeat(np.arange(256)[:, None, None], 3, axis=2))[:, 0].astype(float)
    lumas, own = curve @ LUMA, result @ LUMA
    expected = np.stack([np.interp(own, lumas, curve[:, k]) for k in range(3)], axis=-1)
    strayed = np.abs(result - expected)
    assert strayed.max() < 24 and strayed.mean() < 1
    known = (own >= (photo @ LUMA).min()) & (own <= (photo @ LUMA).max())
    assert strayed[known].max() < 4
    assert np.abs(result.astype(int) - photo).max() > 40


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("toned", TONES)
def test_a_toned_photo_is_changed_along_its_own_tone(
    portrait: np.ndarray, toned: Callable[[np.ndarray], np.ndarray], masked: bool
) -> None:
    photo = toned(portrait)
    photo = decode_image(encode_jpeg(photo, 90)).pixels
    result = pasted(photo, masked=masked)
    changed = (result != photo).any(-1)
    before, after = (off_tone(one, photo)[changed] for one in (photo, result))
    assert np.percentile(after, 99) < np.percentile(before, 99) + 1.5
    assert after.max() < before.max() + 4
    assert changed.mean() > 0.1


def off_tone(picture: np.ndarray, photo: np.ndarray) -> np.ndarray:
    """How far the colours of a picture are from the mean ones that a photo has at their luma."""
    luma, own = (np.rint(one @ LUMA).astype(int) for one in (photo, picture))
    there = np.unique(luma)
    curve = np.array([photo[luma == level].mean(axis=0) for level in there])
    expected = np.stack([np.interp(own, there, curve[:, k]) for k in range(3)], axis=-1)
    far = np.sqrt(np.square(picture - expected).sum(axis=-1))
    return np.where((own >= there[0]) & (own <= there[-1]), far, 0)


@pytest.mark.parametrize("cast", [(1, 0.75, 0.45), (0.5, 0.8, 1), (0.6, 1, 0.6)])
@pytest.mark.parametrize("path", sorted(FACES.glob("*.jpg")), ids=lambda path: path.stem)
def test_a_cast_makes_no_tone_of_colours(path: Path, cast: tuple[float, float, float]) -> None:
    assert tone_of((read_image(path) * np.array(cast)).astype(np.uint8)) is None


def test_a_tone_is_read_from_the_whole_photo(portrait: np.ndarray) -> None:
    """The face may be darker, and its edit lighter, than anything in the crop."""
    photo = sepia(portrait)
    own = photo[60:140, 60:140] // 2
    tone, whole = tone_in(photo, own), tone_of(photo)
    assert tone is not None and whole is not None
    assert np.array_equal(tone.curve, whole.curve)
    assert tone_in(portrait, own) is not None and tone_in(portrait, portrait) is None


def test_jpeg_does_not_hide_a_tone(portrait: np.ndarray) -> None:
    for one in (grey(portrait), *(toned(portrait) for toned in TONES)):
        tone = tone_of(decode_image(encode_jpeg(one, 75)).pixels)
        assert tone is not None and tone.certainty > 0.9


@pytest.mark.parametrize("path", sorted(FACES.glob("*.jpg")), ids=lambda path: path.stem)
def test_a_coloured_photo_has_no_tone(path: Path) -> None:
    assert tone_of(read_image(path)) is None


def test_a_coloured_photo_is_pasted_into_as_before(portrait: np.ndarray) -> None:
    new, recon = edited()
    trust = HEAD.weight(crop(portrait, QUAD, 64), new, recon)
    before = paste_difference(portrait, new, recon, QUAD, trust=trust)
    assert np.array_equal(pasted(portrait, masked=False, blend="difference"), before)


def test_plain_areas_of_colour_are_no_tone() -> None:
    blobs = np.random.default_rng(0).integers(0, 200, (5, 5, 3)).astype(np.uint8)
    assert tone_of(np.repeat(np.repeat(blobs, 16, 0), 16, 1)) is None
    assert tone_of(np.full((64, 64, 3), (0, 0, 200), np.uint8)) is None
    assert tone_of(np.full((64, 64, 3), 255, np.uint8)) is GREY


def test_an_uncertain_tone_takes_a_part_of_the_colour() -> None:
    change = np.array([[[30.0, 0.0, 0.0]]], np.float32)
    pixels = np.full((1, 1, 3), 128, np.uint8)
    whole, half = (Tone(GREY.curve, share)(pixels, change)[0, 0] for share in (1.0, 0.5))
    assert np.allclose(whole, 30 * 0.299) and np.allclose(half, np.add(whole, (30, 0, 0)) / 2)
