"""What foreign networks and the source's own motion say of videos of one face, frame by frame."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dseinvert.faces.align import crop
from dseinvert.generators.pixels import to_tensor
from dseinvert.media.pixels import Pixels
from dseinvert.run.video.measure import Mark
from dseinvert.similarity.identity import Box
from dseinvert.similarity.losses import Distance
from dseinvert.similarity.metrics import image_metrics
from dseinvert.video.blend import face_mask, mask_in_frame
from dseinvert.video.flow import dense_flow, trusted
from dseinvert.video.metrics import Identity, identity, jitter, jitter_added, seam, warp_error
from measure.scorers import LANDMARK_BOX, Landmarks
from measure.sets import Judges

Doubles = NDArray[np.float64]
Frames = Mapping[str, Pixels]
"""One frame uint8 [H, W, 3] of each video, by name; the source's first."""

# Sides in pixels of the crops that the landmark network sees.
SIDE = 256
# Right, down, and larger, of the crop: the mean of five answers is steadier than one.
SHIFTS = ((0, 0, 0), (0.02, 0.01, 0.02), (-0.02, -0.01, 0.02), (0.01, -0.02, -0.02), (0, 0.02, 0))


@dataclass
class Watched:
    """What was seen of the videos of one clip so far, by their names."""

    paths: list[dict[str, list[Doubles]]] = field(default_factory=list)
    """Landmarks [68, 2] of each unbroken piece of a track."""
    who: dict[str, list[Tensor]] = field(default_factory=dict)
    """Embeddings [256] of each frame."""
    errors: dict[str, list[float]] = field(default_factory=dict)
    """Warp error of each step, along the source's flow."""
    own: dict[str, list[float]] = field(default_factory=dict)
    """The same along each video's own flow: what flickers, wherever a face was moved to."""
    likeness: dict[str, list[dict[str, float]]] = field(default_factory=dict)
    """psnr, ssim, identity and the perceptual distances had here, to the source, of each frame."""
    rims: dict[str, list[tuple[float, float]]] = field(default_factory=dict)
    """Seam outside, and its step, of each frame."""

    distances: tuple[str, ...] = ()
    """The perceptual ones among the likenesses."""

    def jitter(self, name: str) -> float:
        """Of a video's landmarks, in eye distances."""
        return self._pieces(lambda path: jitter(np.stack(path[name])))

    def added(self, name: str) -> float:
        """The jitter of a video's landmarks minus the source's."""
        return self._pieces(
            lambda path: jitter_added(np.stack(path[name]), np.stack(next(iter(path.values()))))
        )

    def warp(self, name: str) -> float:
        """Mean warp error along the source's flow."""
        return float(np.mean(self.errors[name]))

    def flicker(self, name: str) -> float:
        """Mean warp error along the video's own flow."""
        return float(np.mean(self.own[name]))

    def identity(self, name: str) -> Identity:
        """Against the source."""
        source = next(iter(self.who.values()))
        return identity(*(torch.stack(rows).double().numpy() for rows in (self.who[name], source)))

    def mean(self, name: str, what: str) -> float:
        """Of a column of `likeness`."""
        return float(np.mean([one[what] for one in self.likeness[name]]))

    def perceptual(self, name: str) -> dict[str, float]:
        """Mean distances, by the names of those that could be had."""
        return {one: self.mean(name, one) for one in self.distances}

    def _pieces(self, measure: Callable[[dict[str, list[Doubles]]], float]) -> float:
        pieces = [(measure(path), _length(path) - 2) for path in self.paths if _length(path) > 2]
        values, weights = ([pair[k] for pair in pieces] for k in (0, 1))
        return float(np.average(values, weights=weights)) if pieces else float("nan")


def watch(
    frames: Iterable[tuple[Frames, Sequence[Mark]]],
    panel: Judges,
    side: int,
    alike: tuple[str, Distance] | None,
) -> Watched:
    """Look at all frames of the videos of one clip.

    Args:
        frames: cut to one window, with the one face on it, or none.
        side: of the crops that identity and likeness are judged on; the model's.
        alike: a perceptual distance and its name, where one can be had.
    """
    found = Watched(distances=() if alike is None else alike[:1])
    before: Frames | None = None
    track: int | None = None
    for now, marks in frames:
        if not marks:
            before = track = None
            continue
        if marks[0].track != track:
            before, track = None, marks[0].track
            found.paths.append({name: [] for name in now})
        _look(found, now, marks[0], panel, side, alike)
        if before is not None:
            _step(found, before, now, marks[0])
        before = now
    return found


def _look(
    found: Watched,
    now: Frames,
    mark: Mark,
    panel: Judges,
    side: int,
    alike: tuple[str, Distance] | None,
) -> None:
    large = to_tensor([crop(frame, mark.quad, SIDE) for frame in now.values()])
    small = to_tensor([crop(frame, mark.quad, side) for frame in now.values()])
    for name, points in zip(now, landmarks(panel.landmarks, large), strict=True):
        found.paths[-1][name].append(in_frame(points, mark.quad))
    vectors, first = panel.who(small), small[:1].expand_as(small)
    table = image_metrics(small, first)
    with torch.inference_mode():
        table |= {"identity": (vectors * vectors[:1]).sum(1)}
        table |= {} if alike is None else {alike[0]: alike[1](small, first)}
    mask = _mask(next(iter(now.values())), mark)
    for k, name in enumerate(now):
        found.who.setdefault(name, []).append(vectors[k])
        found.likeness.setdefault(name, []).append(
            {column: float(values[k].clamp(max=100)) for column, values in table.items()}
        )
        rim = seam(next(iter(now.values())), now[name], mask)
        found.rims.setdefault(name, []).append((rim.outside, rim.step))


def _step(found: Watched, before: Frames, now: Frames, mark: Mark) -> None:
    mask = _mask(next(iter(now.values())), mark) > 0
    along, seen = _flow(*(next(iter(frames.values())) for frames in (now, before)))
    for name, new in now.items():
        old = before[name]
        for errors, (flow, region) in (
            (found.errors, (along, seen)),
            (found.own, _flow(new, old)),
        ):
            if (region & mask).any():
                errors.setdefault(name, []).append(warp_error(new, old, flow, region & mask))


def _flow(new: Pixels, old: Pixels) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """From a frame to the one before, and where it can be trusted."""
    flow = dense_flow(new, old)
    return flow, trusted(flow, dense_flow(old, new))


def _mask(frame: Pixels, mark: Mark) -> NDArray[np.float32]:
    mask = np.zeros(frame.shape[:2], np.float32)
    window, part = mask_in_frame(frame, mark.quad, face_mask(mark.points, mark.quad))
    mask[window] = part
    return mask


@torch.inference_mode()
def landmarks(net: Landmarks, images: Tensor) -> Doubles:
    """[B, 3, H, W] -> [B, 68, 2] in fractions of the sides: the mean over some framings."""
    answers = [net(images, shifted(LANDMARK_BOX, *shift)) for shift in SHIFTS]
    return np.asarray(torch.stack(answers).mean(0).double().numpy())


def shifted(box: Box, right: float, down: float, grown: float) -> Box:
    """A box elsewhere, in fractions of the picture."""
    return Box(
        box.x0 + right - grown, box.y0 + down - grown, box.x1 + right + grown, box.y1 + down + grown
    )


def in_frame(points: Doubles, quad: Doubles) -> Doubles:
    """Points in fractions of a quad's sides -> pixels of its frame."""
    across, down = quad[3] - quad[0], quad[1] - quad[0]
    return np.asarray(quad[0] + points[:, :1] * across + points[:, 1:] * down)


def _length(path: Mapping[str, Sequence[Doubles]]) -> int:
    return len(next(iter(path.values())))
