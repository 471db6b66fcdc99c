"""The picture formats that are read, and those that are known and not read, by their first bytes.

Of Pillow's decoders those are trusted that decode pixels and nothing else: none that runs a
program (EPS, WMF), and none of films (FLI) or of bare data.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

CONVERT = "convert it to JPEG or PNG"
_UNREAD = "which is not supported"


@dataclass(frozen=True)
class Format:
    """A format that is read."""

    kind: str
    """Pillow's name of it."""
    suffixes: tuple[str, ...]
    marks: bytes = b"(?!)"
    """A regular expression of its first bytes."""


READ = (
    Format("JPEG", (".jpg", ".jpeg", ".jpe", ".jfif", ".mpo"), rb"\xff\xd8\xff"),
    Format("PNG", (".png", ".apng"), rb"\x89PNG\r\n\x1a\n"),
    Format("WEBP", (".webp",), rb"(?s)RIFF....WEBP"),
    Format("AVIF", (".avif",)),
    Format("HEIF", (".heic", ".heif")),
    Format("TIFF", (".tif", ".tiff"), rb"II[*+]\0|MM\0[*+]"),
    Format("BMP", (".bmp", ".dib"), rb"(?s)BM.{13}\0\0\0"),  # its header's length is a small number
    Format("GIF", (".gif",), rb"GIF8[79]a"),
    Format("JPEG2000", (".jp2", ".j2k", ".j2c", ".jpx"), rb"\0\0\0\x0cjP  |\xff\x4f\xff\x51"),
    Format("PPM", (".ppm", ".pgm", ".pbm", ".pnm", ".pfm"), rb"P[1-6fF]\s+[#\d]"),
    Format("TGA", (".tga", ".icb", ".vda", ".vst")),
    Format("ICO", (".ico",), rb"(?s)\0\0\x01\0[^\0]\0.{3}\0"),
    Format("QOI", (".qoi",), rb"qoif"),
    Format("PCX", (".pcx",), rb"\x0a[\0\x02\x03\x05]\x01[\x01\x02\x04\x08]"),
    Format("SGI", (".sgi", ".rgb", ".rgba", ".bw"), rb"\x01\xda[\0\x01][\x01\x02]\0[\x01-\x03]"),
    Format("DDS", (".dds",), rb"DDS \x7c\0\0\0"),
    Format("SUN", (".ras",), rb"\x59\xa6\x6a\x95"),
    Format("IM", (".im",), rb"Image type: "),
)
SUFFIXES = frozenset(suffix for one in READ for suffix in one.suffixes)
VIDEO_SUFFIXES = frozenset(
    {".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".ts", ".mts", ".m2ts", ".mpg", ".mpeg"}
    | {".wmv", ".asf", ".flv", ".ogv", ".3gp", ".3g2", ".mxf", ".y4m"}
)
"""Of files that are taken for videos in a folder."""

PICTURES = (  # that are not read: first bytes, what it is, what to do
    (rb"%PDF-", f"is a PDF document, {_UNREAD}", CONVERT),
    (rb"(?is)\s*(?!<(!doctype )?html)(<.*)?<svg[\s>]", f"is an SVG drawing, {_UNREAD}", CONVERT),
    (rb"\xff\x0a|\0\0\0\x0cJXL ", f"is a JPEG XL image, {_UNREAD}", CONVERT),
    (rb"8BPS", f"is a Photoshop document, {_UNREAD}", CONVERT),
    (rb"gimp xcf", f"is a GIMP document, {_UNREAD}", CONVERT),
    (rb"%!PS|\xc5\xd0\xd3\xc6", f"is an EPS drawing, {_UNREAD}", CONVERT),
    (rb"\xd7\xcd\xc6\x9a|(?s:\x01\0\0\0.{36} EMF)", f"is a WMF drawing, {_UNREAD}", CONVERT),
    (rb"v/1\x01", f"is an OpenEXR image, {_UNREAD}", CONVERT),
    (rb"#\?RADIANCE", f"is a Radiance image, {_UNREAD}", CONVERT),
    (rb"SIMPLE  =", f"is a FITS image, {_UNREAD}", CONVERT),
    (rb"(?s).{4}[\x11\x12]\xaf", f"is an FLI film, {_UNREAD}", CONVERT),
)


def marked(head: bytes) -> str:
    """The kind of a format that is read, by its marks; "" = none has them."""
    return next((one.kind for one in READ if re.match(one.marks, head)), "")


def unread(head: bytes) -> tuple[str, str]:
    """What a picture that is not read is, and what to do; "" = it is none that is known."""
    return next(((what, do) for mark, what, do in PICTURES if re.match(mark, head)), ("", ""))


def like_targa(head: bytes) -> bool:
    """Whether the first bytes may be those of a Targa picture, which has no mark of its own."""
    if len(head) < 18:
        return False
    palette, kind, depth, flags = head[1], head[2], head[16], head[17]
    return (
        (kind, palette) in {(1, 1), (9, 1), (2, 0), (10, 0), (3, 0), (11, 0)}
        and depth in (8, 16, 24, 32)
        and flags & 0xC0 == 0
        and 0 not in (head[12] | head[13], head[14] | head[15])
    )
