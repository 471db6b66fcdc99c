"""The file of a clip's latents: a row for each face on each frame, in the order of the frames.

Beside the tensors of `Latent`, of which `feature` is float16, a row has these columns:

    frame, pts, track                     int64    place in the clip, ticks, number of the track
    quad [4, 2], points [5, 2]            float64  the crop, and the points of the face, in pixels
    presence, psnr, ssim, rim [8, 8, 3]   float32  how much of an edit to show; how good the
                                                   reconstruction is, and how it differs at the rim
    seen [32, 32, 3]                      uint8    the crop, small; not in files of earlier versions

Once there are "clip_pts", the ticks of all frames, and for each track that was tuned
"tuning/TRACK/NAME": a factor of `Latent.tuning` without its batch axis, as the rows share it.
To everybody else it is a latent file like any other; see `every_row`.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from dseinvert.errors import InputError
from dseinvert.latent.header import Header
from dseinvert.latent.latent import Latent, from_tensors
from dseinvert.latent.tracks import by_tracks, is_of_a_track, of_track
from dseinvert.latent.words import OPTIONAL
from dseinvert.media.atomic import make_folder, remove_stale_parts, shown
from dseinvert.media.rows import Rows, join_rows, write_rows

Row = dict[str, NDArray[Any]]
"""The tensors of one latent without their batch axis, and the columns."""
Tunings = Mapping[int, Mapping[str, NDArray[Any]]]
"""What was added to the generator's weights, by track: the factors of `Latent.tuning`."""
_PTS = "clip_pts"


class ClipLatents:
    """An open file of a clip's latents: a context; one thread at a time."""

    def __init__(self, path: Path) -> None:
        """Raises InputError where `path` is not a whole file of rows."""
        self._rows = Rows(path)

    def __enter__(self) -> ClipLatents:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._rows.close()

    @property
    def header(self) -> Header:
        """What all rows have in common; ValueError or KeyError where it is no latent file."""
        return Header.parse(self._rows.header)

    @property
    def clip_pts(self) -> NDArray[np.int64]:
        """[F] when each frame of the clip is shown, in ticks; KeyError in a file of pictures."""
        return self._rows.read(_PTS)

    @property
    def layers(self) -> int:
        """Of each code [L, D]."""
        return self._rows.shape("code")[1]

    def read(self, name: str) -> NDArray[Any]:
        """A whole column [N, ...]; KeyError where there is none."""
        return self._rows.read(name)

    def holds(self, name: str) -> bool:
        """Whether there is such a column."""
        return name in self._rows.names

    def value(self, name: str, row: int) -> NDArray[Any]:
        """One row's value of a column or tensor."""
        return self._rows.read(name, row, row + 1)[0]

    def latent(self, row: int) -> Row:
        """The tensors of one row, as they are on disk."""
        names = [name for name in ("code", *OPTIONAL) if name in self._rows.names]
        return {name: self.value(name, row) for name in names}

    def tunings(self) -> Tunings:
        """What was tuned to each track; nothing for tracks that were not.

        Raises:
            InputError: a factor is of no track.
        """
        names = sorted(name for name in self._rows.names if is_of_a_track(name))
        try:
            return by_tracks({name: self._rows.read(name) for name in names})
        except ValueError as error:
            said = f"{shown(self._rows.path)}: damaged latents: {error}"
            raise InputError(said, "invert the clip again") from error


class Chunks:
    """The rows of a clip as they are made: files of the rows of `every` frames each.

    Rows that are on disk need not be made again when a run is killed, and however long the clip
    is, only one chunk of them is in memory. A chunk has its name once it is whole.
    """

    def __init__(self, folder: Path, every: int) -> None:
        """Goes on behind the whole chunks that an earlier run left in `folder`.

        Raises:
            OutputError: `folder` cannot be made.
        """
        make_folder(folder)
        remove_stale_parts(folder)
        self._folder, self._every = folder, every
        self._count = self._keep_whole()

    @property
    def done(self) -> int:
        """Frames whose rows are on disk, counted in whole chunks."""
        return self._count * self._every

    def append(self, rows: Sequence[Row]) -> None:
        """Write the next chunk; rows may be none."""
        write_rows(self._file(self._count), _stacked(rows))
        self._count += 1

    def join(self, path: Path, header: Header, pts: NDArray[np.int64], tunings: Tunings) -> None:
        """Make one file of all chunks, and remove them.

        pts: [F] when each frame of the clip is shown, in ticks. Raises OutputError.
        """
        once = {of_track(k, name): a for k, one in tunings.items() for name, a in one.items()}
        chunks = [self._file(number) for number in range(self._count)]
        join_rows(path, chunks, {_PTS: pts, **once}, header.text())
        shutil.rmtree(self._folder, ignore_errors=True)

    def _file(self, number: int) -> Path:
        return self._folder / f"{number:06d}.safetensors"

    def _keep_whole(self) -> int:
        """Count the leading chunks that are whole, and remove all behind them."""
        count = 0
        while self._is_whole(count):
            count += 1
        for path in self._folder.glob("*.safetensors"):
            if int(path.stem) >= count:
                path.unlink()
        return count

    def _is_whole(self, number: int) -> bool:
        try:
            Rows(self._file(number)).close()
        except InputError:
            return False
        return True


def rows_of(latent: Latent) -> list[Row]:
    """A batch row by row, as it is stored."""
    tensors = {name: tensor.cpu().float().numpy() for name, tensor in latent.tensors().items()}
    if "feature" in tensors:  # a thousandth of a step, at half the disk
        tensors["feature"] = tensors["feature"].astype(np.float16)
    return [{name: array[i] for name, array in tensors.items()} for i in range(len(latent))]


def latent_of(rows: Sequence[Row], header: Header) -> Latent:
    """Rows of `ClipLatents.latent` as a batch, float32, without what was tuned to their tracks."""
    arrays = {name: np.stack([row[name] for row in rows]) for name in rows[0]}
    return from_tensors(header, {name: torch.from_numpy(a).float() for name, a in arrays.items()})


def _stacked(rows: Sequence[Row]) -> Row:
    if not rows:
        return {"frame": np.empty(0, np.int64)}
    return {name: np.stack([row[name] for row in rows]) for name in rows[0]}
