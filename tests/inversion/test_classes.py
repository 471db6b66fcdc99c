from __future__ import annotations

import pytest
import torch

from dseinvert.encoders.dse_biggan import DSEBigGANConfig, DSEBigGANEncoder
from dseinvert.generators.biggan import BigGAN, BigGANConfig
from dseinvert.generators.stylegan2 import StyleGAN2, StyleGAN2Config
from dseinvert.inversion.classes import ClassSearch, find_classes
from dseinvert.inversion.inverter import Inverter
from dseinvert.models import open_model
from dseinvert.training.optimiser import build_optimiser

PSI = 0.4


def pair(classes: int) -> tuple[BigGAN, DSEBigGANEncoder]:
    """A generator of random weights with an encoder after a hundred steps of training."""
    torch.manual_seed(0)
    gan = BigGAN(
        BigGANConfig(
            (32, 32, 16, 16, 8), attention=2, z_dim=16, class_dim=12, classes=classes, statistics=6
        )
    )
    gan.eval().requires_grad_(False)
    encoder = DSEBigGANEncoder(DSEBigGANConfig(16, 16, 12, (12, 24, 24), truncation=PSI))
    encoder.attach(gan)
    adam = build_optimiser(encoder, 0.003)
    for step in range(100):
        latent = gan.sample(range(8 * step, 8 * step + 8), PSI)
        images = gan.synthesize(latent)
        loss = (gan.synthesize(encoder.encode(images, latent.label)) - images).square().mean()
        adam.zero_grad()
        loss.backward()
        adam.step()
    adam.zero_grad()
    return gan, encoder.eval().requires_grad_(False)


@pytest.fixture(scope="module")
def eight() -> tuple[BigGAN, DSEBigGANEncoder]:
    return pair(8)


@pytest.fixture(scope="module")
def sixty() -> tuple[BigGAN, DSEBigGANEncoder]:
    return pair(60)


def samples(gan: BigGAN, count: int) -> tuple[torch.Tensor, torch.Tensor]:
    latent = gan.sample(range(10**6, 10**6 + count), PSI)
    return gan.synthesize(latent), latent.label.argmax(1)


def test_the_class_of_most_samples_is_found(eight):
    gan, encoder = eight
    images, truth = samples(gan, 32)
    found = find_classes(gan, encoder, images)
    assert (found.classes[:, 0] == truth).float().mean() > 0.85
    assert torch.equal(found.label.argmax(1), found.classes[:, 0])
    assert torch.equal(found.label.sum(1), torch.ones(32))


def test_soft_labels_leave_the_right_class_among_few(sixty):
    gan, encoder = sixty
    images, truth = samples(gan, 16)
    few = find_classes(gan, encoder, images, ClassSearch(keep=6))
    every = find_classes(gan, encoder, images, ClassSearch(keep=60))
    assert few.classes.shape == (16, 6)
    assert (every.classes[:, 0] == truth).float().mean() > 0.85
    assert (few.classes[:, 0] == every.classes[:, 0]).float().mean() > 0.8


def test_scores_rise_and_are_those_of_the_reconstructions(eight):
    gan, encoder = eight
    images, _ = samples(gan, 3)
    found = find_classes(gan, encoder, images)
    assert (found.scores.diff(dim=1) >= 0).all()
    assert found.classes.sort(1).values.tolist() == 3 * [list(range(8))]
    for rank in (0, 7):
        label = torch.eye(8)[found.classes[:, rank]]
        drawn = gan.synthesize(encoder.encode(images, label))
        loss = (drawn - images).square().mean((1, 2, 3))
        torch.testing.assert_close(found.scores[:, rank], loss)


def test_an_answer_does_not_depend_on_its_batch(sixty):
    gan, encoder = sixty
    images, _ = samples(gan, 4)
    search = ClassSearch(steps=5, keep=3)
    together = find_classes(gan, encoder, images, search)
    alone = find_classes(gan, encoder, images[2:3], search)
    assert torch.equal(together.classes[2:3], alone.classes)


def test_another_distance_may_be_given(eight):
    gan, encoder = eight
    images, _ = samples(gan, 2)
    worst_first = find_classes(
        gan, encoder, images, distance=lambda a, b: -(a - b).square().mean((1, 2, 3))
    )
    best_first = find_classes(gan, encoder, images)
    assert torch.equal(worst_first.classes.flip(1), best_first.classes)


def test_it_works_in_inference_mode_and_leaves_no_gradients(sixty):
    gan, encoder = sixty
    images, _ = samples(gan, 2)
    with torch.inference_mode():
        inside = find_classes(gan, encoder, images.clone(), ClassSearch(steps=3, keep=3))
    outside = find_classes(gan, encoder, images, ClassSearch(steps=3, keep=3))
    assert torch.equal(inside.classes, outside.classes)
    assert not inside.scores.requires_grad
    assert all(p.grad is None for p in [*gan.parameters(), *encoder.parameters()])


def test_a_generator_without_classes_is_refused():
    gan = StyleGAN2(StyleGAN2Config(16, {4: 8, 8: 8, 16: 8}, 16, 16, 2))
    with pytest.raises(ValueError, match="stylegan2 has no classes"):
        find_classes(gan, None, torch.zeros(1, 3, 16, 16))


@pytest.mark.parametrize("change", [{"steps": 0}, {"keep": 0}, {"lr": 0.0}])
def test_a_search_of_nothing_is_refused(change):
    with pytest.raises(ValueError):
        ClassSearch(**change)


@pytest.mark.parametrize("label", [-1, 8])
def test_a_class_that_does_not_exist_is_no_other(eight, label):
    with pytest.raises(ValueError, match="one of 8 classes"):
        Inverter(*eight, label)


def test_a_generator_without_classes_is_of_no_class(tiny_model):
    model = open_model(str(tiny_model))
    with pytest.raises(ValueError, match="one of 0 classes"):
        Inverter(model.generator, model.require_encoder(), 0)


def test_an_inverter_searches_for_the_class_unless_it_is_told(eight):
    gan, encoder = eight
    images, truth = samples(gan, 8)
    searched = Inverter(gan, encoder).invert(images).latent.label
    assert (searched.argmax(1) == truth).float().mean() > 0.8
    told = Inverter(gan, encoder, label=5).invert(images).latent.label
    assert torch.equal(told.argmax(1), torch.full((8,), 5))
