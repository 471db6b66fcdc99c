"""How steady edited videos are, beside another way of making them, and the source."""

from __future__ import annotations

import argparse
import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from dseinvert.config import VideoOptions
from dseinvert.errors import MissingError, NoInputError
from dseinvert.latent.clip import ClipLatents
from dseinvert.media.atomic import make_folder, write_bytes
from dseinvert.media.clip import probe
from dseinvert.media.digest import file_sha256
from dseinvert.media.images import encode_png
from dseinvert.media.video_read import read_frames
from dseinvert.progress import Watcher
from dseinvert.run.flow.progress import watching
from dseinvert.run.video.measure import Mark, Marks, window_of
from dseinvert.run.video.run import run_video
from dseinvert.video.follow import eye_distance
from measure import asked
from measure.asked import Verb
from measure.sets import Judges, judges, opened, perceptual
from measure.steadiness import Frames, Watched, watch
from measure.tables import Cell, Table, watched

Doubles = NDArray[np.float64]
Row = dict[str, Cell]
Rows = dict[str, Row]
"""Of one clip: the edit, and beside each frame by itself reconstruction, naive and steady."""

SOURCE, AGAIN, RECON = "source", "re-encoded", "recon"
STEADY = "steady"
OTHERS: Mapping[str, Mapping[str, Any]] = {
    "naive": {"smooth": 0},
    "difference": {"blend": "difference"},
}
"""The ways that a clip as it is made by default can be beside, and the options that make them."""
# Of a strip: neighbouring frames, pixels of each, and its half side in sides of the quad.
SHOWN, TILE, AROUND = 8, 192, 0.45

NOTE = (
    "naive: `--smooth 0`, each frame detected, cropped and inverted by itself; difference: "
    "`--blend difference`; steady: as made by default; re-encoded: an edit of strength 0, so the "
    "source as our encoder writes it. Crops are steady's for all. jitter: mean second difference "
    "of 68 landmarks of a foreign network (face-api.js; mean of five framings) in thousandths of "
    "the eye distance; added: that of the landmarks' distances from the source's; warp: squared "
    "difference in [0, 1] along the source's DIS flow, sum of channels, x 1e6, within the face's "
    "mask, occlusions and motion borders left out; own: the same along each video's own flow. "
    "excess: minus the re-encoded source's; less: by how much steady's is below the other's. "
    "Crop: mean second difference of the quads' corners. TL-ID, TG-ID, ID (MobileFaceNet), PSNR, "
    "SSIM, perceptual distance: on crops of the model's side, means over frames, of the written "
    "videos; seam: grey levels changed just outside the mask, and steepening at the rim."
)


def video(given: argparse.Namespace) -> list[Table]:
    """Steadiness of the edit and of the reconstruction, and how faithful the latter is."""
    clips, panel = asked.clips_of(given), judges(given.data)
    if panel is None:
        raise MissingError(f"{given.data}/models: no scorers here", "name their folder with --data")
    found: dict[str, Rows] = {}
    with ExitStack() as stack:
        work = given.work or Path(stack.enter_context(TemporaryDirectory()))
        watcher = stack.enter_context(watching(quiet=True))
        for clip in watched("clips", clips):
            made = processed(clip, work, given, watcher)
            file = kept(work, clip, made)
            if not file.is_file():
                rows = rows_of(clip, made, work, given, panel)
                write_bytes(file, json.dumps(rows).encode())
            found[clip.stem] = json.loads(file.read_bytes())
    return tables(found, given)


def kept(work: Path, clip: Path, made: Mapping[str, Path]) -> Path:
    """The file of the numbers of these videos, which are measured once."""
    told = repr([(name, file_sha256(path)) for name, path in made.items()])
    return work / f"{clip.stem}.{hashlib.sha256(told.encode()).hexdigest()[:12]}.json"


def rows_of(
    clip: Path, made: dict[str, Path], work: Path, given: argparse.Namespace, panel: Judges
) -> Rows:
    """All that is measured of a clip; its strip is made on the way."""
    file, ways = latents(work, STEADY, clip), (given.beside, STEADY)
    side = opened(given).generator.resolution
    one = watch(faces(clip, made, file), panel, side, perceptual())
    if given.strips:
        make_folder(given.strips)
        write_bytes(given.strips / f"{clip.stem}.png", encode_png(strip(clip, made, file)))
    crops = {way: crop_jitter(latents(work, way, clip)) for way in ways}
    rows = {"edit": steady_row(one, crops, "edit", given.beside)}
    if given.beside == "naive":
        rows[RECON] = steady_row(one, crops, RECON, given.beside)
        rows |= {way: faithful_row(one, way) for way in ways}
    return {what: {"clip": clip.stem, **row} for what, row in rows.items()}


def processed(
    clip: Path, work: Path, given: argparse.Namespace, watcher: Watcher
) -> dict[str, Path]:
    """The videos that both ways make of a clip, such as "naive edit"; the work may be done."""
    made: dict[str, Path] = {}
    changes = {given.beside: OTHERS[given.beside], STEADY: {}}
    wanted: dict[str, dict[str, tuple[str, ...]]] = {
        way: {f"{way} edit": (given.edit,)} for way in changes
    }
    if given.beside == "naive":  # else both ways draw the same reconstruction
        for way in changes:
            wanted[way][f"{way} {RECON}"] = ()
    wanted[STEADY][AGAIN] = (given.edit.partition("=")[0] + "=0",)
    for way, other in changes.items():
        for name, edits in wanted[way].items():
            options = VideoOptions(
                out=work / way / clip.stem,
                edits=edits,
                refine=given.refine,
                end=given.seconds,
                model=given.model,
                device=given.device,
            )
            (result,) = run_video([str(clip)], replace(options, **other), watcher).results
            if not result.outputs:
                raise NoInputError(f"{clip}: {result.reason}")
            made[name] = result.outputs[0].path
    return made


def latents(work: Path, way: str, clip: Path) -> Path:
    """The file of a clip's latents."""
    return work / way / clip.stem / f"{clip.stem}.safetensors"


def crop_jitter(file: Path) -> float:
    """Of the crops in a file of latents, in thousandths of the eye distance."""
    with ClipLatents(file) as rows:
        quads, tracks, points = (rows.read(name) for name in ("quad", "track", "points"))
    bends = np.hypot(*np.moveaxis(np.diff(quads, 2, axis=0), -1, 0))
    same = (tracks[2:] == tracks[:-2]) & (tracks[2:] == tracks[1:-1])
    return 1000 * float(bends[same].mean() / np.median([eye_distance(one) for one in points]))


def faces(clip: Path, made: dict[str, Path], file: Path) -> Iterator[tuple[Frames, Sequence[Mark]]]:
    """Every frame of the source and of what was made of it, cut to the face's whole way."""
    videos = {SOURCE: clip, **made}
    with ClipLatents(file) as rows:
        marks, window = Marks(rows), window_of(list(rows.read("quad")), probe(clip).size)
        count = len(rows.clip_pts)
    assert window is not None
    corner = np.array([window[1].start, window[0].start])
    readers = [iter(read_frames(probe(path))) for path in videos.values()]
    for place in range(count):
        now = [next(reader) for reader in readers]
        parts = [np.ascontiguousarray(frame.pixels[window]) for frame in now]
        moved = [Mark(m.track, m.points - corner, m.quad - corner) for m in marks.at(place)]
        yield dict(zip(videos, parts, strict=True)), moved


def tables(found: dict[str, Rows], given: argparse.Namespace) -> list[Table]:
    """Of all clips, with the medians over them."""

    def of(what: str) -> list[Row]:
        rows = [one[what] for one in found.values()]
        return [*rows, medians(rows)]

    made = [Table(f"Steadiness of `{given.edit}`", of("edit"), NOTE)]
    if given.beside == "naive":
        made.append(Table("Steadiness of the reconstruction", of(RECON), NOTE))
        rows = [*of("naive"), *of(STEADY)]
        made.append(Table("The reconstruction beside its source", rows, NOTE))
    return made


def steady_row(one: Watched, crops: Mapping[str, float], what: str, beside: str) -> Row:
    """How steady an edit or reconstruction of a clip is, both ways."""
    ways, row = (beside, STEADY), Row()
    measures = (("jitter", one.jitter, 1e3), ("warp", one.warp, 1e6), ("own", one.flicker, 1e6))
    for name, measure, unit in measures:
        videos = (SOURCE, AGAIN, *(f"{way} {what}" for way in ways))
        own, again, other, steady = (unit * measure(video) for video in videos)
        row |= {f"{name} source": own, "re-encoded " + name: again}
        row |= {f"{name} {beside}": other, f"{name} {STEADY}": steady}
        row[f"{name} excess less, %"] = less(other - again, steady - again)
    other, steady = (1e3 * one.added(f"{way} {what}") for way in ways)
    row |= {f"added {beside}": other, f"added {STEADY}": steady, "less, %": less(other, steady)}
    row["crop less, %"] = less(crops[beside], crops[STEADY])
    for way in ways:
        who = one.identity(f"{way} {what}")
        row |= {f"ID {way}": who.video_id}
        row |= {f"TL-ID {way}": who.tl_id, f"TG-ID {way}": who.tg_id}
    return row


def faithful_row(one: Watched, way: str) -> Row:
    """How true the reconstruction of a clip is."""
    name = f"{way} {RECON}"
    who, rims = one.identity(name), np.nanmean(one.rims[name], 0)
    return {
        "way": way,
        "PSNR, dB": one.mean(name, "psnr"),
        "SSIM": one.mean(name, "ssim"),
        **one.perceptual(name),
        "ID": who.video_id,
        "TL-ID": who.tl_id,
        "TG-ID": who.tg_id,
        "seam outside": float(rims[0]),
        "seam step": float(rims[1]),
    }


def less(other: float, steady: float) -> float:
    """By how many percent the latter is smaller."""
    return 100 * (1 - steady / other) if other else 0.0


def medians(rows: Sequence[Row]) -> Row:
    """A row of the medians over clips."""
    row: Row = {**rows[0], "clip": "median"}
    for name in row:
        numbers = [one[name] for one in rows]
        known = [number for number in numbers if isinstance(number, float)]
        if known:
            row[name] = float(np.median(known))
    return row


def strip(clip: Path, made: dict[str, Path], file: Path) -> NDArray[np.uint8]:
    """Neighbouring frames from the middle of a clip, a row a video."""
    with ClipLatents(file) as rows:
        places = np.unique(rows.read("frame"))
    first = int(places[max(0, len(places) // 2 - SHOWN // 2)])
    found = islice(faces(clip, made, file), first, first + SHOWN)
    shown = [(now, marks[0].quad) for now, marks in found if marks]
    quads = np.stack([quad for _, quad in shown])
    middle, half = quads.mean((0, 1)), AROUND * float(np.hypot(*(quads[0, 3] - quads[0, 0])))
    matrix = np.array([[1, 0, half - middle[0]], [0, 1, half - middle[1]]]) * TILE / (2 * half)
    pictures = [
        np.hstack([cv2.warpAffine(now[name], matrix, (TILE, TILE)) for now, _ in shown])
        for name in shown[0][0]
    ]
    return np.vstack(pictures)


def options(parser: argparse.ArgumentParser) -> None:
    """What it can be told."""
    asked.clips(parser)
    add = parser.add_argument
    add("--beside", choices=OTHERS, default="naive", help="what the default is put beside")
    add("--refine", default="none", help="as of video, both ways")
    add(
        "--work",
        type=Path,
        help="folder to keep videos and numbers in, to go on later; default: a temporary one",
    )
    add("--strips", type=Path, help="folder for neighbouring frames of all, as PNG")
    asked.ends(parser)


VERB = Verb(
    "how steady edited clips are, beside each frame by itself or a plain change", options, video
)
