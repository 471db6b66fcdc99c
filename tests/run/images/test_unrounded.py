"""What is pasted does not hang on the batch, and photos of 16 bits get all bits of a change."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image, ImageCms

from dseinvert.cli.main import run
from dseinvert.media.convert import profile_of
from dseinvert.media.images import encode_png, read_image
from dseinvert.media.whole import whole_of
from tests.moving_face import portrait


def pasted(folder: Path, out: Path, *options: str) -> dict[str, np.ndarray]:
    line = ["images", str(folder), "--out", str(out), "--edit", "smile=+2", "--edit", "pose=-2"]
    assert run([*line, "--paste", "--backend", "torch", *options]) == 0
    return {path.name: read_image(path) for path in sorted(out.glob("*.photo.png"))}


def test_batches_of_1_and_8_differ_by_a_level_at_most(tmp_path: Path) -> None:
    folder = tmp_path / "photos"
    folder.mkdir()
    for number in range(8):
        picture = portrait(1 + number % 6, 144)
        mirrored = picture[:, ::-1] if number > 5 else picture
        (folder / f"{number}.png").write_bytes(encode_png(np.ascontiguousarray(mirrored)))
    one, eight = (pasted(folder, tmp_path / size, "--batch", size) for size in ("1", "8"))
    assert len(one) >= 12 and one.keys() == eight.keys()
    for name, picture in one.items():
        source = read_image(folder / f"{name[0]}.png").astype(int)
        assert np.abs(picture - source).max() > 20, name
        assert np.abs(picture.astype(int) - eight[name]).max() <= 1, name


@pytest.mark.parametrize("blend", ["moved", "difference"])
@pytest.mark.parametrize("suffix", ["png", "tiff"])
def test_a_photo_of_16_bits_gets_a_change_of_16_bits(
    tmp_path: Path, suffix: str, blend: str
) -> None:
    samples = portrait(1, 160).astype(np.uint16) * 257
    source = tmp_path / f"deep.{suffix}"
    cv2.imwrite(str(source), samples[..., ::-1])
    out = tmp_path / "out"
    line = ["images", str(source), "--out", str(out), "--edit", "age=+2", "--paste"]
    assert run([*line, "--blend", blend]) == 0
    (written,) = out.glob("*.photo.png")
    result = cv2.imread(str(written), cv2.IMREAD_UNCHANGED)
    assert result.dtype == np.uint16
    changed = (result[..., ::-1] != samples).any(-1)
    change = (result[..., ::-1].astype(int) - samples)[changed]
    assert len(np.unique(result[changed])) > 1000 and len(np.unique(change)) > 1000
    np.testing.assert_array_equal(result[..., ::-1][~changed], samples[~changed])


def test_a_photo_of_16_bits_with_a_profile_gets_more_than_8_bits_of_it_too() -> None:
    samples = portrait(1, 64).astype(np.uint16) * 257
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    small = Image.fromarray(np.zeros((1, 1, 3), np.uint8))
    small.info["icc_profile"] = profile
    coded = cv2.imencode(".png", samples[..., ::-1])[1].tobytes()
    whole = replace(whole_of(coded), profile=profile_of(small))
    assert whole.deep and whole.profile is not None

    def onto(photo: np.ndarray) -> np.ndarray:
        slope = np.linspace(0, 3, 64)[None, :, None] * (257 if photo.dtype == np.uint16 else 1)
        return np.rint(photo + slope).clip(0, np.iinfo(photo.dtype).max).astype(photo.dtype)

    result = whole.with_change(onto, lambda photo: photo.copy())
    gap = result.samples.astype(int) - onto(samples)
    assert np.abs(gap).max() <= 257 and len(np.unique(result.samples - samples)) > 50
