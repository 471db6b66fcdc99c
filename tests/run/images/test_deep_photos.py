"""What moves in a photo of 16 bits keeps them, and one with a palette takes colours it has not."""

from __future__ import annotations

from dataclasses import replace
from io import BytesIO
from types import SimpleNamespace
from typing import Any, cast

import cv2
import numpy as np
import pytest
from PIL import Image

from dseinvert.faces.align import crop
from dseinvert.faces.crops import Crop
from dseinvert.media.form import PNG
from dseinvert.media.whole import Whole, whole_of
from dseinvert.run.images.write import Target
from tests.faces.test_carry import RECON, SMILE, WHOLE, photo_of


def deep_photo() -> Whole:
    """A slope of 16 bits in each channel beside a face's, as a PNG holds it."""
    samples = photo_of(WHOLE, 512, 512).astype(np.uint16) * 257
    samples += np.arange(512, dtype=np.uint16)[None, :, None] % 200
    coded = cv2.imencode(".png", samples)[1].tobytes()
    return whole_of(coded)


@pytest.mark.parametrize("blend", ["moved", "difference"])
def test_a_deep_photo_keeps_its_own_bits_around_and_its_fine_steps_within(blend: str) -> None:
    photo = deep_photo()
    framed = Crop(crop(photo.colours, WHOLE, 64), WHOLE)
    writer = SimpleNamespace(mask=None, blend=blend)
    face = SimpleNamespace(crop=framed, recon=RECON)
    result = Target._with(cast(Any, writer), photo, cast(Any, face), SMILE)
    same = (result.colours == photo.colours).all(-1)
    assert same.sum() > 50000 and (~same).sum() > 1000
    assert result.samples.dtype == np.uint16
    np.testing.assert_array_equal(result.samples[0], photo.samples[0])
    gap = np.abs(result.samples.astype(int) / 257 - result.colours)
    assert gap.max() < 2.5


def test_motion_alone_leaves_no_steps_of_8_bits() -> None:
    """A smooth slope of 16 bits that is moved is one still, where nothing is added."""
    photo = deep_photo()
    slope = np.linspace(20000, 40000, 512).astype(np.uint16)
    samples = np.repeat(np.repeat(slope[None, :, None], 512, 0), 3, 2)
    photo = replace(photo, samples=samples, colours=np.rint(samples / 257).astype(np.uint8))
    framed = Crop(crop(photo.colours, WHOLE, 64), WHOLE)
    writer, face = SimpleNamespace(mask=None, blend="moved"), SimpleNamespace(crop=framed)
    face.recon = RECON
    result = Target._with(cast(Any, writer), photo, cast(Any, face), SMILE)
    added = np.rint((result.samples.astype(int) - photo.samples)[380, 180:330, 0] / 257)
    low = result.samples[380, 180:330, 0].astype(int) - 257 * added
    assert len(np.unique(low % 257)) > 100


def test_a_palette_takes_all_colours_of_a_change_and_no_more_specks() -> None:
    colours = photo_of(WHOLE, 512, 512)
    few = Image.fromarray(colours).quantize(32)
    coded = BytesIO()
    few.save(coded, "png")
    photo = whole_of(coded.getvalue())
    framed = Crop(crop(photo.colours, WHOLE, 64), WHOLE)
    writer, face = SimpleNamespace(mask=None, blend="moved"), SimpleNamespace(crop=framed)
    face.recon = RECON
    result = Target._with(cast(Any, writer), photo, cast(Any, face), SMILE)
    written = np.asarray(Image.open(BytesIO(result.encode(PNG, []))).convert("RGB"))
    np.testing.assert_array_equal(written, result.colours)
    changed = (written != photo.colours).any(-1)
    assert len(np.unique(written[changed], axis=0)) > 3 * 32
    before, after = (
        np.square(one - cv2.GaussianBlur(one, (0, 0), 1.5))[changed].mean()
        for one in (photo.colours.astype(np.float32), written.astype(np.float32))
    )
    assert after < 1.1 * before
