"""`--list-people`: a sheet of everybody in a clip, and a list that later runs take numbers from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from dseinvert.config import VideoOptions
from dseinvert.errors import ExitCode, InputError, UsageError
from dseinvert.media.atomic import make_folder, shown, within, write_bytes
from dseinvert.media.clip import Clip
from dseinvert.media.images import encode_png
from dseinvert.media.pixels import Pixels
from dseinvert.models import open_model, pick_device
from dseinvert.names import counted
from dseinvert.progress import Watcher
from dseinvert.run.flow.names import safe_stem
from dseinvert.run.video.cast import (
    SIDE,
    Somebody,
    every_of,
    find_everybody,
    save_people,
)
from dseinvert.run.video.plan import find_sources, nothing_found, open_source, source_sha256
from dseinvert.run.video.who import open_network
from dseinvert.video.lookout import SMALLEST

_GAP, _LINE, _LEFT = 4, 22, 56
_NOBODY = f"nobody is in it (no face of {SMALLEST} pixels; --rotate says how the clip lies)"
_FONT = cv2.FONT_HERSHEY_SIMPLEX


@dataclass(frozen=True)
class Listed:
    """Everybody in one clip."""

    source: str
    sheet: Path | None
    """None = nobody is in it."""
    people: tuple[Somebody, ...]
    reason: str = ""
    """Why there is no list."""

    def lines(self) -> list[str]:
        """For people: one for each, and where the sheet is."""
        told = [f"{one.number}  {_told(one)}" for one in self.people]
        return [f"{self.source}: {self.sheet or _NOBODY}", *told]

    def asdict(self) -> dict[str, Any]:
        """Ready for JSON."""
        sheet = None if self.sheet is None else str(self.sheet)
        people = [one.asdict() for one in self.people]
        return {"source": self.source, "sheet": sheet, "people": people, "reason": self.reason}


@dataclass(frozen=True)
class Lists:
    """What `--list-people` came to."""

    clips: tuple[Listed, ...]
    known_again: bool
    """Whether somebody who comes back has the same number."""

    @property
    def exit_code(self) -> ExitCode:
        """As of a run."""
        return ExitCode.SOME_FAILED if any(one.reason for one in self.clips) else ExitCode.OK

    def asdict(self) -> dict[str, Any]:
        """Ready for JSON."""
        clips = [one.asdict() for one in self.clips]
        return {"exit_code": int(self.exit_code), "known_again": self.known_again, "clips": clips}

    def lines(self) -> list[str]:
        """For people."""
        return [line for one in self.clips if not one.reason for line in one.lines()]

    def notes(self) -> list[str]:
        """What the numbers depend on, where there are any."""
        if not any(one.people for one in self.clips):
            return []
        if self.known_again:
            return ["who comes back is known again by the identity network"]
        return ["who leaves and comes back has a new number; --identity knows them again"]


def list_people(patterns: Sequence[str], options: VideoOptions, watcher: Watcher) -> Lists:
    """Look for everybody in all clips that `patterns` mean; nothing is inverted.

    Raises:
        DseInvertError: what stops all of it; what is wrong with one clip is in what comes back.
    """
    sources, problems = find_sources(patterns)
    if not sources:
        raise nothing_found(problems)
    model = open_model(options.model, pick_device(options.device))
    detector = model.detector()
    if detector is None:
        raise UsageError(f"{model.name} draws no aligned faces", "use `images` on frames of it")
    network = open_network(options, model.generator.device)
    clips = []
    for path in sources:
        try:
            clip = open_source(path, options.fps, deinterlace=options.deinterlace)
            duration = clip.duration
            searches = 0 if duration is None else round(duration / every_of(clip))
            watcher.begin(f"{shown(path)}: finding people", searches)
            people = find_everybody(clip, detector, network, watcher.advance, options.rotate)
            known = "" if network is None else network.sha256
            clips.append(_listed(clip, people, options, known))
        except InputError as error:
            reason = str(error).removeprefix(f"{shown(path)}: ")
            watcher.problem(f"{shown(path)}: {reason}")
            clips.append(Listed(shown(path), None, (), reason))
    return Lists(tuple(clips), network is not None)


def _listed(
    clip: Clip, people: tuple[Somebody, ...], options: VideoOptions, network: str
) -> Listed:
    """Write the sheet and the list beside the clip, or where they are wanted."""
    if not people:
        return Listed(shown(clip.path), None, ())
    folder = clip.path.parent if options.out is None else options.out
    make_folder(folder)
    sheet = within(folder, f"{safe_stem(clip.path)}.people.png")
    write_bytes(sheet, encode_png(sheet_of(people)))
    listed = sheet.with_suffix(".json")
    save_people(listed, people, source_sha256(clip), network, options.rotate)
    return Listed(shown(clip.path), sheet, people)


def sheet_of(people: Sequence[Somebody]) -> Pixels:
    """uint8 [H, W, 3]: a row for each, with the number and pictures and when these were."""
    columns = max(len(one.pictures) for one in people)
    width = _LEFT + columns * (SIDE + _GAP)
    return np.concatenate([_row(one, width) for one in people])


def _row(one: Somebody, width: int) -> Pixels:
    row = np.full((_LINE + SIDE + _GAP, width, 3), 255, np.uint8)
    cv2.putText(row, str(one.number), (8, _LINE + SIDE // 2), _FONT, 1, (0, 0, 0), 2, cv2.LINE_AA)
    for k, (time, picture) in enumerate(one.pictures):
        x = _LEFT + k * (SIDE + _GAP)
        row[_LINE : _LINE + SIDE, x : x + SIDE] = picture
        place = (x + 4, _LINE - 6)
        cv2.putText(row, clock(time), place, _FONT, 0.5, (0, 0, 0), 1, cv2.LINE_AA)
    return row


def clock(time: float) -> str:
    """Seconds as a clock shows them: 0:12.5."""
    minutes, rest = divmod(round(time, 1), 60)
    hours, minutes = divmod(int(minutes), 60)
    return f"{hours}:{minutes:02d}:{rest:04.1f}" if hours else f"{minutes}:{rest:04.1f}"


def _told(one: Somebody) -> str:
    first, last = map(clock, one.times)
    return f"{first} to {last}, seen {counted(len(one.sightings), 'time')}"
