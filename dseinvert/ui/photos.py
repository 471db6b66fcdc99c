"""The photos of one session: faces are found and inverted once, and drawn at each move."""

from __future__ import annotations

import secrets
from collections import OrderedDict
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from dseinvert.api import Face, Found, Gan
from dseinvert.errors import InputError, UsageError
from dseinvert.latent import Latent, dumps
from dseinvert.media.animation import write_animation
from dseinvert.media.images import encode_png
from dseinvert.media.photo import Photo, open_photo
from dseinvert.names import brief, counted
from dseinvert.ui import lines
from dseinvert.ui.given import (
    Asked,
    Download,
    edits_text,
    real,
    rows,
    shown_small,
    table,
    text,
)

_PHOTOS, _FOUND = 6, 32
"""How many of each are kept."""
_MORPH, _RATE = 24, Fraction(12)


@dataclass(frozen=True)
class _Opened:
    name: str
    photo: Photo
    faces: list[Face]


class Photos:
    """The last photos of a session, with what was found of their faces."""

    def __init__(self, gan: Gan, model: str = "default") -> None:
        """`model` is how the command line names it."""
        self.gan, self._model = gan, model
        self._photos: OrderedDict[str, _Opened] = OrderedDict()
        self._found: OrderedDict[tuple[str, int, str], Found] = OrderedDict()

    def add(self, name: str, data: bytes) -> dict[str, Any]:
        """Open a photo and find its faces; what the page shows of it.

        Raises:
            InputError: not a photo that can be read, or no face in it.
        """
        photo = open_photo(data)
        faces = self.gan.faces(photo)
        if not faces:
            raise InputError(f"{name}: no face found", "a larger or sharper one may be found")
        key = secrets.token_urlsafe(12)
        self._photos[key] = _Opened(name, photo, faces)
        while len(self._photos) > _PHOTOS:
            self._forget(self._photos.popitem(last=False)[0])
        return self._told(key)

    def told(self) -> list[dict[str, Any]]:
        """All of them, as the page shows them."""
        return [self._told(key) for key in self._photos]

    def draw(self, asked: Asked) -> dict[str, Any]:
        """The picked faces before and after, and the lines that would do the same.

        asked: photo, faces (numbers from 0), edits, refine, mask, view (crop or photo), and second
        (photo, face, and layers or share).

        Raises:
            DseInvertError: what cannot be.
        """
        opened, picked, edited = self._edited(asked)
        drawn = {k: self.gan.photos(self.gan.draw(new))[0] for k, (_, new) in edited.items()}
        if text(asked, "view") == "photo":
            before, after = opened.photo, self._whole(asked, opened, edited, drawn)
        else:
            before = _beside([opened.faces[k].crop for k in picked])
            after = _beside([drawn[k] for k in picked])
        psnr = [float(edited[k][0].metrics["psnr"][0]) for k in picked]
        return {
            "before": shown_small(before.pixels),
            "after": shown_small(after.pixels),
            "said": f"reconstruction {', '.join(f'{one:.1f}' for one in psnr)} dB",
            "lines": lines.of_photo(self._model, opened.name, picked, self._words(asked)),
        }

    def save(self, asked: Asked) -> Download:
        """The whole photo with all its pixels."""
        opened, _, edited = self._edited(asked)
        drawn = {k: self.gan.photos(self.gan.draw(new))[0] for k, (_, new) in edited.items()}
        whole = self._whole(asked, opened, edited, drawn)
        return Download(f"{Path(opened.name).stem}.edited.png", encode_png(whole.pixels))

    def latent(self, asked: Asked) -> Download:
        """The edited latent of the first picked face, which `dseinvert edit` reads."""
        opened, picked, edited = self._edited(asked)
        stem = Path(opened.name).stem + (f"-{picked[0] + 1}" if picked[0] else "")
        return Download(f"{stem}.safetensors", dumps(edited[picked[0]][1]))

    def morph(self, asked: Asked, file: Path) -> None:
        """A moving picture of the way from the first picked face to the second one, there and back.

        Raises:
            UsageError: there is no second face.
        """
        _, picked, edited = self._edited({**asked, "second": None})
        other = self._second(table(asked, "second"))
        start = edited[picked[0]][1]
        shares = [k / (_MORPH - 1) for k in range(_MORPH)]
        frames = [self.gan.draw(self.gan.between(start, other, share)) for share in shares]
        pixels = [self.gan.photos(frame)[0].pixels for frame in frames]
        write_animation(file, [*pixels, *pixels[::-1]], _RATE)

    def _told(self, key: str) -> dict[str, Any]:
        opened = self._photos[key]
        width, height = opened.photo.size
        boxes = [(face.quad / (width, height)).round(4).tolist() for face in opened.faces]
        return {
            "id": key,
            "name": opened.name,
            "picture": shown_small(opened.photo.pixels),
            "quads": boxes,
            "said": "; ".join([counted(len(boxes), "face"), *opened.photo.warnings]),
        }

    def _forget(self, key: str) -> None:
        for known in [known for known in self._found if known[0] == key]:
            del self._found[known]

    def _edited(self, asked: Asked) -> tuple[_Opened, list[int], dict[int, tuple[Found, Latent]]]:
        """The photo, the picked faces, and of each its inversion and the edited latent."""
        key, opened = self._opened(asked)
        faces = [self._face(opened, number) for number in rows(asked, "faces")]
        picked = [*dict.fromkeys(faces)]
        if not picked:
            raise UsageError("no face is picked", "tick one")
        edits, refine = edits_text(table(asked, "edits")), text(asked, "refine", "none") or "none"
        second = table(asked, "second")
        edited = {}
        for face in picked:
            found = self._inverted(key, face, refine)
            latent = self._joined(found.latent, second) if second else found.latent
            edited[face] = found, self.gan.edit(latent, edits) if edits else latent
        return opened, picked, edited

    def _joined(self, latent: Latent, second: Asked) -> Latent:
        other = self._second(second)
        if "share" in second:
            return self.gan.between(latent, other, real(second, "share"))
        return self.gan.mix(latent, other, text(second, "layers"))

    def _second(self, second: Asked) -> Latent:
        key, opened = self._opened(second)
        return self._inverted(key, self._face(opened, second.get("face")), "none").latent

    def _opened(self, asked: Asked) -> tuple[str, _Opened]:
        key = text(asked, "photo")
        if key not in self._photos:
            raise UsageError("that photo is here no longer", "drop it again")
        self._photos.move_to_end(key)
        return key, self._photos[key]

    def _face(self, opened: _Opened, number: object) -> int:
        if type(number) is not int or not 0 <= number < len(opened.faces):
            raise UsageError(f"no face {brief(number)} in {opened.name}")
        return number

    def _inverted(self, key: str, face: int, refine: str) -> Found:
        known = (key, face, refine)
        if known not in self._found:
            self._found[known] = self.gan.invert(self._photos[key].faces[face], refine=refine)
        self._found.move_to_end(known)
        while len(self._found) > _FOUND:
            self._found.popitem(last=False)
        return self._found[known]

    def _whole(
        self,
        asked: Asked,
        opened: _Opened,
        edited: dict[int, tuple[Found, Latent]],
        drawn: dict[int, Photo],
    ) -> Photo:
        photo, mask = opened.photo, text(asked, "mask") or None
        if mask not in (None, "auto", "face"):  # no file of the machine
            raise UsageError(f"mask {brief(mask)}", "auto or face")
        for face, (found, _) in edited.items():
            photo = self.gan.paste(photo, opened.faces[face], drawn[face], found, mask=mask)
        return photo

    def _words(self, asked: Asked) -> lines.Words:
        second = table(asked, "second")
        stem = ""
        if second:
            opened = self._opened(second)[1]
            face = self._face(opened, second.get("face"))
            stem = lines.latent_of(opened.name, face)
        return lines.Words(
            edits_text(table(asked, "edits")),
            text(asked, "refine", "none") or "none",
            text(asked, "mask"),
            stem,
            text(second, "layers"),
            real(second, "share") if "share" in second else None,
        )


def _beside(photos: list[Photo]) -> Photo:
    return Photo(np.hstack([one.pixels for one in photos]))
