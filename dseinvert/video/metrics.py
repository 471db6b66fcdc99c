"""How steady and how faithful an edited video is: frame after frame, against its source.

Small accumulators take frames as they come; functions take what is small for a whole clip.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from dseinvert.media.pixels import Doubles, Floats, Pixels
from dseinvert.media.warp import warp
from dseinvert.video.flow import Singles, dense_flow, trusted
from dseinvert.video.follow import eye_distance

PROTOCOL = (
    "tl_id, tg_id: cosines of neighbouring and of all frames' embeddings, edited over source; "
    "warp error: squared difference in [0, 1], sum of channels, DIS flow of the source, occlusions "
    "and motion borders left out; jitter: second difference of landmarks in eye distances; "
    "psnr: dB of 8 bits; ssim: Gaussian 11x11, sigma 1.5, no padding, mean of channels, of 8 bits"
)
# A source's own cosine below this says nothing about the edit: such pairs are dropped.
LEAST_COSINE = 0.1
# TG-ID looks at all pairs of this many frames at most, evenly spread.
MOST_FRAMES = 1000
# A source's own warp error below this is none, and no ratio is formed.
LEAST_ERROR = 1e-8


@dataclass(frozen=True)
class Identity:
    """Agreement of face embeddings; NaN where nothing could be compared."""

    tl_id: float
    """Between neighbouring frames, 1 = as steady as the source."""
    tg_id: float
    """Between all frames, 1 = as steady as the source."""
    video_id: float
    """Between edited and source frames, 1 = the same person."""
    dropped: int
    """Frames without an embedding in either video."""
    dropped_pairs: int
    """Pairs whose source cosine is too small to divide by."""


def identity(edited: Floats, source: Floats) -> Identity:
    """Temporal and mean identity of two videos.

    TL-ID = mean_t <e_t, e_t+1> / <s_t, s_t+1>; TG-ID = mean_{i != j} <e_i, e_j> / <s_i, s_j>
    (Tzaban et al., 2022).

    Args:
        edited: embeddings [N, D] of any length; a row with NaN = no face on that frame.
        source: the same of the source.
    """
    known = np.asarray(np.isfinite(edited).all(1) & np.isfinite(source).all(1))
    e, s = (_units(rows) for rows in (edited, source))
    both = known[1:] & known[:-1]
    near = _ratios((e[1:] * e[:-1]).sum(1)[both], (s[1:] * s[:-1]).sum(1)[both])
    places = np.flatnonzero(known)
    if len(places) > MOST_FRAMES:
        places = places[np.linspace(0, len(places) - 1, MOST_FRAMES).astype(int)]
    pairs = np.triu_indices(len(places), 1)
    far = _ratios((e[places] @ e[places].T)[pairs], (s[places] @ s[places].T)[pairs])
    return Identity(
        tl_id=_mean(near),
        tg_id=_mean(far),
        video_id=_mean((e * s).sum(1)[known]),
        dropped=int((~known).sum()),
        dropped_pairs=int(np.isnan(near).sum() + np.isnan(far).sum()),
    )


class WarpError:
    """E_t = sum M |x_t - W(x_t-1, f)|^2 / sum M, meaned over the frames of both videos.

    The flow f from a frame to the one before, and the mask M of `flow.trusted`, are the source's.
    """

    def __init__(self) -> None:
        self._before: tuple[Pixels, Pixels] | None = None
        self._errors: list[tuple[float, float]] = []
        self.dropped = 0
        """Steps without one pixel whose flow can be trusted."""

    def feed(self, source: Pixels, edited: Pixels, region: NDArray[np.bool_] | None = None) -> None:
        """The next frame of both, uint8 [H, W, 3].

        Args:
            region: [H, W] the only pixels to look at, such as the face's; None = all.
        """
        if self._before is not None:
            self.add(step_errors(self._before, (source, edited), region))
        self._before = source, edited

    def add(self, errors: tuple[float, float] | None) -> None:
        """The next step, as `step_errors` measured it."""
        if errors is None:
            self.dropped += 1
        else:
            self._errors.append(errors)

    def cut(self) -> None:
        """The next frame begins a shot."""
        self._before = None

    @property
    def source(self) -> float:
        """The source's own error; NaN before the second frame."""
        return _mean(np.array([own for own, _ in self._errors]))

    @property
    def edited(self) -> float:
        """The edited video's error; NaN before the second frame."""
        return _mean(np.array([theirs for _, theirs in self._errors]))

    @property
    def excess(self) -> float:
        """What the edit adds to the source's own error, which no edit can take away."""
        return self.edited - self.source

    @property
    def ratio(self) -> float:
        """Edited over source, 1 = as steady; NaN where the source has no error to speak of."""
        return self.edited / self.source if self.source > LEAST_ERROR else float("nan")


def step_errors(
    before: tuple[Pixels, Pixels],
    now: tuple[Pixels, Pixels],
    region: NDArray[np.bool_] | None = None,
) -> tuple[float, float] | None:
    """Warp error of the source and of the edited video from one frame to the next.

    Args:
        before: a frame of both, uint8 [H, W, 3].
        now: the next of both.
        region: [H, W] the only pixels to look at, such as the face's; None = all.

    Returns:
        None = there is no pixel whose flow can be trusted.
    """
    flow, back = dense_flow(now[0], before[0]), dense_flow(before[0], now[0])
    mask = trusted(flow, back)
    mask = mask if region is None else mask & region
    if not mask.any():
        return None
    own, theirs = (warp_error(new, old, flow, mask) for new, old in zip(now, before, strict=True))
    return own, theirs


def jitter(points: Floats) -> float:
    """mean |l_t+1 - 2 l_t + l_t-1| / eye distance, of landmarks [N, K, 2] of one track.

    The first two landmarks are the eyes when K = 5, else the eye distance is that of 68 points.
    NaN with fewer than three frames; rows with NaN are left out.
    """
    return _bends(np.asarray(points, np.float64)) / _eyes(np.asarray(points, np.float64))


def jitter_added(edited: Floats, source: Floats) -> float:
    """`jitter` of how far each landmark is from the source's, in eye distances of the source.

    Counts what the edit shakes, and what it smooths of the face's own motion.
    """
    edited, source = (np.asarray(points, np.float64) for points in (edited, source))
    return _bends(edited - source) / _eyes(source)


@dataclass(frozen=True)
class Seam:
    """What shows at the rim of a pasted face."""

    outside: float
    """Grey levels: the mean change in a ring just outside the mask; 0 where the paste is exact."""
    step: float
    """Grey levels a pixel: how much steeper the picture got on the rim, meaned."""


def seam(source: Pixels, edited: Pixels, mask: Floats, width: int = 4) -> Seam:
    """The seam of one frame uint8 [H, W, 3] whose paste had the mask [H, W] in 0 .. 1.

    `width` pixels on either side of the mask's outline count; NaN where nothing is pasted.
    """
    inside = (np.asarray(mask) > 0).astype(np.uint8)
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * width + 1, 2 * width + 1))
    grown, shrunk = cv2.dilate(inside, disc), cv2.erode(inside, disc, borderValue=1)
    ring, rim = (grown == 1) & (inside == 0), (grown == 1) & (shrunk == 0)
    change = np.abs(edited.astype(np.float64) - source).mean(-1)
    steeper = np.maximum(0, _steepness(edited) - _steepness(source))
    return Seam(_mean(change[ring]), _mean(steeper[rim]))


def psnr(a: Pixels, b: Pixels) -> float:
    """Peak signal-to-noise ratio of two frames of 8 bits in dB; infinite when they are the same."""
    error = float(((a.astype(np.float64) - b) ** 2).mean())
    return float(10 * np.log10(255**2 / error)) if error else float("inf")


def ssim(a: Pixels, b: Pixels) -> float:
    """Structural similarity of two frames uint8 [H, W, 3] (Wang et al., 2004); at most 1."""
    x, y = a.astype(np.float64), b.astype(np.float64)
    mean_x, mean_y = _window(x), _window(y)
    var_x, var_y = _window(x * x) - mean_x**2, _window(y * y) - mean_y**2
    both = _window(x * y) - mean_x * mean_y
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    light = (2 * mean_x * mean_y + c1) / (mean_x**2 + mean_y**2 + c1)
    return float((light * (2 * both + c2) / (var_x + var_y + c2)).mean())


def warp_error(now: Pixels, before: Pixels, flow: Singles, mask: NDArray[np.bool_]) -> float:
    """E_t of one step of a video, along a flow [H, W, 2] from `now` to `before`."""
    gap = (now.astype(np.float32) - warp(before.astype(np.float32), flow)) / 255
    return float((gap * gap).sum(-1)[mask].mean(dtype=np.float64))


def _bends(points: Doubles) -> float:
    """Mean length of the second differences of [N, K, 2]."""
    return _mean(np.hypot(*np.moveaxis(points[2:] - 2 * points[1:-1] + points[:-2], -1, 0)))


def _eyes(points: Doubles) -> float:
    """Median distance of the eyes of faces [N, 5 or 68, 2]; NaN of none."""
    five = points if points.shape[1] == 5 else points[:, [36, 45, 30, 48, 54]]
    known = [eye_distance(face) for face in five if np.isfinite(face).all()]
    return float(np.median(known)) if known else float("nan")


def _units(rows: Floats) -> Doubles:
    rows = np.asarray(rows, np.float64)
    return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)


def _ratios(edited: Doubles, source: Doubles) -> Doubles:
    usable = source >= LEAST_COSINE
    return np.where(usable, edited / np.where(usable, source, 1), np.nan)


def _steepness(image: Pixels) -> Doubles:
    gray = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY).astype(np.float64)
    down, across = np.gradient(gray)
    return np.asarray(np.hypot(down, across))


def _window(image: Doubles) -> Doubles:
    """Gaussian means over 11 x 11 pixels, or what fits, where they lie in the picture."""
    height, width = image.shape[:2]
    side = min(11, (min(height, width) - 1) // 2 * 2 + 1)
    blurred, edge = cv2.GaussianBlur(image, (side, side), 1.5), side // 2
    return np.asarray(blurred[edge : height - edge, edge : width - edge])


def _mean(values: NDArray[Any]) -> float:
    """The mean of what is not NaN; NaN of nothing."""
    known = values[np.isfinite(values)]
    return float(known.mean()) if known.size else float("nan")
