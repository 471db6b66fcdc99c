"""The photos of one session: faces are found and inverted once, and drawn at each move."""

from __future__ import annotations

import secrets
import threading
from collections import OrderedDict
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from dseinvert.api import Face, Found, Gan
from dseinvert.errors import InputError, UsageError
from dseinvert.latent import Latent, dumps
from dseinvert.media.animation import write_animation
from dseinvert.media.images import encode_png
from dseinvert.media.photo import Photo, open_photo
from dseinvert.names import brief, counted
from dseinvert.ui import lines
from dseinvert.ui.given import Asked, Download, rows, shown_small, small, table, text

_PHOTOS, _FOUND = 6, 32
"""How many of each are kept."""
_MORPH, _RATE = 24, Fraction(12)
_Known = tuple[str, int, str]
"""A photo, a face of it, and how its inversion is refined."""


@dataclass(frozen=True)
class _Opened:
    name: str
    photo: Photo
    faces: list[Face]

    @cached_property
    def shown(self) -> _Opened:
        """The same as small as the page shows it, so that a move costs alike in all photos."""
        pixels = small(self.photo.pixels)
        scale = np.divide(pixels.shape[1::-1], self.photo.size)
        faces = [replace(face, quad=(face.quad + 0.5) * scale - 0.5) for face in self.faces]
        return _Opened(self.name, Photo(pixels), faces)


@dataclass(frozen=True)
class _View:
    """What is asked of a photo, looked at, and computed."""

    opened: _Opened
    words: lines.Words
    found: dict[int, Found]
    """By the numbers of the picked faces."""
    edited: dict[int, Latent]
    is_refining: bool
    """Whether what was asked for is still computed, and `found` is the encoder's."""

    @property
    def picked(self) -> list[int]:
        return [*self.found]


class Photos:
    """The last photos of a session, with what was found of their faces.

    All may be called from several threads. Refinements wait for each other, and nothing else does.
    """

    def __init__(self, gan: Gan, model: str = "default") -> None:
        """`model` is how the command line names it."""
        self.gan, self._model = gan, model
        self._photos: OrderedDict[str, _Opened] = OrderedDict()
        self._found: OrderedDict[_Known, Future[Found]] = OrderedDict()
        self._lock = threading.Lock()
        self._quick, self._slow = ThreadPoolExecutor(1), ThreadPoolExecutor(1)

    def end(self) -> None:
        """Forget all; what is refined stops at its next step."""
        with self._lock:
            self._photos.clear()
            self._found.clear()
        for pool in (self._quick, self._slow):
            pool.shutdown(wait=False, cancel_futures=True)

    def add(self, name: str, data: bytes) -> dict[str, Any]:
        """Open a photo and find its faces; what the page shows of it.

        Raises:
            InputError: not a photo that can be read, or no face in it.
        """
        photo = _read(name, data)
        faces = self.gan.faces(photo)
        if not faces:
            raise InputError(f"{name}: no face found", "a larger or sharper one may be found")
        key, opened = secrets.token_urlsafe(12), _Opened(name, photo, faces)
        with self._lock:
            self._photos[key] = opened
            while len(self._photos) > _PHOTOS:
                old, _ = self._photos.popitem(last=False)
                for known in [known for known in self._found if known[0] == old]:
                    del self._found[known]
        return _told(key, opened)

    def told(self) -> list[dict[str, Any]]:
        """All of them, as the page shows them."""
        with self._lock:
            opened = [*self._photos.items()]
        return [_told(*one) for one in opened]

    def draw(self, asked: Asked) -> dict[str, Any]:
        """The picked faces before and after, and the lines that would do the same.

        asked: photo, faces (numbers from 0), edits, refine, mask, view (crop or photo), and second
        (photo, face, and layers or share); before (false = that picture is known), and wait (false
        = while a refinement is computed, what the encoder gave is drawn, and `refining` says so).

        Raises:
            DseInvertError: what cannot be.
        """
        view = self._view(asked)
        drawn, faces = self._drawn(view), view.opened.faces
        if text(asked, "view") == "photo":
            before = view.opened.shown.photo
            after = self._whole(view, view.opened.shown, drawn)
        else:
            before = _beside([faces[k].crop for k in view.picked])
            after = _beside([self.gan.photos(drawn[k])[0] for k in view.picked])
        psnr = [f"{float(one.metrics['psnr'][0]):.1f}" for one in view.found.values()]
        said = f"reconstruction {', '.join(psnr)} dB"
        return {
            **({"before": shown_small(before.pixels)} if asked.get("before", True) else {}),
            "after": shown_small(after.pixels),
            "refining": view.is_refining,
            "said": f"{said}; refining…" if view.is_refining else said,
            "lines": lines.of_photo(self._model, view.opened.name, view.picked, view.words),
        }

    def save(self, asked: Asked) -> Download:
        """The whole photo with all its pixels."""
        view = self._view(asked)
        whole = self._whole(view, view.opened, self._drawn(view))
        return Download(f"{Path(view.opened.name).stem}.edited.png", encode_png(whole.pixels))

    def latent(self, asked: Asked) -> Download:
        """The edited latent of the first picked face, which `dseinvert edit` reads."""
        view = self._view(asked)
        face, latent = next(iter(view.edited.items()))
        return Download(Path(lines.latent_of(view.opened.name, face)).name, dumps(latent))

    def settings(self, asked: Asked) -> Download:
        """What `dseinvert images --config` reads to do the same."""
        view = self._view({**asked, "wait": False})
        options = lines.of_faces(self._model, view.picked, view.words)
        return lines.settings_of("images", [view.opened.name], options)

    def morph(self, asked: Asked, file: Path) -> None:
        """A moving picture of the way from the first picked face to the second one, there and back.

        Raises:
            UsageError: there is no second face.
        """
        start = next(iter(self._view({**asked, "second": None}).edited.values()))
        other = self._second(table(asked, "second"))
        shares = [k / (_MORPH - 1) for k in range(_MORPH)]
        frames = [self.gan.draw(self.gan.between(start, other, share)) for share in shares]
        pixels = [self.gan.photos(frame)[0].pixels for frame in frames]
        write_animation(file, [*pixels, *pixels[::-1]], _RATE)

    def _view(self, asked: Asked) -> _View:
        key, opened = self._opened(asked)
        faces = [_face(opened, number) for number in rows(asked, "faces")]
        picked = [*dict.fromkeys(faces)]
        if not picked:
            raise UsageError("no face is picked", "tick one")
        words, second = lines.words_of(asked, self._named(asked)), table(asked, "second")
        asks = [self._inverted((key, face, words.refine)) for face in picked]
        early = asked.get("wait") is False and not all(one.done() for one in asks)
        if early:
            asks = [self._inverted((key, face, "none")) for face in picked]
        found = {face: one.result() for face, one in zip(picked, asks, strict=True)}
        other = self._second(second) if second else None
        edited = {face: self._edited(one.latent, other, words) for face, one in found.items()}
        return _View(opened, words, found, edited, early and words.refine != "none")

    def _edited(self, latent: Latent, other: Latent | None, words: lines.Words) -> Latent:
        if other is not None and words.share is not None:
            latent = self.gan.between(latent, other, words.share)
        elif other is not None:
            latent = self.gan.mix(latent, other, words.layers)
        return self.gan.edit(latent, words.edits) if words.edits else latent

    def _second(self, second: Asked) -> Latent:
        key, opened = self._opened(second)
        return self._inverted((key, _face(opened, second.get("face")), "none")).result().latent

    def _named(self, asked: Asked) -> str:
        """The latent file of the second face; "" = there is none."""
        second = table(asked, "second")
        if not second:
            return ""
        opened = self._opened(second)[1]
        return lines.latent_of(opened.name, _face(opened, second.get("face")))

    def _opened(self, asked: Asked) -> tuple[str, _Opened]:
        key = text(asked, "photo")
        with self._lock:
            if key not in self._photos:
                raise _gone()
            self._photos.move_to_end(key)
            return key, self._photos[key]

    def _inverted(self, known: _Known) -> Future[Found]:
        with self._lock:
            there = self._found.get(known)
            if there is None or (there.done() and there.exception() is not None):
                if known[0] not in self._photos:
                    raise _gone()
                face = self._photos[known[0]].faces[known[1]]
                pool = self._quick if known[2] == "none" else self._slow
                self._found[known] = pool.submit(self._invert, face, known)
            self._found.move_to_end(known)
            while len(self._found) > _FOUND:
                self._found.popitem(last=False)
            return self._found[known]

    def _invert(self, face: Face, known: _Known) -> Found:
        return self.gan.invert(face, refine=known[2], watch=partial(self._go_on, known))

    def _go_on(self, known: _Known, *_: object) -> None:
        """Called at each step of a refinement; UsageError where nobody waits for it any more."""
        if known not in self._found:
            raise _gone()

    def _drawn(self, view: _View) -> dict[int, Tensor]:
        return {k: self.gan.draw(one) for k, one in view.edited.items()}

    def _whole(self, view: _View, opened: _Opened, drawn: dict[int, Tensor]) -> Photo:
        photo, mask = opened.photo, view.words.mask or None
        if mask not in (None, "auto", "face"):  # no file of the machine
            raise UsageError(f"mask {brief(mask)}", "auto or face")
        for face, found in view.found.items():
            photo = self.gan.paste(photo, opened.faces[face], drawn[face], found, mask=mask)
        return photo


def _read(name: str, data: bytes) -> Photo:
    """A photo that was dropped; what is none is told by its name."""
    try:
        return open_photo(data)
    except InputError as error:
        said = error.what.removeprefix("bytes: ")
        advice = "open it as a clip" if said == "is a video" else error.advice
        raise InputError(f"{name}: {said}", advice) from error


def _told(key: str, opened: _Opened) -> dict[str, Any]:
    width, height = opened.photo.size
    boxes = [(face.quad / (width, height)).round(4).tolist() for face in opened.faces]
    return {
        "id": key,
        "name": opened.name,
        "picture": shown_small(opened.photo.pixels),
        "quads": boxes,
        "said": "; ".join([counted(len(boxes), "face"), *opened.photo.warnings]),
    }


def _face(opened: _Opened, number: object) -> int:
    if type(number) is not int or not 0 <= number < len(opened.faces):
        raise UsageError(f"no face {brief(number)} in {opened.name}")
    return number


def _beside(photos: list[Photo]) -> Photo:
    return Photo(np.hstack([one.pixels for one in photos]))


def _gone() -> UsageError:
    return UsageError("that photo is here no longer", "drop it again")
