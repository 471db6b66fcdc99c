"""Under a mask edits add what they changed; the rest of crop and photo is the input's own."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from dseinvert.errors import UsageError
from dseinvert.faces.crops import Crop, whole
from dseinvert.faces.mask import Mask, open_mask, paste_edit
from dseinvert.faces.regions import open_where
from dseinvert.media.images import encode_png, read_image

Run = Callable[..., int]


def test_a_painted_mask_is_brought_to_the_size_of_the_crop(tmp_path: Path) -> None:
    picture = np.zeros((40, 40, 3), np.uint8)
    picture[:, 20:] = 255
    (tmp_path / "mask.png").write_bytes(encode_png(picture))
    mask = open_mask(str(tmp_path / "mask.png"), 16)
    assert mask is not None
    own, recon, edited = (np.full((16, 16, 3), value, np.uint8) for value in (50, 100, 120))
    kept = mask(own, edited, recon)
    assert (kept[:, :8] == 50).all() and (kept[:, 8:] == 70).all()


def test_other_words_and_files_are_refused(tmp_path: Path) -> None:
    (tmp_path / "mask.png").write_bytes(b"junk")
    for text in ("hair", str(tmp_path / "mask.png")):
        with pytest.raises(UsageError, match="auto, face, or a picture"):
            open_mask(text, 16)
    assert open_mask(None, 16) is None


def test_images_keep_crop_and_photo_outside_the_mask(
    dse: Run, pictures: Path, tmp_path: Path
) -> None:
    given = ("--no-align", "--edit", "smile=1.5", "--paste", "--mask", "face", "-q")
    assert dse("images", pictures, *given, "--out", tmp_path / "out") == 0
    shown, own = (read_image(tmp_path / "out" / f"p0.{n}.png") for n in ("smile+1.5", "input"))
    assert np.array_equal(shown[:2], own[:2]) and not np.array_equal(shown, own)
    photo, source = read_image(tmp_path / "out" / "p0.smile+1.5.photo.png"), pictures / "p0.png"
    assert np.array_equal(photo[:4], read_image(source)[:4])
    assert not np.array_equal(photo, read_image(source))


def test_another_mask_is_another_result(dse: Run, pictures: Path, tmp_path: Path) -> None:
    given = ("images", pictures, "--no-align", "--edit", "smile=1.5", "-q", "--out", tmp_path / "o")
    assert dse(*given) == 0
    plain = read_image(tmp_path / "o" / "p0.smile+1.5.png")
    assert dse(*given, "--mask", "face") == 6
    assert np.array_equal(read_image(tmp_path / "o" / "p0.smile+1.5.png"), plain)
    assert dse(*given, "--mask", "face", "--overwrite") == 0
    assert not np.array_equal(read_image(tmp_path / "o" / "p0.smile+1.5.png"), plain)


@pytest.mark.parametrize(("mask", "region"), [("face", None), (None, "mouth"), ("auto", "mouth")])
def test_teeth_turn_no_greener_under_a_mask_and_the_rest_stays_bit_for_bit(
    mask: str | None, region: str | None
) -> None:
    recon = np.full((128, 128, 3), (220, 170, 140), np.uint8)
    recon[:, :20], recon[:, -20:], recon[:24, 20:-20] = (60, 90, 200), (60, 160, 60), (90, 60, 40)
    recon[92:97, 56:72] = (170, 90, 90)
    edited = recon.copy()
    edited[92:97, 56:72] = (150, 175, 150)
    opened = open_where(mask, region, 128)
    assert opened is not None
    made = opened(recon, edited, recon).astype(int)
    teeth = made[93:96, 60:68]
    assert (teeth[..., 0] > teeth[..., 1]).all() and (teeth[..., 1] > 120).all()
    assert (made[:50] == recon[:50]).all()
    assert np.array_equal(opened(recon, recon, recon), recon)


def test_a_painted_mask_shows_an_edit_as_it_was_drawn() -> None:
    photo = np.full((128, 128, 3), (220, 170, 140), np.uint8)
    edited = photo.copy()
    edited[92:97, 56:72] = (150, 175, 150)
    whole = Mask("painted", lambda edited, recon: np.ones((128, 128), np.float32))
    assert np.array_equal(whole(photo, edited, photo), edited)


def test_an_edit_casts_no_shadow_beside_the_head() -> None:
    plain = np.full((128, 128, 3), 200, np.uint8)
    corners = np.array([[0, 0], [0, 128], [128, 128], [128, 0]]) - 0.5
    pasted = paste_edit(plain, Crop(plain, corners), plain - 60, plain)
    change = plain.astype(int) - pasted
    assert change[64, 64].min() == 60 and change[10:118, 64].min() > 0
    assert change[:, :10].max() == 0 and change[:, -10:].max() == 0
    assert change[64, 14:114].max(axis=-1)[[0, -1]].max() < 12


def test_a_picture_that_is_no_aligned_face_is_changed_everywhere() -> None:
    plain = np.full((128, 128, 3), 200, np.uint8)
    pasted = paste_edit(plain, whole(plain, 128), plain - 60, plain)
    assert (plain.astype(int) - pasted)[24:-24, 24:-24].min() > 50
    aligned = paste_edit(plain, Crop(plain, whole(plain, 128).quad), plain - 60, plain)
    assert (plain.astype(int) - aligned)[24, 24].max() < 30
