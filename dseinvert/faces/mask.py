"""`--mask`: which part of a crop an edit may change; the rest keeps its own pixels."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from dseinvert.errors import InputError, UsageError
from dseinvert.faces.align import crop as cut
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
from dseinvert.media.pixels import Levels, Pixels

WORDS = ("auto", "face")
Blend = Literal["moved", "difference"]
"""Whether a photo moves with an edit, or only takes what it changed."""


@dataclass(frozen=True)
class Pasting:
    """One edited face on its way into a photo, whose colours may be there more than once."""

    onto: Callable[[NDArray[Any]], NDArray[Any]]
    """The photo uint8 or uint16 [H, W, 3] -> with the face in it."""
    moved: Callable[[NDArray[Any]], NDArray[Any]]
    """Only with its own pixels moved, and nothing added."""


@dataclass(frozen=True)
class Mask:
    """How much of an edit each pixel of a crop takes."""

    name: str
    """Tells masks apart: auto, face, or the hash of a picture."""
    of: Callable[[Levels, Levels], np.ndarray]
    """Edited picture and reconstruction [R, R, 3] -> [R, R] from 0 to 1."""
    trust: Callable[[Pixels, Levels, Levels], np.ndarray] | None = None
    """Original, edited picture and reconstruction of an aligned crop -> how much of the edit it
    takes at most, [R, R] from 0 to 1; None = whatever the edit changed."""

    def __call__(
        self, original: Pixels, edited: Levels, recon: Levels, *, aligned: bool = True
    ) -> Levels:
        """The crop with what the edit changed under the mask; all [R, R, 3], as `keep_original`.

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
    edited: Levels,
    recon: Levels,
    mask: Mask | None = None,
    blend: Blend = "moved",
) -> Pixels:
    """The photo uint8 [H, W, 3] with what an edit changed in one crop of it.

    Args:
        photo: that the crop is from.
        crop: as the encoder saw it.
        edited: [R, R, 3].
        recon: the same crop drawn without the edit; not rounded, if the edit is not.
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
    shown: Levels,
    recon: Levels,
    *,
    masked: bool,
    blend: Blend = "moved",
) -> Pixels:
    """`paste_edit` of a crop that a mask has met already, where `masked`, or that none will."""
    return pasting(photo, crop, shown, recon, masked=masked, blend=blend).onto(photo)


def pasting(
    photo: Pixels,
    crop: Crop,
    shown: Levels,
    recon: Levels,
    *,
    masked: bool,
    blend: Blend = "moved",
    hidden: NDArray[np.bool_] | None = None,
) -> Pasting:
    """What `paste_shown` does, to be done to all forms of one photo.

    `hidden` [H, W] is where the photo's colours cannot be seen, which then stay where they are
    when others move; None = nowhere.
    """
    tone, quad = tone_in(photo, crop.pixels), crop.quad
    if blend == "moved" and crop.aligned:
        patch = _moved_by(photo, crop, shown, recon, masked=masked)
        still = np.concatenate([np.zeros_like(patch[..., :3]), patch[..., 3:]], axis=-1)
        return Pasting(
            lambda samples: carried(samples, quad, patch, tone=tone, hidden=hidden),
            lambda samples: carried(samples, quad, still, hidden=hidden),
        )
    trust, base = None, recon
    if masked:
        base = crop.pixels
    else:
        trust = (trust_in if crop.aligned else _agreed)(crop.pixels, shown, recon)
    return Pasting(
        lambda samples: paste_difference(samples, shown, base, quad, trust=trust, tone=tone),
        lambda samples: samples,
    )


def _moved_by(photo: Pixels, crop: Crop, shown: Levels, recon: Levels, *, masked: bool) -> Patch:
    """What `carried` brings into the photo of an aligned crop."""
    side = max(SIDE, len(shown))
    if masked:  # the photo's own pixels are what it differs from
        return carry(shown, crop.pixels, crop_mask(side))
    reach = head_mask(side) * before(crop.pixels, shown, side)
    trust, source = agreement(crop.pixels, recon), cut(photo, crop.quad, side)
    return carry(shown, recon, reach * crop_mask(side), trust, source)


def trust_in(original: Pixels, edited: Levels, recon: Levels) -> NDArray[np.float32]:
    """How much of an edit is true of an aligned crop: [R, R] from 0 to 1.

    On the head, as far as the reconstruction agrees with the crop, and not on what is behind it,
    where a generator casts shadows and tints. All [R, R, 3].
    """
    side = len(recon)
    return agreement(original, recon) * head_mask(side) * before(original, edited, side)


def on_head(original: Pixels, edited: Levels, recon: Levels) -> NDArray[np.float32]:
    """How much of an edit is not of what is behind the head in an aligned crop: as `trust_in`."""
    return before(original, edited, len(recon))


def _agreed(original: Pixels, edited: Levels, recon: Levels) -> NDArray[np.float32]:
    return agreement(original, recon)


def _painted(path: Path, side: int) -> np.ndarray:
    grey = read_image(path).mean(axis=2, dtype=np.float32) / 255
    method = cv2.INTER_AREA if max(grey.shape) > side else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(grey, (side, side), interpolation=method), np.float32)
