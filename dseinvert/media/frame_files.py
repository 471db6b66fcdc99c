"""A video as a folder of pictures: one file a frame, and a table of the times they are shown."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Container, Iterator
from contextlib import contextmanager
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import numpy as np

from dseinvert.errors import InputError, OutputError, UsageError
from dseinvert.media.atomic import shown, write_bytes
from dseinvert.media.clip import Clip
from dseinvert.media.colour import BT709, LIMITED, Colours, Turn
from dseinvert.media.images import encode_png, read_image
from dseinvert.media.scan import scan
from dseinvert.names import printable

TIMES, SOUND = "times.csv", "sound.mka"
_NUMBERED = re.compile(r"(.*?)(\d+)")
_MOST_GAPS = 8  # that are named
_DAMAGES = (
    *(OSError, ValueError, KeyError, TypeError, IndexError, ZeroDivisionError),
    csv.Error,
)
"""What reading the table of another program raises."""
_COLUMNS = ("file", "pts", "time_base", "seconds")


def probe_frames(folder: Path, rate: Fraction | None = None) -> Clip:
    """The pictures of `folder` in natural order as a clip of `rate` frames a second.

    None = as `times.csv` says, which `--frames` writes beside the pictures. Raises InputError for
    a folder without pictures and UsageError where neither tells the times.
    """
    files = scan([str(folder)], recursive=False).files
    if not files:
        raise InputError(f"{shown(folder)}: holds no pictures")
    times, time_base = (tuple(range(len(files))), 1 / rate) if rate else _read_times(folder, files)
    height, width = read_image(files[0]).shape[:2]
    span = (times[-1] - times[0]) * time_base
    sound = folder / SOUND
    average = rate or (Fraction(len(files) - 1) / span if span else Fraction(25))
    return Clip(
        path=folder,
        container="frames",
        stream=0,
        codec="",
        width=width,
        height=height,
        turn=Turn(),
        time_base=time_base,
        rate=average.limit_denominator(1_000_000),
        start=times[0] * time_base,
        origin=Fraction(0),
        duration=span + 1 / average,
        claimed_frames=len(files),
        pixel_format="rgb24",
        chroma="444",
        depth=8,
        aspect=Fraction(1),
        colours=Colours(LIMITED, BT709, BT709, BT709),
        notes=_gaps(files) if rate else (),
        files=files,
        times=times,
        sound=sound if sound.is_file() else None,
    )


def _gaps(files: tuple[Path, ...]) -> tuple[str, ...]:
    """A phrase that names the numbers that are missing between pictures numbered in a row."""
    found = [_NUMBERED.fullmatch(file.stem) for file in files]
    numbered = [one for one in found if one]
    if len(numbered) < len(files) or len({one[1] for one in numbered}) > 1:
        return ()
    numbers = [int(one[2]) for one in numbered]
    missing = [
        f"{first + 1}" if last - first == 2 else f"{first + 1} to {last - 1}"
        for first, last in pairwise(numbers)
        if last - first > 1
    ]
    if not missing:
        return ()
    listed = ", ".join(missing[:_MOST_GAPS]) + ", ..." * (len(missing) > _MOST_GAPS)
    return (f"its pictures lack the numbers {listed}; the others follow each other without a gap",)


def read_frame_file(file: Path, clip: Clip) -> np.ndarray:
    """[H, W, 3] uint8 of one picture; InputError where it has not the size of the first."""
    pixels = read_image(file)
    if pixels.shape[1::-1] != clip.size:
        found, wanted = (f"{w} x {h}" for w, h in (pixels.shape[1::-1], clip.size))
        raise InputError(f"{shown(file)}: is {found} where the first frame is {wanted}")
    return pixels


class FrameFiles:
    """The open folder of `writing_frames`."""

    def __init__(self, folder: Path, time_base: Fraction) -> None:
        self.rows: list[tuple[str, int]] = []
        self._folder, self._time_base = folder, time_base

    def write(self, pixels: np.ndarray, pts: int, duration: int = 0) -> None:
        """Write the next frame, [H, W, 3] uint8, shown at `pts`."""
        name = f"frame-{len(self.rows) + 1:06d}.png"
        write_bytes(self._folder / name, encode_png(pixels))
        self.rows.append((name, pts))

    def table(self) -> bytes:
        """The times of the frames written so far."""
        text = io.StringIO(newline="")
        table = csv.writer(text)
        table.writerow(_COLUMNS)
        for name, pts in self.rows:
            table.writerow((name, pts, self._time_base, f"{float(pts * self._time_base):.6f}"))
        return text.getvalue().encode()


@contextmanager
def writing_frames(folder: Path, time_base: Fraction) -> Iterator[FrameFiles]:
    """Write frames as frame-000001.png ... into `folder`, at the end their times to times.csv."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        why = f"{shown(folder)}: cannot be made: {(error.strerror or '').lower()}"
        raise OutputError(why, "choose another place") from error
    frames = FrameFiles(folder, time_base)
    yield frames
    write_bytes(folder / TIMES, frames.table())


def _read_times(folder: Path, files: tuple[Path, ...]) -> tuple[tuple[int, ...], Fraction]:
    """The `pts` of each of `files` and their time base, from the table in `folder`."""
    table = folder / TIMES
    if not table.is_file():
        raise UsageError(
            f"{shown(folder)}: a folder of frames has no frame rate", "give one: --fps"
        )
    try:
        by_name, time_base = _by_name(table, {file.name for file in files})
        times = tuple(by_name[file.name] for file in files)
    except _DAMAGES as error:
        said = printable(str(error))[:200]
        raise InputError(f"{shown(table)}: is not a table of these frames: {said}") from error
    if time_base <= 0 or any(late <= early for early, late in pairwise(times)):
        raise InputError(f"{shown(table)}: its times do not grow in the order of the names")
    return times, time_base


def _by_name(table: Path, wanted: Container[str]) -> tuple[dict[str, int], Fraction]:
    """The `pts` of some files, and the time base: row by row, for a table may be long."""
    by_name: dict[str, int] = {}
    time_base = Fraction(0)
    with table.open(encoding="utf-8") as file:
        for row in csv.DictReader(line.rstrip("\n") for line in file):
            time_base = time_base or Fraction(row["time_base"])
            if row["file"] in wanted:
                by_name[row["file"]] = int(row["pts"])
    return by_name, time_base
