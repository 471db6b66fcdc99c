"""Readers of pictures by the many, of photos with all that is written again, and of clips."""

from __future__ import annotations

import io
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import lmdb
import numpy as np
import pyarrow
from PIL import Image, ImageCms
from pyarrow import parquet

from dseinvert.media.images import encode_png
from dseinvert.media.sets import opened_set
from dseinvert.media.whole import open_whole
from tests.fuzz import mutators
from tests.fuzz.reader import Reader

_PICTURES = [np.full((4, 4, 3), 60 * k, np.uint8) for k in range(3)]


def of_media(place: Path) -> dict[str, Reader]:
    """By name; `place` is a folder that is not there yet."""
    place.mkdir()
    pngs = {f"{k}.png": encode_png(one) for k, one in enumerate(_PICTURES)}
    sets = {
        "set in a zip": ("s.zip", _zipped(pngs)),
        "set in a tar": ("s.tar", _tarred(pngs)),
        "LMDB": ("data.mdb", _lmdb(place / "lmdb", pngs)),
        "parquet": ("s.parquet", _parquet(pngs)),
    }
    readers = {
        name: Reader(file, mutators.TEXT, [data], _each) for name, (file, data) in sets.items()
    }
    photos = Reader(
        "p.jpg", mutators.PLAIN, _photos(), lambda path: open_whole(path, keep_gps=True)
    )
    return {**readers, "photo": photos}


def _each(path: Path) -> None:
    with opened_set(path) as members:
        for member in members:
            member.read()


def _zipped(pngs: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in pngs.items():
            archive.writestr(name, data)
    return buffer.getvalue()


def _tarred(pngs: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, data in pngs.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    return buffer.getvalue()


def _lmdb(place: Path, pngs: dict[str, bytes]) -> bytes:
    base: Any = lmdb
    with base.open(str(place), map_size=1 << 20) as opened, opened.begin(write=True) as writing:
        for name, data in pngs.items():
            writing.put(name.encode(), data)
        writing.put(b"large", next(iter(pngs.values())) + bytes(5000))
    return (place / "data.mdb").read_bytes()


def _parquet(pngs: dict[str, bytes]) -> bytes:
    arrow: Any = pyarrow
    rows = [{"bytes": data, "path": None} for data in pngs.values()]
    buffer = io.BytesIO()
    parquet.write_table(arrow.table({"label": [0] * len(rows), "image": rows}), buffer, 2)
    return buffer.getvalue()


def _photos() -> list[bytes]:
    """With EXIF, a profile, XMP, IPTC where the format has them."""
    exif = Image.Exif()
    exif[0x0112], exif[0x010F], exif[0x0132] = 6, "maker", "2020:01:01 00:00:00"
    exif.get_ifd(0x8769)[0x9003] = "2020:01:01 00:00:00"
    exif.get_ifd(0x8825)[1] = "N"
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    along: dict[str, Any] = {"exif": exif, "icc_profile": profile, "dpi": (72, 72)}
    picture, found = Image.fromarray(np.concatenate(_PICTURES)), []
    for kind, more in (
        *(("JPEG", {"xmp": b"<x:xmpmeta xmlns:x='adobe:ns:meta/'/>"}), ("PNG", {}), ("WEBP", {})),
        ("TIFF", {}),
    ):
        buffer = io.BytesIO()
        picture.save(buffer, kind, **{**along, **more})
        found.append(buffer.getvalue())
    return found
