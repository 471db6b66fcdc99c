"""The front door: one object that holds a loaded model, and what one does with it.

Values go in and come out; nothing is written, printed or remembered between calls. What the verbs
of the command line do is built of the same parts.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Sequence
from fractions import Fraction
from functools import lru_cache
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from dseinvert.api.given import (
    expect,
    expect_images,
    expect_number,
    expect_text,
    people_given,
    seeds_of,
    when_of,
)
from dseinvert.api.values import Face, Found
from dseinvert.api.video import Video
from dseinvert.config import VideoOptions
from dseinvert.editing.apply import apply_edits
from dseinvert.editing.auto import settle
from dseinvert.editing.blend import between, mixed, parse_rows
from dseinvert.editing.edits import parse_edits
from dseinvert.errors import InputError, UsageError
from dseinvert.export.backend import accelerated, backend_of
from dseinvert.export.runtimes import Threads
from dseinvert.faces.align import crop_matrix, matrix_to_list
from dseinvert.faces.crops import Crop, Wanted, faces_of
from dseinvert.faces.detect import MIN_FACE, MIN_SCORE, Detector
from dseinvert.faces.mask import paste_edit
from dseinvert.faces.regions import open_where
from dseinvert.faces.search import Rotate
from dseinvert.generators.pixels import to_levels, to_pixels, to_tensor
from dseinvert.generators.tuned import synthesize
from dseinvert.inversion.asked import parse_refining
from dseinvert.inversion.inverter import Inverter
from dseinvert.inversion.joining import best_of
from dseinvert.inversion.refinement import Budget, Refine, Watch
from dseinvert.inversion.refining import open_refining
from dseinvert.latent import Latent, concat
from dseinvert.media.photo import Photo, open_photo
from dseinvert.models import Model, open_model, pick_device
from dseinvert.models.keeper import open_keeper
from dseinvert.models.person import Person, open_person
from dseinvert.progress import Silent, Watcher
from dseinvert.run.flow.batchsize import auto_size
from dseinvert.run.play.sample import USUAL_PSI
from dseinvert.similarity.metrics import image_metrics
from dseinvert.version import __version__
from dseinvert.written import BLEND, FACES, PASTE, RATE, ROTATE, SMOOTH

Picture = str | Path | bytes | Image.Image | np.ndarray | Photo
"""Whatever `open_photo` takes."""
_FACES = "gan.faces(photo) finds them, gan.faces(photo, align=False) takes the photo as it is"
_LATENT = "found.latent, gan.sample(4) and Latent.load(path) are some"


def load(
    model: str | Path = "default",
    *,
    device: str | torch.device = "auto",
    backend: str = "auto",
    threads: int | None = None,
    feature_edit: Literal["auto", "rule"] = "auto",
) -> Gan:
    """A model, loaded once, ready to invert, edit and draw.

    Args:
        model: a name that `dseinvert models list` knows, a model's folder, or a checkpoint file.
        device: auto, cpu, cuda or cuda:N, as text or a torch.device.
        backend: auto, torch, onnx, openvino or tensorrt; auto = a runtime whose files are there
            already, else torch.
        threads: of a CPU, for a runtime that is not torch; None = all cores.
        feature_edit: how F follows edits: auto, by the model's feature editor if it has one, or
            rule, by the difference rule.

    Raises:
        UsageError: no such model, device, backend or way to edit F, or less than one thread.
        DeviceError: a GPU that is not there.
        MissingError: a model or runtime that is not whole or not installed.
    """
    each = (os.cpu_count() or 1) if threads is None else threads
    if not isinstance(each, int) or each < 1:
        raise UsageError(f"threads {threads!r}", "a number from 1 on, or None for all cores")
    if feature_edit not in ("auto", "rule"):
        raise UsageError(f"feature_edit {feature_edit!r}", "auto or rule")
    opened = open_model(str(model), pick_device(str(device))).moving_features(feature_edit)
    return Gan(opened, accelerated(opened, backend, Threads(1, each)))


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
        return [Face(Photo(one.pixels), one.quad, one.score, one.aligned) for one in found]

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
            InputError: what are no faces, or images of another shape or range.
            MissingError: the model has no encoder.
        """
        self._check_label(label)
        images = self._images(faces)
        asked = refine, space, budget, until
        expect_text("refine", refine)
        for name, given in (("space", space), ("budget", budget), ("until", until)):
            if given is not None:
                expect_text(name, given)
        refining = self._refining(*asked)
        model = self._fast if refining is None else self._plain
        inverter = Inverter(model.generator, model.require_encoder(), label, refining)
        size = auto_size(self.resolution, self.device)
        found = [inverter.invert(part, watch) for part in images.split(size)]
        latent, drawn, kept = best_of(model.generator, found)
        latent = latent.with_origin(**self._origin(faces))
        if refining is not None:
            latent = latent.with_origin(refined=parse_refining(*asked).text)
        steps = [one.steps for one in found if one.steps is not None]
        metrics = image_metrics(images.cpu(), drawn.cpu())
        if not steps:
            return Found(latent, drawn, metrics)
        return Found(latent, drawn, metrics, torch.cat(steps), kept)

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
        self._check_latent(latent)
        expect_text("edits", edits)
        expect_number("identity_floor", identity_floor)
        network = None if identity is None else Path(identity)
        keeper = open_keeper([edits], network, identity_floor, self._plain)
        classes = self._plain.generator.spec.classes
        steps = parse_edits(edits, self._plain.directions, classes, keeper)
        generator = self._fast.generator
        with torch.no_grad():
            latent = latent.to(self.device)
            return apply_edits(latent, settle(latent, steps, generator), generator)

    def mix(self, base: Latent, other: Latent, layers: str) -> Latent:
        """`base` with some rows of `other`, batches of one size, as `dseinvert mix` does.

        Args:
            base: who it is.
            other: what is taken over.
            layers: numbers and ranges of rows from 0, as "4-9,12".

        Raises:
            UsageError: rows that there are not.
            InputError: latents of another model, or of different spaces.
        """
        expect_text("layers", layers)
        first, second = self._both(base, other)
        rows = parse_rows(layers, first.code.shape[1], "layers")
        with torch.no_grad():
            return mixed(first, second, rows, self._plain.generator)

    def between(self, a: Latent, b: Latent, share: float) -> Latent:
        """The latent at `share` of the way from a (0) to b (1), as `dseinvert morph` goes.

        Raises:
            UsageError: a share that is no number.
            InputError: latents of another model, or of different spaces.
        """
        expect_number("share", share)
        with torch.no_grad():
            return between(*self._both(a, b), share, self._plain.generator)

    def _both(self, a: Latent, b: Latent) -> tuple[Latent, Latent]:
        self._check_latent(a)
        self._check_latent(b)
        if len(a) != len(b):
            raise InputError(f"batches of {len(a)} and {len(b)} latents", "as many of each")
        return a.to(self.device), b.to(self.device)

    def draw(self, latent: Latent) -> Tensor:
        """Images [B, 3, R, R] in [-1, 1] of latents of this model, on its device.

        Raises:
            InputError: a latent of another model, or none.
        """
        self._check_latent(latent)
        size = auto_size(self.resolution, self.device)
        parts = [latent[k : k + size].to(self.device) for k in range(0, len(latent), size)]
        with torch.no_grad():
            drawn = [synthesize(self._fast.generator, part).clamp(-1, 1) for part in parts]
        return torch.cat(drawn)

    def photos(self, images: Tensor) -> list[Photo]:
        """Images [B, 3, H, W] in [-1, 1], such as `draw` gives, as photos that can be saved.

        Raises:
            InputError: no such tensor.
        """
        expect(images, Tensor, "a tensor [B, 3, H, W]", "gan.draw(latent) is one")
        if images.ndim != 4:
            raise InputError(f"images are [B, 3, H, W] in [-1, 1], not {list(images.shape)}")
        return [Photo(pixels) for pixels in to_pixels(images)]

    def paste(
        self,
        photo: Picture,
        face: Face,
        edited: Tensor | Photo,
        found: Found,
        *,
        mask: str | Path | None = None,
        blend: Literal["moved", "difference"] = "moved",
        region: str | None = None,
    ) -> Photo:
        """The photo with what an edit changed in one face; the rest keeps its own pixels.

        Args:
            photo: that the face is from, perhaps with other faces pasted already.
            face: of `faces`.
            edited: [1, 3, R, R] in [-1, 1] from `draw`, or the same as a photo.
            found: the inversion of that face alone: `found[i]` of several.
            mask: auto (where it changed much), face, or a picture of the crop, white where the edit
                may show; None = everywhere, as far as the reconstruction agrees with the crop.
            blend: moved, where the photo's own pixels move as the edit moves the face, or
                difference, where what it changed is added.
            region: mouth, eyes, hair or skin, several with commas, within the mask; None = all.

        Raises:
            UsageError: another mask or region, or more than one face.
            InputError: a picture of another size, or what is no picture.
        """
        expect(face, Face, "a face", "one of gan.faces(photo)")
        expect(found, Found, "an inversion", "gan.invert(face)")
        expect(edited, (Tensor, Photo), "an edited picture", "gan.draw(latent)")
        if mask is not None:
            expect(mask, (str, Path), "a mask", "auto, face or the path of a picture")
        if region is not None:
            expect_text("region", region)
        if len(found) != 1 or (isinstance(edited, Tensor) and len(edited) != 1):
            raise UsageError("paste takes one face at a time", "found[i], drawn[i : i + 1]")
        opened = open_photo(photo)
        crop = Crop(face.crop.pixels, face.quad, face.score, aligned=face.aligned)
        finished = to_pixels if isinstance(edited, Photo) else to_levels
        new = edited.pixels if isinstance(edited, Photo) else to_levels(edited)[0]
        recon = finished(found.images)[0]
        if not new.shape == recon.shape == crop.pixels.shape == (self.resolution,) * 2 + (3,):
            sizes = ", ".join(
                "x".join(map(str, one.shape[:2])) for one in (new, recon, crop.pixels)
            )
            what = f"edit, inversion and crop are {self.resolution} px, not {sizes}"
            raise InputError(what, "of one face, as this model draws it")
        shown_in = open_where(None if mask is None else str(mask), region, self.resolution)
        how = BLEND.read("blend", blend)
        pixels = paste_edit(opened.pixels, crop, new, recon, shown_in, how)
        return Photo(pixels, opened.warnings, opened.path)

    def sample(
        self, seeds: int | Sequence[int] = 1, *, psi: float | None = None, label: int | None = None
    ) -> Latent:
        """Latents of seeds; each is free of the others.

        Args:
            seeds: which, each from 0 to 4294967295, or how many from 0 on.
            psi: truncation, 1 = none, 0 = the mean; None = 0.7, or 1 for a model that has none.
            label: class of all; None = drawn from each seed.

        Raises:
            UsageError: no seeds, or a psi or label that the model cannot have.
        """
        generator, wanted = self._plain.generator, seeds_of(seeds)
        self._check_label(label)
        psi = (USUAL_PSI if generator.truncates else 1.0) if psi is None else psi
        expect_number("psi", psi)
        if psi != 1 and not generator.truncates:
            raise UsageError(f"psi {psi:g}: {self.name} has no truncation", "leave it out")
        labels = None if label is None else [label]
        with torch.no_grad():
            drawn = [generator.sample([seed], psi, labels=labels) for seed in wanted]
        return concat(drawn).with_origin(**self._whose())

    def video(
        self,
        path: str | Path,
        *,
        faces: Literal["largest", "all"] | int = "largest",
        person: str | Path | int | Sequence[str | Path | int] = (),
        identity: str | Path | None = None,
        smooth: float | Literal["auto"] = "auto",
        refine: str = "none",
        paste: Literal["difference", "replace"] | None = None,
        blend: Literal["moved", "difference"] = "moved",
        mask: str | Path | None = None,
        region: str | None = None,
        start: Fraction | float | str | None = None,
        end: Fraction | float | str | None = None,
        fps: Fraction | int | None = None,
        deinterlace: bool = False,
        rotate: Rotate = "auto",
        watcher: Watcher | None = None,
    ) -> Video:
        """A clip: `for frame in gan.video("a.mp4").edit("age=+2")`, or `.write("b.mp4")`.

        Args:
            path: a video, or a folder of frames.
            faces: largest (the person who takes most of the clip), all, or how many people.
            person: who is edited, as `--person` says it: a number, left, right, largest, or the
                path of a picture or a folder of them; several in a list; () = as `faces` says.
            identity: the network that knows people; None = what DSEINVERT_IDENTITY names, if
                anything.
            smooth: in time: auto, or from 0 (each frame by itself) to 1.
            refine: encoder or generator[:STEPS], or both with a comma, tuned to each person once.
            paste: difference adds what the edit changed, replace puts in the generated face;
                None = difference, and replace for the reconstruction.
            blend: of a difference: moved, where the frame's own pixels move as the edit moves the
                face, or difference, where what it changed is added.
            mask: auto, face, or a picture of the crop, white where edits may show; None = on the
                whole face.
            region: mouth, eyes, hair or skin, several with commas; None = everywhere.
            start: seconds from the beginning, or text as "00:00:12:12"; None = the first frame.
            end: likewise; None = after the last.
            fps: of a folder of frames; None = as its times.csv says.
            deinterlace: whether whole pictures are made of interlaced ones.
            rotate: degrees clockwise that set the frames upright; auto = as their faces tell.
            watcher: hears how far it is; None = nobody.

        Raises:
            InputError: not a clip that can be read, or not as long.
            UsageError: an option that cannot be read, or what the model cannot do with a clip.
        """
        expect(path, (str, Path), "the path of a clip")
        expect_text("refine", refine)
        options = VideoOptions(
            faces=FACES.read("faces", str(faces)),
            person=people_given(person),
            identity=None if identity is None else Path(identity),
            smooth=SMOOTH.read("smooth", str(smooth)),
            refine=refine,
            paste=None if paste is None else PASTE.read("paste", str(paste)),
            blend=BLEND.read("blend", str(blend)),
            mask=None if mask is None else str(mask),
            region=region,
            start=when_of("start", start),
            end=when_of("end", end),
            fps=None if fps is None else RATE.read("fps", str(fps)),
            deinterlace=deinterlace,
            rotate=ROTATE.read("rotate", str(rotate)),
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
            if not isinstance(faces, Face):
                expect(faces, Iterable, "a face, several, or a tensor of images", _FACES)
            every = [faces] if isinstance(faces, Face) else [*faces]
            if not every:
                raise InputError("no face to invert", "is gan.faces(photo) empty?")
            for face in every:
                expect(face, Face, "a face", _FACES)
            images = to_tensor([face.crop.pixels for face in every])
        expect_images(images, self.resolution)
        return images.float()

    def _check_label(self, label: int | None) -> None:
        if not isinstance(label, int | None):
            raise UsageError(f"label {label!r}", "the number of a class")
        self._plain.check_label(label, "label")

    def _check_latent(self, latent: Latent) -> None:
        """InputError where it is none of this model, or holds none."""
        expect(latent, Latent, "a latent", _LATENT)
        if len(latent) == 0:
            raise InputError("a batch of no latents", _LATENT)
        self._plain.check_latent(latent)

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
