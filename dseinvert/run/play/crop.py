"""The crop beside a saved latent, on a disk or in a store, and how it was cut."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path

import cv2
import numpy as np

from dseinvert.errors import InputError
from dseinvert.faces.align import quad_from_matrix
from dseinvert.faces.crops import is_whole
from dseinvert.latent import Latent
from dseinvert.latent.packed import pack_of
from dseinvert.media import stores
from dseinvert.media.address import far
from dseinvert.media.form import FORMATS
from dseinvert.media.images import decode_image, naming, read_image
from dseinvert.media.pixels import Pixels
from dseinvert.run.images.journal import read_all
from dseinvert.run.images.packed import picture


def crop_beside(source: Path, latent: Latent, side: int) -> Pixels:
    """The crop uint8 [side, side, 3] that `images` wrote beside the latents of a file.

    Raises:
        InputError: it is not there, of another size, or one for several latents.
    """
    pack = pack_of(source)
    if pack is not None:
        return _fitting(_packed(pack, source.stem), pack.name, side)
    written = [source.with_suffix(f".input.{suffix}") for suffix in FORMATS]
    path = next(filter(_there, written), None) or _listed(source) or written[0]
    if len(latent) > 1 or not _there(path):
        raise InputError(
            f"{path.name}: --mask needs the crop beside its latent", "dseinvert images writes both"
        )
    return _fitting(_pixels(path), path.name, side)


def is_aligned(latent: Latent, side: int) -> bool:
    """Whether it tells of a face of its photo, or of no photo; not of a photo as it is."""
    matrix, size = (latent.origin.get(name) for name in ("crop_matrix", "source_size"))
    try:
        width, height = map(int, (size or "").split("x"))
        quad = quad_from_matrix(np.reshape(json.loads(matrix or ""), (2, 3)), side)
    except (ValueError, TypeError, cv2.error):  # anybody may have written them
        return True
    return not is_whole(quad, width, height)


def _fitting(pixels: Pixels, name: str, side: int) -> Pixels:
    if pixels.shape != (side, side, 3):
        raise InputError(f"{name}: {pixels.shape[1]}x{pixels.shape[0]}, not {side}x{side}")
    return pixels


def _packed(pack: Path, name: str) -> Pixels:
    """Of a latent in a file of many, from the tar beside that."""
    for suffix in FORMATS:
        with suppress(InputError):
            return decode_image(picture(pack.parent, pack.stem, f"{name}.input.{suffix}")).pixels
    raise InputError(
        f"{pack.stem}.tar: --mask needs the crop {name}.input of it", "dseinvert images writes both"
    )


def _there(path: Path) -> bool:
    if not far(path):
        return path.is_file()
    try:
        return bool(stores.stored(far(path)))
    except InputError:
        return False


def _listed(latent: Path) -> Path | None:
    """The crop beside a latent by the journal there, where --name-template named it."""
    entries = read_all(latent.parent).values()
    faces = (face for entry in entries for face in entry.faces)
    file = next((face.pictures.get("input") for face in faces if face.name == latent.stem), None)
    return None if file is None else latent.with_name(file)


def _pixels(path: Path) -> Pixels:
    if not far(path):
        return read_image(path)
    with naming(path):
        return decode_image(stores.read(far(path))).pixels
