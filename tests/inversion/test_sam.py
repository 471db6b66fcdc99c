"""SAM: every segment in the most editable space that holds it, and one latent for all of it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from dseinvert.editing.apply import Edit, apply_edits
from dseinvert.editing.directions import Direction
from dseinvert.errors import UsageError
from dseinvert.generators import Generator
from dseinvert.generators.stylegan1 import StyleGAN1, StyleGAN1Config
from dseinvert.generators.stylegan2 import StyleGAN2, StyleGAN2Config
from dseinvert.inversion.refinement import Budget
from dseinvert.inversion.sam import SamOptions, sam_layers, sam_refinement
from dseinvert.inversion.segments import chosen, painted, superpixels
from dseinvert.latent import Latent, dumps, load_latent
from tests.inversion.test_spaces import pggan


def stylegan2(resolution: int = 32) -> StyleGAN2:
    torch.manual_seed(0)
    channels = {4: 16, 8: 16, 16: 12, 32: 8, 64: 8, 128: 8, 256: 8, 512: 4, 1024: 4}
    own = {side: width for side, width in channels.items() if side <= resolution}
    return StyleGAN2(StyleGAN2Config(resolution, own, 16, 16, 2)).eval().requires_grad_(False)


@pytest.fixture(scope="module")
def generator() -> StyleGAN2:
    return stylegan2()


@pytest.fixture(scope="module")
def images(generator: StyleGAN2) -> Tensor:
    """Samples with a square that no row of w+ draws."""
    drawn = generator.synthesize(generator.sample([1, 2])).clamp(-1, 1)
    drawn[:, :, 4:14, 4:14] = torch.tensor([1.0, -1.0, 1.0])[:, None, None]
    return drawn


@pytest.fixture(scope="module")
def start(generator: StyleGAN2) -> Latent:
    return generator.sample([1, 2])


def error(a: Tensor, b: Tensor) -> Tensor:
    return (a - b).square().mean(dim=(1, 2, 3))


def test_its_layers_are_those_of_the_paper() -> None:
    torch.manual_seed(0)
    small = stylegan2(64)
    assert sam_layers(small) == (3, 5, 7, 8)
    assert sam_layers(stylegan2(256)) == (5, 7, 9, 11)
    config = StyleGAN1Config(16, {4: 8, 8: 8, 16: 8}, 16, 16, 2)
    assert sam_layers(StyleGAN1(config).eval()) == (2, 4, 5)


def test_segments_follow_colours_and_are_the_same_each_time() -> None:
    pixels = np.zeros((64, 64, 3), np.uint8)
    pixels[10:40, 20:50] = (250, 30, 30)
    labels = superpixels(pixels)
    assert labels.shape == (64, 64) and 8 < len(np.unique(labels)) <= 36
    inside = np.zeros((64, 64), bool)
    inside[10:40, 20:50] = True
    assert not set(labels[inside]) & set(labels[~inside])
    assert (labels == superpixels(pixels.copy())).all()


def test_a_segment_goes_to_the_first_space_that_holds_it_or_to_the_last() -> None:
    labels = np.array([[0, 0, 1], [2, 2, 1]], np.int32)
    errors = torch.tensor([[0.1, 0.5, 0.9], [0.01, 0.9, 0.02], [0.9, 0.05, 0.9]])
    by_segment = errors[:, torch.from_numpy(labels).long()]
    found = chosen(by_segment, labels, 0.06)
    assert found.tolist() == [[1, 1, 2], [1, 1, 2]]
    assert chosen(by_segment, labels, 0.0).unique().tolist() == [2]
    assert chosen(by_segment, labels, 9.0).unique().tolist() == [0]


def test_a_map_shows_the_picture_in_grey_and_the_spaces_of_f_in_colours() -> None:
    picture = np.full((2, 5, 3), (200, 100, 0), np.uint8)
    (shown,) = painted(torch.arange(5).expand(1, 2, 5), [picture])
    assert shown.shape == (2, 5, 3) and shown.dtype == np.uint8
    assert len(set(shown[0, 0])) == 1  # rows alone: no colour
    assert shown[0, 1].argmax() == 2 and shown[0, 2].argmax() == 1 and shown[0, 4].argmax() == 0
    assert len({tuple(one) for one in shown[0]}) == 5


@pytest.mark.parametrize("space", ["w+", "z+"])
def test_what_rows_cannot_draw_is_drawn_by_f_and_the_rest_is_not(
    generator: StyleGAN2, images: Tensor, start: Latent, space: str
) -> None:
    options = SamOptions(threshold=0.02)
    found = sam_refinement(generator, space, options)(images, start, Budget(40))
    latent = found.latent
    assert latent.space == space and latent.layer == sam_layers(generator)[-1]
    torch.testing.assert_close(generator.synthesize(latent).clamp(-1, 1), found.images)
    plain = generator.synthesize(replace(latent, feature=None, layer=None)).clamp(-1, 1)
    assert (error(found.images, images) < 0.6 * error(plain, images)).all()
    assert (found.losses <= error(plain, images)).all() and found.steps.tolist() == [40, 40]
    assert found.maps is not None and found.maps.shape == (2, 32, 32)
    assert float(found.maps[:, 6:12, 6:12].float().mean()) > float(found.maps.float().mean())


def test_where_rows_are_enough_f_is_what_the_generator_makes(
    generator: StyleGAN2, images: Tensor, start: Latent
) -> None:
    found = sam_refinement(generator, "w+", SamOptions(threshold=100.0))(images, start, Budget(10))
    latent = found.latent
    assert found.maps is not None and not found.maps.any() and latent.layer is not None
    plain = replace(latent, feature=None, layer=None)
    torch.testing.assert_close(latent.feature, generator.features(plain, latent.layer))
    moved = Direction("d", torch.randn(generator.spec.layers, 16), "w+", "", "")
    edited = apply_edits(latent, [Edit(moved, 1.0)], generator)
    wanted = apply_edits(plain, [Edit(moved, 1.0)], generator)
    torch.testing.assert_close(
        generator.synthesize(edited), generator.synthesize(wanted), atol=1e-4, rtol=1e-4
    )


def test_it_begins_with_the_encoders_f(generator: StyleGAN2, images: Tensor, start: Latent) -> None:
    feature = generator.features(start, 5) + 0.3 * torch.randn(2, 12, 16, 16)
    seen = replace(start, feature=feature, layer=5)
    drawn = generator.synthesize(seen)
    options = SamOptions(threshold=0.0)
    with_f = sam_refinement(generator, "w+", options)(drawn, seen, Budget(0))
    without = sam_refinement(generator, "w+", options)(drawn, start, Budget(0))
    assert (with_f.losses < 0.5 * without.losses).all()


def test_batch_size_does_not_change_the_result(
    generator: StyleGAN2, images: Tensor, start: Latent
) -> None:
    refine = sam_refinement(generator, "w+", SamOptions(threshold=0.02))
    whole = refine(images, start, Budget(15))
    for k in range(2):
        alone = refine(images[k : k + 1], start[k : k + 1], Budget(15))
        assert torch.equal(alone.maps[0], whole.maps[k])
        torch.testing.assert_close(alone.images[0], whole.images[k], atol=1e-3, rtol=0)


def test_its_latents_are_written_and_read(
    generator: StyleGAN2, images: Tensor, start: Latent, tmp_path: object
) -> None:
    found = sam_refinement(generator, "z+")(images, start, Budget(5)).latent
    file = tmp_path / "one.safetensors"  # type: ignore[operator]
    file.write_bytes(dumps(found[:1]))
    again = load_latent(file)
    assert again.layer == found.layer and again.origin["refined_in"] == "sam z+"
    assert torch.equal(generator.synthesize(again), generator.synthesize(found[:1]))


@pytest.mark.parametrize("space", ["w", "z", "f/w"])
def test_other_rows_than_those_of_the_paper_are_refused(generator: StyleGAN2, space: str) -> None:
    with pytest.raises(UsageError, match="sam in"):
        sam_refinement(generator, space)


def test_a_generator_of_one_z_has_no_rows() -> None:
    one: Generator = pggan()
    with pytest.raises(UsageError, match="has no w"):
        sam_refinement(one, "w+")
