"""`--mask`: which part of a crop an edit may change; the rest keeps its own pixels."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from dseinvert.errors import InputError, UsageError
from dseinvert.faces.behind import before
from dseinvert.faces.carry import SIDE, Patch, carried, carry
from dseinvert.faces.crops import Crop
from dseinvert.faces.paste import (
    agreement,
    change_mask,
    crop_mask,
    face_mask,
    head_mask,
    keep_original,
    paste_difference,
)
from dseinvert.faces.tone import tone_in
from dseinvert.media.images import read_image
from dseinvert.media.pixels import Pixels

WORDS = ("auto", "face")
Blend = Literal["moved", "difference"]
"""Whether a photo moves with an edit, or only takes what it changed."""


@dataclass(frozen=True)
class Mask:
    """How much of an edit each pixel of a crop takes."""

    name: str
    """Tells masks apart: auto, face, or the hash of a picture."""
    of: Callable[[Pixels, Pixels], np.ndarray]
    """Edited picture and reconstruction [R, R, 3] -> [R, R] from 0 to 1."""
    trust: Callable[[Pixels, Pixels, Pixels], np.ndarray] | None = None
    """Original, edited picture and reconstruction of an aligned crop -> how much of the edit it
    takes at most, [R, R] from 0 to 1; None = whatever the edit changed."""

    def __call__(
        self, original: Pixels, edited: Pixels, recon: Pixels, *, aligned: bool = True
    ) -> Pixels:
        """The crop with what the edit changed under the mask; all uint8 [R, R, 3].

        aligned: whether the crop is framed as FFHQ frames a face.
        """
        shown = self.of(edited, recon)
        if aligned and self.trust is not None:
            shown = shown * self.trust(original, edited, recon)
        return keep_original(original, edited, recon, shown)


def open_mask(text: str | None, side: int) -> Mask | None:
    """The mask that `--mask` means, for crops of that side; None = none is asked for.

    Raises:
        UsageError: neither a word that is known nor a picture.
    """
    if text is None:
        return None
    if text == "auto":
        return Mask(text, change_mask, trust_in)
    if text == "face":
        face = face_mask(side)
        return Mask(text, lambda edited, recon: face, on_head)
    known = f"{', '.join(WORDS)}, or a picture, white where the edit may show"
    if not Path(text).is_file():
        raise UsageError(f"--mask {text}: no such file", known)
    try:
        painted = _painted(Path(text), side)
    except InputError as error:
        raise UsageError(f"--mask {text}: {error.what}", known) from error
    name = hashlib.sha256(painted.tobytes()).hexdigest()[:16]
    return Mask(name, lambda edited, recon: painted)


def paste_edit(
    photo: Pixels,
    crop: Crop,
    edited: Pixels,
    recon: Pixels,
    mask: Mask | None = None,
    blend: Blend = "moved",
) -> Pixels:
    """The photo uint8 [H, W, 3] with what an edit changed in one crop of it.

    Args:
        photo: that the crop is from.
        crop: as the encoder saw it.
        edited: uint8 [R, R, 3].
        recon: the same crop drawn without the edit.
        mask: where the edit may show; None = on the head of an aligned crop, as far as `recon`
            agrees with it.
        blend: moved, where the photo moves as an edit moves an aligned face; or difference, which
            is only added.
    """
    shown = edited if mask is None else mask(crop.pixels, edited, recon, aligned=crop.aligned)
    return paste_shown(photo, crop, shown, recon, masked=mask is not None, blend=blend)


def paste_shown(
    photo: Pixels,
    crop: Crop,
    shown: Pixels,
    recon: Pixels,
    *,
    masked: bool,
    blend: Blend = "moved",
    hidden: NDArray[np.bool_] | None = None,
) -> Pixels:
    """`paste_edit` of a crop that a mask has met already, where `masked`, or that none will.

    `hidden` [H, W] is where the photo's colours cannot be seen, which then stay where they are
    when others move; None = nowhere.
    """
    tone = tone_in(photo, crop.pixels)
    if blend == "moved" and crop.aligned:
        patch = moved_by(crop, shown, recon, masked=masked)
        return carried(photo, crop.quad, patch, tone=tone, hidden=hidden)
    if masked:
        return paste_difference(photo, shown, crop.pixels, crop.quad, tone=tone)
    trusted = trust_in if crop.aligned else _agreed
    trust = trusted(crop.pixels, shown, recon)
    return paste_difference(photo, shown, recon, crop.quad, trust=trust, tone=tone)


def moved_by(crop: Crop, shown: Pixels, recon: Pixels, *, masked: bool) -> Patch:
    """What `carried` brings into the photo of an aligned crop; arguments as of `paste_shown`."""
    side = max(SIDE, len(shown))
    if masked:  # the photo's own pixels are what it differs from
        return carry(shown, crop.pixels, crop_mask(side))
    reach = head_mask(side) * before(crop.pixels, shown, side)
    trust = agreement(crop.pixels, recon)
    return carry(shown, recon, reach * crop_mask(side), trust)


def trust_in(original: Pixels, edited: Pixels, recon: Pixels) -> NDArray[np.float32]:
    """How much of an edit is true of an aligned crop: [R, R] from 0 to 1.

    On the head, as far as the reconstruction agrees with the crop, and not on what is behind it,
    where a generator casts shadows and tints. All uint8 [R, R, 3].
    """
    side = len(recon)
    return agreement(original, recon) * head_mask(side) * before(original, edited, side)


def on_head(original: Pixels, edited: Pixels, recon: Pixels) -> NDArray[np.float32]:
    """How much of an edit is not of what is behind the head in an aligned crop: as `trust_in`."""
    return before(original, edited, len(recon))


def _agreed(original: Pixels, edited: Pixels, recon: Pixels) -> NDArray[np.float32]:
    return agreement(original, recon)


def _painted(path: Path, side: int) -> np.ndarray:
    grey = read_image(path).mean(axis=2, dtype=np.float32) / 255
    method = cv2.INTER_AREA if max(grey.shape) > side else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(grey, (side, side), interpolation=method), np.float32)
