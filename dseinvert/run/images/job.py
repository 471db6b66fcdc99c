"""What an `images` run needs besides its inputs, and what of it decides about the outputs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from dseinvert.config import ImagesOptions
from dseinvert.editing.edits import Edits, fingerprint, parse_all
from dseinvert.errors import UsageError
from dseinvert.export.backend import accelerated
from dseinvert.export.exporting import Told, silent
from dseinvert.faces.crops import EVERYBODY, Wanted
from dseinvert.faces.detect import Detector
from dseinvert.faces.mask import Mask
from dseinvert.faces.regions import open_where
from dseinvert.inversion.asked import Refining, parse_refining
from dseinvert.inversion.inverter import Inverter
from dseinvert.inversion.refining import open_refining
from dseinvert.media.form import PNG, Form, form_of
from dseinvert.models import Model
from dseinvert.models.keeper import open_keeper
from dseinvert.models.person import Person, open_person
from dseinvert.run.flow.batchsize import BatchSize, auto_size, share
from dseinvert.run.flow.keys import Setting, settings_of
from dseinvert.run.flow.template import Template, parse_template

PASTING = 7  # raised when whole photos come out otherwise, and only these
MASKING = 2  # raised when crops under --mask auto or face, or --region, do, and only these
OUTPUTS = 2  # raised when the same input and settings give other outputs: all is then done again


@dataclass(frozen=True)
class ImagesJob:
    """The opened model and all else that a run needs besides its inputs."""

    options: ImagesOptions
    model: Model
    inverter: Inverter
    edits: Edits
    detector: Detector | None
    """None = images are taken as they are."""
    mask: Mask | None
    """None = edits show everywhere."""
    batch: BatchSize
    refining: Refining
    person: Person | None = None
    """None = everybody is wanted."""
    form: Form = PNG

    @property
    def template(self) -> Template | None:
        """Of the names of pictures; None = the usual ones."""
        text = self.options.name_template
        return None if text is None else parse_template(text)

    @property
    def settings(self) -> dict[str, Any]:
        """All that decides about the outputs, JSON-ready; part of every journal entry."""
        return settings_of(SETTINGS, self)

    @property
    def wanted(self) -> Wanted:
        """Which faces of each photo are taken."""
        asked = self.options
        return Wanted(
            asked.rotate, asked.faces, self.person, asked.min_face, asked.min_score, limited=True
        )


def _model(job: ImagesJob) -> dict[str, Any]:
    model = job.model
    return {
        "model": model.name,
        "generator": model.sha256,
        "encoder": model.encoder_sha256,
        "resolution": model.generator.resolution,
        **model.decisive(),
    }


def _edits(job: ImagesJob) -> dict[str, Any]:
    return {"edits": {name: fingerprint(steps) for name, steps in job.edits.items()}}


def _label(job: ImagesJob) -> dict[str, Any]:
    return {} if job.options.label is None else {"label": job.options.label}


def _person(job: ImagesJob) -> dict[str, Any]:
    return {} if job.person is None else {"person": job.person.key}


def _unless_usual(name: str) -> Setting[ImagesJob]:
    """A field of `Wanted`: journals of before there was such a choice are of its default.

    Where no faces are looked for, nothing but a turn counts.
    """

    def entries(job: ImagesJob) -> dict[str, Any]:
        if job.detector is None and name != "rotate":
            return {}
        value = getattr(job.wanted, name)
        return {} if value == getattr(EVERYBODY, name) else {name: value}

    return Setting((name,), entries)


def _names(job: ImagesJob) -> dict[str, Any]:
    return {} if job.template is None else {"names": job.template.text}


def _refine(job: ImagesJob) -> dict[str, Any]:
    return {"refine": job.refining.text} if job.refining.stages else {}


def _pasting(job: ImagesJob) -> dict[str, Any]:
    if not job.options.paste:
        return {}
    blend = job.options.blend
    return {"pasting": PASTING if blend == "difference" else [PASTING, blend]}


def _mask(job: ImagesJob) -> dict[str, Any]:
    """With a paste, PASTING tells that crops come out otherwise; a painted mask takes all."""
    if job.mask is None:
        return {}
    told = {"mask": job.mask.name}
    return told if job.options.paste or not job.mask.on_head else {**told, "masking": MASKING}


SETTINGS: tuple[Setting[ImagesJob], ...] = (
    Setting((), lambda job: {"outputs": OUTPUTS}),
    Setting(("model", "feature_edit"), _model),
    Setting(("edits", "identity", "identity_floor"), _edits),
    Setting(("align",), lambda job: {"crop": job.detector.name if job.detector else "none"}),
    Setting(("paste",), lambda job: {"paste": job.options.paste}),
    Setting(("blend",), _pasting),
    Setting(("label",), _label),
    Setting(("mask", "region"), _mask),
    Setting(("format", "quality"), lambda job: {"form": job.form.text} if job.form.text else {}),
    Setting(("name_template",), _names),
    Setting(("keep_gps",), lambda job: {"gps": True} if job.options.keep_gps else {}),
    Setting(("refine", "space", "budget", "until"), _refine),
    Setting(("pack",), lambda job: {"pack": job.options.pack} if job.options.pack else {}),
    *map(_unless_usual, ("rotate", "faces", "min_face", "min_score")),
    Setting(("person", "identity"), _person),
)
"""What an output is made from. Every option is in here or in the next line."""
CHANGES_NOTHING = frozenset(
    {"out", "device", "backend", "batch", "max_pixels", "keep_folders", "overwrite", "dry_run"}
)
"""Options with which an earlier output is as good as a new one."""


def open_job(
    options: ImagesOptions, model: Model, count: int | None = None, told: Told = silent
) -> ImagesJob:
    """Check the options against the model; refuses what cannot be honoured before work starts.

    `count` is the number of images; None = unknown. `told` hears of work that is done once.
    """
    encoder = model.require_encoder()
    model = model.moving_features(options.feature_edit)
    classes = model.generator.spec.classes
    keeper = open_keeper(options.edits, options.identity, options.identity_floor, model)
    edits = parse_all(options.edits, model.directions, classes, keeper)
    mask = open_where(options.mask, options.region, model.generator.resolution)
    refining = parse_refining(options.refine, options.space, options.budget, options.until)
    person = open_person(options.person, options.identity, model, align=options.align)
    if options.paste and not edits:
        raise UsageError("--paste needs an --edit to paste", "add --edit NAME=STRENGTH")
    form = form_of(options.format, options.quality)
    model.check_label(options.label)
    size = options.batch or auto_size(model.generator.resolution, model.generator.device)
    refine = None if options.dry_run else open_refining(refining, model.generator, encoder)
    if not options.dry_run:
        shared = share(model.generator.resolution, model.generator.device)
        model = accelerated(model, _backend(options, refining, told), shared, count, told)
    return ImagesJob(
        options=options,
        model=model,
        inverter=Inverter(model.generator, model.require_encoder(), options.label, refine),
        edits=edits,
        detector=model.detector(
            align=options.align, min_face=options.min_face, min_score=options.min_score
        ),
        mask=mask,
        batch=BatchSize(size),
        refining=refining,
        person=person,
        form=form,
    )


def _backend(options: ImagesOptions, refining: Refining, told: Told) -> str:
    """Who encodes and draws; refinement needs gradients, beside which that is little."""
    if not refining.stages or options.backend == "torch":
        return options.backend
    if options.backend != "auto":
        told(f"--refine runs in PyTorch; --backend {options.backend} encodes and draws")
        return options.backend
    return "torch"
