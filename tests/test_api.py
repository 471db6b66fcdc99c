"""The front door: what a program that imports dseinvert can do with one loaded model."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import dseinvert
from dseinvert.cli.main import run
from dseinvert.latent import load_latent
from dseinvert.media.images import read_image
from tests.conftest import ROOT, child_environment

GROUP = ROOT / "examples" / "faces" / "group.jpg"


@pytest.fixture(scope="module")
def gan() -> dseinvert.Gan:
    return dseinvert.load("default", backend="torch")


@pytest.fixture(scope="module")
def faces(gan: dseinvert.Gan) -> list[dseinvert.Face]:
    return gan.faces(GROUP)


def test_importing_the_package_loads_nothing_else() -> None:
    code = (
        "import sys, dseinvert; heavy = ('torch', 'numpy', 'cv2', 'PIL', 'rich', 'typer');"
        "print([n for n in heavy if n in sys.modules]); dir(dseinvert); dseinvert.UsageError;"
        "print([n for n in heavy if n in sys.modules])"
    )
    found = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=child_environment()
    )
    assert found.stdout.split() == ["[]", "[]"], found.stderr


def test_every_public_name_is_there_and_documented() -> None:
    for name in dseinvert.__all__:
        thing = getattr(dseinvert, name)
        assert name == "__version__" or thing.__doc__
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = dseinvert.nothing  # type: ignore[attr-defined]


def test_the_faces_of_a_photo_come_with_crop_corners_and_score(
    gan: dseinvert.Gan, faces: list[dseinvert.Face]
) -> None:
    assert len(faces) == 3
    for face in faces:
        assert face.crop.size == (gan.resolution, gan.resolution)
        assert face.quad.shape == (4, 2) and 0.6 < face.score <= 1
    (whole,) = gan.faces(GROUP, align=False)
    assert whole.quad[2].tolist() == [*(np.array(dseinvert.open_photo(GROUP).size) - 0.5)]


def test_faces_can_be_chosen_and_a_turned_photo_gives_the_same(
    gan: dseinvert.Gan, faces: list[dseinvert.Face]
) -> None:
    (largest,) = gan.faces(GROUP, faces="largest")
    assert np.array_equal(largest.crop.pixels, faces[0].crop.pixels)
    assert gan.faces(GROUP, min_face=1000) == []
    turned = np.ascontiguousarray(read_image(GROUP)[::-1, ::-1])
    for rotate in ("auto", 180):
        (first,) = gan.faces(turned, faces=1, rotate=rotate)
        assert np.abs(first.crop.pixels.astype(int) - largest.crop.pixels).mean() < 1
    with pytest.raises(dseinvert.UsageError, match="rotate 45"):
        gan.faces(GROUP, rotate=45)


@pytest.mark.parametrize("kind", ["path", "text", "bytes", "pil", "numpy", "photo"])
def test_a_photo_is_the_same_however_it_is_given(kind: str) -> None:
    given = {
        "path": GROUP,
        "text": str(GROUP),
        "bytes": GROUP.read_bytes(),
        "pil": Image.open(GROUP),
        "numpy": read_image(GROUP),
        "photo": dseinvert.open_photo(GROUP),
    }[kind]
    assert np.array_equal(dseinvert.open_photo(given), read_image(GROUP))


def test_a_pil_image_is_turned_upright_and_flattened_like_its_file() -> None:
    for name in ("orientation_6.jpg", "alpha.png", "grey16.png", "cmyk.jpg", "palette_trans.png"):
        file = ROOT / "tests" / "assets" / name
        with Image.open(file) as image:
            difference = np.abs(
                np.asarray(dseinvert.open_photo(image), int) - np.asarray(read_image(file), int)
            )
        assert difference.max() <= 1, name


@pytest.mark.parametrize(
    "array",
    [np.zeros((4, 4, 4), np.uint8), np.full((4, 4, 3), 2.0), np.zeros((0, 4, 3), np.uint8)],
    ids=["four channels", "beyond 1", "empty"],
)
def test_an_array_that_is_no_photo_is_refused_in_one_line(array: np.ndarray) -> None:
    with pytest.raises(dseinvert.InputError, match=r"photo"):
        dseinvert.open_photo(array)


def test_it_finds_what_the_command_line_finds(
    gan: dseinvert.Gan, faces: list[dseinvert.Face], tmp_path: Path
) -> None:
    words = ["images", str(GROUP), "--out", str(tmp_path), "--edit", "age=+2", "--paste"]
    assert run([*words, "--backend", "torch", "--quiet"]) == 0
    photo = dseinvert.open_photo(GROUP)
    for number, face in enumerate(faces, 1):
        found = gan.invert(face)
        name = "group" if number == 1 else f"group-{number}"
        saved = load_latent(tmp_path / f"{name}.safetensors")
        assert torch.allclose(found.latent.code, saved.code, atol=1e-4)
        shared = found.latent.origin.keys() - {"version"}
        assert {k: saved.origin[k] for k in shared} == {k: found.latent.origin[k] for k in shared}
        older = gan.edit(found.latent, "age=+2")
        photo = gan.paste(photo, face, gan.draw(older), found)
    written = read_image(tmp_path / "group.age+2.photo.png").astype(int)
    assert np.abs(written - np.asarray(photo, int)).max() <= 1


def test_tensors_go_in_and_come_out(gan: dseinvert.Gan) -> None:
    drawn = gan.draw(gan.sample([3, 4, 5]))
    found = gan.invert(drawn)
    assert drawn.shape == found.images.shape == (3, 3, gan.resolution, gan.resolution)
    assert found.metrics["psnr"].shape == (3,) and found.metrics["psnr"].min() > 30
    assert found.images.clone().requires_grad_().square().sum().grad_fn is not None
    alone = gan.invert(drawn[1:2])
    assert torch.allclose(alone.latent.code, found[1].latent.code, atol=1e-4)
    assert len(found[-1]) == 1 and torch.equal(found[-1].images, found.images[2:])


def test_many_images_are_inverted_in_batches_that_do_not_matter(gan: dseinvert.Gan) -> None:
    drawn = gan.draw(gan.sample(11))
    found = gan.invert(drawn)
    assert len(found) == 11
    assert torch.allclose(gan.invert(drawn[8:]).images, found.images[8:], atol=1e-3)


def test_a_refinement_is_watched_and_noted(gan: dseinvert.Gan, faces: list[dseinvert.Face]) -> None:
    heard: list[int] = []
    plain = gan.invert(faces[0])
    better = gan.invert(faces[0], refine="generator:4", watch=lambda step, _: heard.append(step))
    assert heard == [1, 2, 3, 4] and better.steps is not None and better.steps.tolist() == [4]
    assert better.latent.origin["refined"] == "generator:4"
    assert better.metrics["psnr"] >= plain.metrics["psnr"]


def test_a_mask_keeps_the_rest_of_the_photo_bit_for_bit(
    gan: dseinvert.Gan, faces: list[dseinvert.Face]
) -> None:
    face, photo = faces[0], dseinvert.open_photo(GROUP)
    found = gan.invert(face)
    smiling = gan.draw(gan.edit(found.latent, "smile=+2"))
    pasted = gan.paste(photo, face, smiling, found, mask="face")
    changed = (pasted.pixels != photo.pixels).any(-1)
    assert changed.any()
    low, high = face.quad.min(0), face.quad.max(0)
    rows, columns = np.nonzero(changed)
    assert low[0] <= columns.min() and columns.max() <= high[0]
    assert low[1] <= rows.min() and rows.max() <= high[1]
    same = gan.paste(photo, face, gan.photos(found.images)[0], found)
    assert np.array_equal(same, photo)


@pytest.mark.parametrize("mask", [None, "face"])
def test_a_region_is_all_that_pasting_changes(
    gan: dseinvert.Gan, faces: list[dseinvert.Face], mask: str | None
) -> None:
    photo, face = dseinvert.open_photo(GROUP), faces[0]
    found = gan.invert(face)
    drawn = gan.draw(gan.edit(found.latent, "smile=+3,age=+3"))
    top, bottom = np.zeros((2, *photo.pixels.shape[:2]), bool)
    middle, low = face.quad[:, 1].mean(), face.quad[:, 1].max()
    top[: int(middle)] = True
    bottom[int(middle + 0.18 * (low - middle)) :] = True

    def changed(region: str | None) -> np.ndarray:
        pasted = gan.paste(photo, face, drawn, found, mask=mask, region=region)
        return np.abs(pasted.pixels.astype(int) - photo.pixels).max(2) > 3

    mouth, eyes = changed("mouth"), changed("eyes")
    assert mouth.any() and not mouth[top].any()
    assert eyes.any() and not eyes[bottom].any()
    both = changed("mouth,eyes")  # motion is sought in all that is shown, so it differs a little
    assert (both & mouth).sum() > 0.95 * mouth.sum() and changed(None).sum() > mouth.sum()


def test_a_region_that_no_face_has_is_said(gan: dseinvert.Gan, faces: list[dseinvert.Face]) -> None:
    found = gan.invert(faces[0])
    for wrong in ("moth", 3):
        with pytest.raises(dseinvert.UsageError, match="region"):
            gan.paste(GROUP, faces[0], found.images, found, region=wrong)


def test_what_cannot_be_is_said_with_advice(
    gan: dseinvert.Gan, faces: list[dseinvert.Face]
) -> None:
    found = gan.invert(faces[:2])
    with pytest.raises(dseinvert.UsageError, match=r"no direction 'wings'.*this model has: age"):
        gan.edit(found.latent, "wings=+1")
    with pytest.raises(dseinvert.UsageError, match="one face at a time"):
        gan.paste(GROUP, faces[0], found.images[:1], found)
    with pytest.raises(dseinvert.InputError, match=r"\[B, 3, 128, 128\]"):
        gan.invert(torch.zeros(1, 3, 32, 32))
    with pytest.raises(dseinvert.InputError, match="no face"):
        gan.invert([])
    with pytest.raises(dseinvert.UsageError, match="it has no classes"):
        gan.invert(faces[0], label=-1)
    with pytest.raises(dseinvert.UsageError, match="--refine"):
        gan.invert(faces[0], refine="magic")
    with pytest.raises(dseinvert.UsageError, match="known models"):
        dseinvert.load("no-such-model")
    strange = gan.sample(1).with_origin(generator_sha256="0")
    for use in (gan.draw, lambda latent: gan.edit(latent, "age=+1")):
        with pytest.raises(dseinvert.InputError, match="another generator"):
            use(strange)


def test_samples_do_not_depend_on_each_other(gan: dseinvert.Gan) -> None:
    three = gan.sample(3)
    assert torch.equal(three[2:].code, gan.sample([2]).code)
    assert torch.equal(gan.sample([2], psi=0).code, gan.sample([9], psi=0).code)


def test_photos_are_written_as_their_suffix_says(tmp_path: Path) -> None:
    photo = dseinvert.open_photo(GROUP)
    for suffix in (".png", ".jpg", ".webp"):
        saved = photo.save(tmp_path / f"a{suffix}")
        again = dseinvert.open_photo(saved)
        assert again.size == photo.size
        if suffix != ".jpg":
            assert np.array_equal(again, photo)
    with pytest.raises(dseinvert.OutputError, match="not a kind of picture"):
        photo.save(tmp_path / "a.xyz")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.jpg", "a.png", "a.webp"]


def test_a_way_to_edit_features_that_is_none_is_refused(tiny_model: Path) -> None:
    with pytest.raises(dseinvert.UsageError, match="auto or rule"):
        dseinvert.load(tiny_model, feature_edit="rules")  # type: ignore[arg-type]


def test_several_threads_share_one_model(gan: dseinvert.Gan, faces: list[dseinvert.Face]) -> None:
    wanted = [gan.invert(face).images for face in faces]
    found: dict[int, torch.Tensor] = {}

    def work(k: int) -> None:
        found[k] = gan.invert(gan.faces(GROUP)[k]).images

    threads = [threading.Thread(target=work, args=(k,)) for k in range(len(faces))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(torch.allclose(found[k], wanted[k], atol=1e-4) for k in range(len(faces)))


def _resident() -> int:
    """Bytes of memory this process holds."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="memory is read from /proc")
def test_sixty_photos_one_after_the_other_take_no_more_memory(gan: dseinvert.Gan) -> None:
    def serve() -> None:
        photo = dseinvert.open_photo(GROUP.with_name("portrait-1.jpg"))
        face = gan.faces(photo)[0]
        found = gan.invert(face)
        gan.paste(photo, face, gan.draw(gan.edit(found.latent, "age=+2")), found)

    for _ in range(10):
        serve()
    before = _resident()
    for _ in range(60):
        serve()
    assert _resident() - before < 9 << 20
