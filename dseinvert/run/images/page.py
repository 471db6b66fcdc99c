"""index.html: one self-contained page of all faces, with no network and no dependencies."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from html import escape
from pathlib import Path
from statistics import median_high
from urllib.parse import quote

import cv2

from dseinvert.errors import InputError
from dseinvert.media.atomic import replacing
from dseinvert.media.images import encode_jpeg, read_image
from dseinvert.media.pixels import Pixels
from dseinvert.run.images.journal import Entry, FaceEntry
from dseinvert.run.images.roles import caption
from dseinvert.run.pages import data_uri, filled, listed, part, template

NAME = "index.html"
# Up to so many faces the page carries its pictures; beyond, it shows the files beside it.
EMBEDDED_FACES = 200
_EMBEDDED_BYTES, _EMBEDDED_SIDE = 24_000, 320
_UNITS = {
    "psnr": ("PSNR", ".1f", " dB"),
    "ssim": ("SSIM", ".3f", ""),
    "mse": ("MSE", ".4f", ""),
    "steps": ("steps", ".0f", ""),
    "seconds": ("refined in", ".1f", " s"),
}


def write_page(
    out: Path,
    entries: Sequence[Entry],
    undone: Sequence[tuple[str, str]],
    facts: Mapping[str, str],
    medians: Mapping[str, float],
) -> None:
    """Write the page atomically, face by face, so that its length costs no memory."""
    with replacing(out / NAME) as path, path.open("wb") as file:
        for text in _page(out, entries, undone, facts, medians):
            file.write(text.encode(errors="backslashreplace"))


def _page(
    out: Path,
    entries: Sequence[Entry],
    undone: Sequence[tuple[str, str]],
    facts: Mapping[str, str],
    medians: Mapping[str, float],
) -> Iterator[str]:
    faces = sum(len(entry.faces) for entry in entries)
    values = {
        "title": f"{faces} face{'' if faces == 1 else 's'}",
        "subtitle": _subtitle(entries, facts),
        "medians": _numbers(medians, "median "),
        "sorts": _sorts(medians),
        "undone": _undone(undone),
        "facts": listed(facts),
        "columns": _columns(entries),
        "script": part("faces.js"),
    }
    head, tail = template("faces").split("{{faces}}")
    yield filled(head, values)
    for entry in entries:
        for face in entry.faces:
            photos = entry.photos if face is entry.faces[0] else {}
            yield _card(out, entry, face, photos, embed=faces <= EMBEDDED_FACES)
    yield filled(tail, values)


def _subtitle(entries: Sequence[Entry], facts: Mapping[str, str]) -> str:
    images = f"from {len(entries)} image{'' if len(entries) == 1 else 's'}"
    models = sorted({entry.settings["model"] for entry in entries}) or [facts["model"]]
    return escape(f"{images} · model {', '.join(models)} · edits {facts['edits']}")


def _columns(entries: Sequence[Entry]) -> str:
    """How many pictures stand in a row: as many as the middle card has."""
    counts = [
        len(face.pictures) + (len(entry.photos) if face is entry.faces[0] else 0)
        for entry in entries
        for face in entry.faces
    ]
    return str(median_high(counts) if counts else 2)


def _sorts(metrics: Mapping[str, float]) -> str:
    return "".join(
        f'<option value="{escape(name)}">{escape(_title(name))}</option>' for name in metrics
    )


def _undone(undone: Sequence[tuple[str, str]]) -> str:
    if not undone:
        return ""
    rows = "".join(
        f"<li><b>{escape(file)}</b><span>{escape(reason)}</span></li>" for file, reason in undone
    )
    what = "1 input was" if len(undone) == 1 else f"{len(undone)} inputs were"
    is_open = " open" if len(undone) <= 8 else ""
    summary = f"<summary>{what} not done</summary>"
    return f'<details class="undone"{is_open}>{summary}<ul>{rows}</ul></details>'


def _card(
    out: Path, entry: Entry, face: FaceEntry, photos: Mapping[str, str], *, embed: bool
) -> str:
    data = "".join(f' data-{escape(m)}="{value:.6g}"' for m, value in face.metrics.items())
    pictures = "".join(
        _figure(out, file, caption(name), embed, "picture") for name, file in face.pictures.items()
    )
    pictures += "".join(
        _figure(out, file, f"{caption(name)} in the photo", embed, "photo")
        for name, file in photos.items()
    )
    notes = "".join(f'<p class="note">{escape(warning)}</p>' for warning in entry.warnings)
    name = escape(face.name)
    return (
        f'<article id="{name}" data-name="{name}"{data}>'
        f'<header><h2 title="{escape(entry.shown)}">{name}</h2>'
        f'<p class="numbers">{_numbers(face.metrics)}</p></header>'
        f'<div class="strip">{pictures}</div>{notes}</article>\n'
    )


def _figure(out: Path, file: str, said: str, embed: bool, kind: str) -> str:
    link = escape(quote(file))
    source = _data_uri(out / file) if embed else link
    said = escape(said)
    image = f'<img src="{source}" alt="{said}" loading="lazy" decoding="async">'
    return (
        f'<figure class="{kind}"><a href="{link}">{image if source else "missing"}</a>'
        f"<figcaption>{said}</figcaption></figure>"
    )


def _data_uri(path: Path) -> str:
    """The picture itself when small, else a smaller JPEG; "" when it is not there."""
    try:
        data = path.read_bytes()
        if len(data) <= _EMBEDDED_BYTES:
            return data_uri("png", data)
        pixels = read_image(path)
    except (OSError, InputError):
        return ""
    return jpeg_uri(pixels)


def jpeg_uri(pixels: Pixels) -> str:
    """A picture uint8 [H, W, 3] as a small JPEG that a page can hold."""
    scale = min(1, _EMBEDDED_SIDE / max(pixels.shape[:2]))
    small = cv2.resize(pixels, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    return data_uri("jpeg", encode_jpeg(small, 88))


def _numbers(metrics: Mapping[str, float], prefix: str = "") -> str:
    return "".join(
        f"<span>{prefix}{escape(_title(name))} <b>{_value(name, value)}</b></span>"
        for name, value in metrics.items()
    )


def _title(name: str) -> str:
    return _UNITS.get(name, (name.upper(), "", ""))[0]


def _value(name: str, value: float) -> str:
    _, style, unit = _UNITS.get(name, ("", ".3f", ""))
    return f"{value:{style}}{unit}"
