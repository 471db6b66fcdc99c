"""What a program hands to the front door: another kind is one line with advice, never a traceback
from the depths, and never a silent result."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import dseinvert
from tests.conftest import ROOT

PORTRAIT = ROOT / "examples" / "faces" / "portrait-1.jpg"
PIXELS = np.zeros((8, 8, 3), np.uint8)


@pytest.fixture(scope="module")
def gan(tiny_model: Path) -> dseinvert.Gan:
    return dseinvert.load(tiny_model, backend="torch", device=torch.device("cpu"))


@pytest.fixture(scope="module")
def face(gan: dseinvert.Gan) -> dseinvert.Face:
    (whole,) = gan.faces(PORTRAIT, align=False)
    return whole


@pytest.fixture(scope="module")
def found(gan: dseinvert.Gan, face: dseinvert.Face) -> dseinvert.Found:
    return gan.invert([face, face])


def closed_image() -> Image.Image:
    image = Image.new("RGB", (4, 4))
    image.close()
    return image


@pytest.mark.parametrize(
    "given",
    [
        *(None, 3, ["a.jpg", "b.jpg"], io.BytesIO(b""), object(), [[1], [1, 2]]),
        *(PIXELS.astype(np.uint16), PIXELS > 0, PIXELS[..., :1], PIXELS[:0], PIXELS[:0] / 255),
        *(PIXELS + 0.0 + 9, torch.rand(3, 8, 8), b"", b"abc"),
        *(closed_image(), Image.new("RGB", (0, 0)), Image.new("La", (4, 4))),
    ],
    ids=lambda one: type(one).__name__,
)
def test_what_is_no_photo(given: Any) -> None:
    said = refused(dseinvert.InputError, lambda: dseinvert.open_photo(given))
    assert any(word in said for word in ("photo", "image", "bytes"))
    assert "open_photo" not in said  # it has just been called


def test_photos_are_made_of_arrays() -> None:
    for given in (None, [[1]]):
        said = refused(dseinvert.InputError, lambda given=given: dseinvert.Photo(given))
        assert "open_photo takes" in said


@pytest.mark.parametrize(
    "given", [None, 3, "a.jpg", ["a.jpg"], PIXELS, [None]], ids=lambda one: type(one).__name__
)
def test_what_is_no_face(gan: dseinvert.Gan, given: Any) -> None:
    assert "gan.faces(photo)" in refused(dseinvert.InputError, lambda: gan.invert(given))


def test_a_photo_is_no_face(gan: dseinvert.Gan, face: dseinvert.Face) -> None:
    for given in (face.crop, [face.crop]):
        said = refused(dseinvert.InputError, lambda given=given: gan.invert(given))
        assert "gan.faces(photo)" in said


@pytest.mark.parametrize(
    "change",
    [
        lambda images: images * 255,
        lambda images: images.to(torch.uint8),
        lambda images: images.long(),
        lambda images: images * float("nan"),
        lambda images: images[0],
        lambda images: images[:0],
    ],
)
def test_what_are_no_images(gan: dseinvert.Gan, change: Callable[..., torch.Tensor]) -> None:
    images = torch.ones(1, 3, 16, 16)
    assert gan.invert(images.double()).images.shape == images.shape
    assert "[-1, 1]" in refused(dseinvert.InputError, lambda: gan.invert(change(images)))


@pytest.mark.parametrize("name", ["refine", "space", "budget", "until"])
def test_options_are_text(gan: dseinvert.Gan, face: dseinvert.Face, name: str) -> None:
    options: dict[str, Any] = {"refine": "latent:1", name: 5}
    assert refused(dseinvert.UsageError, lambda: gan.invert(face, **options)).startswith(
        f"{name} 5"
    )


def test_what_is_no_latent(gan: dseinvert.Gan, found: dseinvert.Found) -> None:
    for given in (None, "a.safetensors", found, found.latent.code, found.latent[:0]):
        for use in (gan.draw, lambda latent: gan.edit(latent, "age=+1")):
            said = refused(dseinvert.InputError, lambda given=given, use=use: use(given))
            assert "found.latent" in said
    for edits in (None, 2, {"age": 2}, ["age=+2"]):
        refused(dseinvert.UsageError, lambda edits=edits: gan.edit(found.latent, edits))


def test_what_cannot_be_pasted(
    gan: dseinvert.Gan, face: dseinvert.Face, found: dseinvert.Found
) -> None:
    fitting = {"face": face, "edited": found[0].images, "found": found[0]}
    wrong: list[dict[str, Any]] = [
        *({name: None} for name in fitting),
        {"face": [face]},
        {"edited": found.latent},
        {"edited": dseinvert.open_photo(PORTRAIT)},
        {"edited": found[0].images[..., :5]},
        {"found": found[0].latent},
        {"mask": PIXELS},
    ]
    for one in wrong:
        refused(dseinvert.InputError, lambda one=one: gan.paste(PORTRAIT, **{**fitting, **one}))


@pytest.mark.parametrize(
    "seeds",
    [0, -1, 1.5, None, [], "3", [-1], [2**32], ["a"], torch.rand(2)],
    ids=lambda one: type(one).__name__,
)
def test_what_are_no_seeds(gan: dseinvert.Gan, seeds: Any) -> None:
    assert refused(dseinvert.UsageError, lambda: gan.sample(seeds)).startswith("seeds")


def test_seeds_may_be_numbers_of_numpy_and_torch(gan: dseinvert.Gan) -> None:
    wanted = gan.sample([0, 1]).code
    for seeds in (2, np.int64(2), np.arange(2), torch.arange(2), range(2)):
        assert torch.equal(gan.sample(seeds).code, wanted)  # type: ignore[arg-type]


def test_what_else_is_no_number_or_path(gan: dseinvert.Gan) -> None:
    for psi in ("a", float("nan")):
        refused(dseinvert.UsageError, lambda psi=psi: gan.sample(1, psi=psi))
    refused(dseinvert.UsageError, lambda: gan.sample(1, label="1"))  # type: ignore[arg-type]
    for path in (None, 3, ["a.mp4"], b"a.mp4"):
        refused(dseinvert.InputError, lambda path=path: gan.video(path))
    for images in (None, PIXELS, torch.zeros(3, 8, 8)):
        refused(dseinvert.InputError, lambda images=images: gan.photos(images))
    for options in ({"threads": 0}, {"threads": "2"}, {"device": None}, {"device": "gpu"}):
        refused(dseinvert.UsageError, lambda options=options: dseinvert.load(**options))


def test_one_of_a_batch_is_a_batch_of_one(found: dseinvert.Found) -> None:
    latent = found.latent
    assert [len(one) for one in latent] == [len(one) for one in found] == [1, 1]
    assert torch.equal(latent[-1].code, latent.code[1:]) and len(found[:1]) == 1
    with pytest.raises(IndexError):
        latent[2]


def test_a_latent_is_saved_under_a_name_that_it_can_be_loaded_by(
    found: dseinvert.Found, tmp_path: Path
) -> None:
    refused(dseinvert.OutputError, lambda: found.latent.save(tmp_path / "a.pt"))
    assert not [*tmp_path.iterdir()]


def refused(kind: type[dseinvert.DseInvertError], call: Callable[[], object]) -> str:
    """What is said where a call ends with that error, in one line."""
    with pytest.raises(kind) as caught:
        call()
    assert len(str(caught.value).splitlines()) == 1
    return str(caught.value)
