"""The third pass over a clip: latents steadied in time, edited, drawn, pasted back, encoded."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from dseinvert.editing.apply import move
from dseinvert.editing.edits import Edits
from dseinvert.editing.render import render_edits
from dseinvert.faces.align import crop
from dseinvert.faces.paste import AGREEMENT_SIDE, agreement, tightened
from dseinvert.generators import Generator
from dseinvert.latent import Latent
from dseinvert.media.pixels import Pixels
from dseinvert.media.video_read import Frame
from dseinvert.models import Model
from dseinvert.progress import Watcher
from dseinvert.run.flow.batchsize import BatchSize, computing, in_kinds
from dseinvert.run.flow.relay import relay
from dseinvert.run.flow.stream import ahead, regroup, threads
from dseinvert.run.video.faces import Seen, Stopped, frames_from
from dseinvert.run.video.plan import Output, Task
from dseinvert.run.video.sinks import Sink, open_sink
from dseinvert.run.video.steady import Patches, Steady
from dseinvert.run.video.store import Rows
from dseinvert.run.video.tune import tuned_generators
from dseinvert.stop import Stop
from dseinvert.video.blend import Mode, blend, face_mask, mask_in_frame
from dseinvert.video.smooth import REACH, row_sigmas, smooth_stream

RECON = "recon"
# The strength that "auto" means for latents.
AUTO = 0.5
# Seconds at strength 1 to steady the colours that lead a replaced face over into its frame.
RIM = 0.4
# Seconds at strength 1 until what is put in has been renewed by two thirds: a change carried along
# with the face, and a face in place of the frame's.
STEADY: Mapping[Mode, float] = {"difference": 0.4, "replace": 0.3}
# Sides in pixels of the source's crops in which the motion is seen, and at least of the changes
# carried along it: a change keeps its detail only in pixels finer than its own.
_FLOW_SIDES, _CHANGE_SIDE = (128, 256), 256
# How far beyond the face's mask a change may be carried that came from within it.
_GROWN = 1.15
_BLENDERS, _AHEAD = 2, 4
_HELD = 192 << 20  # bytes of frames that may wait for their faces
_FEWEST, _MOST = 6, 64


@dataclass(frozen=True)
class Drawing:
    """The opened model and all else that decides about the pictures."""

    model: Model
    edits: Edits
    paste: Mode
    smooth: float
    """0 to 1."""
    side_by_side: bool
    segment: int
    batch: BatchSize


@dataclass(frozen=True)
class Face:
    """One face on one frame, ready to be drawn."""

    track: int
    raw: Mapping[str, NDArray[Any]]
    """code [L, D] as the encoder gave it, and feature and label where it gave them."""
    code: NDArray[np.float32]
    """[L, D] steadied in time."""
    quad: NDArray[np.float64]
    points: NDArray[np.float64]
    presence: float
    rim: NDArray[np.float32]
    """[8, 8, 3] from `rim_offset`, steadied in time."""


@dataclass(frozen=True)
class Shot:
    """A frame with the faces on it."""

    place: int
    frame: Frame
    faces: list[Face]


Drawn = dict[str, Pixels]
"""What is drawn of one face, by label."""


def render(
    drawing: Drawing,
    task: Task,
    outputs: Sequence[Output],
    seen: Seen,
    watcher: Watcher,
    stop: Stop,
) -> list[str]:
    """Write the outputs of a clip whose latents are on disk; returns what was wrong, phrases."""
    with ExitStack() as stack:
        every = drawing.segment
        sinks = {
            output.label: stack.enter_context(open_sink(task, output, seen.pts, every))
            for output in outputs
        }
        rows = stack.enter_context(Rows(task.latents))
        first = min(sink.done for sink in sinks.values())
        watcher.begin(f"{task.name}: rendering", len(seen.pts) - first)
        wanted = replace(drawing, edits={label: drawing.edits.get(label, ()) for label in sinks})
        for _ in _written(wanted, task, seen, rows, sinks, first, stop):
            watcher.advance()
        if stop.code is not None:
            raise Stopped
    return list(dict.fromkeys(p for sink in sinks.values() for p in sink.problems))


def _written(
    drawing: Drawing,
    task: Task,
    seen: Seen,
    rows: Rows,
    sinks: Mapping[str, Sink],
    first: int,
    stop: Stop,
) -> Iterator[int]:
    """decode, steady -> [workers] draw -> [blenders] -> [an encoder an output], in order."""
    if first >= len(seen.pts):
        return
    generator = drawing.model.generator
    draw = _drawer(drawing, rows, drawing.edits)
    with ExitStack() as stack:
        shots = _shots(drawing, task, seen, rows, first)
        coming = stop.until(stack.enter_context(relay(shots, _AHEAD)))
        workers = stack.enter_context(computing(generator.resolution, generator.device))
        steady = _steady(drawing, task, sinks, first)
        drawn = regroup(
            coming,
            parts=lambda shot: shot.faces,
            work=draw,
            size=lambda: drawing.batch.size,
            workers=workers,
            most=_window(task),
        )
        steadied = stack.enter_context(relay(_steadied(drawing, drawn, steady), _AHEAD))
        blenders = stack.enter_context(threads(_BLENDERS))
        results = ahead(blenders, partial(_paste, drawing), steadied, _AHEAD)
        for label, sink in sinks.items():
            encoder = stack.enter_context(threads(1))
            results = ahead(encoder, partial(_write, label, sink), results, _AHEAD)
        for place, _, _ in results:
            yield place


def _window(task: Task) -> int:
    """How many frames may wait for their faces."""
    size = 3 * task.clip.width * task.clip.height * (2 if task.clip.depth > 8 else 1)
    return max(_FEWEST, min(_MOST, _HELD // size))


def _shots(drawing: Drawing, task: Task, seen: Seen, rows: Rows, first: int) -> Iterator[Shot]:
    depth = 16 if task.clip.depth > 8 and task.settings is not None else 8
    faces = Faces(rows, float(task.clip.time_base), drawing.smooth, drawing.paste == "replace")
    for place, frame in frames_from(task, seen, first, depth):
        yield Shot(place, frame, faces.at(place))


def _steady(drawing: Drawing, task: Task, sinks: Mapping[str, Sink], first: int) -> Steady:
    """What steadies the changes, as it was before frame `first`."""
    keys = {output.label: output.key for output in task.outputs}
    folders = {label: task.work / f"steady-{keys[label]}" for label in sinks}
    steady = Steady(STEADY[drawing.paste] * drawing.smooth, folders, drawing.segment)
    steady.resume(first)
    return steady


def _steadied(
    drawing: Drawing, drawn: Iterable[tuple[Shot, list[Drawn]]], steady: Steady
) -> Iterator[tuple[Shot, list[Patches]]]:
    """Each frame with what is to be put into it, steadied in time."""
    side = int(np.clip(drawing.model.generator.resolution, *_FLOW_SIDES))
    for shot, pictures in drawn:
        pixels = shallow(shot.frame.pixels)
        patches = [
            _patches(drawing, face, pixels, one)
            for face, one in zip(shot.faces, pictures, strict=True)
        ]
        if steady.seconds > 0:
            for k, face in enumerate(shot.faces):
                source = crop(pixels, face.quad, side)
                patches[k] = _steadied_face(drawing, face, source, patches[k], shot, steady)
            steady.done(shot.place, [face.track for face in shot.faces])
        yield shot, patches


def _steadied_face(
    drawing: Drawing, face: Face, source: Pixels, patches: Patches, shot: Shot, steady: Steady
) -> Patches:
    """What "replace" puts in is steadied as a change of the source; else a change as it is."""
    base = np.zeros(1, np.float32)
    if drawing.paste == "replace" and patches:
        size = next(iter(patches.values())).shape[:2]
        base = cv2.resize(source, size, interpolation=cv2.INTER_AREA).astype(np.float32)
    changes = {label: patch - base for label, patch in patches.items()}
    found = steady.feed(face.track, source, changes, float(shot.frame.time))
    return {label: change + base for label, change in found.items()}


def _masked(face: Face, change: NDArray[np.float32]) -> NDArray[np.float32]:
    """The change within the mask of the face, finer: [N, N, 3]."""
    side = max(_CHANGE_SIDE, len(change))
    fine = cv2.resize(change, (side, side), interpolation=cv2.INTER_CUBIC)
    mask = tightened(face_mask(face.points, face.quad, side), change)
    return np.asarray(fine * mask[..., None], np.float32)


def _patches(drawing: Drawing, face: Face, frame: Pixels, drawn: Drawn) -> Patches:
    """Of each output: the edited crop, or what to change, with its mask.

    For the rim of a mask, too, should move as the source does when changes are steadied.
    """
    floats = {label: drawn[label].astype(np.float32) for label in drawing.edits}
    if drawing.paste == "replace":
        return floats
    recon = drawn[RECON]
    trust = agreement(crop(frame, face.quad, AGREEMENT_SIDE), recon)[..., None]
    return {label: _masked(face, trust * (patch - recon)) for label, patch in floats.items()}


class Faces:
    """The faces of a file of latents, frame by frame in growing order, steadied on the way."""

    def __init__(self, rows: Rows, time_base: float, smooth: float, rims: bool) -> None:
        """`rims`: whether the colours at the rim are wanted."""
        self._rows, self._smooth, self._rims = rows, smooth, rims
        self._frame, self._track = rows.read("frame"), rows.read("track")
        self._times = rows.read("pts") * time_base
        self._small = {name: rows.read(name) for name in ("quad", "points", "presence")}
        self._streams: dict[int, Iterator[tuple[int, NDArray[Any], NDArray[Any]]]] = {}
        self._raw: list[str] = [name for name in ("code", "feature", "label") if name in rows.names]

    def at(self, place: int) -> list[Face]:
        """The faces on the frame at `place`."""
        start, stop = np.searchsorted(self._frame, [place, place + 1])
        return [self._face(row) for row in range(int(start), int(stop))]

    def _face(self, row: int) -> Face:
        track = int(self._track[row])
        if track not in self._streams:
            self._streams[track] = self._stream(track, row)
        found, code, rim = next(self._streams[track])
        assert found == row
        raw = {name: self._rows.read(name, row, row + 1)[0] for name in self._raw}
        quad, points, presence = (self._small[key][row] for key in ("quad", "points", "presence"))
        return Face(track, raw, code, quad, points, float(presence), rim)

    def _stream(self, track: int, first: int) -> Iterator[tuple[int, NDArray[Any], NDArray[Any]]]:
        """Row, code and rim of each row of a track from `first` on.

        Begins so much earlier that it makes no difference where it began.
        """
        mine = np.flatnonzero(self._track == track)
        sigmas = row_sigmas(self._rows.shape("code")[1], self._smooth)
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
            yield float(self._times[row]), self._rows.read(name, row, row + 1)[0], None


def _header(rows: Rows) -> Mapping[str, Any]:
    """What the latents of a file have in common, as arguments of `Latent`."""
    header = rows.header
    common: dict[str, Any] = {"space": header["space"], "origin": json.loads(header["origin"])}
    if "layer" in header:
        common |= {"layer": int(header["layer"]), "skip": header["skip"]}
    return common


def _drawer(
    drawing: Drawing, rows: Rows, edits: Edits
) -> Callable[[Sequence[Face]], Sequence[Drawn]]:
    """Draws faces, each with the generator that is tuned to it, where there is one."""
    tuned = tuned_generators(drawing.model.generator, rows)

    def generator(face: Face) -> Generator:
        return tuned.get(face.track, drawing.model.generator)

    draw = partial(_draw, generator, edits, drawing.paste, _header(rows))
    return lambda faces: in_kinds(lambda face: id(generator(face)), draw, faces, drawing.batch)


@torch.inference_mode()
def _draw(
    generator_of: Callable[[Face], Generator],
    edits: Edits,
    paste: Mode,
    common: Mapping[str, Any],
    faces: Sequence[Face],
) -> list[Drawn]:
    """One batch, of which all have the same generator."""
    generator = generator_of(faces[0])
    arrays = {name: np.stack([face.raw[name] for face in faces]) for name in faces[0].raw}
    tensors: dict[str, Any] = {
        name: torch.from_numpy(array).float().to(generator.device) for name, array in arrays.items()
    }
    steady = torch.from_numpy(np.stack([face.code for face in faces]))
    latent = move(Latent(**tensors, **common), steady.to(generator.device), generator)
    wanted = edits if RECON in edits or paste == "replace" else {RECON: (), **edits}
    pictures = render_edits(generator, latent, wanted)
    return [{label: shots[i] for label, shots in pictures.items()} for i in range(len(faces))]


Pasted = tuple[int, int, dict[str, Pixels]]
"""Place, time in ticks, and the frame of each output."""


def _paste(drawing: Drawing, work: tuple[Shot, list[Patches]]) -> Pasted:
    shot, patches = work
    frame = shot.frame.pixels
    # A change brings its own mask, and is only held back from going astray.
    grown = _GROWN if drawing.paste == "difference" else 1.0
    masks = [face_mask(face.points, face.quad, grown=grown) * face.presence for face in shot.faces]
    pictures = {}
    for label in drawing.edits:
        result = frame
        for face, mask, of_face in zip(shot.faces, masks, patches, strict=True):
            result = paste_one(result, face, mask, of_face[label], drawing.paste)
        pictures[label] = np.hstack([frame, result]) if drawing.side_by_side else result
    return shot.place, shot.frame.pts, pictures


def paste_one(
    frame: NDArray[Any], face: Face, mask: NDArray[Any], patch: NDArray[Any], mode: Mode
) -> NDArray[Any]:
    """The frame uint8 or uint16 [H, W, 3] with the patch [R, R, 3] of one face in it.

    The patch is a change for "difference", a face for "replace".
    """
    plain, nothing = shallow(frame), np.zeros_like(patch)
    offset = face.rim if mode == "replace" else None
    pasted = blend(plain, face.quad, patch, nothing, mask, mode, offset)
    if frame.dtype == np.uint8:
        return pasted
    # What changed is added to the deep frame, so that the rest keeps all of its bits.
    change = (pasted.astype(np.int32) - plain) * 257
    return (frame + change).clip(0, 65535).astype(np.uint16)


def shallow(frame: NDArray[Any]) -> Pixels:
    """A frame with 8 bits a sample."""
    if frame.dtype == np.uint8:
        return frame
    return np.asarray(cv2.convertScaleAbs(frame, alpha=1 / 257), np.uint8)


def _write(label: str, sink: Sink, pasted: Pasted) -> Pasted:
    place, pts, pictures = pasted
    if place >= sink.done:
        sink.write(pictures[label], pts)
    return pasted


@dataclass(frozen=True)
class Pictured:
    """One frame uint8 [H, W, 3] as it is before it is encoded."""

    source: Pixels
    mask: NDArray[np.float32]
    """[H, W] of all faces."""
    results: Mapping[str, Pixels]
    """The reconstruction and each edit, by label."""


def pictured(
    drawing: Drawing, task: Task, seen: Seen, rows: Rows, places: Sequence[int]
) -> dict[int, Pictured]:
    """Some frames, by place, with their faces reconstructed and edited."""
    plain = replace(drawing, side_by_side=False)
    replaced = replace(plain, edits={RECON: ()}, paste="replace")
    shots = [_shot(drawing, task, seen, rows, place) for place in places]
    draw = _drawer(drawing, rows, {RECON: (), **drawing.edits})
    drawn = iter(draw([face for shot in shots for face in shot.faces]))
    found = {}
    for shot in shots:
        results: dict[str, Pixels] = {}
        pictures = list(islice(drawn, len(shot.faces)))
        for how in (plain, replaced):
            patches = [
                _patches(how, face, shallow(shot.frame.pixels), one)
                for face, one in zip(shot.faces, pictures, strict=True)
            ]
            results |= _paste(how, (shot, patches))[2]
        pixels = shot.frame.pixels
        found[shot.place] = Pictured(pixels, _mask(pixels, shot.faces), results)
    return found


def _shot(drawing: Drawing, task: Task, seen: Seen, rows: Rows, place: int) -> Shot:
    """The frame at one place with its faces."""
    _, frame = next(iter(frames_from(task, seen, place)))
    faces = Faces(rows, float(task.clip.time_base), drawing.smooth, True).at(place)
    return Shot(place, frame, faces)


def _mask(frame: Pixels, faces: Sequence[Face]) -> NDArray[np.float32]:
    mask = np.zeros(frame.shape[:2], np.float32)
    for face in faces:
        window, part = mask_in_frame(frame, face.quad, face_mask(face.points, face.quad))
        mask[window] = np.maximum(mask[window], part)
    return mask
