"""Photos without colours of their own, grey, sepia or tinted: what an edit changes in their tone.

A generator of coloured faces changes colours too, which would stain such a photo.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from dseinvert.media.pixels import Floats, Pixels

LUMA = np.array([0.299, 0.587, 0.114])
# The side at which a crop is judged, and the level from which a channel may be cut off.
_SIDE, _CUT = 64, 250.0
# Grey levels by which colours stray from one line, rms: to there the photo has no others, and from
# there on it is a colour photo. Of 143 portraits, tinted ones stray by 2.7, coloured ones by 5.2.
_TONED, _COLOURED = 3.0, 4.5
# Points that a line can be drawn through, and the least spread of their luma.
_FEWEST, _FLAT = 64, 1.0


@dataclass(frozen=True, eq=False)
class Tone:
    """The line on which the colours of a photo lie."""

    slope: NDArray[np.float32]
    """[3] what each channel gains with one level of luma: 1, 1, 1 of a grey photo."""
    certainty: float = 1.0
    """0 to 1: how far changes are brought onto the line."""

    def __call__(self, change: NDArray[np.float32]) -> NDArray[np.float32]:
        """A change [..., 3] in this tone; of a grey photo, all channels are the same."""
        luma = change @ LUMA.astype(np.float32)
        toned = luma[..., None] * self.slope
        if self.certainty == 1:
            return np.asarray(toned, np.float32)
        return np.asarray(change + self.certainty * (toned - change), np.float32)


GREY = Tone(np.ones(3, np.float32))


def tone_of(crop: Pixels) -> Tone | None:
    """The tone of a crop uint8 [N, N, 3]; None = it has colours.

    The colours of a toned photo follow from its luma, along a slight curve; those that are cut off
    at white do not, and are left out.
    """
    if not np.ptp(crop, axis=-1).any():
        return GREY
    small = cv2.resize(crop, (_SIDE, _SIDE), interpolation=cv2.INTER_AREA).reshape(-1, 3)
    seen = small[small.max(axis=-1) < _CUT].astype(np.float64)
    luma = seen @ LUMA
    if len(seen) < _FEWEST or luma.std() < _FLAT:
        return None
    slope, strayed = _line(luma, seen)
    certainty = float(np.clip((_COLOURED - strayed) / (_COLOURED - _TONED), 0, 1))
    return Tone(slope.astype(np.float32), certainty) if certainty > 0 else None


def _line(luma: Floats, colours: Floats) -> tuple[Floats, float]:
    """The slope [3] of colours [K, 3] over their luma [K], and how far they stray from it."""
    place = (luma - luma.mean()) / luma.std()
    powers = np.stack([np.ones_like(place), place, place * place], axis=-1)
    chroma = colours - luma[:, None]
    fit = np.linalg.lstsq(powers, chroma, rcond=None)[0]
    strayed = np.square(chroma - powers @ fit).sum(axis=-1).mean()
    return 1 + fit[1] / luma.std(), float(np.sqrt(strayed))
