"""What was drawn put into the frames of a clip: changes or whole faces, steadied in time."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from dseinvert.faces.align import crop
from dseinvert.faces.behind import before
from dseinvert.faces.carry import SIDE, carried, carry
from dseinvert.faces.paste import AGREEMENT_SIDE, agreement, tightened, window_of
from dseinvert.faces.tone import tone_of
from dseinvert.media.pixels import Pixels
from dseinvert.media.planes import Planes, grown
from dseinvert.media.warp import warp
from dseinvert.run.video.draw import ClipFace, Drawn, Shot
from dseinvert.run.video.even import SECONDS, evened_in_time
from dseinvert.run.video.steady import Patches, Steady
from dseinvert.run.video.studio import RECON, Studio
from dseinvert.video.between import held_between
from dseinvert.video.blend import Mode, blend, face_mask, mask_in_frame

# Sides in pixels of the source's crops in which the motion is seen, and at least of the changes
# carried along it: a change keeps its detail only in pixels finer than its own.
_FLOW_SIDES, _CHANGE_SIDE = (128, 256), 256
# How far beyond the face's mask a change may be carried that came from within it.
_GROWN = 1.15

Pasted = tuple[int, int, Mapping[str, Pixels | Planes]]
"""Place, time in ticks, and the frame of each output."""


def steadied(
    studio: Studio, drawn: Iterable[tuple[Shot, list[Drawn]]], steady: Steady, first: int = 0
) -> Iterator[tuple[Shot, list[Patches]]]:
    """Each frame from place `first` on with what is to be put into it, steadied in time.

    drawn: from `MOST` frames earlier on, lest it matter where it began.
    """
    side = int(np.clip(studio.side, *_FLOW_SIDES))
    each = ((shot, patches_of(studio, shot, pictures)) for shot, pictures in drawn)
    for shot, found in evened_in_time(each, SECONDS * studio.smooth):
        if shot.place < first:
            continue
        if steady.seconds > 0:
            pixels, time = shallow(shot.frame.pixels), float(shot.frame.time)
            for k, face in enumerate(shot.faces):
                source = crop(pixels, face.quad, side)
                feed = partial(steady.feed, face.track, time, source)
                found[k] = _fed(studio.paste, source, found[k], feed)
            steady.done(shot.place, [face.track for face in shot.faces])
        yield shot, found


def _fed(
    paste: Mode, source: Pixels, patches: Patches, feed: Callable[[Patches], Patches]
) -> Patches:
    """What "replace" puts in is steadied as a change of the source; else a change as it is."""
    base = np.zeros(1, np.float32)
    if paste == "replace" and patches:
        size = next(iter(patches.values())).shape[:2]
        base = cv2.resize(source, size, interpolation=cv2.INTER_AREA).astype(np.float32)
    changes = feed({label: patch - base for label, patch in patches.items()})
    return {label: change + base for label, change in changes.items()}


def patches_of(studio: Studio, shot: Shot, pictures: Sequence[Drawn]) -> list[Patches]:
    """What is put into a frame for each of its faces."""
    pixels = shallow(shot.frame.pixels)
    pairs = zip(shot.faces, pictures, strict=True)
    return [_patches(studio, face, pixels, drawn) for face, drawn in pairs]


def _patches(studio: Studio, face: ClipFace, frame: Pixels, drawn: Drawn) -> Patches:
    """Of each output: the edited crop, or what to change, with its mask.

    For the rim of a mask, too, should move as the source does when changes are steadied.
    """
    floats = {label: drawn[label].astype(np.float32) for label in studio.edits}
    if studio.paste == "replace":
        return floats
    source = crop(frame, face.quad, AGREEMENT_SIDE)
    if studio.moved:
        return _carried(studio, face, frame, drawn)
    recon = drawn[RECON]
    trust, tone = agreement(source, recon)[..., None], tone_of(source)
    changes = {label: trust * (patch - recon) for label, patch in floats.items()}
    for label, change in changes.items():
        change *= before(source, drawn[label], len(recon))[..., None]
    if studio.where is not None:
        shown = {label: studio.where.of(drawn[label], recon)[..., None] for label in changes}
        changes = {label: shown[label] * change for label, change in changes.items()}
    if tone is not None:
        under = cv2.resize(source, recon.shape[1::-1], interpolation=cv2.INTER_LINEAR)
        changes = {label: tone(under, change) for label, change in changes.items()}
    return {label: _masked(face, change) for label, change in changes.items()}


def _carried(studio: Studio, face: ClipFace, frame: Pixels, drawn: Drawn) -> Patches:
    """Of each output: what `carry` makes of it, within the mask of the face."""
    recon = drawn[RECON]
    side = max(SIDE, len(recon))
    source, small = (crop(frame, face.quad, size) for size in (side, AGREEMENT_SIDE))
    trust, oval = agreement(small, recon), face_mask(face.points, face.quad, side)
    under, tone = source.astype(np.float32), tone_of(small)
    patches = {}
    for label in studio.edits:
        mask = tightened(oval, drawn[label].astype(np.float32) - recon)
        mask = mask * before(small, drawn[label], side)
        if studio.where is not None:
            mask = mask * _sized(studio.where.of(drawn[label], recon), side)
        patch = carry(drawn[label], recon, mask, trust, under)
        there = warp(under, patch[..., 3:] * np.float32(side))
        edited = _sized(drawn[label].astype(np.float32), side)
        patch[..., :3] = held_between(patch[..., :3], there, edited)
        if tone is not None:
            patch[..., :3] = tone(under, patch[..., :3])
        patches[label] = patch
    return patches


def _sized(image: NDArray[np.float32], side: int) -> NDArray[np.float32]:
    return np.asarray(cv2.resize(image, (side, side), interpolation=cv2.INTER_LINEAR), np.float32)


def _masked(face: ClipFace, change: NDArray[np.float32]) -> NDArray[np.float32]:
    """The change within the mask of the face, finer: [N, N, 3]."""
    side = max(_CHANGE_SIDE, len(change))
    fine = cv2.resize(change, (side, side), interpolation=cv2.INTER_CUBIC)
    mask = tightened(face_mask(face.points, face.quad, side), change)
    return np.asarray(fine * mask[..., None], np.float32)


def pasted(studio: Studio, patched: tuple[Shot, list[Patches]]) -> Pasted:
    """A frame of each output: as the clip stores it where it was read so, else as RGB."""
    shot, patches = patched
    results = painted(studio, shot, patches)
    pictures = {label: _finished(studio, shot, result) for label, result in results.items()}
    return shot.place, shot.frame.pts, pictures


def painted(studio: Studio, shot: Shot, patches: Sequence[Patches]) -> dict[str, Pixels]:
    """The frame [H, W, 3] with the faces of each output in it."""
    # A change brings its own mask, and is only held back from going astray.
    grown = _GROWN if studio.paste == "difference" else 1.0
    masks = [_shown(face, grown) for face in shot.faces]
    pictures = {}
    for label in studio.edits:
        result = shot.frame.pixels
        for face, mask, of_face in zip(shot.faces, masks, patches, strict=True):
            share = studio.share(label, face.moment, face.people)
            if share > 0:
                result = _paste_one(result, face, mask * share, of_face[label], studio.paste)
        pictures[label] = result
    return pictures


def _shown(face: ClipFace, grown: float = 1.0) -> NDArray[np.float32]:
    """The mask of a face, as far as it can be seen: [M, M]."""
    mask = face_mask(face.points, face.quad, grown=grown)
    hidden = cv2.resize(face.hidden, mask.shape[::-1], interpolation=cv2.INTER_LINEAR)
    return np.asarray(mask * face.presence * (1 - hidden), np.float32)


def _finished(studio: Studio, shot: Shot, result: Pixels) -> Pixels | Planes:
    frame, planes = shot.frame.pixels, shot.frame.planes
    if planes is None:
        return _beside(studio, frame, result) if studio.side_by_side else result
    windows = [window_of(frame, face.quad) for face in shot.faces]
    edited = planes.with_change(frame, result, windows) if windows else planes
    if not studio.side_by_side:
        return edited
    width, height = planes.size
    left, right = (part.padded(width + width % 2, height) for part in (planes, edited))
    return left.beside(right)


def _beside(studio: Studio, frame: Pixels, result: Pixels) -> Pixels:
    """Of even widths in a video, where the middle must not fall between two samples of chroma."""
    height, width = frame.shape[:2]
    even = width if studio.options.frames else width + width % 2
    return np.hstack([grown(part, height, even) for part in (frame, result)])


def _paste_one(
    frame: NDArray[Any], face: ClipFace, mask: NDArray[Any], patch: NDArray[Any], mode: Mode
) -> NDArray[Any]:
    """The frame uint8 or uint16 [H, W, 3] with the patch [R, R, 3] of one face in it.

    The patch is a change for "difference", a face for "replace", and motion with a change where it
    is [R, R, 5].
    """
    if patch.shape[-1] == 5:
        return carried(frame, face.quad, patch, mask_in_frame(frame, face.quad, mask)[1])
    plain, nothing = shallow(frame), np.zeros_like(patch)
    offset = face.rim if mode == "replace" else None
    result = blend(plain, face.quad, patch, nothing, mask, mode, offset)
    if frame.dtype == np.uint8:
        return result
    # What changed is added to the deep frame, so that the rest keeps all of its bits.
    change = (result.astype(np.int32) - plain) * 257
    return (frame + change).clip(0, 65535).astype(np.uint16)


def shallow(frame: NDArray[Any]) -> Pixels:
    """A frame with 8 bits a sample."""
    if frame.dtype == np.uint8:
        return frame
    return np.asarray(cv2.convertScaleAbs(frame, alpha=1 / 257), np.uint8)


def mask_of(shot: Shot) -> NDArray[np.float32]:
    """[H, W] of all faces on a frame."""
    frame = shot.frame.pixels
    mask = np.zeros(frame.shape[:2], np.float32)
    for face in shot.faces:
        window, part = mask_in_frame(frame, face.quad, face_mask(face.points, face.quad))
        mask[window] = np.maximum(mask[window], part)
    return mask
