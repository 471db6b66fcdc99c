"""What is in a photo's file is in the file of its edit, or it is said that it is not."""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import av
import cv2
import numpy as np
import pytest
from PIL import Image, ImageCms, PngImagePlugin

from dseinvert.errors import InputError, UsageError
from dseinvert.media.form import PNG, Form, form_of
from dseinvert.media.images import decode_image, encode_jpeg, encode_png, read_image
from dseinvert.media.whole import Whole, open_whole
from tests.media.tiffs import tiff

Run = Callable[..., int]
SWAPPED = Path(__file__).parents[1] / "assets" / "icc_swapped.png"


def scene(height: int = 40, width: int = 60) -> np.ndarray:
    y, x = np.mgrid[:height, :width]
    return np.stack([40 + 3 * x, 60 + 2 * y, 90 + x + y], axis=-1).astype(np.uint8)


def saved(path: Path, image: Image.Image, **options: Any) -> Path:
    image.save(path, **options)
    return path


def exif(*, turned: int = 1) -> bytes:
    block = Image.Exif()
    block[0x8298], block[0x010F], block[0x0112] = "A. Photographer", "Camera", turned
    block[0x8769] = {0x9003: "2020:01:01 12:00:00", 0xA002: 60}
    block[0x8825] = {1: "N", 2: (52.0, 31.0, 12.0)}
    return block.tobytes()


def edited(photo: Whole, by: int = 20) -> Whole:
    """The photo, brighter in its middle."""
    colours = photo.colours.copy()
    colours[10:20, 10:20] += np.uint8(by)
    return photo.repainted(colours)


def written(photo: Whole, form: Form = PNG) -> tuple[Image.Image, list[str]]:
    notes: list[str] = []
    image = Image.open(io.BytesIO(photo.encode(form, notes)))
    image.load()
    return image, notes


def test_a_plain_photo_is_written_as_pixels_are(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(encode_png(scene()))
    photo = open_whole(tmp_path / "a.png")
    assert photo.encode(PNG, []) == encode_png(scene()) and photo.notes == ()
    assert photo.encode(Form("jpg", 80), []) == encode_jpeg(scene(), 80)


@pytest.mark.parametrize("form", [PNG, Form("webp")], ids=lambda form: form.format)
def test_alpha_stays_and_colours_are_changed_below_it(tmp_path: Path, form: Form) -> None:
    alpha = np.arange(60, dtype=np.uint8)[None].repeat(40, 0)
    rgba = np.dstack([scene(), alpha])
    photo = open_whole(saved(tmp_path / "a.png", Image.fromarray(rgba)))
    result = np.asarray(written(edited(photo), form)[0])
    assert np.array_equal(result[..., 3], alpha)
    expected = edited(photo).colours
    assert np.array_equal(result[..., :3], expected) and np.array_equal(photo.colours, scene())


def test_a_jpeg_has_no_alpha_and_it_is_said(tmp_path: Path) -> None:
    rgba = np.dstack([scene(), np.zeros((40, 60), np.uint8)])
    photo = open_whole(saved(tmp_path / "a.png", Image.fromarray(rgba)))
    image, notes = written(photo, Form("jpg"))
    assert image.mode == "RGB" and np.asarray(image).min() > 250
    assert "no alpha" in notes[0]


@pytest.mark.parametrize("suffix", [".png", ".tiff"])
@pytest.mark.parametrize("channels", [1, 3])
def test_16_bits_stay(tmp_path: Path, suffix: str, channels: int) -> None:
    deep = scene()[..., ::-1].astype(np.uint16) * 256 + 77
    deep = deep[..., 0] if channels == 1 else deep
    cv2.imwrite(str(tmp_path / f"a{suffix}"), deep)
    photo = edited(open_whole(tmp_path / f"a{suffix}"))
    result = cv2.imdecode(np.frombuffer(photo.encode(PNG, []), np.uint8), cv2.IMREAD_UNCHANGED)
    assert result.dtype == np.uint16 and result.shape == deep.shape
    change = result.astype(int) - deep
    assert (change[10:20, 10:20] == 20 * 257).all()
    change[10:20, 10:20] = 0
    assert not change.any()


def test_16_bits_with_alpha_stay(tmp_path: Path) -> None:
    deep = np.random.default_rng(0).integers(0, 50_000, (40, 60, 4)).astype(np.uint16)
    cv2.imwrite(str(tmp_path / "a.png"), deep)
    data = open_whole(tmp_path / "a.png").encode(PNG, [])
    again = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    assert np.array_equal(again, deep)


def test_other_formats_say_that_16_bits_are_lost(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "a.png"), scene().astype(np.uint16) * 257)
    image, notes = written(open_whole(tmp_path / "a.png"), Form("webp"))
    assert np.array_equal(np.asarray(image), scene()[..., ::-1]) and "8 bits" in notes[0]


@pytest.mark.parametrize("format", ["png", "jpg", "webp"])
def test_exif_stays_upright_and_without_the_place(tmp_path: Path, format: str) -> None:
    path = saved(tmp_path / "a.jpg", Image.fromarray(scene()), exif=exif(turned=6), dpi=(300, 200))
    photo = open_whole(path)
    assert photo.colours.shape == (60, 40, 3)
    image, _ = written(photo, Form(format))  # type: ignore[arg-type]
    found = image.getexif()
    assert found[0x8298] == "A. Photographer" and 0x0112 not in found
    assert found.get_ifd(0x8769)[0x9003] == "2020:01:01 12:00:00"
    assert not found.get_ifd(0x8825) and any("GPS" in note for note in photo.notes)
    if format != "webp":
        assert np.allclose(image.info["dpi"], (200, 300), atol=0.1)
    assert np.array_equal(read_image(path), photo.colours)


MODES: dict[str, Callable[[], Image.Image]] = {
    "L": lambda: Image.fromarray(scene()[..., 0]),
    "LA": lambda: Image.fromarray(np.dstack([scene()[..., :1], scene()[..., 1:2]])),
    "RGBA": lambda: Image.fromarray(np.dstack([scene(), scene()[..., :1]])),
    "P": lambda: Image.fromarray(scene()).quantize(64),
    "I;16": lambda: Image.fromarray(scene()[..., 0].astype(np.uint16) * 257),
    "CMYK": lambda: Image.fromarray(scene()).convert("CMYK"),
}
FILES = {"L": ".jpg", "LA": ".png", "RGBA": ".png", "P": ".png", "I;16": ".png", "CMYK": ".jpg"}


@pytest.mark.parametrize("format", ["png", "jpg", "webp"])
@pytest.mark.parametrize("mode", MODES)
def test_exif_and_orientation_are_right_in_every_mode(
    tmp_path: Path, mode: str, format: str
) -> None:
    image = MODES[mode]()
    assert image.mode == mode
    options: dict[str, Any] = {"transparency": 3} if mode == "P" else {}
    path = tmp_path / f"a{FILES[mode]}"
    photo = open_whole(saved(path, image, exif=exif(turned=6), **options))
    again, _ = written(edited(photo), Form(format))  # type: ignore[arg-type]
    found = again.getexif()
    assert again.size == (40, 60) and photo.colours.shape == (60, 40, 3)
    assert found[0x8298] == "A. Photographer" and 0x0112 not in found
    assert found.get_ifd(0x8769)[0x9003] == "2020:01:01 12:00:00" and not found.get_ifd(0x8825)
    if mode in ("LA", "RGBA", "P") and format != "jpg":
        assert again.has_transparency_data
        alpha = np.asarray(again.convert("RGBA"))[..., 3]
        source = np.asarray(image.convert("RGBA"))[..., 3] if mode != "P" else None
        assert source is None or np.array_equal(alpha, np.rot90(source, -1))


XMP = b"""<?xpacket begin=""?><x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF
 xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><rdf:Description dc:format="image/jpeg"
 exif:GPSLatitude="52,31.2N" drone-dji:GpsLongitude='13.1' tiff:Orientation="6" xmp:Rating="5">
<dc:creator><rdf:Seq><rdf:li>A. Photographer</rdf:li></rdf:Seq></dc:creator>
<exif:GPSTimeStamp>2020-01-01T12:00:00Z</exif:GPSTimeStamp><exif:GPSAltitude />
<exif:PixelXDimension>60</exif:PixelXDimension></rdf:Description></rdf:RDF></x:xmpmeta>
<?xpacket end="w"?>"""
IPTC = b"\x1c\x02\x78\x00\x07caption\x1c\x02\x74\x00\x02me"


def with_iptc(path: Path, **options: Any) -> Path:
    block = b"8BIM\x04\x04\0\0" + len(IPTC).to_bytes(4, "big") + IPTC + b"\0" * (len(IPTC) % 2)
    data = b"Photoshop 3.0\0" + block
    segment = b"\xff\xed" + (len(data) + 2).to_bytes(2, "big") + data
    return saved(path, Image.fromarray(scene()), extra=segment, **options)


@pytest.mark.parametrize("format", ["png", "jpg", "webp"])
@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp", ".tiff"])
def test_xmp_stays_upright_and_without_the_place(tmp_path: Path, suffix: str, format: str) -> None:
    image, options = Image.fromarray(scene()), {}
    if suffix == ".png":
        info = PngImagePlugin.PngInfo()
        info.add_itxt("XML:com.adobe.xmp", XMP.decode())
        options = {"pnginfo": info}
    else:
        options = {"tiffinfo": {700: XMP}} if suffix == ".tiff" else {"xmp": XMP}
    photo = open_whole(saved(tmp_path / f"a{suffix}", image, **options))
    found, _ = written(photo, Form(format))  # type: ignore[arg-type]
    xmp = found.info["xmp"]
    for kept in (b"A. Photographer", b'xmp:Rating="5"', b'dc:format="image/jpeg"', b"</x:xmpmeta>"):
        assert kept in xmp
    assert b"gps" not in xmp.lower() and b"Orientation" not in xmp and b"Dimension" not in xmp
    assert [note for note in photo.notes if "GPS" in note]
    ElementTree.fromstring(
        re.sub(rb"\b(\w+(?:-\w+)?):", rb"\1_", xmp.split(b"?>", 1)[1].rpartition(b"<?")[0])
    )


def test_the_place_in_xmp_stays_where_it_is_asked_for(tmp_path: Path) -> None:
    path = saved(tmp_path / "a.jpg", Image.fromarray(scene()), xmp=XMP)
    photo = open_whole(path, keep_gps=True)
    xmp = written(photo)[0].info["xmp"]
    assert b"GPSLatitude" in xmp and b"Orientation" not in xmp and photo.notes == ()


@pytest.mark.parametrize("source", [".jpg", ".tiff"])
def test_iptc_stays_in_a_jpeg_and_else_it_is_said(tmp_path: Path, source: str) -> None:
    if source == ".jpg":
        path = with_iptc(tmp_path / "a.jpg")
    else:
        path = saved(tmp_path / "a.tiff", Image.fromarray(scene()), tiffinfo={33723: IPTC})
    photo = open_whole(path)
    image, notes = written(photo, Form("jpg"))
    assert image.info["photoshop"][0x0404][: len(IPTC)] == IPTC and notes == []
    for format in ("png", "webp"):
        assert any("IPTC" in note for note in written(photo, Form(format))[1])  # type: ignore[arg-type]


def test_texts_of_a_png_stay_and_go_to_exif_where_the_format_changes(tmp_path: Path) -> None:
    info = PngImagePlugin.PngInfo()
    texts = {"Title": "A face", "Author": "Jos\u00e9", "Copyright": "me", "Mood": "\u2665 well"}
    for keyword, text in texts.items():
        info.add_itxt(keyword, text)
    info.add_text("Raw profile type exif", "47505320")
    photo = open_whole(saved(tmp_path / "a.png", Image.fromarray(scene()), pnginfo=info))
    image, notes = written(photo)
    assert image.text == texts and notes == [] and photo.notes == ()
    for format in ("jpg", "webp"):
        image, notes = written(photo, Form(format))  # type: ignore[arg-type]
        found = image.getexif()
        assert found[0x010E] == "A face" and found[0x8298] == "me"
        assert found[0x013B].encode("latin-1").decode() == "José"
        assert [note for note in notes if "Mood" in note and "Title" not in note]


def test_exif_that_is_there_is_not_replaced_by_a_text(tmp_path: Path) -> None:
    info = PngImagePlugin.PngInfo()
    info.add_text("Copyright", "nobody")
    image = Image.fromarray(scene())
    photo = open_whole(saved(tmp_path / "a.png", image, pnginfo=info, exif=exif()))
    found = written(photo, Form("jpg"))[0].getexif()
    assert found[0x8298] == "A. Photographer"
    assert found.get_ifd(0x8769)[0x9003] == "2020:01:01 12:00:00"


def test_exif_in_other_letters_stays(tmp_path: Path) -> None:
    block = Image.Exif()
    block[0x8298] = "José".encode()
    path = saved(tmp_path / "a.jpg", Image.fromarray(scene()), exif=block.tobytes())
    for form in (PNG, Form("jpg"), Form("webp")):
        said = written(open_whole(path), form)[0].getexif()[0x8298]
        assert said.encode("latin-1").decode() == "José"


def test_the_comment_of_a_jpeg_stays(tmp_path: Path) -> None:
    photo = open_whole(saved(tmp_path / "a.jpg", Image.fromarray(scene()), comment="at work"))
    assert written(photo, Form("jpg"))[0].info["comment"] == b"at work"
    assert written(photo)[0].text == {"Comment": "at work"}
    assert any("comment" in note for note in written(photo, Form("webp"))[1])


def test_what_is_too_long_for_a_jpeg_is_said(tmp_path: Path) -> None:
    info = PngImagePlugin.PngInfo()
    info.add_itxt("XML:com.adobe.xmp", "<x>" + "y" * 70_000 + "</x>")
    photo = open_whole(saved(tmp_path / "a.png", Image.fromarray(scene()), pnginfo=info))
    image, notes = written(photo, Form("jpg"))
    assert "xmp" not in image.info and "XMP is too long" in notes[0]


def test_the_place_stays_where_it_is_asked_for(tmp_path: Path) -> None:
    path = saved(tmp_path / "a.jpg", Image.fromarray(scene()), exif=exif())
    photo = open_whole(path, keep_gps=True)
    assert written(photo)[0].getexif().get_ifd(0x8825)[1] == "N" and photo.notes == ()


def test_the_colour_profile_stays_and_the_rest_of_the_photo_bit_for_bit() -> None:
    photo = open_whole(SWAPPED)
    image, _ = written(edited(photo))
    with Image.open(SWAPPED) as source:
        assert image.info["icc_profile"] == source.info["icc_profile"]
        change = np.asarray(image).astype(int) - np.asarray(source)
    assert np.abs(change[10:20, 10:20] - 20).max() <= 4
    change[10:20, 10:20] = 0
    assert not change.any()
    shown = decode_image(edited(photo).encode(PNG, [])).pixels
    assert np.abs(shown.astype(int) - edited(photo).colours).max() <= 3


def test_an_rgb_profile_on_cmyk_is_ignored_with_a_note(tmp_path: Path) -> None:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    inks = Image.fromarray(scene()).convert("CMYK")
    plain = saved(tmp_path / "plain.tiff", inks)
    path = saved(tmp_path / "a.tiff", inks, icc_profile=profile)
    assert np.array_equal(read_image(path), read_image(plain))
    assert any("profile" in note for note in decode_image(path.read_bytes()).warnings)
    assert any("sRGB" in note for note in open_whole(path).notes)


def test_a_grey_file_stays_grey(tmp_path: Path) -> None:
    photo = open_whole(saved(tmp_path / "a.png", Image.fromarray(scene()[..., 0])))
    assert written(edited(photo))[0].mode == "L"
    assert written(photo, Form("jpg"))[0].mode == "L"
    stained = photo.colours.copy()
    stained[0, 0] = (9, 0, 0)
    assert written(photo.repainted(stained))[0].mode == "RGB"


def test_a_png_has_no_quality() -> None:
    with pytest.raises(UsageError, match="loses nothing"):
        form_of("png", 80)
    assert [form_of(*one).text for one in (("png", None), ("jpg", 80))] == ["", "jpg 80"]  # type: ignore[arg-type]


def test_errors_name_the_file(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"words, no picture")
    with pytest.raises(InputError, match=r"a\.png: is text"):
        open_whole(tmp_path / "a.png")


def test_images_and_edit_write_the_format_that_is_asked_for(
    dse: Run, pictures: Path, tmp_path: Path
) -> None:
    given = ("--no-align", "--edit", "smile=1.5", "--paste", "--format", "jpg", "--quality", "80")
    source = saved(tmp_path / "p.jpg", Image.fromarray(scene(40, 40)), exif=exif(), quality=95)
    out = tmp_path / "out"
    for _ in range(2):
        assert dse("images", source, *given, "-q", "--out", out) == 0
    names = ["p.input.jpg", "p.recon.jpg", "p.smile+1.5.jpg", "p.smile+1.5.photo.jpg"]
    assert sorted(path.name for path in out.glob("p.*.jpg")) == names
    with Image.open(out / names[3]) as image:
        assert image.getexif()[0x8298] == "A. Photographer"
    assert "GPS" in (out / "journal.jsonl").read_text()
    edit = ("--edit", "smile=1", "--mask", "face", "--format", "webp", "-q")
    assert dse("edit", out / "p.safetensors", *edit, "--out", tmp_path / "more") == 0
    assert Image.open(tmp_path / "more" / "p.smile+1.webp").format == "WEBP"
    assert dse("images", source, "--quality", "80", "--out", out, "-q") == 2


def test_alpha_that_is_multiplied_into_16_bits_does_not_darken_them(tmp_path: Path) -> None:
    alpha = np.linspace(2_000, 65_535, 60).repeat(40).reshape(60, 40).T
    colours = scene() * (alpha / 255)[..., None]
    samples = np.dstack([colours, alpha]).round().astype(np.uint16)
    (tmp_path / "a.tif").write_bytes(tiff(samples, 2, extra=1))
    photo = open_whole(tmp_path / "a.tif")
    assert np.abs(photo.samples / 257 - scene()).max() < 1
    assert np.array_equal(photo.alpha, samples[..., 3])
    (tmp_path / "b.png").write_bytes(photo.encode(PNG, []))
    gap = read_image(tmp_path / "a.tif").astype(int) - read_image(tmp_path / "b.png")
    assert np.abs(gap).max() <= 2


@pytest.mark.parametrize(("bits", "white"), [(12, 4095), (16, 65535)])
def test_more_than_8_bits_of_a_jpeg_2000_stay(tmp_path: Path, bits: int, white: int) -> None:
    deep = np.rint(scene()[..., ::-1] * (white / 255)).astype(np.uint16)
    data = bytearray(cv2.imencode(".jp2", deep, [cv2.IMWRITE_JPEG2000_COMPRESSION_X1000, 1000])[1])
    assert data[data.index(b"\xff\x4f\xff\x51") + 42] == 15
    if bits == 12:  # the header's word for three components
        for k in range(3):
            data[data.index(b"\xff\x4f\xff\x51") + 42 + 3 * k] = bits - 1
    (tmp_path / "a.jp2").write_bytes(data)
    photo = open_whole(tmp_path / "a.jp2")
    assert photo.samples.dtype == np.uint16
    assert np.abs(photo.samples / 257 - photo.colours).mean() < 1


def test_10_bits_of_an_avif_stay(tmp_path: Path) -> None:
    path, grey = tmp_path / "a.avif", np.full((128, 128, 3), 90, np.uint8)
    with av.open(path, "w", format="avif") as file:
        stream = file.add_stream("libsvtav1", rate=1)
        stream.width, stream.height, stream.pix_fmt = 128, 128, "yuv420p10le"
        frame = av.VideoFrame.from_ndarray(grey, format="rgb24").reformat(format="yuv420p10le")
        for packet in [*stream.encode(frame), *stream.encode()]:
            file.mux(packet)
    photo = open_whole(path)
    assert photo.samples.dtype == np.uint16 and photo.notes == ()
    assert np.abs(photo.samples / 257 - 90).max() < 1 and (photo.colours == 90).all()


@pytest.mark.parametrize("most", [255, 65535])
def test_what_alpha_hides_is_known(tmp_path: Path, most: int) -> None:
    rgba = np.full((4, 4, 4), most // 2, np.uint8 if most == 255 else np.uint16)
    rgba[..., 3] = most * np.array([[0.0], [0.01], [0.5], [1.0]])
    cv2.imwrite(str(tmp_path / "cut.png"), rgba)
    hidden = open_whole(tmp_path / "cut.png").hidden
    assert hidden is not None and hidden.all(axis=1).tolist() == [True, True, False, False]
    cv2.imwrite(str(tmp_path / "plain.png"), rgba[..., :3])
    assert open_whole(tmp_path / "plain.png").hidden is None
