"""The second pass over a clip: every crop of every track inverted, the latents kept on disk."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import groupby
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from dseinvert.errors import InputError
from dseinvert.export.backend import backend_of
from dseinvert.faces.align import crop, face_quad
from dseinvert.generators.pixels import to_pixels, to_tensor
from dseinvert.inversion.inverter import Inverter
from dseinvert.latent import Header
from dseinvert.latent.clip import Chunks, ClipLatents, Row, Tunings, rows_of
from dseinvert.media.pixels import Pixels
from dseinvert.media.video_read import Frame
from dseinvert.run.flow.batchsize import computing, in_kinds
from dseinvert.run.flow.relay import relay
from dseinvert.run.flow.stream import ahead, regroup, threads
from dseinvert.run.video.faces import Crops
from dseinvert.run.video.plan import Task
from dseinvert.run.video.studio import Studio
from dseinvert.run.video.work import Seen, Work
from dseinvert.similarity.metrics import image_metrics
from dseinvert.version import __version__
from dseinvert.video.blend import face_mask, rim_offset
from dseinvert.video.cover import SIDE, shrunk
from dseinvert.video.tracks import MIN_SCORE, placed

_CROPPERS, _AHEAD, _MOST = 2, 6, 96
# Raised when rows get other columns: those of a killed run of an earlier version are made anew.
_ROWS = 2
# A perfect reconstruction; JSON and tables have no infinity.
_MOST_PSNR = 100.0


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
    seen: Pixels
    """[32, 32, 3] the crop, as `Sights` takes it."""


@dataclass(frozen=True)
class Own:
    """What faces have that was tuned to them."""

    inverters: Mapping[int, Inverter] = field(default_factory=dict)
    """By track; others have the studio's."""
    tunings: Tunings = field(default_factory=dict)
    """Of the generator, to be kept beside the latents."""
    origin: Mapping[str, str] = field(default_factory=dict)


def latents_of(task: Task) -> Seen | None:
    """What is known of a clip whose latents are on disk; None = they must be made."""
    try:
        with ClipLatents(task.latents) as latents:
            origin = latents.header.origin
            if origin.get("key") != task.latents_key:
                return None
            return Seen.parse((), latents.clip_pts, origin)
    except (InputError, KeyError, ValueError, AttributeError):
        return None


def invert_clip(studio: Studio, work: Work, crops: Sequence[Crops], own: Own) -> None:
    """Write the latents of a clip, going on behind those a killed run left. Raises Stopped."""
    task, every = work.task, studio.options.segment
    chunks = Chunks(work.kept(f"latents-{task.latents_key}-{_ROWS}-{every}"), every)
    work.begin("inverting", work.count - chunks.done)
    found = _rows(studio, work, crops, own, chunks.done)
    for _, group in groupby(found, key=lambda pair: pair[0] // every):
        rows = [row for _, of_frame in group for row in of_frame]
        work.check()  # or the frames that were not reached would be missing in the chunk
        chunks.append(rows)
    work.check()
    chunks.join(task.latents, _header(studio, work, own), work.seen.pts, own.tunings)


def _rows(
    studio: Studio, work: Work, crops: Sequence[Crops], own: Own, first: int
) -> Iterator[tuple[int, list[Row]]]:
    """decode -> [croppers] -> crops -> [workers] -> place and rows of each frame, in order."""
    if first >= work.count:
        return
    common = studio.inverter()

    def inverter(part: Part) -> Inverter:
        return own.inverters.get(part.track, common)

    with (
        # A model waits for no frame: they are decoded in a thread, a few ahead.
        relay(work.frames(first), _AHEAD) as frames,
        threads(_CROPPERS) as cropping,
        computing(studio.side, studio.generator.device) as workers,
    ):
        computed = regroup(
            ahead(cropping, partial(_parts, studio, crops), work.stop.until(frames), _AHEAD),
            parts=lambda pair: pair[1],
            work=lambda parts: in_kinds(inverter, partial(_invert, inverter), parts, studio.batch),
            size=lambda: studio.batch.size,
            workers=workers,
            most=_MOST,
        )
        for (place, _), rows in computed:
            work.advance()
            yield place, rows


def _parts(
    studio: Studio, crops: Sequence[Crops], pair: tuple[int, Frame]
) -> tuple[int, list[Part]]:
    """The crops of a frame; the frame itself is not kept."""
    place, frame = pair
    found = []
    for one in crops:
        k = place - int(one.track.frames[0])
        if 0 <= k < len(one.track):
            found.append(part_of(studio, one, k, frame))
    return place, found


def part_of(studio: Studio, one: Crops, k: int, frame: Frame) -> Part:
    """What is cut out of a frame for the face that is the `k`th of its track."""
    points, quad = one.track.points[k], one.quads[k]
    if studio.options.smooth == 0:  # the frame by itself, as if there were no others
        alone, score = placed(studio.detector, frame.pixels, points)
        if score >= MIN_SCORE:
            points, quad = alone, face_quad(alone)
    return Part(
        int(one.track.frames[k]),
        frame.pts,
        one.number,
        crop(frame.pixels, quad, studio.side),
        quad,
        points,
        float(one.presence[k]),
        face_mask(points, quad, studio.side),
        shrunk(crop(frame.pixels, quad, 2 * SIDE)),
    )


def _invert(inverter: Callable[[Part], Inverter], parts: Sequence[Part]) -> list[Row]:
    """One batch, of which all have the same inverter."""
    images = to_tensor([part.pixels for part in parts])
    inversion = inverter(parts[0]).invert(images)
    table = image_metrics(images, inversion.images.cpu())
    recons = to_pixels(inversion.images)
    return [
        {
            **latent,
            **_facts(part),
            "rim": rim_offset(part.pixels, recons[i], part.mask),
            "psnr": np.float32(min(_MOST_PSNR, float(table["psnr"][i]))),
            "ssim": np.float32(table["ssim"][i]),
        }
        for i, (part, latent) in enumerate(zip(parts, rows_of(inversion.latent), strict=True))
    ]


def _facts(part: Part) -> dict[str, Any]:
    return {
        "frame": np.int64(part.place),
        "pts": np.int64(part.pts),
        "track": np.int64(part.track),
        "quad": np.asarray(part.quad, np.float64),
        "points": np.asarray(part.points, np.float64),
        "presence": np.float32(part.presence),
        "seen": part.seen,
    }


def _header(studio: Studio, work: Work, own: Own) -> Header:
    """Where all rows come from, and where an encoder's feature goes, asked of the encoder."""
    origin = {**work.seen.text(), **_source(work.task), **_model(studio), **own.origin}
    with torch.inference_mode():
        blank = torch.zeros(1, 3, studio.side, studio.side, device=studio.generator.device)
        latent = studio.inverter().invert(blank).latent
    return Header(studio.generator.spec.space, origin, latent.layer, latent.skip)


def _source(task: Task) -> dict[str, str]:
    clip = task.clip
    return {
        "key": task.latents_key,
        "source": str(clip.path),
        "source_sha256": task.sha256,
        "source_size": f"{clip.width}x{clip.height}",
        "time_base": str(clip.time_base),
        "start": str(task.cut.start),
        "end": str(task.cut.end),
    }


def _model(studio: Studio) -> dict[str, str]:
    model = studio.model
    return {
        "generator": model.name,
        "generator_sha256": model.sha256,
        "encoder_sha256": model.encoder_sha256,
        "detector": studio.detector.name,
        "faces": str(studio.options.faces),
        "smooth": str(studio.options.smooth),
        "skip": "keep",
        "noise": "constant, stored with the generator",
        "backend": backend_of(model),
        "version": __version__,
    }
