"""`--still`: single frames of a clip with their edits, of which only what is around is tracked."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from dseinvert.config import VideoOptions
from dseinvert.editing.cues import Cues, parse_strip_of_clip
from dseinvert.editing.edits import parse_strengths
from dseinvert.errors import ExitCode, InputError, OutsideError
from dseinvert.faces.align import crop
from dseinvert.media.atomic import make_folder, shown, within, write_bytes
from dseinvert.media.clip import Clip, seconds_in
from dseinvert.media.images import encode_png
from dseinvert.media.pixels import Pixels
from dseinvert.media.sheet import sheet
from dseinvert.models import open_model, pick_device
from dseinvert.progress import Watcher
from dseinvert.run.flow.batchsize import torch_threads_kept
from dseinvert.run.video.nobody import LISTED
from dseinvert.run.video.plan import (
    check_options,
    cut_of,
    find_sources,
    make_task,
    name_tasks,
    nothing_found,
    open_source,
)
from dseinvert.run.video.reel import Reel
from dseinvert.run.video.render import pictured
from dseinvert.run.video.run import inverted
from dseinvert.run.video.studio import Studio, open_studio
from dseinvert.run.video.times import idle, refuse_idle
from dseinvert.run.video.work import Work
from dseinvert.stop import Stop

AROUND = Fraction(3, 5)
"""Seconds before and after a still that are tracked, so that it is as steady as in the video."""
# Side in pixels of the pictures of a strip.
_STRIP_SIDE = 320
NOWHERE = "still"
"""In place of the name and the hash of a clip, for what is thrown away."""


@dataclass(frozen=True)
class Still:
    """One frame of a clip."""

    label: str
    """Of the edit."""
    time: Fraction
    """In seconds from the beginning of the clip."""
    pixels: Pixels
    """uint8 [H, W, 3]."""


@dataclass(frozen=True)
class Stills:
    """What `--still` came to."""

    written: tuple[Path, ...]
    problems: tuple[str, ...]
    """Of what could not be done, a line each."""

    @property
    def exit_code(self) -> ExitCode:
        """As of a run."""
        return ExitCode.SOME_FAILED if self.problems else ExitCode.OK

    def asdict(self) -> dict[str, Any]:
        """Ready for JSON."""
        stills = [str(path) for path in self.written]
        return {"exit_code": int(self.exit_code), "stills": stills, "problems": [*self.problems]}


def write_stills(patterns: Sequence[str], options: VideoOptions, watcher: Watcher) -> Stills:
    """A PNG of each clip, time and edit; with --strip one of each clip, time and direction.

    Raises:
        DseInvertError: what stops all of it; what is wrong with one clip is in what comes back,
            but for a time or a number that the only one does not have.
    """
    sources, problems = find_sources(patterns)
    if not sources:
        raise nothing_found(problems)
    check_options(replace(options, out=None), len(sources))
    plain = replace(options, edits=() if options.strip else options.edits)
    studio = open_studio(plain, open_model(options.model, pick_device(options.device)))
    written, failed = [], [f"{shown(one.path)}: {one.reason}" for one in problems]
    for path, name in name_tasks(sources).items():
        try:
            clip = open_source(path, options.fps, deinterlace=options.deinterlace)
            _say_idle(studio.for_clip(clip), clip, watcher, alone=len(sources) == 1)
            for still in stills_of(studio, clip, options, watcher):
                file = within(
                    options.out or Path(),
                    f"{name}.{still.label}.{round(float(still.time), 3):g}s.png",
                )
                make_folder(file.parent)
                write_bytes(file, encode_png(still.pixels))
                written.append(file)
        except InputError as error:
            if isinstance(error, OutsideError) and len(sources) == 1:
                raise
            failed.append(str(error))
    for problem in failed:
        watcher.problem(problem)
    return Stills(tuple(written), tuple(failed))


def _say_idle(studio: Studio, clip: Clip, watcher: Watcher, *, alone: bool) -> None:
    """Of edits that act nowhere in a clip; UsageError where it is the only one."""
    if alone:
        refuse_idle(studio.edits, clip)
    for phrase in idle(studio.edits, clip):
        watcher.note(f"{shown(clip.path)}: {phrase}")


def stills_of(
    studio: Studio, clip: Clip, options: VideoOptions, watcher: Watcher
) -> Iterator[Still]:
    """The frames of one clip that `--still` names, edited."""
    strips, studio = _strips(studio, options), studio.for_clip(clip)
    times = [seconds_in(clip, when) for when in options.still or ()]
    for time in times:
        _check_time(clip, time)
    for time in times:
        for cues in strips or [studio.edits]:
            found = still_at(replace(studio, edits=cues), clip, time, watcher)
            if strips:
                yield _in_a_row(found, cues)
            else:
                yield from found.stills


@dataclass(frozen=True)
class _Found:
    """A frame with each edit, and where its largest face is."""

    stills: tuple[Still, ...]
    quad: Any
    """[4, 2] pixels."""


def still_at(studio: Studio, clip: Clip, time: Fraction, watcher: Watcher) -> _Found:
    """The frame that is shown `time` seconds after the beginning, with each edit of the studio.

    Raises:
        InputError: the clip is not as long, cannot be read, or shows no face there.
    """
    with TemporaryDirectory(prefix="dseinvert-") as folder, torch_threads_kept():
        at_hand, work = track_around(studio, clip, time, watcher, Path(folder))
        place, quads = face_at(work, time)
        picture = pictured(at_hand, work, [place])[place]
    made = {label: picture.results[label] for label in at_hand.edits}
    if studio.side_by_side:
        made = {k: np.hstack([picture.source, one]) for k, one in made.items()}
    largest = max(quads, key=lambda quad: float(np.hypot(*(quad[3] - quad[0]))))
    return _Found(tuple(Still(label, time, pixels) for label, pixels in made.items()), largest)


def face_at(work: Work, time: Fraction) -> tuple[int, Any]:
    """The place of the frame that is shown at a time, and the quads [N, 4, 2] of its faces.

    Raises:
        InputError: it shows none.
    """
    clip = work.clip
    ticks = work.seen.pts * float(clip.time_base) - float(clip.start)
    place = max(
        0, int(np.searchsorted(ticks, float(time + 2 * clip.clock.slack), side="right")) - 1
    )
    with work.latents() as latents:
        quads = latents.read("quad")[latents.read("frame") == place]
    if not len(quads):
        raise InputError(f"{shown(clip.path)}: no face to edit at {float(time):g} s", LISTED)
    return place, quads


def track_around(
    studio: Studio, clip: Clip, time: Fraction, watcher: Watcher, folder: Path
) -> tuple[Studio, Work]:
    """The faces around a moment, inverted into `folder`, which is the caller's to remove.

    Raises:
        InputError: the clip is not as long, cannot be read, or shows no face there.
    """
    window = replace(
        studio.options,
        out=folder,
        start=max(Fraction(0), time - AROUND),
        end=time + AROUND,
        frames=True,
    )
    at_hand = replace(studio, options=window)
    _check_time(clip, time)
    decisive, edits = studio.decisive(), studio.fingerprints()
    # No byte of the clip need be hashed for what is thrown away.
    task = make_task(clip, NOWHERE, window, decisive, edits, sha256=NOWHERE)
    work = Work(task, watcher, Stop(), reel=Reel())
    make_folder(task.kept)
    seen = inverted(at_hand, work)
    if seen is None:
        raise InputError(f"{shown(clip.path)}: no face found around {float(time):g} s", LISTED)
    return at_hand, work.knowing(seen)


def _check_time(clip: Clip, time: Fraction) -> None:
    """OutsideError where the clip is not as long."""
    cut_of(clip, VideoOptions(start=time), f"--still {float(time):g}")


def _strips(studio: Studio, options: VideoOptions) -> list[Cues]:
    """The edits of each strip; none where none is asked for."""
    if options.strip is None:
        return []
    strengths, known = parse_strengths(options.strip), studio.model.directions
    return [parse_strip_of_clip(text, strengths, known) for text in options.edits]


def _in_a_row(found: _Found, cues: Mapping[str, Any]) -> Still:
    """The largest face with each strength, and these above."""
    pictures = [crop(still.pixels, found.quad, _STRIP_SIDE) for still in found.stills]
    labels = [*cues]
    return Still(f"{labels[0]}to{labels[-1]}", found.stills[0].time, sheet([pictures], labels))
