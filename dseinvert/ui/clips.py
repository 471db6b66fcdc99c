"""The clip of one session: one frame drawn at each move of a slider, and a few seconds as video."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from dseinvert.api import Gan, Moment, Video
from dseinvert.config import VideoOptions
from dseinvert.errors import InputError, UsageError
from dseinvert.media.atomic import make_folder, write_bytes
from dseinvert.run.video.cast import Somebody
from dseinvert.ui import lines
from dseinvert.ui.given import Asked, Download, real, rows, shown_small, text

_MOMENTS = 3
"""How many frames are kept tracked and inverted."""
_SEARCHED, _PREVIEWED = 600, 30
"""Seconds of clip in which people are looked for, and of a preview, at most."""
_PREVIEW_HEIGHT = 480
SCRIPT = "edits.toml"


class Clip:
    """A clip of a session: nothing is written but into `folder`, which goes with the session."""

    def __init__(
        self, gan: Gan, path: Path, folder: Path, *, uploaded: bool, model: str = "default"
    ) -> None:
        """`model` is how the command line names it; InputError where `path` is no clip."""
        self._model = model
        self.gan, self.path, self._folder, self.uploaded = gan, path, folder, uploaded
        self._video: Video = gan.video(path, faces="all")
        self._lock = threading.Lock()
        self._people: Sequence[Somebody] = ()
        self._moments: OrderedDict[Fraction, Moment] = OrderedDict()

    def told(self) -> dict[str, Any]:
        """What the page shows of it."""
        width, height = self._video.size
        seconds = float(self._video.duration or 0)
        rate = float(self._video.rate)
        return {
            "name": self.path.name,
            "path": str(self.path),
            "seconds": seconds,
            "step": 1 / rate if rate else 0.04,
            "said": f"{width} x {height}, {seconds:.1f} s, {rate:.3g} frames a second",
            "people": [_person(one) for one in self._people],
        }

    def people(self) -> list[dict[str, Any]]:
        """Everybody in it, by number, with a picture each.

        Raises:
            UsageError: the clip is so long that it would take minutes.
        """
        seconds = float(self._video.duration or 0)
        if seconds > _SEARCHED:
            what = f"{self.path.name} is {seconds / 60:.0f} minutes long"
            raise UsageError(what, "edit everybody, or choose left, right or largest")
        people = self._video.people()
        with self._lock:
            self._people = people
            self._moments.clear()
        if not self._people:
            raise InputError(
                f"{self.path.name}: no face found in it", "an upright or larger one may be found"
            )
        return [_person(one) for one in self._people]

    def frame(self, asked: Asked) -> dict[str, Any]:
        """The frame at `time` before and after the edits in `rows`, and the lines for it."""
        time = Fraction(real(asked, "time")).limit_denominator(100_000)
        with self._lock, self._script(asked) as script:
            moment = self._moment(time)
            before = moment.source
            after = moment.draw(script=script) if script else before
        pictures = {"before": shown_small(before.pixels), "after": shown_small(after.pixels)}
        return {**pictures, "lines": lines.of_clip(self._named(), self._options(asked))}

    def preview(self, asked: Asked, file: Path) -> None:
        """Some seconds of it as a small H.264 video that every browser plays."""
        start, end = real(asked, "start"), real(asked, "end")
        if not 0 < end - start <= _PREVIEWED:
            raise UsageError(f"from {start:g} to {end:g} s", f"up to {_PREVIEWED} seconds")
        video = self.gan.video(self.path, faces="all", start=start, end=end)
        height = min(_PREVIEW_HEIGHT, self._video.size[1])
        with self._script(asked) as script:
            video = video.edit(script=script) if script else video
            video.write(file, codec="h264", pix_fmt="yuv420p", preset="veryfast", height=height)

    def edits(self, asked: Asked) -> Download:
        """The edits as the file that `dseinvert video --edits` reads."""
        return Download(SCRIPT, lines.script_of(rows(asked, "rows")).encode())

    def settings(self, asked: Asked) -> Download:
        """What `dseinvert video --config` reads to do the same, beside that file of edits."""
        return lines.settings_of("video", [self._named()], self._options(asked))

    def export(self, asked: Asked) -> tuple[list[str], VideoOptions]:
        """What `dseinvert video` is to do; the file of edits is written into the output folder."""
        out, options = output_folder(asked), self._options(asked)
        make_folder(out)
        script = options.script and out / f"{self.path.stem}.{SCRIPT}"
        anew = script is not None and script.is_file()  # what was exported here is made anew
        if script:
            write_bytes(script, lines.script_of(rows(asked, "rows")).encode())
        return [str(self.path)], replace(options, out=out, script=script, overwrite=anew)

    def _options(self, asked: Asked) -> VideoOptions:
        """As they are typed: the file of edits and the folder by the names that are given."""
        out = Path(text(asked, "out") or lines.OUT)
        script = Path(SCRIPT) if lines.script_of(rows(asked, "rows")) else None
        return VideoOptions(out, script=script, faces="all", model=self._model)

    def _named(self) -> str:
        """How the clip is typed; where one lies that was dropped is not known, its name is."""
        return self.path.name if self.uploaded else str(self.path)

    @contextmanager
    def _script(self, asked: Asked) -> Iterator[Path | None]:
        """The edits as a file of the session while it is needed; None = there are no edits."""
        written = lines.script_of(rows(asked, "rows"))
        if not written:
            yield None
            return
        with TemporaryDirectory(dir=self._folder) as folder:
            write_bytes(Path(folder, SCRIPT), written.encode())
            yield Path(folder, SCRIPT)

    def _moment(self, time: Fraction) -> Moment:
        if time not in self._moments:
            self._moments[time] = self._video.moment(time, self._people)
        self._moments.move_to_end(time)
        while len(self._moments) > _MOMENTS:
            self._moments.popitem(last=False)
        return self._moments[time]


def output_folder(asked: Asked) -> Path:
    """Where to write; UsageError where nothing is named."""
    if not text(asked, "out"):
        raise UsageError("no folder to write into", "name one")
    return Path(text(asked, "out")).expanduser().absolute()


def _person(one: Somebody) -> dict[str, Any]:
    first, last = one.times
    picture = one.pictures[len(one.pictures) // 2][1]
    return {"number": one.number, "picture": shown_small(picture), "from": first, "to": last}
