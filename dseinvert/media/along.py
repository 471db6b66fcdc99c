"""What describes a photo in its file besides its pixels: EXIF, XMP, IPTC, texts, dpi, profile."""

from __future__ import annotations

import re
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from PIL import ExifTags, Image

_DESCRIBING = (0x010E, 0x010F, 0x0110, 0x0131, 0x0132, 0x013B, 0x8298)
"""Image description, make, model, software, date, artist, copyright."""
# Of the EXIF block: sizes that turning changes, and where other data lie.
_OF_THE_FILE = (0xA002, 0xA003, 0xA005)
_TEXTS = {
    "description": 0x010E,
    "title": 0x010E,
    "author": 0x013B,
    "artist": 0x013B,
    "software": 0x0131,
    "copyright": 0x8298,
}
"""Texts of a PNG, in small letters, and their place in EXIF; the first that is there counts."""
# Of XMP: where the photo was taken, whoever names it; what the pixels had; pictures of them.
_PLACE = r"[\w.-]+:gps[\w.-]*"
_PIXELS = (
    r"(?:tiff:(?:Orientation|ImageWidth|ImageLength)|exif:Pixel[XY]Dimension"
    r"|xmp:Thumbnails|xmpNote:HasExtendedXMP)"
)
_EXTENDED = b"HasExtendedXMP"
_XMP_TEXT, _RAW = "XML:com.adobe.xmp", "Raw profile type "
_IPTC_TAG, _IPTC_BLOCK = 33723, 0x0404


@dataclass(frozen=True)
class Along:
    """What stands in a picture file besides its pixels."""

    exif: bytes = b""
    profile: bytes | None = None
    """None = sRGB, as pictures without a profile are read."""
    dpi: tuple[float, float] | None = None
    """Across and down; None = unknown."""
    xmp: bytes = b""
    iptc: bytes = b""
    """Records of IPTC-IIM."""
    texts: tuple[tuple[str, str], ...] = ()
    """Keywords and texts, as a PNG has them."""
    comment: bytes = b""
    """That of a JPEG."""

    @property
    def described(self) -> bytes:
        """The EXIF data, and in them those texts that have a place there and are not yet there."""
        block = Image.Exif()
        block.load(self.exif)
        named = {keyword.casefold(): text for keyword, text in self.texts}
        added = {
            tag: named[keyword].encode()
            for keyword, tag in reversed(_TEXTS.items())
            if named.get(keyword) and tag not in block
        }
        if not added:
            return self.exif
        inner = block.get_ifd(ExifTags.IFD.Exif)
        for table in (block, inner):
            for tag in [*table]:
                table[tag] = _as_it_was(table[tag])
        for tag, text in added.items():
            block[tag] = text
        return block.tobytes()

    @property
    def placeless(self) -> tuple[str, ...]:
        """The keywords of texts that have no place in EXIF."""
        return tuple(keyword for keyword, _ in self.texts if keyword.casefold() not in _TEXTS)


NOTHING = Along()


def along_of(
    image: Image.Image, profile: bytes | None, notes: list[str], *, keep_gps: bool
) -> Along:
    """What goes along with an image that Pillow loaded; `notes` gets what does not.

    It is that of an upright photo, without thumbnails, and without the place where it was taken
    unless `keep_gps`.
    """
    texts: Mapping[str, str] = getattr(image, "text", {})
    if raw := [keyword for keyword in texts if keyword.startswith(_RAW + "iptc")]:
        notes.append(f"not kept of its file: {', '.join(raw)}")
    comment = image.info.get("comment")
    return Along(
        exif=_exif(image, keep_gps, notes),
        profile=profile,
        dpi=_dpi(image),
        xmp=_xmp(image, keep_gps, notes),
        iptc=_iptc(image),
        texts=tuple((key, str(text)) for key, text in texts.items() if _is_own(key)),
        comment=comment if isinstance(comment, bytes) else b"",
    )


def _is_own(keyword: str) -> bool:
    """Whether a text is one, and not another block of data in that guise."""
    return keyword != _XMP_TEXT and not keyword.startswith(_RAW)


def _dpi(image: Image.Image) -> tuple[float, float] | None:
    try:
        across, down = (float(one) for one in image.info["dpi"])
    except (KeyError, TypeError, ValueError):
        return None
    if not (0 < across < 1e6 and 0 < down < 1e6):
        return None
    return across, down


def _exif(image: Image.Image, keep_gps: bool, notes: list[str]) -> bytes:
    """EXIF data that describe the photo: without orientation and thumbnail."""
    try:
        found, kept = image.getexif(), Image.Exif()
        for tag in _DESCRIBING:
            if tag in found:
                kept[tag] = _as_it_was(found[tag])
        ifd = found.get_ifd(ExifTags.IFD.Exif).items()
        if taken := {tag: _as_it_was(one) for tag, one in ifd if tag not in _OF_THE_FILE}:
            kept[ExifTags.IFD.Exif] = taken
        place = found.get_ifd(ExifTags.IFD.GPSInfo)
        if place and keep_gps:
            kept[ExifTags.IFD.GPSInfo] = place
        elif place:
            notes.append(_PLACELESS)
        return kept.tobytes() if len(kept) else b""
    except Exception:  # damage in a block of data that the pixels do not need
        notes.append("its EXIF data are damaged and are left out")
        return b""


def _as_it_was(value: Any) -> Any:
    """A text with its own bytes, whatever they mean: Pillow writes ASCII alone."""
    if isinstance(value, str) and not value.isascii():
        return value.encode("latin-1", "replace")
    return value


_PLACELESS = "where it was taken (GPS) is left out; --keep-gps keeps it"


def _xmp(image: Image.Image, keep_gps: bool, notes: list[str]) -> bytes:
    """XMP without what is no longer true of the pixels."""
    found: Any = image.info.get("xmp", b"")
    xmp = found.encode() if isinstance(found, str) else found
    if not isinstance(xmp, bytes):
        return b""
    if b"\0" in xmp.rstrip(b"\0"):  # in UTF-16, which nobody writes, or no text
        notes.append("its XMP data are in an unusual form and are left out")
        return b""
    if _EXTENDED in xmp:
        notes.append("not kept of its file: the further part of long XMP data")
    xmp = _without(xmp.rstrip(b"\0"), _PIXELS)
    if keep_gps:
        return xmp
    without = _without(xmp, _PLACE)
    if without != xmp and _PLACELESS not in notes:
        notes.append(_PLACELESS)
    return without


def _without(xmp: bytes, name: str) -> bytes:
    """XMP without properties of that name, be they attributes or elements."""
    of = name.encode()
    for pattern in (
        rb"\s" + of + rb"\s*=\s*(?:\"[^\"]*\"|'[^']*')",
        rb"<" + of + rb"(?:\s[^<>]*)?/>",
        rb"(?s)<(" + of + rb")(?:\s[^<>]*)?>.*?</\1\s*>",
    ):
        xmp = re.sub(pattern, b"", xmp, flags=re.IGNORECASE)
    return xmp


def _iptc(image: Image.Image) -> bytes:
    blocks = image.info.get("photoshop")
    found: Any = blocks.get(_IPTC_BLOCK) if isinstance(blocks, Mapping) else None
    if found is None:
        found = getattr(image, "tag_v2", {}).get(_IPTC_TAG)
    if isinstance(found, tuple):  # some write it as 32-bit numbers
        try:
            found = struct.pack(f"<{len(found)}I", *found)
        except struct.error:
            return b""
    return found if isinstance(found, bytes) and found.startswith(b"\x1c") else b""
