"""A clip edited by a program: frame after frame with their exact times, or into one file."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from tempfile import TemporaryDirectory

from dseinvert.api.given import expect, expect_text, when_of
from dseinvert.config import VideoOptions
from dseinvert.editing.cues import cues_of
from dseinvert.editing.script import read_script
from dseinvert.errors import OutputError, UsageError
from dseinvert.inversion.asked import clip_refining
from dseinvert.media.atomic import make_folder, shown
from dseinvert.media.clip import Clip, seconds_in
from dseinvert.media.encoding import CONTAINERS
from dseinvert.media.photo import Photo
from dseinvert.media.pixels import Pixels
from dseinvert.media.planes import Planes
from dseinvert.models import Model
from dseinvert.progress import Watcher
from dseinvert.run.flow.batchsize import torch_threads_kept
from dseinvert.run.video.cast import Somebody, find_everybody, save_people
from dseinvert.run.video.nobody import no_face_in
from dseinvert.run.video.plan import (
    Task,
    check_options,
    check_place,
    cut_of,
    make_task,
    open_source,
    videos_of,
)
from dseinvert.run.video.render import drawing, redrawn, render, shot_at
from dseinvert.run.video.run import inverted
from dseinvert.run.video.still import NOWHERE, face_at, still_at, track_around
from dseinvert.run.video.studio import RECON, Studio, open_studio
from dseinvert.run.video.times import refuse_idle
from dseinvert.run.video.who import open_network
from dseinvert.run.video.work import Work
from dseinvert.stop import Stop
from dseinvert.written import BITRATE

_NAME = "clip"


@dataclass(frozen=True, eq=False)
class VideoFrame:
    """One frame of an edited clip."""

    number: int
    """From 0."""
    time: Fraction
    """When it is shown, in seconds, by the clip's own clock."""
    pixels: Pixels
    """[H, W, 3] upright sRGB as in the source: uint8, or uint16 of a source with more bits."""


class Moment:
    """One frame of a clip, inverted once and drawn with any edit, as `Video.still` would show it.

    What was inverted is in a temporary folder that goes with this object. One thread at a time
    draws.
    """

    def __init__(
        self, studio: Studio, work: Work, time: Fraction, folder: TemporaryDirectory[str]
    ) -> None:
        """Made by `Video.moment`."""
        self.time, self._studio, self._folder = time, studio, folder
        place, _ = face_at(work, time)
        self._shot = shot_at(studio, work, place)
        self._work = replace(work, reel=None)  # the other frames are not needed any more
        self.source = Photo(self._shot.frame.pixels)
        """The frame as it is."""

    def draw(self, *edits: str, script: str | Path | None = None) -> Photo:
        """The frame with what `Video.edit` takes; without any, with its reconstruction.

        Raises:
            UsageError: a direction that the model does not have, or a strength or time that is
                none.
        """
        lines = None if script is None else read_script(Path(script))
        cues = cues_of(edits, lines, self._studio.model.directions)
        if len(cues) > 1:
            raise _one_clip()
        at_hand = replace(self._studio, edits=cues or {RECON: ()})
        if cues and self._studio.options.paste is None:
            at_hand = replace(at_hand, paste="difference")
        with torch_threads_kept():
            (pixels,) = redrawn(at_hand, self._work, self._shot).values()
        return Photo(pixels)


class Video:
    """A clip, tracked and inverted once when its first frame is asked for, and edited at will.

    Iterate over it for the frames; `edit` gives the same clip with another edit, which needs no
    new inversion. Without an edit, frames show the reconstruction. What lies between the passes is
    in a temporary folder that goes with the last of these objects; memory does not grow with the
    clip.
    """

    def __init__(
        self,
        model: Model,
        fast: Model,
        path: Path,
        options: VideoOptions,
        watcher: Watcher,
        folder: TemporaryDirectory[str] | None = None,
    ) -> None:
        """Made by `Gan.video`, which says what can be asked for."""
        self.path, self._model, self._fast = path, model, fast
        self._options, self._watcher = options, watcher
        self._folder = folder or TemporaryDirectory(prefix="dseinvert-")
        self._clip: Clip = open_source(path, options.fps, deinterlace=options.deinterlace)
        # What cannot be is said now.
        refuse_idle(open_studio(options, model).for_clip(self._clip).edits, self._clip)
        clip_refining(options.refine)
        check_place(options)
        cut_of(self._clip, options)

    def __repr__(self) -> str:
        edits = f", {self._options.edits[0]}" if self._options.edits else ""
        return f"Video({str(self.path)!r}, {self.size[0]}x{self.size[1]}{edits})"

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of the upright frames, in pixels."""
        return self._clip.size

    @property
    def rate(self) -> Fraction:
        """Average frames a second, as far as the file tells; each frame has its own time."""
        return self._clip.rate

    @property
    def duration(self) -> Fraction | None:
        """Seconds by the header; None = it does not say."""
        return self._clip.duration

    def edit(self, *edits: str, script: str | Path | None = None) -> Video:
        """The same clip with other edits.

        Args:
            edits: [WHO:]NAME=[FROM..]STRENGTH[@TIME][,NAME=...], as `--edit` takes them; several
                where each names somebody.
            script: a file of edits in their place, as `--edits` takes it; None = there is none.

        Raises:
            UsageError: a direction that the model does not have, a strength or time that is none,
                or edits that are not one video.
        """
        for text in edits:
            expect_text("edits", text)
        file = None if script is None else Path(script)
        options = replace(self._options, edits=edits, script=file)
        if videos_of(options) != 1:
            raise _one_clip()
        return Video(self._model, self._fast, self.path, options, self._watcher, self._folder)

    def still(self, time: Fraction | float | str) -> Photo:
        """The frame shown at a time, edited, within seconds: only what is around is tracked.

        Args:
            time: seconds from the beginning of the clip, or text as "0:12.5" or "00:00:12:12".

        Raises:
            InputError: the clip is not as long, or shows no face there.
            UsageError: no time.
        """
        at = when_of("time", time)
        assert at is not None
        studio = replace(open_studio(self._options, self._model), model=self._fast)
        studio, at = studio.for_clip(self._clip), seconds_in(self._clip, at)
        (made,) = still_at(studio, self._clip, at, self._watcher).stills
        return Photo(made.pixels)

    def moment(self, time: Fraction | float | str, people: Sequence[Somebody] = ()) -> Moment:
        """The frame shown at a time, tracked and inverted now, and drawn with any edit afterwards.

        Args:
            time: as for `still`.
            people: of `people`, whose numbers edits may then name; () = whom `faces` and `person`
                mean.

        Raises:
            InputError, UsageError: as `still`.
        """
        when = when_of("time", time)
        assert when is not None
        at = seconds_in(self._clip, when)
        numbers = tuple(str(one.number) for one in people) or self._options.person
        options = replace(self._options, person=numbers, edits=(), script=None)
        studio = replace(open_studio(options, self._model), model=self._fast)
        folder = TemporaryDirectory(prefix="dseinvert-")
        if people:
            network = open_network(options, self._model.generator.device)
            known = "" if network is None else network.sha256
            file = Path(folder.name, f"{self.path.stem}.people.json")
            save_people(file, people, NOWHERE, known, options.rotate)
        with torch_threads_kept():
            found = track_around(studio, self._clip, at, self._watcher, Path(folder.name))
        return Moment(*found, at, folder)

    def people(self) -> tuple[Somebody, ...]:
        """Everybody in the clip by number, with the times of a search every second; no inversion.

        Raises:
            InputError: a clip that cannot be read. MissingError: a network that cannot be opened.
        """
        detector = open_studio(self._options, self._model).detector
        network = open_network(self._options, self._model.generator.device)
        rotate = self._options.rotate
        return find_everybody(self._clip, detector, network, self._watcher.advance, rotate)

    def __iter__(self) -> Iterator[VideoFrame]:
        """The frames in order.

        Raises:
            InputError: a clip that cannot be read, or shows no face.
        """
        lossless = replace(self._options, out=self._kept / "frames.mkv", codec="ffv1")
        with self._working(lossless) as (studio, work), drawing(studio, work, 0) as frames:
            (output,) = work.task.outputs
            for number, (place, _, pictures) in enumerate(frames):
                pixels = pictures[output.label]
                assert not isinstance(pixels, Planes)  # they were not asked for
                yield VideoFrame(number, work.seconds(place), pixels)

    def write(
        self,
        path: str | Path,
        *,
        codec: str | None = None,
        crf: float | None = None,
        bitrate: int | str | None = None,
        preset: str | None = None,
        pix_fmt: str | None = None,
        height: int | None = None,
        audio: str | Path | None = None,
        keep_gps: bool = False,
        side_by_side: bool = False,
    ) -> Path:
        """One video with the sound, subtitles and metadata of the source; whole or not at all.

        Args:
            path: .mp4, .mov, .mkv or .webm; a file that is there is replaced.
            codec: h264, h265, av1, prores or ffv1, and with _nvenc on a GPU; None = h264.
            crf: quality, from 0 to 63, less is better and larger; None = looks like the source.
            bitrate: bits a second, or text as "4M", in place of crf; None = what quality takes.
            preset: how thoroughly the encoder works, by its own name; None = a usual one.
            pix_fmt: pixel format by FFmpeg's name; None = one that players take.
            height: rows of the video, from 16 on; None = as the source.
            audio: file whose sound takes the place of the clip's; None = the clip's own.
            keep_gps: whether it says where the clip was taken.
            side_by_side: whether the source is shown beside the result.

        Raises:
            InputError: a clip that cannot be read, or shows no face.
            OutputError, UsageError: a file or codec that cannot be written.
        """
        expect(path, (str, Path), "the path of a video")
        if Path(path).suffix.lower() not in CONTAINERS or Path(path).is_dir():
            raise OutputError(
                f"{shown(Path(path))}: not the name of a video", ", ".join(CONTAINERS)
            )
        if crf is not None and (not isinstance(crf, int | float) or not 0 <= crf <= 63):
            raise UsageError(f"crf {crf!r}", "a number from 0 to 63")
        if height is not None and (not isinstance(height, int) or height < 16):
            raise UsageError(f"height {height!r}", "a number of rows from 16 on")
        asked = replace(
            self._options,
            out=Path(path),
            codec=codec,
            crf=crf,
            bitrate=None if bitrate is None else BITRATE.read("bitrate", str(bitrate)),
            preset=preset,
            pix_fmt=pix_fmt,
            height=height,
            audio=None if audio is None else Path(audio),
            keep_gps=keep_gps,
            side_by_side=side_by_side,
        )
        check_options(asked, 1)
        with self._working(asked) as (studio, work):
            problems = render(studio, work, work.task.outputs)
        for problem in problems:
            self._watcher.problem(f"{shown(self.path)}: {problem}")
        return Path(path)

    @property
    def _kept(self) -> Path:
        return Path(self._folder.name)

    @contextmanager
    def _working(self, options: VideoOptions) -> Iterator[tuple[Studio, Work]]:
        """The opened model with all that is asked, and the clip with its latents on disk."""
        studio = replace(open_studio(options, self._model), model=self._fast)
        studio = studio.for_clip(self._clip)
        work = Work(self._task(studio, options), self._watcher, Stop())
        make_folder(work.task.kept)
        try:
            with torch_threads_kept():
                seen = inverted(studio, work)
                if seen is None:
                    raise no_face_in(self._clip, options)
                yield studio, work.knowing(seen)
        finally:
            shutil.rmtree(work.task.kept, ignore_errors=True)

    def _task(self, studio: Studio, options: VideoOptions) -> Task:
        decisive, edits = studio.decisive(), studio.fingerprints()
        task = make_task(self._clip, _NAME, options, decisive, edits)
        return replace(task, folder=self._kept)


def _one_clip() -> UsageError:
    return UsageError("edit gives one clip", "join edits by commas, or name who each is for")
