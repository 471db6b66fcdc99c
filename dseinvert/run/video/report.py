"""The table and the page of a clip: what was written, contact strips, and how steady it is.

The table is also the record by which a later run knows what is done.
"""

from __future__ import annotations

import csv
import hashlib
import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from html import escape
from itertools import islice
from pathlib import Path
from typing import Any
from urllib.parse import quote

import cv2
import numpy as np

from dseinvert import __version__
from dseinvert.errors import InputError
from dseinvert.media.atomic import shown, write_bytes
from dseinvert.media.images import encode_jpeg
from dseinvert.media.pixels import Pixels
from dseinvert.run.pages import data_uri, filled, listed, template
from dseinvert.run.video.faces import Seen
from dseinvert.run.video.measure import LENGTH, NAMES, STRETCHES, Marks, frames_of
from dseinvert.run.video.plan import Output, Task
from dseinvert.run.video.render import RECON, Pictured
from dseinvert.run.video.store import Rows
from dseinvert.run.video.tune import refined_of
from dseinvert.similarity.metrics import PROTOCOL as IMAGE_PROTOCOL
from dseinvert.video.metrics import PROTOCOL

_PICTURE = 200  # pixels
_AROUND = 0.62  # half a picture's side, in sides of the quad
METRICS = ("psnr", "ssim", *NAMES)


@dataclass(frozen=True)
class Record:
    """A finished output."""

    video: str
    """Its name in the folder."""
    edit: str
    key: str
    source: str
    """sha256 of the source."""
    clip: str
    """Tells apart the parts of a source that were cut out."""
    sha256: str
    frames: int
    without_face: int
    faces: int
    """Tracks that were edited."""
    lost: int
    metrics: dict[str, float] = field(default_factory=dict)


def table_path(task: Task) -> Path:
    """Where the records of a clip are."""
    return task.folder / f"{task.name}.metrics.csv"


def page_path(task: Task) -> Path:
    """Where the page of a clip is."""
    return task.folder / f"{task.name}.html"


def read_records(task: Task) -> dict[str, Record]:
    """The records of a clip by video; none where there is no such table."""
    try:
        lines = table_path(task).read_text("utf-8", "backslashreplace").splitlines()
        rows = csv.DictReader(line for line in lines if not line.startswith("#"))
        return {row["video"]: _record(row) for row in rows}
    except (OSError, ValueError, KeyError, TypeError):
        return {}


def output_sha256(path: Path) -> str:
    """Of a video's bytes, or of the names and bytes of a folder of frames."""
    digest = hashlib.sha256()
    files = sorted(path.iterdir()) if path.is_dir() else [path]
    for file in files:
        digest.update(file.name.encode(errors="surrogateescape") if path.is_dir() else b"")
        with file.open("rb") as opened:
            while block := opened.read(1 << 20):
                digest.update(block)
    return digest.hexdigest()


def is_done(output: Output, records: Mapping[str, Record]) -> bool:
    """Whether an output is there, made from the same source in the same way, and intact."""
    record = records.get(output.path.name)
    if record is None or record.key != output.key or not output.path.exists():
        return False
    try:
        return output_sha256(output.path) == record.sha256
    except OSError:
        return False


def reconstruction(rows: Rows) -> dict[str, float]:
    """Medians over all crops."""
    return {name: float(np.median(rows.read(name))) for name in ("psnr", "ssim")}


def write_table(task: Task, records: Iterable[Record], facts: Mapping[str, str]) -> None:
    """All records, below `#` lines that say how the numbers were made."""
    text = io.StringIO()
    text.writelines(f"# {name}: {' '.join(fact.split())}\n" for name, fact in facts.items())
    plain = [f.name for f in fields(Record) if f.name != "metrics"]
    table = csv.writer(text, lineterminator="\n")
    table.writerow([*plain, *METRICS])
    for record in records:
        values = [
            f"{record.metrics[name]:.6g}" if name in record.metrics else "" for name in METRICS
        ]
        table.writerow([*(asdict(record)[name] for name in plain), *values])
    write_bytes(table_path(task), text.getvalue().encode(errors="backslashreplace"))


def facts_of(task: Task, model: Mapping[str, str], origin: Mapping[str, str]) -> dict[str, str]:
    """What a reader of the numbers should know, in words."""
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
    task: Task,
    seen: Seen,
    rows: Rows,
    records: Sequence[Record],
    pictures: Mapping[int, Pictured],
    facts: Mapping[str, str],
) -> None:
    """The page of a clip with all outputs that are still there.

    pictures: frames before they were encoded, by place; shown in the strip.
    """
    here = [(r, _output(task, r)) for r in records if r.clip == task.tracks_key]
    kept = [(r, output) for r, output in here if output.path.exists()]
    strips = _strips(task, seen, rows, kept, pictures)
    values = {
        "title": escape(task.name),
        "subtitle": escape(f"{facts['model']} · {', '.join(r.edit for r in records)}"),
        "counts": _counts(records[-1], seen),
        "notes": _notes(seen),
        "strip": "".join(strips),
        "metrics": _metrics([r for r, _ in kept]),
        "facts": listed(facts),
    }
    page = filled(template("video"), values)
    write_bytes(page_path(task), page.encode(errors="backslashreplace"))


def _record(row: Mapping[str, str]) -> Record:
    numbers = {"frames", "without_face", "faces", "lost"}
    plain: dict[str, Any] = {
        f.name: int(row[f.name]) if f.name in numbers else row[f.name]
        for f in fields(Record)
        if f.name != "metrics"
    }
    metrics = {name: float(row[name]) for name in METRICS if row.get(name)}
    return Record(**plain, metrics=metrics)


def _output(task: Task, record: Record) -> Output:
    return Output(record.edit, task.folder / record.video, record.key)


def _strips(
    task: Task,
    seen: Seen,
    rows: Rows,
    outputs: Sequence[tuple[Record, Output]],
    shown_frames: Mapping[int, Pictured],
) -> Iterator[str]:
    marks = Marks(rows)
    windows = {place: _around(marks.at(place)[0].quad) for place in shown_frames}
    times = [float(int(seen.pts[place]) * task.clip.time_base) for place in windows]
    yield "<tr><th></th>" + "".join(f"<th>{time:.2f} s</th>" for time in times) + "</tr>"
    sources = {place: one.source for place, one in shown_frames.items()}
    recon = {place: one.results[RECON] for place, one in shown_frames.items()}
    yield _row("source", [_cut(sources[place], window) for place, window in windows.items()])
    yield _row("reconstruction", [_cut(recon[place], window) for place, window in windows.items()])
    for record, output in outputs:
        if record.edit == RECON:
            continue
        pictures = []
        for place, window in windows.items():
            try:
                frame = next(islice(frames_of(task, output, seen, place), 1), None)
            except InputError:
                frame = None
            if frame is not None:
                height, width = sources[place].shape[:2]
                pictures.append(_cut(cv2.resize(frame, (width, height)), window))
        yield _row(record.edit, pictures, quote(record.video))


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


def _row(title: str, pictures: Sequence[Pixels], link: str = "") -> str:
    name = f'<a href="{escape(link)}">{escape(title)}</a>' if link else escape(title)
    cells = "".join(
        f'<td><img src="{data_uri("jpeg", encode_jpeg(pixels, 90))}" alt="{escape(title)}"></td>'
        for pixels in pictures
    )
    return f"<tr><th>{name}</th>{cells}</tr>\n"


def _counts(record: Record, seen: Seen) -> str:
    counts = {
        "frames": record.frames,
        "without a face": record.without_face,
        "faces": record.faces,
        "shots": len(seen.starts),
    }
    return "".join(f"<span>{name} <b>{value}</b></span>" for name, value in counts.items())


def _notes(seen: Seen) -> str:
    notes = [*seen.problems]
    if seen.lost:
        notes.append(f"{seen.lost} frames could not be decoded")
    if not notes:
        return ""
    items = "".join(f"<li><span>{escape(note)}</span></li>" for note in notes)
    return f'<details class="undone" open><summary>The source</summary><ul>{items}</ul></details>'


def _metrics(records: Sequence[Record]) -> str:
    titles = {"psnr": "PSNR of the reconstruction, dB", "ssim": "its SSIM", **NAMES}
    head = "".join(f"<th>{escape(title)}</th>" for title in titles.values())
    rows = [f"<tr><th></th>{head}</tr>"]
    for record in records:
        cells = "".join(
            f"<td>{record.metrics[name]:.4g}</td>" if name in record.metrics else "<td></td>"
            for name in titles
        )
        rows.append(f"<tr><th>{escape(record.edit)}</th>{cells}</tr>")
    return "".join(rows)
