"""A model whose encoder and generator are run by another runtime: the rest cannot tell.

What was not exported is still done by PyTorch: gradients, seeds, latents of other spaces, features
of other layers, latents with style offsets or with a generator of their own.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from dseinvert.encoders import Encoder
from dseinvert.errors import DseInvertError, MissingError, UsageError
from dseinvert.export.exporting import FORMAT, Exported, Told, export_model, read_export, silent
from dseinvert.export.options import ExportOptions
from dseinvert.export.runners import Runner, load
from dseinvert.export.runtimes import RUNTIMES, Threads
from dseinvert.generators import Config, Generator, MirrorShape, tuned
from dseinvert.generators.styles import StyleLayer
from dseinvert.latent import Latent, LatentSpec
from dseinvert.models import Model, home
from dseinvert.version import __version__
from dseinvert.written import BACKEND

FASTEST = {"cpu": ("openvino", "onnx")}
"""The order of preference by device, as `bin/bench backends` measured it; torch is last."""
WORTH_IT = 20e12
"""Operations that a run must hold before `auto` spends half a minute on an export.

The same on all machines: the workers of a run, who have few cores each, choose as one process does.
"""
FEW = 16
"""Images for which `auto` is PyTorch: others take a second to load the files that they have."""
_log = logging.getLogger(__name__)


def accelerated(
    model: Model, backend: str, threads: Threads, count: int | None = None, told: Told = silent
) -> Model:
    """The model, run by `backend`; its files are made once and kept beside the models.

    Args:
        model: by PyTorch, on the device where it is to run.
        backend: as `--backend` says; "auto" = the fastest that is installed, where its files are
            there already or the run is long enough to pay for making them.
        threads: calls at the same time on a CPU, and threads of each.
        count: images of the whole run, not of a share of it; None = unknown, not worth an export.
        told: hears of an export, which takes half a minute.

    Raises:
        UsageError: another word, or a runtime that is not for this device.
        MissingError: not installed. ParityError: its files would differ too much.
    """
    BACKEND.read("--backend", backend)
    if backend == "torch":
        return model
    if backend == "auto":
        return _fastest(model, threads, count, told)
    device = model.generator.device.type
    if device not in RUNTIMES[backend].devices:
        known = " or ".join(RUNTIMES[backend].devices)
        raise UsageError(f"--backend {backend} runs on {known}, not on {device}", "--device")
    RUNTIMES[backend].check()
    return run_by(model, kept(model, backend) or _made(model, backend, told), threads)


def _fastest(model: Model, threads: Threads, count: int | None, told: Told) -> Model:
    """By the first runtime that is installed; by PyTorch where that is not worth its export."""
    if count is not None and count < FEW:
        return model
    here = [name for name in FASTEST.get(model.generator.device.type, ()) if RUNTIMES[name].here]
    try:
        for name in here:
            exported = kept(model, name)
            if exported is not None:
                return run_by(model, exported, threads)
        if not here or not count or count * flops(model) < WORTH_IT:
            return model
        return run_by(model, _made(model, here[0], told), threads)
    except DseInvertError as error:
        _log.warning("going on with PyTorch: %s", error)
        return model


def kept(model: Model, name: str) -> Exported | None:
    """The files of an earlier run; None = there are none."""
    return read_export(_place(model, name))


def _made(model: Model, name: str, told: Told) -> Exported:
    what = "both" if model.encoder is not None else "generator"
    told(f"exporting {model.name} for {name}, which is done once and takes about half a minute")
    return export_model(model, ExportOptions(to=name, out=_place(model, name), what=what), told)


def _place(model: Model, name: str) -> Path:
    """Named after all that decides what the files compute, and who was seen to compute it."""
    encoder = None if model.encoder is None else model.encoder.config.asdict()
    decides: list[Any] = [FORMAT, __version__, name, _version(RUNTIMES[name].package), model.sha256]
    decides += [model.encoder_sha256, model.generator.config.asdict(), encoder]
    digest = hashlib.sha256(json.dumps(decides, sort_keys=True, default=str).encode())
    return home() / "exports" / digest.hexdigest()[:32]


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""


def backend_of(model: Model) -> str:
    """Who runs its networks: "torch", or a runtime and its version."""
    return model.generator.by


def flops(model: Model) -> float:
    """Operations of encoding and drawing one image."""
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        images = model.generator.synthesize(model.generator.sample([0]))
        if model.encoder is not None and model.generator.spec.classes == 0:
            model.encoder.encode(images)
    return float(counter.get_total_flops())


def run_by(model: Model, exported: Exported, threads: Threads) -> Model:
    """The model with each of the exported files loaded.

    Raises:
        MissingError: the files belong to other weights.
    """
    told = exported.sidecar
    if (told["generator_sha256"], told["encoder_sha256"]) != (model.sha256, model.encoder_sha256):
        raise MissingError(f"{exported.folder}: exported from another model than {model.name}")
    device = model.generator.device
    files = {
        name: (_load(exported, about["file"], device, threads), about)
        for name, about in told["files"].items()
    }
    by = f"{told['to']} {_version(RUNTIMES[told['to']].package)}"
    _log.info("backend: %s in place of torch", by)
    generator: Generator = ExportedGenerator(model.generator, files, by)
    encoder: Encoder | None = model.encoder
    if encoder is not None and "encoder" in files:
        encoder = ExportedEncoder(encoder, model.generator, *files["encoder"], by)
    return replace(model, generator=generator, encoder=encoder)


def _load(exported: Exported, file: str, device: torch.device, threads: Threads) -> Runner:
    told = exported.sidecar
    return load(told["to"], exported.folder / file, device, threads, told["precision"])


class ExportedEncoder:
    """An encoder in a file, behind the Encoder protocol."""

    def __init__(
        self,
        encoder: Encoder,
        generator: Generator,
        runner: Runner,
        about: Mapping[str, Any],
        by: str,
    ) -> None:
        """`by` is written into the latents: who computed them."""
        self.encoder, self.generator = encoder, generator
        self.runner, self.about, self.by = runner, about, by

    @property
    def kind(self) -> str:
        """As the encoder's."""
        return self.encoder.kind

    @property
    def config(self) -> Config:
        """As the encoder's."""
        return self.encoder.config

    def encode(self, images: Tensor, label: Tensor | None = None) -> Latent:
        """[B, 3, R, R] in [-1, 1] -> Latent; see Encoder."""
        if torch.is_grad_enabled() or ("label" in self.about["inputs"] and label is None):
            return self.encoder.encode(images, label)
        given = {"images": images} if label is None else {"images": images, "label": label}
        made = self.runner(given)
        feature = made.get("feature")
        return Latent(
            made["code"],
            self.about["space"],
            feature=feature,
            layer=int(self.about["layer"]) if feature is not None else None,
            skip=self.about.get("skip", "keep"),
            label=label,
            origin={"backend": self.by, **_truncation(self.about)},
        )

    def attach(self, generator: Generator) -> None:
        """It has met its generator."""


class ExportedGenerator:
    """A generator in files, behind the Generator protocol."""

    def __init__(
        self,
        generator: Generator,
        files: Mapping[str, tuple[Runner, Mapping[str, Any]]],
        by: str = "",
    ) -> None:
        """`generator` is PyTorch's, which does what `files` do not; `by` is who runs them."""
        self.generator = generator
        self.files = files
        self.by = by

    def synthesize(self, latent: Latent) -> Tensor:
        """[B, L, D] -> [B, 3, R, R] in about [-1, 1]."""
        name = "generator" if latent.feature is None else "generator-feature"
        if not self._fits(name, latent):
            return tuned.synthesize(self.generator, latent)
        return self.files[name][0](latent.tensors())["images"]

    def features(self, latent: Latent, layer: int) -> Tensor:
        """Feature tensor [B, C, H, W] at `layer`."""
        if not self._fits("features", latent, layer):
            return tuned.features(self.generator, latent, layer)
        return self.files["features"][0](latent.tensors())["feature"]

    def _fits(self, name: str, latent: Latent, layer: int | None = None) -> bool:
        """Whether that file computes this, as far as it is exported at all."""
        if torch.is_grad_enabled() or name not in self.files:
            return False
        if latent.style is not None or latent.tuning:
            return False  # no file takes them
        about, tensors = self.files[name][1], latent.tensors()
        shapes = {key: one["shape"][1:] for key, one in about["inputs"].items()}
        place = (layer or latent.layer or 0, latent.skip)
        return (
            latent.space == about["space"]
            and all(key in tensors and [*tensors[key].shape[1:]] == shapes[key] for key in shapes)
            and (name == "generator" or place == (int(about["layer"]), about["skip"]))
            and _same_truncation(latent, about)
        )

    @property
    def family(self) -> str:
        """As the generator's, like all that follows."""
        return self.generator.family

    @property
    def config(self) -> Config:
        """What it is built from."""
        return self.generator.config

    @property
    def spec(self) -> LatentSpec:
        """The latent it takes."""
        return self.generator.spec

    @property
    def resolution(self) -> int:
        """Side of its images in pixels."""
        return self.generator.resolution

    @property
    def device(self) -> torch.device:
        """Where it runs."""
        return self.generator.device

    @property
    def truncates(self) -> bool:
        """Whether psi means anything to it."""
        return self.generator.truncates

    @property
    def truncation(self) -> float | None:
        """The psi of latents that name none."""
        return self.generator.truncation

    @property
    def z_dim(self) -> int:
        """Numbers in a z."""
        return self.generator.z_dim

    @property
    def z_limit(self) -> float | None:
        """The largest number of a z; None = it is on a sphere."""
        return self.generator.z_limit

    @property
    def margin(self) -> int:
        """Samples that its features hold around the image."""
        return self.generator.margin

    @property
    def class_vectors(self) -> Tensor | None:
        """What stands beside z for each class."""
        return self.generator.class_vectors

    @property
    def style_layers(self) -> tuple[StyleLayer, ...]:
        """The layers of StyleSpace."""
        return self.generator.style_layers

    @property
    def mirror(self) -> MirrorShape | None:
        """What the encoder that mirrors it finds."""
        return self.generator.mirror

    @property
    def plain(self) -> nn.Module:
        """PyTorch's network of it."""
        return self.generator.plain

    def rows(self, latent: Latent) -> Tensor:
        """[B, L, D] of a latent in any space."""
        return self.generator.rows(latent)

    def first_weights(self, rows: tuple[int, int] | None = None) -> Tensor:
        """What first meets a latent: [outputs, D]."""
        return self.generator.first_weights(rows)

    def mean_latent(self) -> Latent:
        """The centre of its latents."""
        return self.generator.mean_latent()

    def sample(
        self,
        seeds: Sequence[int],
        psi: float = 1.0,
        cutoff: int | None = None,
        labels: Sequence[int] | None = None,
    ) -> Latent:
        """One latent per seed; see Generator."""
        return self.generator.sample(seeds, psi, cutoff, labels)


def _truncation(about: Mapping[str, Any]) -> dict[str, str]:
    return {"truncation": about["truncation"]} if "truncation" in about else {}


def _same_truncation(latent: Latent, about: Mapping[str, Any]) -> bool:
    """Whether a BigGAN's statistics are those in the file; a latent that names none is not sure."""
    if "truncation" not in about:
        return True
    return float(latent.origin.get("truncation", "nan")) == float(about["truncation"])
