"""Photos without colours of their own, grey, sepia or tinted: what an edit changes in their tone.

A generator of coloured faces changes colours too, which would stain such a photo.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from dseinvert.media.pixels import Floats, Pixels

LUMA = np.array([0.299, 0.587, 0.114])
_LEVELS = np.arange(256.0)
# The side at which a crop is judged, and the longest at which its curve is read.
_SIDE, _LONGEST = 64, 512
# Grey levels by which colours stray from one curve, rms, each channel at the contrast of luma: to
# there the photo has no others, and from there on it is a colour photo. Of 150 portraits under
# three tones as JPEG, toned ones stray by 3.3 at most; coloured ones under a strong cast by 5.0.
_TONED, _COLOURED = 3.0, 4.5
# The least contrast of a channel, over that of luma, by which it is judged.
_LEAST = 0.4
# Pixels of one luma that count, and levels over which the curve is smooth; where there are few
# pixels over as many levels as the second, by this weight.
_ENOUGH, _SMOOTH, _SMOOTH_FAR, _FAR = 50.0, 2.0, 8.0, 0.02
# Levels at each end by which it goes on.
_LEAST_LEVELS = 24
# Pixels that a curve can be drawn through, and the least spread of their luma.
_FEWEST, _FLAT = 64, 1.0


@dataclass(frozen=True, eq=False)
class Tone:
    """The curve on which the colours of a photo lie."""

    curve: NDArray[np.float32]
    """[256, 3] the colour of each luma, rising: of a grey photo, three times that luma."""
    certainty: float = 1.0
    """0 to 1: how far changes are brought onto the curve."""

    def __call__(self, pixels: NDArray[Any], change: NDArray[np.float32]) -> NDArray[np.float32]:
        """A change [..., 3] of pixels [..., 3] in this tone; of a grey photo, alike in channels.

        It leads along the curve, from the luma that is there to the one that is to be.
        """
        luma = np.asarray(pixels @ LUMA, np.float32)
        after = luma + change @ LUMA.astype(np.float32)
        toned = np.asarray(self._at(after) - self._at(luma), np.float32)
        if self.certainty == 1:
            return toned
        return np.asarray(change + self.certainty * (toned - change), np.float32)

    def strayed(self, crop: Pixels) -> float:
        """How far the colours of a crop [N, N, 3] stray from the curve, at equal contrasts."""
        luma = np.asarray(crop @ LUMA, np.float32)
        expected = self._at(luma)
        contrast = expected.reshape(-1, 3).std(axis=0) / max(float(luma.std()), _FLAT)
        small = cv2.resize(crop - expected, (_SIDE, _SIDE), interpolation=cv2.INTER_AREA)
        return float(np.sqrt(np.square(small / contrast.clip(_LEAST)).sum(axis=-1).mean()))

    def _at(self, luma: NDArray[np.float32]) -> NDArray[np.float32]:
        """The colours [..., 3] of lumas."""
        channels = [np.interp(luma, _LEVELS, one).astype(np.float32) for one in self.curve.T]
        return np.stack(channels, axis=-1)


GREY = Tone(np.repeat(_LEVELS[:, None], 3, axis=1).astype(np.float32))


def tone_of(photo: Pixels) -> Tone | None:
    """The tone of a photo or crop uint8 [H, W, 3]; None = it has colours."""
    if not np.ptp(photo, axis=-1).any():
        return GREY
    step = max(1, max(photo.shape[:2]) // _LONGEST)
    seen = np.ascontiguousarray(photo[::step, ::step])
    colours = seen.reshape(-1, 3).astype(np.float64)
    if len(colours) < _FEWEST or (colours @ LUMA).std() < _FLAT:
        return None
    tone = Tone(_curve(colours))
    certainty = float(np.clip((_COLOURED - tone.strayed(seen)) / (_COLOURED - _TONED), 0, 1))
    return Tone(tone.curve, certainty) if certainty > 0 else None


def tone_in(photo: Pixels, crop: Pixels) -> Tone | None:
    """The tone of a crop of a photo; its curve from all of the photo, where that has one too."""
    tone = tone_of(crop)
    if tone is None or tone is GREY:
        return tone
    whole = tone_of(photo)
    return tone if whole is None else Tone(whole.curve, tone.certainty)


def _curve(colours: Floats) -> NDArray[np.float32]:
    """The rising curve [256, 3] through the colours [K, 3] of each luma.

    Medians, so that what is not of the tone does not bend it; lumas that are not there get theirs
    from those that are.
    """
    luma = np.rint(colours @ LUMA).astype(int)
    counts = np.bincount(luma, minlength=256)
    there = np.flatnonzero(counts)
    chroma = _medians(luma, colours, counts[there]) - there[:, None]
    weights = np.minimum(counts[there], _ENOUGH)
    apart = np.square(there[:, None] - there) / 2
    near = (np.exp(-apart / _SMOOTH**2) + _FAR * np.exp(-apart / _SMOOTH_FAR**2)) * weights
    chroma = near @ chroma / near.sum(axis=1, keepdims=True)
    channels = [_extended(there, there + one, weights) for one in chroma.T]
    return np.maximum.accumulate(np.stack(channels, axis=-1)).astype(np.float32)


def _medians(luma: NDArray[np.intp], colours: Floats, counts: NDArray[np.intp]) -> Floats:
    """The median colour [G, 3] of each luma that is there, of which there are `counts` [G]."""
    # Keys of 16 bits are sorted by their digits, in a tenth of the time of one luma at a time.
    keys = (luma[:, None] * 256 + colours.astype(int)).astype(np.uint16)
    ranked = np.sort(keys, axis=0, kind="stable") & 255
    first = np.cumsum(counts) - counts
    return (ranked[first + (counts - 1) // 2] + ranked[first + counts // 2]) / 2


def _extended(there: NDArray[np.intp], channel: Floats, weights: Floats) -> Floats:
    """A channel at every level, straight on where the photo is never as dark or as light."""
    few = max(_LEAST_LEVELS, len(there) // 8)
    first, last = (
        np.polyfit(there[part], channel[part], 1, w=np.sqrt(weights[part]))[0]
        for part in (slice(None, few), slice(-few, None))
    )
    inside = np.interp(_LEVELS, there, channel)
    below = first * np.minimum(_LEVELS - there[0], 0)
    above = last * np.maximum(_LEVELS - there[-1], 0)
    return np.asarray(inside + below + above).clip(0, 255)
