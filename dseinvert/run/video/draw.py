"""The faces of a clip drawn: their latents steadied in time and edited, a batch at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from dseinvert.editing.apply import move
from dseinvert.editing.cues import Cues
from dseinvert.editing.render import render_edits
from dseinvert.editing.when import Moment, moments
from dseinvert.generators import Generator
from dseinvert.latent import Header
from dseinvert.latent.clip import ClipLatents, Row, latent_of
from dseinvert.media.pixels import Pixels
from dseinvert.media.video_read import Frame
from dseinvert.run.flow.batchsize import in_kinds
from dseinvert.run.video.people import people_by_track
from dseinvert.run.video.studio import RECON, Studio
from dseinvert.run.video.tune import tuned_generators
from dseinvert.run.video.who import EVERYBODY
from dseinvert.run.video.work import Work
from dseinvert.video.cover import CLEAR, Sight, Sights
from dseinvert.video.smooth import REACH, row_sigmas, smooth_stream

# Seconds at strength 1 to steady the colours that lead a replaced face over into its frame.
RIM = 0.4

_SOMETIME, _ANYBODY = Moment(), frozenset({EVERYBODY})


@dataclass(frozen=True)
class ClipFace:
    """One face on one frame, ready to be drawn."""

    track: int
    raw: Row
    """code [L, D] as the encoder gave it, and feature and label where it gave them."""
    code: NDArray[np.float32]
    """[L, D] steadied in time."""
    quad: NDArray[np.float64]
    points: NDArray[np.float64]
    presence: float
    """How much of an edit to show."""
    rim: NDArray[np.float32]
    """[8, 8, 3] from `rim_offset`, steadied in time."""
    hidden: NDArray[np.float32]
    """[32, 32] over the crop: 1 on what lies over the face."""
    moment: Moment = _SOMETIME
    people: frozenset[str] = _ANYBODY
    """Who it is, as edits name them; "" = one of those whom an edit without a name is for."""


@dataclass(frozen=True)
class Shot:
    """A frame with the faces on it."""

    place: int
    frame: Frame
    faces: list[ClipFace]


Drawn = dict[str, Pixels]
"""What is drawn of one face, by label."""
Draw = Callable[[Sequence[ClipFace]], Sequence[Drawn]]


class ClipFaces:
    """The faces of a file of latents, frame by frame in growing order, steadied on the way."""

    def __init__(
        self,
        latents: ClipLatents,
        time_base: float,
        smooth: float,
        rims: bool,
        moments: Sequence[Moment],
    ) -> None:
        """`rims`: whether the colours at the rim are wanted. moments: of each frame."""
        self._moments, self._people = moments, people_by_track(latents.header)
        self._latents, self._smooth, self._rims = latents, smooth, rims
        self._frame, self._track = latents.read("frame"), latents.read("track")
        self._times = latents.read("pts") * time_base
        self._small = {name: latents.read(name) for name in ("quad", "points", "presence")}
        self._streams: dict[int, Iterator[tuple[int, NDArray[Any], NDArray[Any]]]] = {}
        self._sights: dict[int, Sights] = {}

    def at(self, place: int) -> list[ClipFace]:
        """The faces on the frame at `place`."""
        start, stop = np.searchsorted(self._frame, [place, place + 1])
        return [self._face(row) for row in range(int(start), int(stop))]

    def _face(self, row: int) -> ClipFace:
        track = int(self._track[row])
        if track not in self._streams:
            self._streams[track] = self._stream(track, row)
        found, code, rim = next(self._streams[track])
        assert found == row
        quad, points, presence = (self._small[key][row] for key in ("quad", "points", "presence"))
        raw, sight = self._latents.latent(row), self._sight(track, row)
        shown = float(presence) * sight.share
        moment, who = self._moments[int(self._frame[row])], self._people.get(track, _ANYBODY)
        return ClipFace(track, raw, code, quad, points, shown, rim, sight.hidden, moment, who)

    def _sight(self, track: int, row: int) -> Sight:
        """How far the face of a row can be seen; all of it in files of earlier versions."""
        if not self._latents.holds("seen"):
            return CLEAR
        mine = np.flatnonzero(self._track == track)
        if track not in self._sights:
            sound = self._small["presence"][mine] > 0
            self._sights[track] = Sights(
                self._times[mine], sound, lambda k: self._latents.value("seen", int(mine[k]))
            )
        return self._sights[track].at(int(np.searchsorted(mine, row)))

    def _stream(self, track: int, first: int) -> Iterator[tuple[int, NDArray[Any], NDArray[Any]]]:
        """Row, code and rim of each row of a track from `first` on.

        Begins so much earlier that it makes no difference where it began.
        """
        mine = np.flatnonzero(self._track == track)
        sigmas = row_sigmas(self._latents.layers, self._smooth)
        sigma = RIM * self._smooth
        lead = 2 * REACH * max(sigma, float(sigmas.max()))
        mine = mine[self._times[mine] >= self._times[first] - lead]
        codes = smooth_stream(self._items("code", mine), sigmas)
        rims = smooth_stream(self._items("rim", mine), sigma) if self._rims else None
        for row in mine:
            code, _ = next(codes)
            rim = next(rims)[0] if rims else np.zeros((8, 8, 3), np.float32)
            if row >= first:
                yield int(row), code, rim

    def _items(self, name: str, mine: NDArray[Any]) -> Iterator[tuple[float, NDArray[Any], None]]:
        for row in mine.tolist():
            yield float(self._times[row]), self._latents.value(name, row), None


def faces_of(studio: Studio, work: Work, latents: ClipLatents, *, rims: bool) -> ClipFaces:
    """The faces of a clip; see `ClipFaces`."""
    ticks, base = work.seen.pts.tolist(), work.clip.time_base
    times = [float(pts * base - work.clip.start) for pts in ticks]
    at = moments(times, work.seen.starts)
    return ClipFaces(latents, float(base), studio.smooth, rims, at)


def drawer(studio: Studio, work: Work, edits: Cues) -> Draw:
    """Draws faces, each with the generator that is tuned to it, where there is one."""
    with work.latents() as latents:
        header, tunings = latents.header, latents.tunings()
    tuned = tuned_generators(studio.generator, tunings)

    def generator(face: ClipFace) -> Generator:
        return tuned.get(face.track, studio.generator)

    wanted = edits if RECON in edits or studio.paste == "replace" else {RECON: (), **edits}
    draw = partial(_draw, generator, wanted, header)
    return lambda faces: in_kinds(lambda face: id(generator(face)), draw, faces, studio.batch)


@torch.inference_mode()
def _draw(
    generator_of: Callable[[ClipFace], Generator],
    cues: Cues,
    header: Header,
    faces: Sequence[ClipFace],
) -> list[Drawn]:
    """One batch, of which all have the same generator."""
    generator = generator_of(faces[0])
    latent = latent_of([face.raw for face in faces], header).to(generator.device)
    steady = torch.from_numpy(np.stack([face.code for face in faces]))
    latent = move(latent, steady.to(generator.device), generator)
    when = [(face.moment, face.people) for face in faces]
    edits = {label: [cue.step_at(when) for cue in of_label] for label, of_label in cues.items()}
    pictures = render_edits(generator, latent, edits)
    return [{label: shots[i] for label, shots in pictures.items()} for i in range(len(faces))]
