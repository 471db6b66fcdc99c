from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from dseinvert.encoders.dse import DSEEncoder
from dseinvert.similarity.attention import centre_crops
from dseinvert.similarity.identity import Identity
from dseinvert.similarity.losses import image_loss, latent_loss
from dseinvert.similarity.weights import Attention
from dseinvert.training.mirror import Wishes, build, mirror
from dseinvert.training.objective import Objective
from dseinvert.training.samples import Batch, Source, training_seeds

CROPS = centre_crops(Attention(5, 9))


@pytest.fixture
def encoder(gan, options) -> DSEEncoder:
    torch.manual_seed(0)
    return build(mirror(gan.generator, 0.7, Wishes(options.widths)), gan.generator).eval()


@pytest.fixture
def batch(gan) -> Batch:
    return Source(gan.generator, 0.7, 8).draw(training_seeds(0, 0, 3))


def gradients(loss: torch.Tensor, encoder: DSEEncoder) -> list[torch.Tensor]:
    found = torch.autograd.grad(loss, list(encoder.parameters()), allow_unused=True)
    return [gradient for gradient in found if gradient is not None]


def latent_part(encoder, batch, weights):
    return weights.epsilon * latent_loss(batch.codes, encoder(batch.images)[0], weights).mean()


def test_strategy_1_is_latent_regression_alone(gan, options, encoder, batch):
    objective = Objective(gan.generator, replace(options, strategy=1), CROPS, None, bfloat16=False)
    loss, figures = objective(encoder, batch)
    wanted = latent_part(encoder, batch, options.weights)
    torch.testing.assert_close(loss, wanted)
    assert not figures["image"].requires_grad
    for ours, plain in zip(gradients(loss, encoder), gradients(wanted, encoder), strict=True):
        torch.testing.assert_close(ours, plain)


def test_strategy_1_draws_no_image_unless_it_is_to_be_measured(gan, options, encoder, batch):
    objective = Objective(gan.generator, replace(options, strategy=1), CROPS, None, bfloat16=False)
    loss, figures = objective(encoder, batch, measure=False)
    assert set(figures) == {"loss", "latent"}
    assert torch.equal(loss, objective(encoder, batch)[0])


def test_strategy_2_sums_image_and_latent_losses(gan, options, encoder, batch):
    loss, figures = Objective(gan.generator, options, CROPS, None, bfloat16=False)(encoder, batch)
    drawn = gan.generator.synthesize(encoder.encode(batch.images))
    image, _ = image_loss(batch.images, drawn, options.weights, CROPS, None)
    wanted = image.mean() + latent_part(encoder, batch, options.weights)
    torch.testing.assert_close(loss, wanted)
    assert figures["image"].requires_grad
    assert any(gradient.any() for gradient in gradients(figures["image"], encoder))


def test_the_generator_stays_as_it_is(gan, options, encoder, batch):
    before = {name: value.clone() for name, value in gan.generator.state_dict().items()}
    Objective(gan.generator, options, CROPS, None, bfloat16=False)(encoder, batch)[0].backward()
    assert all(parameter.grad is None for parameter in gan.generator.parameters())
    assert all(torch.equal(before[k], v) for k, v in gan.generator.state_dict().items())


def test_real_images_have_neither_latent_nor_cosine_nor_kl_terms(gan, options, encoder, batch):
    objective = Objective(gan.generator, options, CROPS, None, bfloat16=False)
    plain = replace(options.weights, beta=0, kl=0)
    real = torch.rand(2, 3, 16, 16) * 2 - 1
    mixed = Batch(torch.cat([batch.images, real]), batch.codes)
    _, figures = objective(encoder, mixed)
    _, alone = objective(encoder, batch)
    torch.testing.assert_close(figures["latent"], alone["latent"])
    drawn = gan.generator.synthesize(encoder.encode(real))
    more, terms = image_loss(real, drawn, plain, CROPS, None)
    torch.testing.assert_close(figures["image"], (3 * alone["image"] + more.sum()) / 5)
    torch.testing.assert_close(figures["real_mse"], terms["mse"].mean())


def test_a_perceptual_distance_counts_gamma_times(gan, options, encoder, batch):
    def distance(a, b):
        return torch.ones(len(a))

    with_it = Objective(gan.generator, options, CROPS, distance, bfloat16=False)(encoder, batch)[0]
    without = Objective(gan.generator, options, CROPS, None, bfloat16=False)(encoder, batch)[0]
    torch.testing.assert_close(with_it - without, torch.tensor(2.0 * (1 + 5 + 9)))


def test_bfloat16_networks_still_give_a_float32_loss(gan, options, encoder, batch):
    loss, _ = Objective(gan.generator, options, CROPS, None, bfloat16=True)(encoder, batch)
    exact, _ = Objective(gan.generator, options, CROPS, None, bfloat16=False)(encoder, batch)
    assert loss.dtype == torch.float32
    torch.testing.assert_close(loss, exact, rtol=0.05, atol=0)
    assert all(gradient.isfinite().all() for gradient in gradients(loss, encoder))


def test_a_loss_of_identity_is_added_with_its_weight_and_its_gradients(
    gan, options, encoder, batch
):
    who = Identity(lambda faces: faces.mean((2, 3)) + 2, "colour", "")

    def judged(weight: float, seen: Identity | None):
        wanted = replace(options, weights=replace(options.weights, identity=weight))
        return Objective(gan.generator, wanted, CROPS, None, False, seen)(encoder, batch)

    (plain, none), (loss, terms) = judged(1, None), judged(3, who)
    assert "identity" not in none
    assert 0 < float(terms["identity"].detach()) < 1
    torch.testing.assert_close(loss, plain + 3 * terms["identity"], rtol=1e-5, atol=1e-6)
    extra = gradients(terms["identity"], encoder)
    assert max(float(gradient.abs().max()) for gradient in extra) > 0
