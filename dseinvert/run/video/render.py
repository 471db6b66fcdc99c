"""The third pass over a clip: latents steadied in time, edited, drawn, pasted back, encoded."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from dseinvert.media.pixels import Pixels
from dseinvert.media.planes import is_yuv
from dseinvert.run.flow.batchsize import computing
from dseinvert.run.flow.relay import relay
from dseinvert.run.flow.stream import ahead, regroup, threads
from dseinvert.run.video.draw import Shot, drawer, faces_of
from dseinvert.run.video.paste import (
    Pasted,
    mask_of,
    painted,
    pasted,
    patches_of,
    steadied,
)
from dseinvert.run.video.plan import Output
from dseinvert.run.video.sinks import Sink, open_sink
from dseinvert.run.video.steady import Steady
from dseinvert.run.video.studio import RECON, Studio
from dseinvert.run.video.work import Work
from dseinvert.video.blend import Mode
from dseinvert.video.even import MOST

# Seconds at strength 1 until what is put in has been renewed by two thirds: a change carried along
# with the face, and a face in place of the frame's.
STEADY: Mapping[Mode, float] = {"difference": 0.4, "replace": 0.3}
_BLENDERS, _AHEAD = 2, 4
_HELD = 192 << 20  # bytes of frames that may wait for their faces
_FEWEST, _MOST = 6, 64


def render(studio: Studio, work: Work, outputs: Sequence[Output]) -> list[str]:
    """Write the outputs of a clip whose latents are on disk; returns what was wrong, phrases.

    Raises Stopped.
    """
    with ExitStack() as stack:
        sinks = {
            output.label: stack.enter_context(open_sink(work, output, studio.options.segment))
            for output in outputs
        }
        first = min(sink.done for sink in sinks.values())
        work.begin("rendering", work.count - first)
        wanted = replace(studio, edits={label: studio.edits.get(label, ()) for label in sinks})
        for _ in _written(wanted, work, sinks, first):
            work.advance()
        work.check()
    return list(dict.fromkeys(p for sink in sinks.values() for p in sink.problems))


def _written(studio: Studio, work: Work, sinks: Mapping[str, Sink], first: int) -> Iterator[int]:
    """The place of each frame that all sinks have taken, [an encoder an output], in order."""
    if first >= work.count:
        return
    # Pictures are done one by one; what steadies them is known where a segment begins.
    begin = first - first % studio.options.segment
    with drawing(studio, work, begin, planes=True) as results, ExitStack() as stack:
        for label, sink in sinks.items():
            encoder = stack.enter_context(threads(1))
            results = ahead(encoder, partial(_write, label, sink), results, _AHEAD)
        for place, _, _ in results:
            if place >= first:
                yield place


@contextmanager
def drawing(
    studio: Studio, work: Work, first: int, *, planes: bool = False
) -> Iterator[Iterator[Pasted]]:
    """The frames from place `first` on with each edit of the studio, in order.

    planes: whether videos are wanted as what they store, where they can be, and not as RGB.

    decode, steady -> [workers] draw -> [blenders]
    """
    with ExitStack() as stack:
        # In threads of their own run what must see each frame after the one before it, and so
        # cannot share its work among several: decoding, steadying, and each encoder.
        early = max(0, first - MOST)
        shots = stack.enter_context(relay(_shots(studio, work, early, planes), _AHEAD))
        workers = stack.enter_context(computing(studio.side, studio.generator.device))
        drawn = regroup(
            work.stop.until(shots),
            parts=lambda shot: shot.faces,
            work=drawer(studio, work, studio.edits),
            size=lambda: studio.batch.size,
            workers=workers,
            most=_window(work),
        )
        steady = _steady(studio, work, first)
        patched = stack.enter_context(relay(steadied(studio, drawn, steady, first), _AHEAD))
        blenders = stack.enter_context(threads(_BLENDERS))
        yield ahead(blenders, partial(pasted, studio), patched, _AHEAD)


def _window(work: Work) -> int:
    """How many frames may wait for their faces."""
    size = 6 * work.clip.width * work.clip.height * (2 if work.clip.depth > 8 else 1)
    return max(_FEWEST, min(_MOST, _HELD // size))


def _shots(studio: Studio, work: Work, first: int, planes: bool) -> Iterator[Shot]:
    settings = work.task.settings
    depth = 16 if work.clip.depth > 8 and settings is not None else 8
    # What is written as YUV is made of RGB and grey at the end, once.
    same = settings is not None and is_yuv(work.clip.pixel_format) == is_yuv(settings.pixel_format)
    with work.latents() as latents:
        faces = faces_of(studio, work, latents, rims=studio.paste == "replace")
        for place, frame in work.frames(first, depth, planes=planes and same):
            yield Shot(place, frame, faces.at(place))


def _steady(studio: Studio, work: Work, first: int) -> Steady:
    """What steadies the changes, as it was before frame `first`."""
    begun = {output.label: output.begun for output in work.task.outputs}
    folders = {label: work.kept(f"steady-{begun[label]}") for label in studio.edits}
    steady = Steady(STEADY[studio.paste] * studio.smooth, folders, studio.options.segment)
    steady.resume(first)
    return steady


def _write(label: str, sink: Sink, result: Pasted) -> Pasted:
    place, pts, pictures = result
    if place >= sink.done:
        sink.write(pictures[label], pts)
    return result


@dataclass(frozen=True)
class Pictured:
    """One frame uint8 [H, W, 3] as it is before it is encoded."""

    source: Pixels
    mask: NDArray[np.float32]
    """[H, W] of all faces."""
    results: Mapping[str, Pixels]
    """The reconstruction and each edit, by label."""


def pictured(studio: Studio, work: Work, places: Sequence[int]) -> dict[int, Pictured]:
    """Some frames, by place, with their faces reconstructed and edited."""
    plain = replace(studio, side_by_side=False)
    replaced = replace(plain, edits={RECON: ()}, paste="replace")
    shots = [shot_at(studio, work, place) for place in places]
    draw = drawer(studio, work, {RECON: (), **studio.edits})
    drawn = iter(draw([face for shot in shots for face in shot.faces]))
    found = {}
    for shot in shots:
        results: dict[str, Pixels] = {}
        pictures = list(islice(drawn, len(shot.faces)))
        for how in (plain, replaced):
            results |= painted(how, shot, patches_of(how, shot, pictures))
        found[shot.place] = Pictured(shot.frame.pixels, mask_of(shot), results)
    return found


def redrawn(studio: Studio, work: Work, shot: Shot) -> dict[str, Pixels]:
    """One frame uint8 [H, W, 3] with each edit of the studio, by label."""
    drawn = drawer(studio, work, studio.edits)(shot.faces)
    return painted(studio, shot, patches_of(studio, shot, drawn))


def shot_at(studio: Studio, work: Work, place: int) -> Shot:
    """The frame at one place with its faces."""
    _, frame = next(iter(work.frames(place)))
    with work.latents() as latents:
        return Shot(place, frame, faces_of(studio, work, latents, rims=True).at(place))
