"""Draw the odd and broken picture files the tests read, and INDEX.md: `python make_assets.py`.

Everything is computed here from formulas; nothing is taken from anyone else's files.
"""

from __future__ import annotations

import io
import re
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image, ImageCms

HEADER = """\
# Test pictures

Drawn by `make_assets.py` in this folder, from formulas alone; origin and licence of every file:
this project. *verdict*: what reading it must do; *says*: words in its warning or error.

| file | verdict | says | what |
| --- | --- | --- | --- |
"""
ORIENTATION = 0x0112
WIDTH, HEIGHT = 96, 64


class Asset(NamedTuple):
    """One file of this folder."""

    name: str
    verdict: str
    says: str
    what: str
    data: bytes


def scene() -> np.ndarray:
    """[64, 96, 3] uint8: red, green and blue corners, so that every orientation looks different."""
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    image = np.stack([x * 255 // (WIDTH - 1), y * 255 // (HEIGHT - 1), (x + y) % 64 + 96], axis=2)
    image[:24, :24] = 230, 20, 20
    image[:24, -24:] = 20, 200, 20
    image[-24:, :24] = 20, 20, 230
    return image.astype(np.uint8)


def ramp(top: float) -> np.ndarray:
    """[64, 96] float: 0 at the left edge, `top` at the right."""
    return np.tile(np.linspace(0, top, WIDTH), (HEIGHT, 1))


def saved(image: np.ndarray | Image.Image, kind: str, **options: Any) -> bytes:
    """The file Pillow writes."""
    file = io.BytesIO()
    image = image if isinstance(image, Image.Image) else Image.fromarray(image)
    image.save(file, format=kind, **options)
    return file.getvalue()


def chunk(kind: bytes, body: bytes, crc: int | None = None) -> bytes:
    """One PNG chunk, with a wrong checksum if `crc` is given."""
    right = zlib.crc32(kind + body)
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", crc or right)


def png(size: tuple[int, int], depth: int, colour: int, rows: bytes) -> list[bytes]:
    """A PNG in parts: signature, IHDR, IDAT, IEND."""
    header = struct.pack(">IIBBBBB", *size, depth, colour, 0, 0, 0)
    data = zlib.compress(rows, 9)
    parts = [chunk(b"IHDR", header), chunk(b"IDAT", data), chunk(b"IEND", b"")]
    return [b"\x89PNG\r\n\x1a\n", *parts]


def png_parts(image: np.ndarray) -> list[bytes]:
    """`image` [H, W, 3] uint8 as PNG in parts."""
    return png(image.shape[1::-1], 8, 2, b"".join(b"\0" + row.tobytes() for row in image))


def deep_png(image: np.ndarray) -> bytes:
    """`image` [H, W, 3] uint16 as PNG."""
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in image)
    return b"".join(png(image.shape[1::-1], 16, 2, rows))


def icc(space: bytes, tags: dict[bytes, bytes]) -> bytes:
    """A version 2 display profile."""
    tags = {b"desc": b"desc" + struct.pack(">II", 0, 5) + b"test\0" + bytes(79), **tags}
    at, table, body = 132 + 12 * len(tags), struct.pack(">I", len(tags)), b""
    for name, data in tags.items():
        data += bytes(-len(data) % 4)
        table += name + struct.pack(">II", at + len(body), len(data))
        body += data
    head = struct.pack(">I4sI", at + len(body), bytes(4), 0x02100000) + b"mntr" + space + b"XYZ "
    head += struct.pack(">6H", 2026, 1, 1, 0, 0, 0) + b"acsp"
    return head.ljust(68, b"\0") + xyz(0.9642, 1.0, 0.8249)[8:] + bytes(48) + table + body


def xyz(*values: float) -> bytes:
    """An ICC XYZ tag."""
    return b"XYZ \0\0\0\0" + struct.pack(">3i", *(round(value * 65536) for value in values))


def gamma(power: float) -> bytes:
    """An ICC tone curve."""
    return b"curv\0\0\0\0" + struct.pack(">IH", 1, round(power * 256))


def swapped_profile() -> bytes:
    """sRGB with red and green exchanged: whoever applies it sees green where red is stored."""
    primaries = {b"gXYZ": (0.4361, 0.2225, 0.0139), b"rXYZ": (0.3851, 0.7169, 0.0971)}
    tags = {name: xyz(*values) for name, values in primaries.items()}
    tags |= {b"bXYZ": xyz(0.1431, 0.0606, 0.7141), b"wtpt": xyz(0.9642, 1.0, 0.8249)}
    return icc(b"RGB ", tags | {name: gamma(2.2) for name in (b"rTRC", b"gTRC", b"bTRC")})


def linear_grey_profile() -> bytes:
    """Grey that is stored linear: 128 is shown as 188."""
    return icc(b"GRAY", {b"wtpt": xyz(0.9642, 1.0, 0.8249), b"kTRC": gamma(1.0)})


def exif(orientation: int) -> Image.Exif:
    """EXIF data holding nothing else."""
    block = Image.Exif()
    block[ORIENTATION] = orientation
    return block


def undated(data: bytes) -> bytes:
    """`data` without the dates that an AVIF sequence carries."""
    return re.sub(rb"(?s)((?:mvhd|tkhd|mdhd)\x01...).{16}", rb"\1" + bytes(16), data)


def plain() -> Iterator[Asset]:
    """Every format and pixel layout, intact."""
    picture = scene()
    image = Image.fromarray(picture)
    grey = image.convert("L")
    alpha = Image.fromarray(ramp(255).astype(np.uint8))
    kinds: dict[str, tuple[str, dict[str, Any]]] = {
        "rgb.png": ("PNG", {}),
        "rgb.jpg": ("JPEG", {"quality": 92, "subsampling": 0}),
        "progressive.jpg": ("JPEG", {"quality": 90, "progressive": True}),
        "rgb.webp": ("WEBP", {"quality": 90}),
        "lossless.webp": ("WEBP", {"lossless": True}),
        "rgb.avif": ("AVIF", {"quality": 90}),
        "rgb.bmp": ("BMP", {}),
        "rgb.gif": ("GIF", {}),
        "rgb.tiff": ("TIFF", {}),
        "lzw.tiff": ("TIFF", {"compression": "tiff_lzw"}),
        "noextension": ("JPEG", {"quality": 92, "subsampling": 0}),
    }
    for name, (kind, options) in kinds.items():
        yield Asset(name, "accept", "", f"colour, {kind}", saved(image, kind, **options))
    layouts: dict[str, tuple[np.ndarray | Image.Image, str, str]] = {
        "grey.jpg": (grey, "JPEG", "8-bit grey"),
        "one_bit.png": (grey.convert("1"), "PNG", "1 bit"),
        "cmyk.jpg": (image.convert("CMYK"), "JPEG", "CMYK, inverted as Adobe does"),
        "cmyk.tiff": (image.convert("CMYK"), "TIFF", "CMYK, not inverted"),
        "grey_alpha.png": (Image.merge("LA", (grey, alpha)), "PNG", "grey and alpha"),
        "alpha.png": (Image.merge("RGBA", (*image.split(), alpha)), "PNG", "alpha"),
        "alpha.webp": (Image.merge("RGBA", (*image.split(), alpha)), "WEBP", "alpha"),
        "grey16.png": (ramp(65535).astype(np.uint16), "PNG", "16-bit grey"),
        "grey16.tiff": (ramp(65535).astype(np.uint16), "TIFF", "16-bit grey"),
        "int32.tiff": (ramp(2**31 - 1).astype(np.int32), "TIFF", "32-bit grey"),
        "black.png": (np.zeros((64, 64, 3), np.uint8), "PNG", "black"),
        "odd_size.png": (picture[:63, :47], "PNG", "47 x 63 pixels"),
        "one_pixel.png": (picture[:1, :1], "PNG", "1 x 1 pixel: the caller decides"),
    }
    for name, (pixels, kind, what) in layouts.items():
        yield Asset(name, "accept", "", what, saved(pixels, kind))
    deep = picture.astype(np.uint16) * 257
    yield Asset("rgb16.png", "accept", "", "16-bit colour", deep_png(deep))
    palette = image.quantize(32)
    clear = saved(palette, "PNG", transparency=palette.getpixel((2, 2)))
    yield Asset("palette_trans.png", "accept", "", "palette, red corner transparent", clear)


def turned() -> Iterator[Asset]:
    """The same upright picture, stored in each of the eight orientations."""
    stored = {
        1: lambda a: a,
        2: lambda a: a[:, ::-1],
        3: lambda a: a[::-1, ::-1],
        4: lambda a: a[::-1],
        5: lambda a: a.swapaxes(0, 1),
        6: lambda a: np.rot90(a, 1),
        7: lambda a: a[::-1, ::-1].swapaxes(0, 1),
        8: lambda a: np.rot90(a, -1),
    }
    for number, store in stored.items():
        data = saved(store(scene()), "JPEG", exif=exif(number), quality=92, subsampling=0)
        yield Asset(f"orientation_{number}.jpg", "accept", "", "EXIF orientation", data)
    sideways = stored[6](scene())
    for kind in ("PNG", "WEBP", "TIFF", "AVIF"):
        name = f"orientation_6.{kind.lower()}"
        data = saved(sideways, kind, exif=exif(6))
        yield Asset(name, "accept", "", f"EXIF orientation, {kind}", data)
    palette = Image.fromarray(sideways).quantize(32)
    data = saved(
        palette, "PNG", exif=exif(6), transparency=palette.getpixel((2, sideways.shape[0] - 3))
    )
    yield Asset("turned_palette.png", "accept", "", "turned palette with alpha", data)


def profiled() -> Iterator[Asset]:
    """Colour profiles that matter, do not fit, or are broken."""
    image = Image.fromarray(scene())
    flat = Image.new("L", (64, 64), 128)
    broken = "colour profile"
    grey_profile = linear_grey_profile()
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    srgb = srgb[:24] + struct.pack(">6H", 2026, 1, 1, 0, 0, 0) + srgb[36:]  # not today's date
    for name, verdict, picture, profile, what in (
        ("icc_srgb.png", "accept", image, srgb, "sRGB profile"),
        ("icc_swapped.png", "accept", image, swapped_profile(), "red and green exchanged"),
        ("icc_grey.png", "accept", flat, grey_profile, "linear grey profile"),
        ("icc_rgb_on_grey.png", "accept", flat, srgb, "sRGB profile on grey"),
        ("icc_grey_on_rgb.png", "accept + warn", image, grey_profile, "grey profile on colour"),
        ("icc_broken.png", "accept + warn", image, b"not a profile" * 20, "broken profile"),
    ):
        says = broken if "warn" in verdict else ""
        yield Asset(name, verdict, says, what, saved(picture, "PNG", icc_profile=profile))


def odd() -> Iterator[Asset]:
    """Readable, with something to tell."""
    image = Image.fromarray(scene())
    more = [image.rotate(180), image.convert("L").convert("RGB")]
    for name, kind in (
        ("multipage.tiff", "TIFF"),
        ("animated.gif", "GIF"),
        ("animated.webp", "WEBP"),
        ("animated.png", "PNG"),
        ("animated.avif", "AVIF"),
        ("two_pictures.mpo", "MPO"),
    ):
        data = undated(saved(image, kind, save_all=True, append_images=more))
        yield Asset(name, "accept + warn", "only the first", "several frames or pages", data)
    signature, header, data, end = png_parts(scene())
    text = chunk(b"tEXt", b"Comment\0damaged", crc=1)
    pieces = {
        "bad_text_crc.png": ("tEXt", "damaged text", [signature, header, text, data, end]),
        "missing_end.png": ("end of the file", "no IEND chunk", [signature, header, data]),
    }
    for name, (says, what, parts) in pieces.items():
        yield Asset(name, "accept + warn", says, what, b"".join(parts))
    jpeg = saved(image, "JPEG", quality=92)
    yield Asset(
        "concatenated.jpg", "accept", "", "two JPEG files in one", jpeg + saved(more[0], "JPEG")
    )
    garbled = saved(image, "JPEG", exif=b"Exif\0\0MM\0*\0\0\0\x08\xff\xff" + b"\xee" * 40)
    yield Asset("garbled_exif.jpg", "accept", "", "EXIF data that make no sense", garbled)
    no_exif = saved(image, "WEBP", exif=b"Exif\0\0" + b"garbage!" * 4)
    yield Asset("not_exif.webp", "accept + warn", "EXIF", "garbage for EXIF data", no_exif)
    clear = image.copy()
    clear.putalpha(0)
    says = "fully transparent"
    yield Asset("fully_transparent.png", "accept + warn", says, "alpha 0", saved(clear, "PNG"))
    for top in (1, 255):
        grey = ramp(top).astype(np.float32)
        name, says = f"float_{top}.tiff", f"0 to {top}"
        yield Asset(name, "accept + warn", says, f"float grey up to {top}", saved(grey, "TIFF"))


def broken() -> Iterator[Asset]:
    """Pictures that cannot be trusted."""
    signature, header, data, end = png_parts(scene())
    wrong = data[:-4] + b"\1\2\3\4"
    jpeg = saved(scene(), "JPEG", quality=92)
    whole = signature + header + data + end
    zeros = jpeg[: len(jpeg) // 2].ljust(len(jpeg), b"\0")
    nan = ramp(1).astype(np.float32)
    nan[3, 5] = np.nan
    huge = ramp(1e9).astype(np.float32)
    bomb = b"".join(png((60000, 60000), 1, 0, bytes(4096)))
    bmp = b"BM" + struct.pack("<IIIIiiHHIIiiII", 118, 0, 54, 40, 200000, 60000, 1, 24, *[0] * 6)
    for name, says, what, content in (
        (
            "bad_pixels_crc.png",
            "checksum",
            "wrong checksum of the pixels",
            signature + header + wrong + end,
        ),
        ("truncated_30.png", "truncated", "cut at 30 %", whole[: len(whole) * 3 // 10]),
        ("truncated_90.jpg", "truncated", "cut at 90 %", jpeg[: len(jpeg) * 9 // 10]),
        ("missing_end.jpg", "truncated", "no EOI marker", jpeg.removesuffix(b"\xff\xd9")),
        ("zero_tail.jpg", "truncated", "second half zeros, an interrupted copy", zeros),
        ("nan.tiff", "NaN", "one NaN", saved(nan, "TIFF")),
        ("float_huge.tiff", "no known scale", "float grey up to 1e9", saved(huge, "TIFF")),
        ("lab.tiff", "L*a*b*", "CIE Lab", saved(lab(), "TIFF")),
        ("bomb.png", "megapixels", "3.6 gigapixels claimed", bomb),
        ("bomb.bmp", "megapixels", "12 gigapixels claimed", bmp),
    ):
        yield Asset(name, "refuse", says, what, content)


def lab() -> Image.Image:
    """A flat picture in CIE Lab."""
    return Image.new("LAB", (16, 16), (128, 128, 128))


def strangers() -> Iterator[Asset]:
    """What is no picture at all, or of a format that is not read."""
    pointer = (
        "version https://git-lfs.github.com/spec/v1\noid sha256:" + "0" * 64 + "\nsize 12345\n"
    )
    svg = '<?xml version="1.0"?>\n<svg xmlns="http://www.w3.org/2000/svg" width="8" height="8"/>\n'
    page = "<!DOCTYPE html>\n<html><body>404 <svg width='1'></svg></body></html>\n"
    tga = struct.pack("<BBBHHBHHHHBB", 0, 0, 2, 0, 0, 0, 0, 0, 2, 2, 24, 0) + bytes(12)
    for name, says, what, content in (
        ("git_lfs_pointer.jpg", "Git LFS pointer", "a Git LFS pointer", pointer.encode()),
        ("web_page.jpg", "web page", "a failed download", page.encode()),
        ("text.png", "is text", "text", b"Just some words.\n"),
        ("vector.svg", "SVG", "an SVG drawing", svg.encode()),
        ("document.pdf", "PDF", "the start of a PDF", b"%PDF-1.4\n%%EOF\n"),
        ("archive.jpg", "zip archive", "the start of a zip archive", b"PK\3\4".ljust(64, b"\0")),
        (
            "video.jpg",
            "video",
            "the start of an MP4",
            b"\0\0\0\x14ftypisom\0\0\2\0isom".ljust(64, b"\0"),
        ),
        ("jpeg_xl.jpg", "JPEG XL", "the start of a JPEG XL", b"\xff\x0a".ljust(32, b"\x7f")),
        ("empty.jpg", "is empty", "nothing", b""),
        ("one_byte.png", "bytes", "one byte", b"\x89"),
    ):
        yield Asset(name, "refuse", says, what, content)
    yield Asset("targa.tga", "accept", "", "a Targa picture, which has no mark of its own", tga)


def assets() -> list[Asset]:
    """Every file of this folder but this one and INDEX.md."""
    groups = plain, turned, profiled, odd, broken, strangers
    return [asset for group in groups for asset in group()]


def index(rows: list[Asset]) -> str:
    """INDEX.md."""
    return HEADER + "".join(f"| {' | '.join(row[:4])} |\n" for row in rows)


if __name__ == "__main__":
    folder = Path(__file__).parent
    rows = assets()
    for row in rows:
        (folder / row.name).write_bytes(row.data)
    (folder / "INDEX.md").write_text(index(rows), encoding="utf-8")
