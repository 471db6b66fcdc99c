"""Who is wanted in photos of many: the face of a reference photo, known again by a network."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from dseinvert.errors import InputError, UsageError
from dseinvert.faces.crops import Wanted, faces_of
from dseinvert.generators.pixels import to_tensor
from dseinvert.media.digest import file_sha256
from dseinvert.media.images import read_image
from dseinvert.media.pixels import Pixels
from dseinvert.models.model import Model
from dseinvert.similarity.identity import Identity, open_identity

SAME_PERSON = 0.4
"""The least cosine at which two faces are one person's: of strangers, 99 of 100 pairs stay below
0.36 with MobileFaceNet."""


LARGEST = Wanted(faces="largest")


@dataclass(frozen=True)
class Person:
    """Somebody, as a face recognition network knows them."""

    embedding: Tensor
    """[1, D] of length 1."""
    network: Identity
    sha256: str
    """Of the reference photo."""

    def __call__(self, crops: Sequence[Pixels]) -> list[bool]:
        """Which of the crops [R, R, 3] in the FFHQ framing show the person."""
        to = self.embedding.device
        cosines = self.network(to_tensor(list(crops)).to(to)) @ self.embedding.T
        return [bool(cosine >= SAME_PERSON) for cosine in cosines[:, 0]]

    @property
    def key(self) -> list[Any]:
        """JSON-ready; equal for those who know the same faces again."""
        return [self.sha256, self.network.sha256, SAME_PERSON]


def open_person(
    photo: Path | None, identity: Path | None, model: Model, *, align: bool = True
) -> Person | None:
    """The person whose face is the largest in `photo`; None = no photo is named.

    Args:
        photo: a reference.
        identity: file of the network; None = what DSEINVERT_IDENTITY names.
        model: how its faces are cropped.
        align: whether faces are found at all.

    Raises:
        UsageError: no face in the photo, or a model of other pictures than aligned faces.
        MissingError: no network is named, or it cannot be opened.
    """
    if photo is None:
        return None
    if model.alignment != "ffhq":
        raise UsageError(f"--person knows aligned faces, and {model.name} draws other things")
    if not align:
        raise UsageError("--person knows aligned faces", "leave out --no-align")
    network = open_identity(identity, model.generator.device)
    face = to_tensor([_largest(photo, model)]).to(model.generator.device)
    return Person(network(face), network, file_sha256(photo))


def _largest(photo: Path, model: Model) -> Pixels:
    """The crop of the largest face, at the side that those of a run have."""
    try:
        picture = read_image(photo)
    except InputError as error:
        raise UsageError(f"--person {error}", "name a photo of one person") from error
    faces = faces_of(picture, model.generator.resolution, model.detector(), LARGEST)
    if not faces:
        raise UsageError(f"--person {photo}: no face found", "name a photo of one person")
    return faces[0].pixels
