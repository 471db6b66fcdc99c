"""Pillow as strict and as quiet as this program needs it, and afterwards as it was."""

from __future__ import annotations

import ctypes
from contextlib import suppress
from threading import Lock
from typing import Any

import PIL._imaging
from PIL import Image, ImageFile

_SETTERS = ("TIFFSetErrorHandler", "TIFFSetWarningHandler")


class Strictness:
    """Inside, half pictures are refused, and libtiff does not print what Pillow raises as well.

    Pillow's own limit of pixels is off, for whoever is inside has one. All are settings of the
    whole process. Threads may be inside at once: the first to come in makes them, and the last to
    leave undoes them.
    """

    def __init__(self) -> None:
        self._lock = Lock()
        self._inside = 0
        self._lenient = False  # what another library has asked for
        self._setters = _tiff_setters()
        self._handlers: list[Any] = []
        self._limit = Image.MAX_IMAGE_PIXELS

    def __enter__(self) -> None:
        with self._lock:
            self._lenient |= ImageFile.LOAD_TRUNCATED_IMAGES
            ImageFile.LOAD_TRUNCATED_IMAGES = False
            if self._inside == 0:
                self._handlers = [swap(None) for swap in self._setters]
                self._limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
            self._inside += 1

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._inside -= 1
            if self._inside == 0:
                ImageFile.LOAD_TRUNCATED_IMAGES |= self._lenient
                self._lenient = False
                Image.MAX_IMAGE_PIXELS = self._limit
                for swap, handler in zip(self._setters, self._handlers, strict=True):
                    swap(handler)


def _tiff_setters() -> list[Any]:
    """What takes the address of a handler of libtiff, None = none, and gives that of the last."""
    found = []
    with suppress(OSError, AttributeError):  # a Pillow that hides its libtiff, or has none
        native = ctypes.CDLL(PIL._imaging.__file__)
        for name in _SETTERS:
            setter = native[name]
            setter.argtypes, setter.restype = [ctypes.c_void_p], ctypes.c_void_p
            found.append(setter)
    return found
