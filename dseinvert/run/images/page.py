"""index.html: one self-contained page of all faces, with no network and no dependencies."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median_high
from urllib.parse import quote

import cv2

from dseinvert.errors import InputError
from dseinvert.media import stores
from dseinvert.media.address import far
from dseinvert.media.atomic import is_inside, replacing
from dseinvert.media.formats import marked
from dseinvert.media.images import HEAD_BYTES, decode_image, encode_jpeg
from dseinvert.media.pixels import Pixels
from dseinvert.names import counted, read_regular
from dseinvert.run.images.journal import Entry, FaceEntry
from dseinvert.run.images.packed import picture
from dseinvert.run.images.packing import TAR
from dseinvert.run.images.roles import caption
from dseinvert.run.pages import data_uri, encoded, page

NAME = "index.html"
# Up to so many faces the page carries its pictures; beyond, it shows the files beside it.
EMBEDDED_FACES = 200
# Beyond so many faces there are several pages, of half as many each.
ONE_PAGE = 2000
_A_PAGE, _MOST_UNDONE = 1000, 1000
_EMBEDDED_BYTES, _EMBEDDED_SIDE = 24_000, 320
_UNITS = {
    "psnr": ("PSNR", ".1f", " dB"),
    "ssim": ("SSIM", ".3f", ""),
    "mse": ("MSE", ".4f", ""),
    "steps": ("steps", ".0f", ""),
    "seconds": ("refined in", ".1f", " s"),
}
"""Title, style and unit of what faces can be sorted by; other numbers are shown only."""
_KINDS = {"PNG": "png", "JPEG": "jpeg", "WEBP": "webp"}
"""What pictures are written as, by Pillow's names, as browsers call it."""


@dataclass(frozen=True)
class _Figure:
    """A picture of a card."""

    kind: str
    link: str
    source: str
    """An address; "" = it is not there."""
    caption: str
    alt: str
    """What it shows, of which face: it stands for the picture where that is not seen."""
    absent: str
    """What is said where there is no source."""


@dataclass(frozen=True)
class _Card:
    """A face on the page."""

    name: str
    source: str
    sortable: list[tuple[str, str]]
    numbers: list[tuple[str, str]]
    figures: list[_Figure]
    notes: Sequence[str]


def write_page(
    out: Path,
    entries: Sequence[Entry],
    undone: Sequence[tuple[str, str]],
    facts: Mapping[str, str],
    medians: Mapping[str, float],
) -> None:
    """Write the page atomically, face by face, so that its length costs no memory.

    Of more than `ONE_PAGE` faces there are several, each of which a browser opens at once.
    """
    faces = sum(len(entry.faces) for entry in entries)
    parts = [*_parts(entries)] if faces > ONE_PAGE else [entries]
    links = [page_name(number) for number in range(1, len(parts) + 1)]
    values = {
        "pages": links if len(links) > 1 else [],
        "title": counted(faces, "face"),
        "subtitle": _subtitle(entries, facts),
        "medians": _numbers(medians),
        "sorts": [(name, title) for name, (title, *_) in _UNITS.items() if name in medians],
        "facts": facts,
        "columns": _columns(entries),
    }
    for number, (link, part) in enumerate(zip(links, parts, strict=True), 1):
        own = {
            "here": number,
            "undone": undone[:_MOST_UNDONE] if number == 1 else (),
            "more_undone": max(0, len(undone) - _MOST_UNDONE) if number == 1 else 0,
            "cards": _cards(out, part, embed=faces <= EMBEDDED_FACES),
        }
        with replacing(out / link) as path, path.open("wb") as file:
            for text in page("faces", {**values, **own}):
                file.write(encoded(text))
    for path in out.glob("index-*.html"):
        if re.fullmatch(r"index-\d+\.html", path.name) and path.name not in links:
            path.unlink(missing_ok=True)


def page_name(number: int) -> str:
    """The file of a page, from 1."""
    return NAME if number == 1 else f"index-{number}.html"


def _parts(entries: Sequence[Entry]) -> Iterator[Sequence[Entry]]:
    """The entries by page; all faces of one stay together."""
    part: list[Entry] = []
    faces = 0
    for entry in entries:
        if part and faces + len(entry.faces) > _A_PAGE:
            yield part
            part, faces = [], 0
        part.append(entry)
        faces += len(entry.faces)
    yield part


def _subtitle(entries: Sequence[Entry], facts: Mapping[str, str]) -> str:
    images = f"from {counted(len(entries), 'image')}"
    models = sorted({entry.model for entry in entries}) or [facts["model"]]
    return f"{images} · model {', '.join(models)} · edits {facts['edits']}"


def _columns(entries: Sequence[Entry]) -> int:
    """How many pictures stand in a row: as many as the middle card has."""
    counts = [
        len(face.pictures) + (len(entry.photos) if face is entry.faces[0] else 0)
        for entry in entries
        for face in entry.faces
    ]
    return median_high(counts) if counts else 2


def _cards(out: Path, entries: Sequence[Entry], *, embed: bool) -> Iterator[_Card]:
    for entry in entries:
        for face in entry.faces:
            photos = entry.photos if face is entry.faces[0] else {}
            yield _Card(
                name=face.name,
                source=entry.shown,
                sortable=[(n, f"{face.metrics[n]:.6g}") for n in _UNITS if n in face.metrics],
                numbers=_numbers(face.metrics),
                figures=[*_figures(out, entry, face, photos, embed)],
                notes=entry.warnings,
            )


def _figures(
    out: Path, entry: Entry, face: FaceEntry, photos: Mapping[str, str], embed: bool
) -> Iterator[_Figure]:
    for name, file in face.pictures.items():
        said, of = caption(name), _of(entry, face)
        yield _figure(out, file, said, embed, "picture", of, entry.pack)
    of = Path(entry.shown).name
    for name, file in photos.items():
        said = f"{caption(name)} in the photo"
        yield _figure(out, file, said, embed, "photo", of, entry.pack)


def _figure(out: Path, file: str, said: str, embed: bool, kind: str, of: str, pack: str) -> _Figure:
    tar = f"{pack}{TAR}" if pack else ""
    link = quote(tar or file)
    source = _data_uri(out / file, pack) if embed else "" if pack else link
    absent = f"in {tar}" if pack else "missing"
    return _Figure(kind, link, source, said, f"{of}, {said}", absent)


def _of(entry: Entry, face: FaceEntry) -> str:
    """`face 2 of group.jpg`."""
    return f"face {entry.faces.index(face) + 1} of {Path(entry.shown).name}"


def _data_uri(path: Path, pack: str = "") -> str:
    """The picture itself when small, else a smaller JPEG; "" when it is no picture of there.

    pack: the shard that it is in; "" = it is a file by itself.
    """
    try:
        data = picture(path.parent, pack, path.name) if pack else _read(path)
        if len(data) <= _EMBEDDED_BYTES:
            kind = _KINDS.get(marked(data[:HEAD_BYTES]))
            return data_uri(kind, data) if kind else ""
        pixels = decode_image(data).pixels
    except (OSError, InputError):
        return ""
    return jpeg_uri(pixels)


def _read(path: Path) -> bytes:
    """A picture by itself.

    Raises:
        OSError, InputError: it cannot be read, or is a link to elsewhere.
    """
    if not is_inside(path.parent, path):
        raise InputError(f"{path.name}: is not in its folder")
    url = far(path)
    return stores.read(url) if url else read_regular(path)


def jpeg_uri(pixels: Pixels) -> str:
    """A picture uint8 [H, W, 3] as a small JPEG that a page can hold."""
    scale = min(1, _EMBEDDED_SIDE / max(pixels.shape[:2]))
    small = cv2.resize(pixels, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    return data_uri("jpeg", encode_jpeg(small, 88))


def _numbers(metrics: Mapping[str, float]) -> list[tuple[str, str]]:
    """Titles and values."""
    return [(_title(name), _value(name, value)) for name, value in metrics.items()]


def _title(name: str) -> str:
    return _UNITS.get(name, (name.upper(), "", ""))[0]


def _value(name: str, value: float) -> str:
    _, style, unit = _UNITS.get(name, ("", ".3f", ""))
    return f"{value:{style}}{unit}"
