"""Who is wanted is known again by a network that the user has; without one that is refused."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch.nn.functional as F
from torch import Tensor

from dseinvert.errors import MissingError, UsageError
from dseinvert.faces.crops import Wanted, faces_of
from dseinvert.media.images import encode_png, read_image
from dseinvert.models import Model, open_model
from dseinvert.models import person as people
from dseinvert.models.person import open_person
from dseinvert.similarity.identity import VARIABLE, Identity
from tests.conftest import ROOT

GROUP = ROOT / "examples" / "faces" / "group.jpg"


def pixels_as_identity(faces: Tensor) -> Tensor:
    """[B, 3, H, W] -> [B, 192]: no network at all, but it tells these few faces apart."""
    small = F.adaptive_avg_pool2d(faces, 8).flatten(1)
    return small - small.mean(1, keepdim=True)


@pytest.fixture
def model(tiny_model: Path, monkeypatch: pytest.MonkeyPatch) -> Model:
    monkeypatch.delenv(VARIABLE, raising=False)
    return open_model(str(tiny_model))


@pytest.fixture
def network(monkeypatch: pytest.MonkeyPatch) -> Identity:
    network = Identity(pixels_as_identity, "pixels", "c0de")
    monkeypatch.setattr(people, "open_identity", lambda path, device: network)
    monkeypatch.setattr(people, "SAME_PERSON", 0.97)
    return network


def reference(folder: Path, model: Model, index: int) -> Path:
    """A photo of one person of the group, with some room around the face."""
    photo = read_image(GROUP)
    quad = faces_of(photo, 16, model.detector())[index].quad
    (x0, y0), (x1, y1) = quad.min(0).astype(int), quad.max(0).astype(int)
    (folder / "who.png").write_bytes(encode_png(np.ascontiguousarray(photo[y0:y1, x0:x1])))
    return folder / "who.png"


@pytest.mark.parametrize("index", [0, 1, 2])
def test_only_the_faces_of_that_person_are_taken(
    model: Model, network: Identity, tmp_path: Path, index: int
) -> None:
    person = open_person(reference(tmp_path, model, index), None, model)
    assert person is not None and person.key[1] == "c0de"
    photo, side, detector = read_image(GROUP), model.generator.resolution, model.detector()
    (one,) = faces_of(photo, side, detector, Wanted(person=person))
    assert np.array_equal(one.pixels, faces_of(photo, side, detector)[index].pixels)


def test_nobody_is_wanted_in_particular(model: Model) -> None:
    assert open_person(None, None, model) is None


def test_without_a_network_it_is_refused(model: Model) -> None:
    with pytest.raises(MissingError, match="no face recognition network is named"):
        open_person(GROUP, None, model)


def test_a_reference_without_a_face_is_refused(
    model: Model, network: Identity, pictures: Path
) -> None:
    with pytest.raises(UsageError, match=r"--person .*p0.png: no face found"):
        open_person(pictures / "p0.png", None, model)
    with pytest.raises(UsageError, match=r"--person .*absent.png"):
        open_person(pictures / "absent.png", None, model)


def test_only_aligned_faces_can_be_known(model: Model, network: Identity) -> None:
    with pytest.raises(UsageError, match="aligned faces"):
        open_person(GROUP, None, replace(model, alignment="none"))
    with pytest.raises(UsageError, match="aligned faces"):
        open_person(GROUP, None, model, align=False)
