"""The page of a clip: what was written, a contact strip, and how steady it is."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any
from urllib.parse import quote

import cv2
import numpy as np

from dseinvert.errors import InputError
from dseinvert.latent.clip import ClipLatents
from dseinvert.media.atomic import shown, write_bytes
from dseinvert.media.images import encode_jpeg
from dseinvert.media.pixels import Pixels
from dseinvert.run.pages import data_uri, page_bytes
from dseinvert.run.video.measure import LENGTH, NAMES, STRETCHES, Marks, frames_of
from dseinvert.run.video.plan import Output, Task
from dseinvert.run.video.records import Record
from dseinvert.run.video.render import Pictured
from dseinvert.run.video.studio import RECON
from dseinvert.run.video.tune import refined_of
from dseinvert.run.video.work import Seen, Work
from dseinvert.similarity.metrics import PROTOCOL as IMAGE_PROTOCOL
from dseinvert.version import __version__
from dseinvert.video.metrics import PROTOCOL

_PICTURE = 200  # pixels
_AROUND = 0.62  # half a picture's side, in sides of the quad


@dataclass(frozen=True)
class _Row:
    """One output in the strip."""

    title: str
    pictures: list[str]
    """Addresses."""
    link: str = ""
    """Of its video; "" = there is none."""


def page_path(task: Task) -> Path:
    """Where the page of a clip is."""
    return task.folder / f"{task.name}.html"


def reconstruction(rows: ClipLatents) -> dict[str, float]:
    """Medians over all crops."""
    return {name: float(np.median(rows.read(name))) for name in ("psnr", "ssim")}


def facts_of(work: Work, model: Mapping[str, str]) -> dict[str, str]:
    """What a reader of the numbers should know, in words. model: the facts about it."""
    task = work.task
    with work.latents() as rows:
        origin = rows.header.origin
    return {
        "program": f"dseinvert {__version__}",
        **model,
        "source": f"{shown(task.clip.path)}, sha256 {task.sha256}",
        "faces": f"{origin['faces']}, FFHQ crops, {origin['detector']} detector",
        "smooth": origin["smooth"],
        **refined_of(origin),
        "reconstruction": f"medians over all crops before smoothing; {IMAGE_PROTOCOL}",
        "temporal": (
            f"of the written videos, {STRETCHES} stretches of {LENGTH} frames, within the mask of "
            f"the faces; landmarks placed on every frame by itself; {PROTOCOL}"
        ),
        "seam": "of the frames in the strip, before they were encoded; grey levels",
        "identity": "not measured: no identity network is bundled",
    }


def write_page(
    work: Work,
    records: Sequence[Record],
    pictures: Mapping[int, Pictured],
    facts: Mapping[str, str],
) -> None:
    """The page of a clip with all outputs that are still there.

    pictures: frames before they were encoded, by place; shown in the strip.
    """
    task = work.task
    here = [(r, _output(task, r)) for r in records if r.clip == task.tracks_key]
    kept = [(r, output) for r, output in here if output.path.exists()]
    titles = {"psnr": "PSNR of the reconstruction, dB", "ssim": "its SSIM", **NAMES}
    values = {
        "title": task.name,
        "subtitle": f"{facts['model']} · {', '.join(r.edit for r in records)}",
        "counts": _counts(records[-1], work.seen),
        "notes": _notes(work.seen),
        "times": [f"{float(work.seconds(place)):.2f} s" for place in pictures],
        "strips": [*_strips(work, kept, pictures)],
        "titles": [*titles.values()],
        "metrics": [(record.edit, _cells(record, titles)) for record, _ in kept],
        "facts": facts,
    }
    write_bytes(page_path(task), page_bytes("video", values))


def _output(task: Task, record: Record) -> Output:
    return Output(record.edit, task.folder / record.video, record.key)


def _strips(
    work: Work, outputs: Sequence[tuple[Record, Output]], frames: Mapping[int, Pictured]
) -> Iterator[_Row]:
    """The rows of the strip: the same faces at some times, in the source and in each output."""
    with work.latents() as rows:
        marks = Marks(rows)
    windows = {place: _around(marks.at(place)[0].quad) for place in frames}
    sources = {place: one.source for place, one in frames.items()}
    recon = {place: one.results[RECON] for place, one in frames.items()}
    yield _row("source", [_cut(sources[place], window) for place, window in windows.items()])
    yield _row("reconstruction", [_cut(recon[place], window) for place, window in windows.items()])
    for record, output in outputs:
        if record.edit == RECON:
            continue
        pictures = []
        for place, window in windows.items():
            frame = _written(work, output, place)
            if frame is not None:
                height, width = sources[place].shape[:2]
                pictures.append(_cut(cv2.resize(frame, (width, height)), window))
        yield _row(record.edit, pictures, quote(record.video))


def _written(work: Work, output: Output, place: int) -> Pixels | None:
    """One frame of an output; None = it cannot be read."""
    try:
        return next(islice(frames_of(work, output, place), 1), None)
    except InputError:
        return None


def _around(quad: Any) -> tuple[float, float, float]:
    """Middle and half side of the square shown of a frame."""
    middle = quad.mean(0)
    return float(middle[0]), float(middle[1]), _AROUND * float(np.hypot(*(quad[3] - quad[0])))


def _cut(frame: Pixels, window: tuple[float, float, float]) -> Pixels:
    x, y, half = window
    matrix = np.array([[1, 0, half - x], [0, 1, half - y]]) * _PICTURE / (2 * half)
    flags = cv2.INTER_AREA if half * 2 > _PICTURE else cv2.INTER_CUBIC
    small = cv2.warpAffine(
        frame, matrix, (_PICTURE, _PICTURE), flags=flags, borderMode=cv2.BORDER_REPLICATE
    )
    return np.asarray(small, np.uint8)


def _row(title: str, pictures: Sequence[Pixels], link: str = "") -> _Row:
    return _Row(title, [data_uri("jpeg", encode_jpeg(pixels, 90)) for pixels in pictures], link)


def _counts(record: Record, seen: Seen) -> list[tuple[str, int]]:
    return [
        ("frames", record.frames),
        ("without a face", record.without_face),
        ("faces", record.faces),
        ("shots", len(seen.starts)),
    ]


def _notes(seen: Seen) -> list[str]:
    lost = [f"{seen.lost} frames could not be decoded"] if seen.lost else []
    return [*seen.problems, *lost]


def _cells(record: Record, titles: Iterable[str]) -> list[str]:
    """The numbers of an output below the titles; "" where there is none."""
    return [f"{record.metrics[n]:.4g}" if n in record.metrics else "" for n in titles]
