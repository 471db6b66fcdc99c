"""A model in memory: a generator with what belongs to it, and what may be asked of it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from dseinvert.editing.directions import Direction
from dseinvert.editing.feature_editor import by_rule
from dseinvert.encoders import Encoder
from dseinvert.errors import InputError, MissingError, UsageError
from dseinvert.faces.detect import MIN_FACE, MIN_SCORE, Detector, open_detector
from dseinvert.generators import Generator
from dseinvert.latent import Latent
from dseinvert.models.fits import check_fits


@dataclass(frozen=True)
class Model:
    """A generator with what belongs to it. `sha256` is that of the generator's weights file."""

    name: str
    folder: Path
    generator: Generator
    encoder: Encoder | None
    directions: dict[str, Direction]
    sha256: str
    encoder_sha256: str
    alignment: str
    """How its faces are cropped: "ffhq", or "none" where images are taken as they are."""
    card: dict[str, Any]
    editor_sha256: str = ""
    """Of the feature editor that is attached to the generator; "" = there is none."""

    @property
    def aligns(self) -> bool:
        """Whether it draws aligned faces, so that those of a photo are found and cropped."""
        return self.alignment != "none"

    def require_encoder(self) -> Encoder:
        """The encoder.

        Raises:
            MissingError: there is none.
        """
        if self.encoder is None:
            raise MissingError(f"model {self.name!r} has no encoder", "train one: dseinvert train")
        return self.encoder

    def moving_features(self, how: str) -> Model:
        """The model whose edits move F by its feature editor, if it has one, or by the "rule"."""
        if how != "rule" or not self.editor_sha256:
            return self
        return replace(self, generator=by_rule(self.generator), editor_sha256="")

    def decisive(self) -> dict[str, str]:
        """What of its editing decides about pictures besides directions; {} = nothing."""
        return {"feature_editor": self.editor_sha256} if self.editor_sha256 else {}

    def detector(
        self, *, align: bool = True, min_face: float = MIN_FACE, min_score: float = MIN_SCORE
    ) -> Detector | None:
        """Who finds its faces in a photo; None = pictures are taken as they are.

        The card may name one of `faces.detect.DETECTORS`; else the best that is here does it.
        Faces less high than `min_face` pixels or less sure than `min_score` are left out.

        Raises:
            MissingError: what the detector needs is not installed.
        """
        if not (align and self.aligns):
            return None
        return open_detector(self.card.get("detector", "auto"), min_face, min_score)

    def check_label(self, label: int | None, option: str = "--label") -> None:
        """UsageError where `label` is no class of the generator; None = no class is meant."""
        classes = self.generator.spec.classes
        if label is not None and not 0 <= label < classes:
            known = f"it has 0 to {classes - 1}" if classes else "it has no classes"
            raise UsageError(f"{option} {label}: not a class of {self.name}", known)

    def check_latent(self, latent: Latent) -> None:
        """InputError where a latent is not one of this model's generator."""
        theirs = latent.origin.get("generator_sha256")
        if theirs != self.sha256:
            whose = latent.origin.get("generator", "unnamed") if theirs else "unnamed"
            raise InputError(
                f"a latent of another generator ({whose}), not of {self.name}",
                "name its model with --model",
            )
        check_fits(self.generator, self.name, latent)
