from __future__ import annotations

import math
import warnings

import numpy as np
import pytest
import torch

from dseinvert.similarity.attention import at1, at2, centre_crops, whole
from dseinvert.similarity.losses import (
    cosine,
    image_loss,
    image_terms,
    kl,
    latent_loss,
    mse,
    ssim,
)
from dseinvert.similarity.weights import Attention, LossWeights

PAPER = LossWeights()
CROPS = centre_crops(Attention(5, 9))


def images(count: int = 3, side: int = 32, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(count, 3, side, side, generator=generator) * 2 - 1


def codes(count: int = 3, seed: int = 0) -> torch.Tensor:
    return torch.randn(count, 6, 8, generator=torch.Generator().manual_seed(seed))


def softmax(x: np.ndarray) -> np.ndarray:
    powers = np.exp(x)
    return powers / powers.sum(-1, keepdims=True)


def numpy_ssim(a: np.ndarray, b: np.ndarray) -> float:
    """SSIM of one channel [H, W] as published, by loops: windows that lie inside, range 2."""
    row = np.exp(-(np.arange(-5, 6) ** 2) / (2 * 1.5**2))
    window = np.outer(row, row) / np.outer(row, row).sum()
    values = []
    for y in range(a.shape[0] - 10):
        for x in range(a.shape[1] - 10):
            p, q = a[y : y + 11, x : x + 11], b[y : y + 11, x : x + 11]
            mean_p, mean_q = (window * p).sum(), (window * q).sum()
            var_p, var_q = (window * p * p).sum() - mean_p**2, (window * q * q).sum() - mean_q**2
            cov = (window * p * q).sum() - mean_p * mean_q
            c1, c2 = (0.01 * 2) ** 2, (0.03 * 2) ** 2
            values.append(
                (2 * mean_p * mean_q + c1)
                * (2 * cov + c2)
                / ((mean_p**2 + mean_q**2 + c1) * (var_p + var_q + c2))
            )
    return float(np.mean(values))


def test_the_default_weights_are_those_of_the_paper():
    assert (PAPER.alpha, PAPER.beta, PAPER.gamma, PAPER.delta, PAPER.epsilon) == (5, 3, 2, 1, 0.01)


def test_mse_is_the_mean_over_a_sample():
    a, b = images(), images(seed=1)
    wanted = ((a.numpy() - b.numpy()) ** 2).mean(axis=(1, 2, 3))
    np.testing.assert_allclose(mse(a, b), wanted, rtol=1e-5)


def test_cosine_of_latents_is_taken_row_by_row():
    a, b = codes().numpy(), codes(seed=1).numpy()
    norms = np.linalg.norm(a, axis=-1) * np.linalg.norm(b, axis=-1)
    wanted = (1 - (a * b).sum(-1) / norms).mean(1)
    np.testing.assert_allclose(cosine(codes(), codes(seed=1)), wanted, rtol=1e-5)


def test_cosine_of_images_is_taken_of_the_whole_image():
    a, b = images().flatten(1).numpy(), images(seed=1).flatten(1).numpy()
    wanted = 1 - (a * b).sum(1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)
    terms = image_terms(images(), images(seed=1), None)
    np.testing.assert_allclose(terms["cos"], wanted, rtol=1e-5)


def test_kl_is_equation_4_over_the_last_axis():
    p, q = softmax(codes().numpy()), softmax(codes(seed=1).numpy())
    wanted = -(q * np.log(p / q)).sum(-1).mean(1)
    np.testing.assert_allclose(kl(codes(), codes(seed=1)), wanted, rtol=1e-4)


def test_kl_of_a_single_sample_is_not_lost():
    assert kl(codes(1), codes(1, seed=1)).item() > 0.1


def test_ssim_is_the_published_formula_at_range_2():
    a, b = images(1, 16), images(1, 16, seed=1)
    b = 0.7 * a + 0.3 * b
    wanted = np.mean([numpy_ssim(a[0, c].numpy(), b[0, c].numpy()) for c in range(3)])
    assert ssim(a, b).item() == pytest.approx(wanted, abs=1e-5)


def test_the_ssim_window_shrinks_on_tiny_images_without_a_warning():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert ssim(images(side=6), images(side=6)).tolist() == pytest.approx([1, 1, 1])


def test_the_latent_loss_is_equation_5():
    a, b = codes(), codes(seed=1)
    wanted = kl(a, b) + 5 * mse(a, b) + 3 * cosine(a, b)
    torch.testing.assert_close(latent_loss(a, b, PAPER), wanted)


def test_the_image_loss_is_equation_7_at_three_scales():
    def distance(a, b):
        return (a - b).abs().mean((1, 2, 3))

    def one_scale(a, b):
        flat = a.flatten(1), b.flatten(1)
        structure = 1 - ssim(a, b)
        return kl(a, b) + 5 * mse(a, b) + 3 * cosine(*flat) + 2 * distance(a, b) + structure

    a, b = images(), images(seed=1)
    loss, _ = image_loss(a, b, PAPER, CROPS, distance)
    wanted = one_scale(a, b) + 5 * one_scale(at1(a), at1(b)) + 9 * one_scale(at2(a), at2(b))
    torch.testing.assert_close(loss, wanted)


def test_equal_images_lose_nothing():
    loss, _ = image_loss(images(), images(), PAPER, CROPS, None)
    assert loss.abs().max() < 1e-4


@pytest.mark.parametrize("term", ["kl", "mse", "cos", "ssim"])
def test_a_samples_loss_does_not_depend_on_its_batch(term):
    a, b = images(), images(seed=1)
    together = image_terms(a, b, None)[term]
    alone = torch.cat([image_terms(a[i : i + 1], b[i : i + 1], None)[term] for i in range(3)])
    torch.testing.assert_close(together, alone)


def test_a_samples_latent_loss_does_not_depend_on_its_batch():
    a, b = codes(), codes(seed=1)
    alone = torch.cat([latent_loss(a[i : i + 1], b[i : i + 1], PAPER) for i in range(3)])
    torch.testing.assert_close(latent_loss(a, b, PAPER), alone)


def test_ssim_and_the_perceptual_distance_see_at_most_256_rows():
    seen = []

    def distance(a, b):
        seen.append(a.shape)
        return torch.zeros(len(a))

    image_terms(images(1, 512), images(1, 512), distance)
    assert seen == [(1, 3, 256, 256)]


def test_a_term_of_weight_zero_has_no_gradient():
    fake = images(seed=1).requires_grad_()
    nothing = LossWeights(alpha=0, beta=0, gamma=0, delta=0, kl=0)
    image_loss(images(), fake, nothing, whole, None)[0].sum().backward()
    assert fake.grad is not None and not fake.grad.any()


def test_losses_are_finite_on_black_images():
    fake = torch.zeros(1, 3, 32, 32, requires_grad=True)
    loss = image_loss(torch.zeros(1, 3, 32, 32), fake, PAPER, CROPS, None)[0].sum()
    loss.backward()
    assert math.isfinite(loss.item()) and fake.grad is not None and fake.grad.isfinite().all()
