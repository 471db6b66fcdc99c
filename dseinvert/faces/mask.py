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
from dseinvert.faces.complexion import in_complexion
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
from dseinvert.media.pixels import Levels, Pixels, rounded

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
    on_head: bool = False
    """Whether an aligned crop takes nothing where it shows what is behind the head, and a photo
    takes a change as its own colours have it; False = an edit shows as it was drawn."""
    agreeing: bool = False
    """Whether, if `on_head`, it takes an edit only within the oval of a head, and as far as its
    reconstruction is like it."""

    def __call__(
        self, original: Pixels, edited: Levels, recon: Levels, *, aligned: bool = True
    ) -> Levels:
        """The crop with what the edit changed under the mask; all [R, R, 3], as `keep_original`.

        aligned: whether the crop is framed as FFHQ frames a face. If so, one that is `on_head`
            keeps its complexion, as a photo does that is pasted into.
        """
        weight = self.weight(original, edited, recon, aligned=aligned)
        if not (aligned and self.on_head):
            return keep_original(original, edited, recon, weight)
        before = recon.astype(np.float32)
        change = in_complexion(edited - before, original.astype(np.float32), weight)
        kept = keep_original(original, before + change, recon, weight)
        return rounded(kept) if edited.dtype == np.uint8 else kept

    def weight(
        self, original: Pixels, edited: Levels, recon: Levels, *, aligned: bool = True
    ) -> NDArray[np.float32]:
        """How much of the edit each pixel takes: [R, R] from 0 to 1; arguments as above."""
        shown = self.of(edited, recon)
        if aligned and self.on_head:
            trust = before(original, edited, len(recon))
            if self.agreeing:
                trust = agreement(original, recon) * head_mask(len(recon)) * trust
            shown = shown * trust
        return np.asarray(shown, np.float32)


def open_mask(text: str | None, side: int) -> Mask | None:
    """The mask that `--mask` means, for crops of that side; None = none is asked for.

    Raises:
        UsageError: neither a word that is known nor a picture.
    """
    if text is None:
        return None
    if text == "auto":
        return Mask(text, change_mask, on_head=True, agreeing=True)
    if text == "face":
        face = face_mask(side)
        return Mask(text, lambda edited, recon: face, on_head=True)
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
    return pasting(photo, crop, edited, recon, mask, blend=blend).onto(photo)


def pasting(
    photo: Pixels,
    crop: Crop,
    edited: Levels,
    recon: Levels,
    mask: Mask | None = None,
    *,
    blend: Blend = "moved",
    hidden: NDArray[np.bool_] | None = None,
) -> Pasting:
    """What `paste_edit` does, to be done to all forms of one photo.

    `hidden` [H, W] is where the photo's colours cannot be seen, which then stay where they are
    when others move; None = nowhere.
    """
    tone, quad = tone_in(photo, crop.pixels), crop.quad
    if blend == "moved" and crop.aligned:
        patch = _moved_by(photo, crop, edited, recon, mask or HEAD)
        still = np.concatenate([np.zeros_like(patch[..., :3]), patch[..., 3:]], axis=-1)
        return Pasting(
            lambda samples: carried(samples, quad, patch, tone=tone, hidden=hidden),
            lambda samples: carried(samples, quad, still, hidden=hidden),
        )
    if mask is None and not crop.aligned:
        trust = agreement(crop.pixels, recon)
    else:
        trust = (mask or HEAD).weight(crop.pixels, edited, recon, aligned=crop.aligned)
    return Pasting(
        lambda samples: paste_difference(samples, edited, recon, quad, trust=trust, tone=tone),
        lambda samples: samples,
    )


def _moved_by(photo: Pixels, crop: Crop, edited: Levels, recon: Levels, mask: Mask) -> Patch:
    """What `carried` brings into the photo of an aligned crop."""
    side = max(SIDE, len(edited))
    shown = cv2.resize(mask.of(edited, recon), (side, side), interpolation=cv2.INTER_LINEAR)
    reach = np.asarray(shown * crop_mask(side), np.float32)
    if not mask.on_head:
        return carry(edited, recon, reach)
    trust, source = None, cut(photo, crop.quad, side)
    if mask.agreeing:
        reach, trust = reach * head_mask(side), agreement(crop.pixels, recon)
    return carry(edited, recon, reach * before(crop.pixels, edited, side), trust, source)


def _everywhere(edited: Levels, recon: Levels) -> NDArray[np.float32]:
    return np.ones(recon.shape[:2], np.float32)


HEAD = Mask("head", _everywhere, on_head=True, agreeing=True)
"""Where an edit shows when no mask is asked for."""


def _painted(path: Path, side: int) -> np.ndarray:
    grey = read_image(path).mean(axis=2, dtype=np.float32) / 255
    method = cv2.INTER_AREA if max(grey.shape) > side else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(grey, (side, side), interpolation=method), np.float32)
