"""The second pass over a clip: every crop of every track inverted, the latents kept on disk."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from dseinvert import __version__
from dseinvert.config import VideoOptions
from dseinvert.errors import InputError
from dseinvert.export.backend import backend_of
from dseinvert.faces.align import crop, face_quad
from dseinvert.faces.detect import Detector
from dseinvert.generators.pixels import to_pixels, to_tensor
from dseinvert.inversion.inverter import Inverter
from dseinvert.latent import FORMAT
from dseinvert.media.atomic import make_folder, remove_stale_parts
from dseinvert.media.pixels import Pixels
from dseinvert.media.video_read import Frame
from dseinvert.models import Model
from dseinvert.progress import Watcher
from dseinvert.run.flow.batchsize import BatchSize, computing, in_kinds
from dseinvert.run.flow.relay import relay
from dseinvert.run.flow.stream import ahead, regroup, threads
from dseinvert.run.video.faces import (
    CLIP_PTS,
    Crops,
    Seen,
    Stopped,
    about,
    frames_from,
    remembered,
)
from dseinvert.run.video.plan import Task
from dseinvert.run.video.store import Rows, join_rows, write_rows
from dseinvert.similarity.metrics import image_metrics
from dseinvert.stop import Stop
from dseinvert.video.blend import face_mask, rim_offset
from dseinvert.video.tracks import MIN_SCORE, placed

_CROPPERS, _AHEAD, _MOST = 2, 6, 96
# A perfect reconstruction; JSON and tables have no infinity.
_MOST_PSNR = 100.0
Row = dict[str, NDArray[Any]]


@dataclass(frozen=True)
class Job:
    """The opened model and all else that a clip's inversion needs."""

    options: VideoOptions
    model: Model
    inverter: Inverter
    detector: Detector
    batch: BatchSize
    plain: Inverter
    """The same by PyTorch alone, through which gradients go."""


@dataclass(frozen=True)
class Part:
    """One face on one frame."""

    place: int
    pts: int
    track: int
    pixels: Pixels
    """[R, R, 3] its crop."""
    quad: NDArray[np.float64]
    points: NDArray[np.float64]
    presence: float
    mask: NDArray[np.float32]
    """[R, R] of the face."""


def latents_of(task: Task) -> Seen | None:
    """What is known of a clip whose latents are on disk; None = they must be made."""
    try:
        with Rows(task.latents) as rows:
            origin = json.loads(rows.header["origin"])
            if origin.get("key") != task.latents_key:
                return None
            return remembered((), rows.read(CLIP_PTS), origin)
    except (InputError, KeyError, ValueError, AttributeError):
        return None


@dataclass(frozen=True)
class Own:
    """What faces have that was tuned to them."""

    inverters: Mapping[int, Inverter] = field(default_factory=dict)
    """By track; others have the job's."""
    tensors: Row = field(default_factory=dict)
    """Beside the latents."""
    origin: Mapping[str, str] = field(default_factory=dict)


def invert_clip(
    job: Job,
    task: Task,
    seen: Seen,
    crops: Sequence[Crops],
    own: Own,
    watcher: Watcher,
    stop: Stop,
) -> None:
    """Write the latents of a clip, going on behind those a killed run left."""
    folder = task.work / f"latents-{task.latents_key}-{job.options.segment}"
    make_folder(folder)
    remove_stale_parts(folder)
    every = job.options.segment
    done = _whole_chunks(folder)
    watcher.begin(f"{task.name}: inverting", len(seen.pts) - done * every)
    chunks = _rows(job, task, seen, crops, own, done * every, watcher, stop)
    for number, group in groupby(chunks, key=lambda pair: pair[0] // every):
        rows = [row for _, found in group for row in found]
        if stop.code is not None:
            raise Stopped
        write_rows(folder / f"{number:06d}.safetensors", _stacked(rows))
    if stop.code is not None:
        raise Stopped
    join_rows(task.latents, sorted(folder.glob("*.safetensors")), *_beside(job, task, seen, own))
    shutil.rmtree(folder, ignore_errors=True)


def _whole_chunks(folder: Path) -> int:
    count = 0
    while (path := folder / f"{count:06d}.safetensors").exists():
        try:
            Rows(path).__exit__(None, None, None)
        except InputError:
            break
        count += 1
    for path in folder.glob("*.safetensors"):
        if int(path.stem) >= count:
            path.unlink()
    return count


def _rows(
    job: Job,
    task: Task,
    seen: Seen,
    crops: Sequence[Crops],
    own: Own,
    done: int,
    watcher: Watcher,
    stop: Stop,
) -> Iterator[tuple[int, list[Row]]]:
    """decode -> [croppers] -> crops -> [workers] -> place and rows of each frame, in order."""
    if done >= len(seen.pts):
        return
    generator = job.model.generator
    cut_out = partial(_parts, job, crops)

    def inverter(part: Part) -> Inverter:
        return own.inverters.get(part.track, job.inverter)

    with (
        relay(frames_from(task, seen, done), _AHEAD) as frames,
        threads(_CROPPERS) as cropping,
        computing(generator.resolution, generator.device) as workers,
    ):
        computed = regroup(
            ahead(cropping, cut_out, stop.until(frames), _AHEAD),
            parts=lambda pair: pair[1],
            work=lambda parts: in_kinds(inverter, partial(_invert, inverter), parts, job.batch),
            size=lambda: job.batch.size,
            workers=workers,
            most=_MOST,
        )
        for (place, _), rows in computed:
            watcher.advance()
            yield place, rows


def _parts(job: Job, crops: Sequence[Crops], pair: tuple[int, Frame]) -> tuple[int, list[Part]]:
    """The crops of a frame; the frame itself is not kept."""
    place, frame = pair
    found = []
    for one in crops:
        k = place - int(one.track.frames[0])
        if 0 <= k < len(one.track):
            found.append(part_of(job, one, k, place, frame))
    return place, found


def part_of(job: Job, one: Crops, k: int, place: int, frame: Frame) -> Part:
    """What is cut out for the face that is the `k`th of its track, from the frame at `place`."""
    points, quad = one.track.points[k], one.quads[k]
    if job.options.smooth == 0:  # the frame by itself, as if there were no others
        alone, score = placed(job.detector, frame.pixels, points)
        if score >= MIN_SCORE:
            points, quad = alone, face_quad(alone)
    side = job.model.generator.resolution
    return Part(
        place,
        frame.pts,
        one.number,
        crop(frame.pixels, quad, side),
        quad,
        points,
        float(one.presence[k]),
        face_mask(points, quad, side),
    )


def _invert(inverter: Callable[[Part], Inverter], parts: Sequence[Part]) -> list[Row]:
    """One batch, of which all have the same inverter."""
    images = to_tensor([part.pixels for part in parts])
    inversion = inverter(parts[0]).invert(images)
    table = image_metrics(images, inversion.images.cpu())
    tensors = {name: t.cpu().float().numpy() for name, t in inversion.latent.tensors().items()}
    if "feature" in tensors:  # a thousandth of a step, at half the disk
        tensors["feature"] = tensors["feature"].astype(np.float16)
    recons = to_pixels(inversion.images)
    return [
        {
            **{name: tensor[i] for name, tensor in tensors.items()},
            **_facts(part),
            "rim": rim_offset(part.pixels, recons[i], part.mask),
            "psnr": np.float32(min(_MOST_PSNR, float(table["psnr"][i]))),
            "ssim": np.float32(table["ssim"][i]),
        }
        for i, part in enumerate(parts)
    ]


def _facts(part: Part) -> dict[str, Any]:
    return {
        "frame": np.int64(part.place),
        "pts": np.int64(part.pts),
        "track": np.int64(part.track),
        "quad": np.asarray(part.quad, np.float64),
        "points": np.asarray(part.points, np.float64),
        "presence": np.float32(part.presence),
    }


def _stacked(rows: Sequence[Row]) -> Row:
    if not rows:
        return {"frame": np.empty(0, np.int64)}
    return {name: np.stack([row[name] for row in rows]) for name in rows[0]}


def _beside(job: Job, task: Task, seen: Seen, own: Own) -> tuple[Row, dict[str, str]]:
    """What the file of latents holds beside its rows: all times of the clip, and text."""
    model, clip = job.model, task.clip
    origin = {
        **about(seen),
        "key": task.latents_key,
        "source": str(clip.path),
        "source_sha256": task.sha256,
        "source_size": f"{clip.width}x{clip.height}",
        "time_base": str(clip.time_base),
        "start": str(task.cut.start),
        "end": str(task.cut.end),
        "generator": model.name,
        "generator_sha256": model.sha256,
        "encoder_sha256": model.encoder_sha256,
        "detector": job.detector.name,
        "faces": str(job.options.faces),
        "smooth": str(job.options.smooth),
        "skip": "keep",
        "noise": "constant, stored with the generator",
        "backend": backend_of(model),
        "version": __version__,
        **own.origin,
    }
    header = {"format": FORMAT, "space": model.generator.spec.space, "origin": json.dumps(origin)}
    return {CLIP_PTS: seen.pts, **own.tensors}, {**header, **_layer(job)}


def _layer(job: Job) -> Mapping[str, str]:
    """Where an encoder's feature goes, asked of the encoder."""
    side = job.model.generator.resolution
    with torch.inference_mode():
        blank = torch.zeros(1, 3, side, side, device=job.model.generator.device)
        latent = job.inverter.invert(blank).latent
    return {} if latent.layer is None else {"layer": str(latent.layer), "skip": latent.skip}
