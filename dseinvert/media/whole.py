"""A photo with all that its file holds, for an edit of it to be written with the same."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from dseinvert.media.along import Along, along_of
from dseinvert.media.convert import (
    Profile,
    is_grey,
    levels,
    orientation,
    pixels_of,
    profile_of,
    srgb,
    turned,
)
from dseinvert.media.deep import deep_colours
from dseinvert.media.form import Form
from dseinvert.media.images import decoded, file_bytes, naming
from dseinvert.media.memory import give_back
from dseinvert.media.pixels import Pixels

Change = Callable[[NDArray[Any]], NDArray[Any]]

_ACROSS = (5, 6, 7, 8)
"""Orientations that change width and height."""
# The part of full alpha at which colours are no longer those of the picture.
_UNSEEN = 32
_DEEPEST = 65535


@dataclass(frozen=True, eq=False, repr=False)
class Whole:
    """A photo as it is in its file, but upright."""

    samples: NDArray[Any]
    """[H, W, 3] uint8 or uint16, in the colours of `profile`, not laid on white."""
    colours: Pixels
    """The same in 8-bit sRGB; the same array where `samples` are that."""
    alpha: NDArray[Any] | None
    """[H, W] of the same type; None = opaque."""
    profile: Profile | None
    """None = sRGB."""
    along: Along
    grey: bool
    """Whether the file has a single channel."""
    notes: tuple[str, ...]
    """What of it is not kept, a phrase each."""

    @property
    def hidden(self) -> NDArray[np.bool_] | None:
        """[H, W] where alpha lets nothing, or next to nothing, be seen; None = nowhere."""
        if self.alpha is None:
            return None
        return np.asarray(self.alpha <= np.iinfo(self.alpha.dtype).max // _UNSEEN)

    @property
    def deep(self) -> bool:
        """Whether the samples have more bits than `colours`."""
        return self.samples.dtype != np.uint8

    def with_change(self, onto: Change, moved: Change) -> Whole:
        """The same file with something in it, in all the bits that its samples have.

        Args:
            onto: [H, W, 3] in sRGB, uint8 or uint16 -> the same with it.
            moved: the same, of which only what is there has moved, in any colours.
        """
        colours = onto(self.colours)
        if not self.deep:
            return self.repainted(colours)
        if self.profile is None:
            return replace(self, samples=onto(self.samples), colours=colours)
        samples, deep = moved(self.samples), self.colours.astype(np.uint16) * 257
        before, after = moved(deep), onto(deep)
        if window := _changed(before, after):
            old, new = (self.profile.from_levels(one[window] / 257) for one in (before, after))
            summed = np.rint(samples[window] + 257 * (new - old))
            samples[window] = summed.clip(0, _DEEPEST).astype(np.uint16)
        return replace(self, samples=samples, colours=colours)

    def repainted(self, colours: Pixels) -> Whole:
        """The same file with other `colours`: what differs is added to the samples."""
        if self.samples is self.colours:
            return replace(self, samples=colours, colours=colours)
        window = _changed(self.colours, colours)
        if window is None:
            return self
        before, after = self.colours[window], colours[window]
        if self.profile is not None:
            before, after = self.profile.from_srgb(before), self.profile.from_srgb(after)
        most = np.iinfo(self.samples.dtype).max
        change = (after.astype(np.int32) - before) * (most // 255)
        samples = self.samples.copy()
        samples[window] = (samples[window] + change).clip(0, most)
        return replace(self, samples=samples, colours=colours)

    def encode(self, form: Form, notes: list[str]) -> bytes:
        """File bytes; what the form cannot hold goes into `notes`."""
        samples = self.samples
        if self.grey and not np.ptp(samples, axis=-1).any():
            samples = samples[..., :1]
        if self.alpha is not None:
            samples = np.concatenate([samples, self.alpha[..., None]], axis=-1)
        return form.encode(samples, self.along, notes)


def open_whole(path: Path, max_pixels: int | None = None, *, keep_gps: bool = False) -> Whole:
    """Read a photo with all that is written again; where it was taken only with `keep_gps`.

    Raises:
        InputError: as `open_image`.
    """
    with naming(path):
        return whole_of(file_bytes(path), max_pixels, keep_gps=keep_gps)


def whole_of(data: bytes, max_pixels: int | None = None, *, keep_gps: bool = False) -> Whole:
    """The same of a file's bytes."""
    with decoded(data, max_pixels) as (image, _):
        turn, lying = orientation(image, []), _lying(image, data, keep_gps)
    del image, data  # before copies are made
    give_back(lying.colours.size // 3)
    return _upright(lying, turn)


def _lying(image: Image.Image, data: bytes, keep_gps: bool) -> Whole:
    """As it lies in the file."""
    notes: list[str] = []
    profile = profile_of(image)
    samples, colours, alpha = _layers(image, data, profile, notes)
    if image.mode == "CMYK":
        notes.append("its CMYK colours are written as sRGB")
    elif image.info.get("icc_profile") and profile is None:
        notes.append("its colours are written as sRGB, without their profile")
    data_of_profile = None if profile is None else profile.data
    along = along_of(image, data_of_profile, notes, keep_gps=keep_gps)
    return Whole(samples, colours, alpha, profile, along, is_grey(image), tuple(notes))


def _upright(lying: Whole, turn: int) -> Whole:
    colours = turned(lying.colours, turn)
    same = lying.samples is lying.colours
    along = lying.along
    if along.dpi is not None and turn in _ACROSS:
        along = replace(along, dpi=along.dpi[::-1])
    return replace(
        lying,
        samples=colours if same else turned(lying.samples, turn),
        colours=colours,
        alpha=None if lying.alpha is None else turned(lying.alpha, turn),
        along=along,
    )


def _layers(
    image: Image.Image, data: bytes, profile: Profile | None, notes: list[str]
) -> tuple[NDArray[Any], Pixels, NDArray[Any] | None]:
    """Samples, colours and alpha (None = opaque)."""
    colours = pixels_of(srgb(image, []))
    alpha = None
    if image.has_transparency_data:
        alpha = np.asarray(image.convert("RGBA").getchannel("A"))
    deep = _deep(image, data, notes)
    if deep is None:
        own = colours if profile is None else pixels_of(image.convert("RGB"))
        return own, colours, alpha
    if alpha is not None:
        alpha = deep[..., 3] if deep.shape[2] == 4 else alpha.astype(np.uint16) * 257
    return np.ascontiguousarray(deep[..., :3]), colours, alpha


def _deep(image: Image.Image, data: bytes, notes: list[str]) -> NDArray[np.uint16] | None:
    """The samples [H, W, 3 or 4] of a file with 16 bits or more; None = it has 8."""
    grey = levels(image, [])
    if grey is not None:
        if image.info.get("icc_profile"):
            return None
        return np.repeat(np.rint(grey * 65535).astype(np.uint16)[..., None], 3, axis=2)
    return deep_colours(image, data, notes)


def _changed(before: NDArray[Any], after: NDArray[Any]) -> tuple[slice, slice] | None:
    """The rows and columns in which two pictures differ; None = they are the same."""
    differ = (before != after).any(axis=-1)
    rows, columns = (np.flatnonzero(differ.any(axis=k)) for k in (1, 0))
    if not len(rows):
        return None
    return slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)
