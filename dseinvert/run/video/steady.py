"""The changes of all faces of a clip steadied in time; a killed run goes on exactly as it was."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dseinvert.errors import InputError
from dseinvert.media.atomic import make_folder
from dseinvert.media.pixels import Pixels
from dseinvert.media.rows import Rows, write_rows
from dseinvert.video.steady import Steadier

Patches = dict[str, NDArray[np.float32]]
"""What is put into a frame for one face [R, R, 3], or [R, R, 5] of `carry`, by label."""


@dataclass
class Steady:
    """The steadiers of all tracks and labels."""

    seconds: float
    folders: Mapping[str, Path]
    """Where the states of each label are kept."""
    every: int
    """Frames a segment: how often they are kept."""
    _live: dict[tuple[int, str], Steadier] = field(default_factory=dict)

    def feed(self, track: int, time: float, source: Pixels, patches: Patches) -> Patches:
        """The steadied patches of the next frame of a track; see `Steadier.feed`."""
        live = {label: self._live_one(track, label) for label in patches}
        return {label: live[label].feed(source, patch, time) for label, patch in patches.items()}

    def _live_one(self, track: int, label: str) -> Steadier:
        return self._live.setdefault((track, label), Steadier(self.seconds))

    def done(self, place: int, tracks: Sequence[int]) -> None:
        """A frame is done that showed these tracks; before a segment ends, all is on disk."""
        self._live = {key: one for key, one in self._live.items() if key[0] in tracks}
        if (place + 1) % self.every == 0:
            for label, folder in self.folders.items():
                make_folder(folder)
                write_rows(_file(folder, place + 1), self._arrays(label))

    def resume(self, place: int) -> None:
        """Go on before the frame at `place` as if the frames before it had been fed."""
        for label, folder in self.folders.items() if place else ():
            try:
                with Rows(_file(folder, place)) as rows:
                    self._restore(label, rows)
            except (InputError, ValueError, LookupError):  # of a label that is farther, or damaged
                continue

    def _arrays(self, label: str) -> dict[str, NDArray[Any]]:
        arrays: dict[str, NDArray[Any]] = {}
        for (track, name), steadier in self._live.items():
            if name == label and steadier.before is not None:
                time, crop, change = steadier.before
                arrays |= {f"{track}.time": np.array([time]), f"{track}.crop": crop}
                arrays[f"{track}.change"] = np.asarray(change, np.float32)
        return arrays

    def _restore(self, label: str, rows: Rows) -> None:
        for track in {int(name.split(".")[0]) for name in rows.names}:
            steadier = Steadier(self.seconds)
            time, crop, change = (rows.read(f"{track}.{what}") for what in _STATE)
            steadier.before = _checked(time, crop, change)
            self._live[track, label] = steadier


_STATE = ("time", "crop", "change")


def _checked(
    time: NDArray[Any], crop: NDArray[Any], change: NDArray[Any]
) -> tuple[float, Pixels, NDArray[np.float32]]:
    """What was kept; ValueError for what `_arrays` does not write."""
    square = all(one.ndim == 3 and len(one) == one.shape[1] for one in (crop, change))
    # A change is of colours, or also says where pixels come from.
    square = square and crop.shape[2] == 3 and change.shape[2] in (3, 5)
    kinds = crop.dtype == np.uint8 and change.dtype == np.float32
    if not (square and kinds and time.shape == (1,) and np.isfinite(time).all()):
        raise ValueError("no state of a steadier")
    if not np.isfinite(change).all():
        raise ValueError("a change that is no number")
    return float(time[0]), crop, change


def _file(folder: Path, place: int) -> Path:
    return folder / f"{place:08d}.safetensors"
