from __future__ import annotations

import csv
import io
import os
import runpy
import struct
import subprocess
import sys
import threading
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFile

from dseinvert.errors import InputError
from dseinvert.media.images import (
    decode_image,
    encode_jpeg,
    encode_png,
    open_image,
    read_image,
    sniff,
)
from tests.media.pngs import with_chunk

ASSETS = Path(__file__).parents[1] / "assets"
SHARED = Path(__file__).parents[2].parent / "shared" / "data" / "bad-inputs"
MAKE = runpy.run_path(str(ASSETS / "make_assets.py"))
SCENE: np.ndarray = MAKE["scene"]()

pytestmark = pytest.mark.filterwarnings("ignore")  # the room's own filter, which pytest replaces


def rows() -> list[list[str]]:
    """file, verdict, says, what: the table of INDEX.md."""
    lines = (ASSETS / "INDEX.md").read_text(encoding="utf-8").splitlines()
    table = [line for line in lines if line.startswith("|")][2:]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in table]


def good() -> list[str]:
    return [name for name, verdict, *_ in rows() if verdict.startswith("accept")]


def outcome(path: Path) -> tuple[str, str]:
    """The verdict that reading `path` amounts to, and what was said."""
    try:
        picture = open_image(path)
    except InputError as error:
        assert error.what.startswith(f"{path}: ")
        assert "\n" not in str(error)
        return ("refuse (limit)" if "limit is" in error.what else "refuse"), str(error)
    assert picture.pixels.dtype == np.uint8
    assert picture.pixels.ndim == 3
    assert picture.pixels.shape[2] == 3
    return ("accept + warn" if picture.warnings else "accept"), "; ".join(picture.warnings)


def difference(name: str, expected: np.ndarray) -> float:
    """The mean absolute difference of an asset from `expected`, of 255."""
    pixels = read_image(ASSETS / name)
    assert pixels.shape == expected.shape
    return float(np.abs(pixels.astype(float) - expected).mean())


@pytest.mark.parametrize(("name", "verdict", "says", "what"), rows())
def test_every_asset_gets_its_verdict(name: str, verdict: str, says: str, what: str) -> None:
    got, said = outcome(ASSETS / name)
    assert got.removesuffix(" (limit)") == verdict, said
    assert says in said


def test_the_assets_are_those_the_script_makes() -> None:
    made = MAKE["assets"]()
    assert MAKE["index"](made) == (ASSETS / "INDEX.md").read_text(encoding="utf-8")
    present = {path.name for path in ASSETS.iterdir() if path.is_file()}
    assert present == {row.name for row in made} | {"INDEX.md", "make_assets.py"}


@pytest.mark.parametrize(
    "name",
    ["rgb.png", "lossless.webp", "rgb.bmp", "rgb.tiff", "lzw.tiff", "rgb16.png", "icc_srgb.png"],
)
def test_lossless_files_give_the_exact_pixels(name: str) -> None:
    assert difference(name, SCENE) == 0


@pytest.mark.parametrize("name", ["rgb.jpg", "progressive.jpg", "rgb.webp", "rgb.avif", "rgb.gif"])
def test_lossy_files_give_about_the_pixels(name: str) -> None:
    assert difference(name, SCENE) < 6


@pytest.mark.parametrize("name", [name for name in good() if name.startswith("orientation")])
def test_exif_rotation_is_applied_once(name: str) -> None:
    assert difference(name, SCENE) < 12


@pytest.mark.parametrize("name", ["grey16.png", "grey16.tiff", "int32.tiff"])
def test_deep_grey_is_scaled_not_clipped(name: str) -> None:
    ramp = MAKE["ramp"](255)
    assert difference(name, np.dstack([ramp] * 3)) < 0.5


@pytest.mark.parametrize("name", ["float_1.tiff", "float_255.tiff"])
def test_float_grey_is_scaled(name: str) -> None:
    assert difference(name, np.dstack([MAKE["ramp"](255)] * 3)) < 0.5


@pytest.mark.parametrize("name", ["cmyk.jpg", "cmyk.tiff"])
def test_cmyk_is_not_a_negative(name: str) -> None:
    assert difference(name, SCENE) < 6


@pytest.mark.parametrize("name", ["alpha.png", "alpha.webp"])
def test_alpha_is_laid_on_white(name: str) -> None:
    alpha = np.floor(MAKE["ramp"](255))[..., None] / 255
    assert difference(name, SCENE * alpha + 255 * (1 - alpha)) < 6


def test_grey_alpha_is_laid_on_white() -> None:
    pixels = read_image(ASSETS / "grey_alpha.png")
    assert (pixels[:, 0] == 255).all()
    assert (pixels[..., 0] == pixels[..., 2]).all()


@pytest.mark.parametrize("name", ["palette_trans.png", "turned_palette.png"])
def test_the_transparent_palette_entry_is_white(name: str) -> None:
    pixels = read_image(ASSETS / name)
    assert pixels[2, 2].tolist() == [255, 255, 255]
    assert pixels[-3, 2].tolist() != [255, 255, 255]


def test_a_fully_transparent_picture_is_white() -> None:
    assert (read_image(ASSETS / "fully_transparent.png") == 255).all()


def test_the_colour_profile_is_applied() -> None:
    assert difference("icc_swapped.png", SCENE[..., [1, 0, 2]]) < 6


def test_a_grey_profile_is_applied() -> None:
    assert abs(int(read_image(ASSETS / "icc_grey.png")[0, 0, 0]) - 188) <= 1


@pytest.mark.parametrize("name", ["icc_broken.png", "icc_grey_on_rgb.png"])
def test_a_useless_profile_changes_nothing(name: str) -> None:
    assert difference(name, SCENE) == 0


@pytest.mark.parametrize(
    "name", [name for name in good() if name.startswith(("animated", "multipage", "two_pictures"))]
)
def test_of_several_frames_the_first_is_read(name: str) -> None:
    assert difference(name, SCENE) < 8


def test_the_limit_is_in_pixels_and_the_callers() -> None:
    path = ASSETS / "rgb.png"
    assert read_image(path, max_pixels=96 * 64).shape == (64, 96, 3)
    with pytest.raises(InputError, match="megapixels"):
        read_image(path, max_pixels=96 * 64 - 1)


def test_half_pictures_are_refused_though_another_library_allowed_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
    for name in ("truncated_30.png", "truncated_90.jpg"):
        with pytest.raises(InputError, match="truncated"):
            read_image(ASSETS / name)


@pytest.mark.parametrize("name", good())
def test_a_cut_file_is_an_input_error_or_a_picture(name: str) -> None:
    data = (ASSETS / name).read_bytes()
    step = max(1, len(data) // 60)
    for length in {*range(64), *range(64, len(data), step), len(data) - 1}:
        try:
            decode_image(data[:length])
        except InputError as error:
            assert "\n" not in str(error)


@pytest.mark.parametrize("name", good())
def test_a_scribbled_file_is_an_input_error_or_a_picture(name: str) -> None:
    data = np.frombuffer((ASSETS / name).read_bytes(), dtype=np.uint8)
    random = np.random.default_rng(0)
    for _ in range(60):
        scribbled = data.copy()
        at = random.integers(0, len(data), size=4)
        scribbled[at] = random.integers(0, 256, size=4)
        try:
            decode_image(scribbled.tobytes(), max_pixels=1_000_000)
        except InputError as error:
            assert "\n" not in str(error)


@pytest.mark.parametrize("name", ["rgb.jpg", "progressive.jpg", "rgb.png", "rgb.webp", "lzw.tiff"])
def test_no_cut_picture_passes_for_a_whole_one(name: str) -> None:
    data = (ASSETS / name).read_bytes()
    with pytest.raises(InputError):
        decode_image(data[: len(data) * 3 // 4])


def test_missing_files_folders_and_pipes_are_input_errors(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.jpg")
    for path, reason in (
        (tmp_path / "none.jpg", "no such file"),
        (tmp_path, "is a folder"),
        (tmp_path / "pipe.jpg", "not a regular file"),
        (Path("/dev/zero"), "not a regular file"),
        (tmp_path / ("x" * 300), "name too long"),
        (Path("nul\0.jpg"), "null"),
    ):
        with pytest.raises(InputError, match=reason):
            read_image(path)


def test_a_camera_raw_file_is_not_taken_for_its_thumbnail(tmp_path: Path) -> None:
    path = tmp_path / "photo.DNG"
    path.write_bytes((ASSETS / "rgb.tiff").read_bytes())
    with pytest.raises(InputError, match="camera raw"):
        read_image(path)


def test_an_unprintable_name_stays_on_one_line(tmp_path: Path) -> None:
    path = tmp_path / os.fsdecode(b"line\nbreak\xff.jpg")
    path.write_bytes(b"")
    with pytest.raises(InputError) as caught:
        read_image(path)
    assert str(caught.value).isprintable()
    assert "line\\nbreak" in str(caught.value)


def test_nothing_but_the_error_is_said(capfd: pytest.CaptureFixture[str]) -> None:
    for name, *_ in rows():
        data = (ASSETS / name).read_bytes()
        for cut in (len(data) // 2, len(data)):
            with suppress(InputError):
                decode_image(data[:cut])
    assert capfd.readouterr() == ("", "")


def test_threads_read_the_same_pixels() -> None:
    names = good()
    alone = [read_image(ASSETS / name) for name in names]
    together: dict[str, np.ndarray] = {}

    def work(name: str) -> None:
        together[name] = read_image(ASSETS / name)

    threads = [threading.Thread(target=work, args=(name,)) for name in names]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(
        np.array_equal(together[name], pixels) for name, pixels in zip(names, alone, strict=True)
    )


def test_written_pictures_are_read_back() -> None:
    assert np.array_equal(decode_image(encode_png(SCENE)).pixels, SCENE)
    jpeg = decode_image(encode_jpeg(SCENE)).pixels
    assert np.abs(jpeg.astype(float) - SCENE).mean() < 3
    assert len(encode_jpeg(SCENE, quality=50)) < len(encode_jpeg(SCENE))


def test_sniffing_goes_by_content() -> None:
    kinds = {name: sniff((ASSETS / name).read_bytes()[:64]) for name, *_ in rows()}
    assert kinds["noextension"] == "JPEG"
    assert kinds["rgb.avif"] == "AVIF"
    assert kinds["two_pictures.mpo"] == "JPEG"
    assert sniff(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic") == "HEIF"
    for name in ("text.png", "video.jpg", "git_lfs_pointer.jpg", "empty.jpg", "targa.tga"):
        assert kinds[name] == ""
    assert sniff(b"BMW is a maker of cars and motorcycles") == ""


def test_media_does_not_import_torch() -> None:
    code = "import sys, dseinvert.media.images, dseinvert.media.scan, dseinvert.media.atomic; "
    code += "sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def shared_rows() -> list[tuple[str, str]]:
    index = SHARED / "index.csv"
    if not index.exists():
        return []
    with index.open(newline="", encoding="utf-8") as file:
        found = [(row["file"], row["verdict"]) for row in csv.DictReader(file)]
    return [(name, verdict) for name, verdict in found if "/images/" in name]


@pytest.mark.skipif(not SHARED.exists(), reason="the folder of bad inputs is not here")
@pytest.mark.parametrize(("name", "verdict"), shared_rows())
def test_other_projects_bad_images_get_their_verdict(name: str, verdict: str) -> None:
    got, said = outcome(SHARED / name)
    assert verdict in ("policy", got), said


def flat_webp(width: int, height: int) -> bytes:
    """A few bytes that claim so many pixels."""
    bits = (width - 1 | height - 1 << 14).to_bytes(4, "little")
    chunk = b"VP8L" + (14).to_bytes(4, "little") + b"/" + bits + bytes(9)
    return b"RIFF" + (len(chunk) + 4).to_bytes(4, "little") + b"WEBP" + chunk


def test_a_few_bytes_that_claim_many_pixels_are_refused_before_they_are_decoded() -> None:
    with pytest.raises(InputError, match=r"claims 99 megapixels in \d+ bytes"):
        decode_image(flat_webp(9999, 9920))
    with pytest.raises(InputError, match=r"268 megapixels, the limit is 220.*--max-pixels"):
        decode_image(flat_webp(16384, 16384))


def test_flat_drawings_are_no_bombs() -> None:
    white = Image.new("1", (12_000, 9_000), 1)
    file = io.BytesIO()
    white.save(file, format="PNG", optimize=True)
    assert decode_image(file.getvalue()).pixels.shape == (9_000, 12_000, 3)


@pytest.mark.parametrize(
    ("chunks", "said"),
    [
        ([(b"gAMA", struct.pack(">I", 45_455))], ""),
        ([(b"cHRM", struct.pack(">8I", *(9 for _ in range(8))))], ""),
        ([(b"gAMA", struct.pack(">I", 100_000)), (b"sRGB", b"\0")], ""),
        ([(b"cICP", bytes([9, 16, 0, 1]))], "its HDR colours"),
        ([(b"cICP", bytes([1, 13, 0, 1]))], ""),
    ],
)
def test_colours_that_a_png_means_otherwise_are_said(
    chunks: list[tuple[bytes, bytes]], said: str
) -> None:
    data = encode_png(SCENE)
    for kind, content in reversed(chunks):
        data = with_chunk(data, kind, content)
    picture = decode_image(data)
    assert np.array_equal(picture.pixels, SCENE)
    assert ("; ".join(picture.warnings)).startswith(said) and bool(said) == bool(picture.warnings)


def test_a_web_page_is_known_behind_a_byte_order_mark() -> None:
    with pytest.raises(InputError, match="is a web page"):
        decode_image(b"\xef\xbb\xbf<!DOCTYPE html><html>not found</html>")
