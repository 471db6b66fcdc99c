"""The front door: one object that holds a loaded model, and what one does with it.

Values go in and come out; nothing is written, printed or remembered between calls. What the verbs
of the command line do is built of the same parts.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from functools import lru_cache
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from dseinvert.api.video import Video
from dseinvert.config import VideoOptions
from dseinvert.editing.apply import apply_edits
from dseinvert.editing.auto import settle
from dseinvert.editing.edits import parse_edits
from dseinvert.errors import InputError, UsageError
from dseinvert.export.backend import accelerated, backend_of
from dseinvert.export.runtimes import Threads
from dseinvert.faces.align import crop_matrix, matrix_to_list
from dseinvert.faces.crops import Crop, Wanted, faces_of
from dseinvert.faces.detect import MIN_FACE, MIN_SCORE, Detector
from dseinvert.faces.mask import open_mask, paste_edit
from dseinvert.faces.search import Rotate
from dseinvert.generators.pixels import to_pixels, to_tensor
from dseinvert.generators.tuned import synthesize
from dseinvert.inversion.inverter import Inverter
from dseinvert.inversion.refinement import Budget, Refine, Watch
from dseinvert.inversion.refining import open_refining, parse_refining
from dseinvert.latent import Latent, concat
from dseinvert.media.photo import Photo, open_photo
from dseinvert.media.pixels import Doubles
from dseinvert.models import Model, open_model, pick_device
from dseinvert.models.keeper import open_keeper
from dseinvert.models.person import Person, open_person
from dseinvert.progress import Silent, Watcher
from dseinvert.run.flow.batchsize import auto_size
from dseinvert.similarity.metrics import image_metrics
from dseinvert.version import __version__

Picture = str | Path | bytes | Image.Image | np.ndarray | Photo
"""Whatever `open_photo` takes."""


@dataclass(frozen=True, eq=False)
class Face:
    """One face of a photo, or the photo as it is, at the size that the model takes."""

    crop: Photo
    """[R, R, 3]."""
    quad: Doubles = field(repr=False)
    """[4, 2] its corners in the photo: top-left, bottom-left, bottom-right, top-right, in pixels
    whose first has its centre at (0, 0)."""
    score: float = 1.0
    """How sure the detector is, from 0 to 1."""


@dataclass(frozen=True, eq=False, repr=False)
class Found:
    """What an inversion found; a batch, of which `found[i]` is one."""

    latent: Latent
    images: Tensor
    """[B, 3, R, R] in [-1, 1]: what the latents draw."""
    metrics: Mapping[str, Tensor]
    """psnr (dB), ssim and others of the images beside what was inverted, [B] each."""
    steps: Tensor | None = None
    """[B] of refinement; None = there was none."""

    def __repr__(self) -> str:
        return f"Found({self.latent!r}, images={list(self.images.shape)})"

    def __len__(self) -> int:
        return len(self.latent)

    def __getitem__(self, index: int) -> Found:
        """One of them, still a batch."""
        if not -len(self) <= index < len(self):
            raise IndexError(index)
        k = index % len(self)
        one = slice(k, k + 1)
        metrics = {name: values[one] for name, values in self.metrics.items()}
        steps = None if self.steps is None else self.steps[one]
        return Found(self.latent[one], self.images[one], metrics, steps)


def load(
    model: str | Path = "default",
    *,
    device: str = "auto",
    backend: str = "auto",
    threads: int | None = None,
) -> Gan:
    """A model, loaded once, ready to invert, edit and draw.

    Args:
        model: a name that `dseinvert models list` knows, a model's folder, or a checkpoint file.
        device: auto, cpu, cuda or cuda:N.
        backend: auto, torch, onnx, openvino or tensorrt; auto = a runtime whose files are there
            already, else torch.
        threads: of a CPU, for a runtime that is not torch; None = all cores.

    Raises:
        UsageError: no such model, device or backend. DeviceError: a GPU that is not there.
        MissingError: a model or runtime that is not whole or not installed.
    """
    opened = open_model(str(model), pick_device(device))
    return Gan(opened, accelerated(opened, backend, Threads(1, threads or os.cpu_count() or 1)))


class Gan:
    """A loaded model. Its methods may be called from several threads."""

    def __init__(self, plain: Model, fast: Model | None = None) -> None:
        """`plain` is run by PyTorch; `fast` is the same by whoever runs it; None = PyTorch."""
        self._plain, self._fast = plain, fast or plain
        self._refining = lru_cache(maxsize=8)(self._open_refining)
        self._detector = lru_cache(maxsize=8)(self._open_detector)
        self._person = lru_cache(maxsize=8)(self._open_person)

    def __repr__(self) -> str:
        return f"Gan({self.name!r}, {self.resolution} px, {self.device}, {self.backend})"

    @property
    def name(self) -> str:
        """Of the model."""
        return self._plain.name

    @property
    def resolution(self) -> int:
        """R, the side of what it draws, in pixels."""
        return self._plain.generator.resolution

    @property
    def device(self) -> torch.device:
        """Where it runs."""
        return self._plain.generator.device

    @property
    def backend(self) -> str:
        """Who runs it: "torch", or a runtime and its version."""
        return backend_of(self._fast)

    @property
    def directions(self) -> dict[str, str]:
        """What it can be edited along: the unit of one step by name."""
        return {name: one.unit for name, one in sorted(self._plain.directions.items())}

    def faces(
        self,
        photo: Picture,
        *,
        align: bool = True,
        rotate: Rotate = "auto",
        faces: Literal["largest", "all"] | int = "all",
        person: str | Path | None = None,
        identity: str | Path | None = None,
        min_face: float = MIN_FACE,
        min_score: float = MIN_SCORE,
    ) -> list[Face]:
        """The faces of a photo, the largest first; empty where there is none.

        Args:
            photo: a path, bytes, a PIL image, an array, or what `open_photo` gave.
            align: False = the photo as it is, one "face"; so too for a model of other things.
            rotate: degrees clockwise that set the photo upright; "auto" = as its faces tell.
            faces: the largest, all, or how many at most.
            person: a photo of somebody whose faces alone are wanted; None = everybody's.
            identity: the network that knows them; None = what DSEINVERT_IDENTITY names.
            min_face: height in pixels of the smallest.
            min_score: how sure the detector has to be, from 0 to 1.

        Raises:
            InputError: not a photo that can be read.
            UsageError: a turn or number that cannot be, or no face in the photo of `person`.
            MissingError: `person` without a network.
        """
        known = self._person(
            None if person is None else Path(person),
            None if identity is None else Path(identity),
            align,
        )
        wanted = Wanted(rotate, faces, known, min_face, min_score)
        detector = self._detector(min_face, min_score) if align else None
        found = faces_of(open_photo(photo).pixels, self.resolution, detector, wanted)
        return [Face(Photo(one.pixels), one.quad, one.score) for one in found]

    def invert(
        self,
        faces: Face | Sequence[Face] | Tensor,
        *,
        refine: str = "none",
        space: str | None = None,
        budget: str | None = None,
        until: str | None = None,
        label: int | None = None,
        watch: Watch | None = None,
    ) -> Found:
        """The latents of faces, and what they draw.

        Args:
            faces: one, several, or images [B, 3, R, R] in [-1, 1] on any device.
            refine: METHOD[:STEPS][,METHOD...] after the encoder, as `images --refine` takes it.
            space: of the latent that is refined; None = the encoder's.
            budget: seconds an image, as "5s"; None = as many as the steps take.
            until: METRIC=VALUE at which an image is done; None = all steps are taken.
            label: class of all, for a model that has classes; None = searched for.
            watch: is called after each step of refinement with its number and the losses [B].

        Raises:
            UsageError: a refinement, space or label that cannot be.
            InputError: images of another shape.
            MissingError: the model has no encoder.
        """
        self._plain.check_label(label, "label")
        images = self._images(faces)
        asked = refine, space, budget, until
        refining = self._refining(*asked)
        model = self._fast if refining is None else self._plain
        inverter = Inverter(model.generator, model.require_encoder(), label, refining)
        size = auto_size(self.resolution, self.device)
        found = [inverter.invert(part, watch) for part in images.split(size)]
        drawn = torch.cat([one.images for one in found])
        latent = concat([one.latent for one in found]).with_origin(**self._origin(faces))
        if refining is not None:
            latent = latent.with_origin(refined=parse_refining(*asked).text)
        steps = [one.steps for one in found if one.steps is not None]
        metrics = image_metrics(images.cpu(), drawn.cpu())
        return Found(latent, drawn, metrics, torch.cat(steps) if steps else None)

    def edit(
        self,
        latent: Latent,
        edits: str,
        *,
        identity: str | Path | None = None,
        identity_floor: float = 0.7,
    ) -> Latent:
        """The latent after edits that act together.

        Args:
            latent: of this model, any batch.
            edits: NAME=STRENGTH[@ROWS][,NAME=...], as `--edit` takes it: "age=+2,smile=-1".
            identity: the network that `auto` strengths ask; None = what DSEINVERT_IDENTITY names.
            identity_floor: the least cosine to the unedited face that they keep.

        Raises:
            UsageError: a direction that the model does not have, or a strength that is none.
            InputError: a latent of another model.
        """
        self._plain.check_latent(latent)
        network = None if identity is None else Path(identity)
        keeper = open_keeper([edits], network, identity_floor, self._plain)
        classes = self._plain.generator.spec.classes
        steps = parse_edits(edits, self._plain.directions, classes, keeper)
        generator = self._fast.generator
        with torch.no_grad():
            latent = latent.to(self.device)
            return apply_edits(latent, settle(latent, steps, generator), generator)

    def draw(self, latent: Latent) -> Tensor:
        """Images [B, 3, R, R] in [-1, 1] of latents of this model, on its device.

        Raises:
            InputError: a latent of another model.
        """
        self._plain.check_latent(latent)
        size = auto_size(self.resolution, self.device)
        parts = [latent[k : k + size].to(self.device) for k in range(0, len(latent), size)]
        with torch.no_grad():
            drawn = [synthesize(self._fast.generator, part).clamp(-1, 1) for part in parts]
        return torch.cat(drawn)

    def photos(self, images: Tensor) -> list[Photo]:
        """Images [B, 3, H, W] in [-1, 1], such as `draw` gives, as photos that can be saved."""
        return [Photo(pixels) for pixels in to_pixels(images)]

    def paste(
        self,
        photo: Picture,
        face: Face,
        edited: Tensor | Photo,
        found: Found,
        *,
        mask: str | None = None,
    ) -> Photo:
        """The photo with what an edit changed in one face; the rest keeps its own pixels.

        Args:
            photo: that the face is from, perhaps with other faces pasted already.
            face: of `faces`.
            edited: [1, 3, R, R] in [-1, 1] from `draw`, or the same as a photo.
            found: the inversion of that face alone: `found[i]` of several.
            mask: auto (where it changed much), face, or a picture of the crop, white where the edit
                may show; None = everywhere, as far as the reconstruction agrees with the crop.

        Raises:
            UsageError: another mask, or more than one face.
        """
        if len(found) != 1 or (isinstance(edited, Tensor) and len(edited) != 1):
            raise UsageError("paste takes one face at a time", "found[i], drawn[i : i + 1]")
        opened, crop = open_photo(photo), Crop(face.crop.pixels, face.quad, face.score)
        new = edited.pixels if isinstance(edited, Photo) else to_pixels(edited)[0]
        recon, shown_in = to_pixels(found.images)[0], open_mask(mask, self.resolution)
        pixels = paste_edit(opened.pixels, crop, new, recon, shown_in)
        return Photo(pixels, opened.warnings, opened.path)

    def sample(
        self, seeds: int | Sequence[int] = 1, *, psi: float | None = None, label: int | None = None
    ) -> Latent:
        """Latents of seeds; each is free of the others.

        Args:
            seeds: which, or how many from 0 on.
            psi: truncation, 1 = none, 0 = the mean; None = 0.7, or 1 for a model that has none.
            label: class of all; None = drawn from each seed.

        Raises:
            UsageError: a psi or label that the model cannot have.
        """
        generator = self._plain.generator
        self._plain.check_label(label, "label")
        psi = (0.7 if generator.truncates else 1.0) if psi is None else psi
        if psi != 1 and not generator.truncates:
            raise UsageError(f"psi {psi:g}: {self.name} has no truncation", "leave it out")
        wanted = range(seeds) if isinstance(seeds, int) else seeds
        labels = None if label is None else [label]
        with torch.no_grad():
            drawn = [generator.sample([seed], psi, labels=labels) for seed in wanted]
        return concat(drawn).with_origin(**self._whose())

    def video(
        self,
        path: str | Path,
        *,
        faces: Literal["largest", "all"] | int = "largest",
        smooth: float | Literal["auto"] = "auto",
        refine: str = "none",
        paste: Literal["difference", "replace"] | None = None,
        start: Fraction | float | None = None,
        end: Fraction | float | None = None,
        fps: Fraction | int | None = None,
        watcher: Watcher | None = None,
    ) -> Video:
        """A clip: `for frame in gan.video("a.mp4").edit("age=+2")`, or `.write("b.mp4")`.

        Args:
            path: a video, or a folder of frames.
            faces: largest (the person who takes most of the clip), all, or how many people.
            smooth: in time: auto, or from 0 (each frame by itself) to 1.
            refine: encoder or generator[:STEPS], or both with a comma, tuned to each person once.
            paste: difference adds what the edit changed, replace puts in the generated face;
                None = difference, and replace for the reconstruction.
            start: seconds; None = the first frame.
            end: seconds; None = after the last.
            fps: of a folder of frames; None = as its times.csv says.
            watcher: hears how far it is; None = nobody.

        Raises:
            InputError: not a clip that can be read.
            UsageError: what the model cannot do with a clip.
        """
        options = VideoOptions(
            faces=faces,
            smooth=smooth,
            refine=refine,
            paste=paste,
            start=None if start is None else Fraction(start),
            end=None if end is None else Fraction(end),
            fps=None if fps is None else Fraction(fps),
        )
        return Video(self._plain, self._fast, Path(path), options, watcher or Silent())

    def _open_detector(self, min_face: float, min_score: float) -> Detector | None:
        return self._plain.detector(min_face=min_face, min_score=min_score)

    def _open_person(self, photo: Path | None, identity: Path | None, align: bool) -> Person | None:
        return open_person(photo, identity, self._plain, align=align)

    def _open_refining(
        self, refine: str, space: str | None, budget: str | None, until: str | None
    ) -> tuple[Refine, Budget] | None:
        asked = parse_refining(refine, space, budget, until)
        return open_refining(asked, self._plain.generator, self._plain.require_encoder())

    def _images(self, faces: Face | Sequence[Face] | Tensor) -> Tensor:
        """[B, 3, R, R] in [-1, 1], B at least 1."""
        if isinstance(faces, Tensor):
            images = faces
        else:
            every = [faces] if isinstance(faces, Face) else [*faces]
            if not every:
                raise InputError("no face to invert", "is gan.faces(photo) empty?")
            images = to_tensor([face.crop.pixels for face in every])
        wanted = (3, self.resolution, self.resolution)
        if images.ndim != 4 or tuple(images.shape[1:]) != wanted or len(images) == 0:
            raise InputError(
                f"images are [B, 3, {self.resolution}, {self.resolution}] in [-1, 1], "
                f"not {list(images.shape)}"
            )
        return images.float()

    def _origin(self, faces: Face | Sequence[Face] | Tensor) -> dict[str, str]:
        """Where the latents come from, as far as all of them share it."""
        origin = {
            **self._whose(),
            "encoder_sha256": self._plain.encoder_sha256,
            "skip": "keep",
            "noise": "constant, stored with the generator",
        }
        if isinstance(faces, Face):
            matrix = matrix_to_list(crop_matrix(faces.quad, self.resolution))
            origin["crop_matrix"] = json.dumps(matrix)
        return origin

    def _whose(self) -> dict[str, str]:
        model = self._plain
        return {
            "generator": model.name,
            "generator_sha256": model.sha256,
            "version": __version__,
        }
