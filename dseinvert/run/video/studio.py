"""The opened model with all that was asked of it, which the clips of a run share."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import Any

from dseinvert.config import VideoOptions
from dseinvert.editing.cues import Cues, cues_of, share_of, told
from dseinvert.editing.script import read_script
from dseinvert.editing.when import Moment
from dseinvert.encoders.kinds import CHANGE_WEIGHTS
from dseinvert.errors import UsageError
from dseinvert.export.backend import accelerated, backend_of
from dseinvert.export.exporting import Told
from dseinvert.faces.detect import Detector
from dseinvert.faces.mask import Mask
from dseinvert.faces.regions import open_where
from dseinvert.generators import Generator
from dseinvert.inversion.inverter import Inverter
from dseinvert.media.clip import Clip
from dseinvert.models import Model
from dseinvert.run.flow.batchsize import BatchSize, auto_size, share
from dseinvert.timecode import Clock, in_seconds
from dseinvert.video.blend import Mode

RECON = "recon"
"""The label of an output without an edit."""
# The strength that "auto" means for latents.
AUTO = 0.5
_ROW_BYTES = 1200  # of what is kept for each face beside its code


@dataclass(frozen=True)
class Studio:
    """What all clips share."""

    options: VideoOptions
    model: Model
    """Run as --backend asks."""
    plain: Model
    """The same by PyTorch alone, through which gradients go."""
    detector: Detector
    batch: BatchSize
    edits: Cues
    """By label; that of the reconstruction where none was asked for."""
    paste: Mode
    moved: bool
    """Whether the frames move with an edit where they are not replaced."""
    smooth: float
    """0 to 1."""
    side_by_side: bool
    """Whether the source is shown beside the result."""
    where: Mask | None
    """Where in a crop edits may show; None = on the whole face."""

    @property
    def generator(self) -> Generator:
        """The model's."""
        return self.model.generator

    @property
    def side(self) -> int:
        """Of the crops, in pixels."""
        return self.generator.resolution

    def inverter(self) -> Inverter:
        """A new one, for faces to which nothing is tuned."""
        return Inverter(self.generator, self.model.require_encoder())

    def for_clip(self, clip: Clip) -> Studio:
        """The same with edits at the times that their timecodes have in a clip."""
        return replace(self, edits=_edits(self.options, self.model, clip.clock))

    def decisive(self) -> dict[str, Any]:
        """All of the model and its crops that decides about latents, ready for JSON."""
        return {
            "generator": self.model.sha256,
            "encoder": self.model.encoder_sha256,
            "detector": self.detector.name,
            **self.model.decisive(),
        }

    def fingerprints(self) -> dict[str, str]:
        """Of each edit, by label; none for the reconstruction."""
        return {name: told(cues) for name, cues in self.edits.items() if cues}

    def share(self, label: str, moment: Moment, people: Collection[str]) -> float:
        """How much of an output to show of a face at a moment, from 0 to 1; see `share_of`."""
        return share_of(self.edits[label], moment, people)

    def bytes_per_frame(self) -> int:
        """What the latents of a frame take on disk, about."""
        spec = self.generator.spec
        return 4 * spec.layers * spec.dim + _ROW_BYTES

    def facts(self) -> dict[str, str]:
        """About the model, for a page and a table."""
        return {
            "model": f"{self.model.name} ({self.side} px)",
            "generator": f"sha256 {self.model.sha256}",
            "encoder": f"sha256 {self.model.encoder_sha256}",
            "paste": "moved" if self.paste == "difference" and self.moved else self.paste,
            "backend": backend_of(self.model),
        }


def open_studio(options: VideoOptions, model: Model) -> Studio:
    """Check the options against the model; refuses what cannot be honoured before work starts."""
    if model.require_encoder().kind in CHANGE_WEIGHTS:
        said = f"the encoder of {model.name} changes its generator's weights for each frame"
        raise UsageError(f"{said}, which the latents of a clip do not keep", "use `images`")
    detector = model.detector()
    if detector is None:
        raise UsageError(f"{model.name} draws no aligned faces", "use `images` on frames of it")
    model = model.moving_features(options.feature_edit)
    edits = _edits(options, model, None)
    size = options.batch or auto_size(model.generator.resolution, model.generator.device)
    return Studio(
        options=options,
        model=model,
        plain=model,
        detector=detector,
        batch=BatchSize(size),
        edits=edits,
        paste=options.paste or ("replace" if RECON in edits else "difference"),
        moved=options.blend == "moved",
        smooth=AUTO if options.smooth == "auto" else options.smooth,
        side_by_side=options.side_by_side,
        where=open_where(options.mask, options.region, model.generator.resolution),
    )


def _edits(options: VideoOptions, model: Model, clock: Clock | None) -> Cues:
    """clock: of the clip; None = none is known yet."""
    script = None if options.script is None else read_script(options.script, clock)
    texts = [in_seconds(text, clock) for text in options.edits]
    return cues_of(texts, script, model.directions) or {RECON: ()}


def run_by_backend(studio: Studio, images: int, told: Told) -> Studio:
    """The studio with its networks run as --backend asks, which changes no key of any output.

    images: of the whole run. `told` hears of work that is done once.
    """
    shared = share(studio.side, studio.generator.device)
    backend = _backend(studio.options, told)
    return replace(studio, model=accelerated(studio.plain, backend, shared, images, told))


def _backend(options: VideoOptions, told: Told) -> str:
    """Who encodes and draws what is not tuned to a person."""
    if options.refine == "none" or options.backend == "torch":
        return options.backend
    if options.backend != "auto":
        told(f"what --refine tunes runs in PyTorch, the rest by --backend {options.backend}")
        return options.backend
    return "torch"
