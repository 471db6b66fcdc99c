"""dseinvert: invert and edit images and videos with GANs.

    import dseinvert

    gan = dseinvert.load("default")
    photo = dseinvert.open_photo("group.jpg")
    for face in gan.faces(photo):
        found = gan.invert(face)
        older = gan.edit(found.latent, "age=+2")
        photo = gan.paste(photo, face, gan.draw(older), found)
    photo.save("older.jpg")

Names are loaded when they are first used, so that importing the package costs nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from dseinvert.version import __version__

if TYPE_CHECKING:
    from dseinvert.api import Face, Found, Gan, Moment, Video, VideoFrame, load
    from dseinvert.errors import (
        DeviceError,
        DseInvertError,
        InputError,
        MissingError,
        NoInputError,
        OutputError,
        UsageError,
    )
    from dseinvert.latent import Latent
    from dseinvert.media.photo import Photo, open_photo
    from dseinvert.progress import Watcher

_ROOMS = {
    "dseinvert.api": ("Face", "Found", "Gan", "Moment", "Video", "VideoFrame", "load"),
    "dseinvert.errors": (
        "DeviceError",
        "DseInvertError",
        "InputError",
        "MissingError",
        "NoInputError",
        "OutputError",
        "UsageError",
    ),
    "dseinvert.latent": ("Latent",),
    "dseinvert.media.photo": ("Photo", "open_photo"),
    "dseinvert.progress": ("Watcher",),
}
_ROOM_OF = {name: room for room, names in _ROOMS.items() for name in names}
__all__ = [
    "DeviceError",
    "DseInvertError",
    "Face",
    "Found",
    "Gan",
    "InputError",
    "Latent",
    "MissingError",
    "Moment",
    "NoInputError",
    "OutputError",
    "Photo",
    "UsageError",
    "Video",
    "VideoFrame",
    "Watcher",
    "__version__",
    "load",
    "open_photo",
]


def __getattr__(name: str) -> Any:
    if name not in _ROOM_OF:
        raise AttributeError(f"module 'dseinvert' has no attribute {name!r}")
    return getattr(import_module(_ROOM_OF[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
