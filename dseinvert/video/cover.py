"""What lies over a face, and how far the face itself can be seen, told by its track's own past.

Each crop is compared with what the crops around it in time usually show. What is far from that, in
a connected part of the face, is something else: a hand, a bar, a microphone. Of a head that turns
much is far, too: what seems covered is compared once more, with these crops led to where the head
is now. How much contrast is left of the usual one says how far a face is burnt out or faded.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from dseinvert.faces.paste import face_mask
from dseinvert.faces.tone import LUMA
from dseinvert.media.pixels import Doubles, Pixels
from dseinvert.video.turned import turned

Singles = NDArray[np.float32]
Flags = NDArray[np.bool_]

# Pixels: the side of the crops that are compared.
SIDE = 32
# Seconds that have one usual look, seconds around them that tell it, and how many crops do so.
BLOCK, AROUND, SAMPLES = 2.0, 3.0, 40
# How far a pixel must be from the usual to be of something else: grey levels, and times how far it
# often is; and, beside such pixels, how far is enough.
FAR, OFTEN = (20.0, 12.0), (2.1, 1.4)
# The same of an area of so many pixels across, where a little everywhere is enough: the mean of how
# far its pixels are, in times how far they often are and FLOOR grey levels; none counts more than
# MOST. A pixel is plainly of something else that is PLAIN times as far as is sure.
AREA, FLOOR, MOST, WIDELY, PLAIN = 5, 6.0, 4.0, (0.7, 0.57), 1.5
# A face that turns quickly is all a little unlike itself. If CALM percent of its pixels are not
# nearer than RESTLESS times that, all are taken for so much nearer.
CALM, RESTLESS = 55, 0.33
# Of how many crops a pixel is compared with each, and how many may be as far as they like that it
# is nearer to: a cover may be seen in so many of them.
EXAMPLES, COVERED = 16, 3
# Pixels: within such a square around it a cover may be on the next frame.
MOVES = 3
# Grey levels by which a pixel may differ from those of a cover beside it and be of it, too; and how
# many pixels of the crop a cover grows so.
LIKE, GROWS = 5.0, 6
# How often "often" is: what covers a pixel for less of the time does not count as usual.
USUAL = 75
# Shares of the face: the least cover that counts, by colour and by an area, and the least part that
# tells its contrast; and the share of its contrast from which covers can be told.
LEAST, LEAST_WIDE, FEW, FAINT = 0.02, 0.03, 0.15, 0.3
# Grey levels of a face: a darker one is taken as if it were as bright, as far as by the second, for
# all that lies on it is as much nearer to it.
BRIGHT, DIMMEST = 130.0, 0.4
# Of the usual contrast, what is enough for all of an edit.
ENOUGH = 0.7
_FACE = face_mask(SIDE)
_INNER, _SHOWN = _FACE > 0.5, _FACE > 0.25
_RIGHT_AWAY = 0.5  # how much of a cover shows one frame before it and after it


@dataclass(frozen=True)
class Sight:
    """How far a face can be seen on one frame."""

    hidden: Singles
    """[32, 32] over the crop: 1 on what lies over the face, softly to 0 around it."""
    share: float
    """0 to 1: how much of an edit the contrast of the face bears."""


CLEAR = Sight(np.zeros((SIDE, SIDE), np.float32), 1.0)
"""Nothing is known to be amiss."""


@dataclass(frozen=True)
class _Usual:
    """What a face usually looks like for a while."""

    crop: Singles
    """[32, 32, 3] the median."""
    examples: Singles
    """[32, 32, 3, E] crops in its light."""
    often: Singles
    """[32, 32] grey levels by which others often differ from these."""
    contrast: float
    dim: float
    """How bright the face is, of 1; crops are divided by it, and so are all of these."""


@dataclass(frozen=True)
class _Part:
    """What one frame tells by itself."""

    covered: Flags
    """[32, 32] what is surely covered, and what is like it beside."""
    likely: Flags
    """[32, 32] what is covered where a cover is near it on the frame before or after."""
    share: float
    crop: Singles


class Sights:
    """How far the face of a track can be seen, frame by frame in any order."""

    def __init__(self, times: Doubles, sound: Flags, crop: Callable[[int], Pixels]) -> None:
        """Of a track of N frames.

        Args:
            times: [N] seconds, growing.
            sound: [N] where the face was seen at all.
            crop: gives the crop uint8 [32, 32, 3] of the frame `k` of the track.
        """
        self._times, self._sound, self._crop = times, sound, crop
        self._usuals: dict[int, _Usual | None] = {}
        self._parts: dict[int, _Part] = {}

    def at(self, k: int) -> Sight:
        """Frame k of the track."""
        self._parts = {j: part for j, part in self._parts.items() if abs(j - k) < 4}
        hidden = np.zeros((SIDE, SIDE), np.float32)
        for j in self._near(k):
            part = _softened(self._covered(j))
            hidden = np.maximum(hidden, part * (1 if j == k else _RIGHT_AWAY))
        return Sight(hidden, self._part(k).share)

    def _near(self, k: int) -> range:
        return range(max(0, k - 1), min(len(self._times), k + 2))

    def _covered(self, k: int) -> Flags:
        """What is covered on a frame [32, 32], told with the frames before and after it."""
        part = self._part(k)
        near = np.any([self._part(j).covered for j in self._near(k)], axis=0)
        if not near.any():
            return part.covered
        around = cv2.dilate(near.astype(np.uint8), np.ones((MOVES, MOVES))) > 0
        return _grown(part.covered | (part.likely & around), part.crop)

    def _part(self, k: int) -> _Part:
        if k not in self._parts:
            usual = self._usual(int(self._times[k] // BLOCK))
            crop = self._crop(k).astype(np.float32)
            self._parts[k] = _nothing(crop) if usual is None else _compared(crop / usual.dim, usual)
        return self._parts[k]

    def _usual(self, block: int) -> _Usual | None:
        """Of a block of time; None = it was seen too rarely to tell."""
        if block not in self._usuals:
            low, high = block * BLOCK - AROUND, (block + 1) * BLOCK + AROUND
            near = (self._times >= low) & (self._times <= high) & self._sound
            places = np.flatnonzero(near)
            step = max(1, -(-len(places) // SAMPLES))
            crops = [self._crop(int(k)).astype(np.float32) for k in places[::step]]
            self._usuals = {block: _usual(np.stack(crops)) if len(crops) > 3 else None}
        return self._usuals[block]


def shrunk(crop: Pixels) -> Pixels:
    """A crop [N, N, 3] as `Sights` takes it."""
    return np.asarray(cv2.resize(crop, (SIDE, SIDE), interpolation=cv2.INTER_AREA), np.uint8)


def _usual(crops: Singles) -> _Usual:
    """The usual look of crops [N, 32, 32, 3]."""
    dim = float(np.clip(np.median(crops[:, _INNER] @ _LUMA) / BRIGHT, DIMMEST, 1))
    crops = crops / np.float32(dim)
    contrasts = np.array([_contrast(crop, _INNER) for crop in crops])
    usual = float(np.median(contrasts))
    clear = crops[contrasts >= ENOUGH * usual]
    median = np.median(clear, axis=0).astype(np.float32)
    toned = np.stack([_toned(crop, median) for crop in clear])
    examples = np.stack([*toned[:: max(1, -(-len(toned) // EXAMPLES))]], -1)
    away = np.stack([_away(crop, examples) for crop in toned])
    often = np.percentile(away, USUAL, axis=0).astype(np.float32)
    return _Usual(median, examples, cv2.dilate(often, np.ones((3, 3))), usual, dim)


def _nothing(crop: Singles, share: float = 1.0) -> _Part:
    none = np.zeros((SIDE, SIDE), bool)
    return _Part(none, none, share, crop)


def _compared(crop: Singles, usual: _Usual) -> _Part:
    covered, likely = _told_apart(crop, usual, _INNER)
    rest = _INNER & ~covered
    if FEW * _INNER.sum() < rest.sum() < _INNER.sum():  # the light of the face, not of the cover
        covered, likely = _told_apart(crop, usual, rest)
    seen = _INNER & ~_grown(covered, crop)
    if seen.sum() < FEW * _INNER.sum():
        seen = _INNER
    left = _contrast(crop, seen) / max(1.0, _contrast(usual.crop, seen), FAINT * usual.contrast)
    if left < FAINT:  # of a face that is hardly there, nothing is told apart
        return _nothing(crop, min(1.0, left / ENOUGH))
    return _Part(covered, likely, min(1.0, left / ENOUGH), crop)


def _told_apart(crop: Singles, usual: _Usual, lit: Flags) -> tuple[Flags, Flags]:
    """What is surely covered with what is like it beside, and what is likely so: [32, 32] each.

    lit: the pixels that tell the light.
    """
    toned = _toned(crop, usual.crop, lit)
    away = _away(toned, usual.examples)
    covered, likely = _beyond(away, usual.often)
    if not covered.any():
        return covered, likely
    still_away = _away(toned, turned(usual.examples, toned))
    return _beyond(np.minimum(away, still_away), usual.often)


def _beyond(away: Singles, often: Singles) -> tuple[Flags, Flags]:
    """As `_told_apart`, of how far each pixel is from the usual and often is: [32, 32] each."""
    restless = np.percentile((away / (often + FLOOR))[_INNER], CALM) / RESTLESS
    away = away / max(1.0, float(restless))
    sure, likely = (away > np.maximum(f, o * often) for f, o in zip(FAR, OFTEN, strict=True))
    wide, widely = (_mean_share(away, often) > share for share in WIDELY)
    likely = likely | widely
    return _parts_with(likely, (sure, LEAST), (wide, LEAST_WIDE)), likely


def _mean_share(away: Singles, often: Singles) -> Singles:
    """How far the pixels around each [32, 32] are of how far they often are, on the mean.

    Without what is plainly of something else, and beside it: its outline would be seen as wide.
    """
    plain = away > PLAIN * np.maximum(FAR[0], OFTEN[0] * often)
    near = cv2.dilate(plain.astype(np.uint8), np.ones((AREA, AREA)))
    rest = (near == 0).astype(np.float32)
    share = cv2.blur(rest * np.minimum(away / (often + FLOOR), MOST), (AREA, AREA))
    return np.asarray(share / np.maximum(0.2, cv2.blur(rest, (AREA, AREA))), np.float32)


def _parts_with(likely: Flags, *cores: tuple[Flags, float]) -> Flags:
    """The connected parts of what is likely covered [32, 32], with enough of one of the cores.

    cores: what is sure, and the share of the face that is enough of it.
    """
    count, parts = cv2.connectedComponents(likely.astype(np.uint8), connectivity=4)
    held = np.zeros(count, bool)
    for core, least in cores:
        sizes = np.bincount(parts[core & likely & _SHOWN], minlength=count)
        held |= sizes >= least * _INNER.sum()
    return np.asarray(likely & held[parts])


def _grown(covered: Flags, crop: Singles) -> Flags:
    """With the pixels beside that go on in the same colour, as those of a bar before a wall do."""
    for _ in range(GROWS if covered.any() else 0):
        count = cv2.blur(covered.astype(np.float32), (3, 3))
        colour = cv2.blur(crop * covered[..., None], (3, 3)) / np.maximum(count, 1e-6)[..., None]
        covered = covered | ((count > 0.2) & (np.abs(crop - colour).max(-1) < LIKE))
    return covered


def _softened(covered: Flags) -> Singles:
    """1 on what is covered and just beside it, softly to 0."""
    near = np.ones((3, 3), np.uint8)
    whole = cv2.morphologyEx(covered.astype(np.uint8), cv2.MORPH_CLOSE, near)
    whole = cv2.dilate(whole, near).astype(np.float32)
    return np.asarray(
        np.maximum(whole, cv2.GaussianBlur(cv2.dilate(whole, near), (0, 0), 0.8)), np.float32
    )


def _toned(crop: Singles, usual: Singles, where: Flags = _INNER) -> Singles:
    """The crop in the light of the usual one, as most of `where` tells: a gain and an offset."""
    seen, known = crop[where] @ _LUMA, usual[where] @ _LUMA
    kept = np.ones(len(seen), bool)
    gain, offset = 1.0, float(np.median(known - seen))
    for _ in range(3):
        gap = np.abs(gain * seen + offset - known)
        kept = gap <= max(8.0, float(np.percentile(gap, 60)))
        spread = max(1.0, float(seen[kept].var()))
        slope = float(np.cov(seen[kept], known[kept])[0, 1]) / spread
        gain = float(np.clip(slope, 0.67, 4.0))
        offset = float((known[kept] - gain * seen[kept]).mean())
    return np.asarray(gain * crop + np.float32(offset), np.float32)


def _away(crop: Singles, examples: Singles) -> Singles:
    """How far each pixel [32, 32] is from the examples at its place or next to it.

    All but the COVERED nearest ones count: these may show the same cover.
    """
    gaps = []
    for down in (-1, 0, 1):
        for right in (-1, 0, 1):
            moved = np.roll(examples, (down, right), (0, 1))
            gaps.append(np.abs(crop[..., None] - moved).max(2))
    nearest = np.min(gaps, axis=0)
    rank = min(COVERED, nearest.shape[-1] - 1)
    return np.asarray(np.partition(nearest, rank, -1)[..., rank], np.float32)


def _contrast(crop: Singles, where: Flags) -> float:
    return float((crop[where] @ _LUMA).std())


_LUMA = LUMA.astype(np.float32)
