from __future__ import annotations

import pytest
import torch

from dseinvert.similarity.metrics import PROTOCOL, image_metrics


def test_psnr_counts_from_a_range_of_two():
    a = torch.zeros(2, 3, 16, 16)
    assert image_metrics(a, a + 0.2)["psnr"].tolist() == pytest.approx([20, 20], abs=1e-4)


def test_equal_images_are_as_alike_as_can_be():
    a = torch.rand(1, 3, 16, 16) * 2 - 1
    metrics = image_metrics(a, a)
    assert metrics["mse"].item() == 0
    assert metrics["psnr"].item() == float("inf")
    assert metrics["ssim"].item() == pytest.approx(1)


def test_lpips_is_reported_only_where_it_is_given():
    a = torch.rand(2, 3, 16, 16)
    assert set(image_metrics(a, a)) == {"psnr", "ssim", "mse"}
    assert image_metrics(a, a, lambda x, y: torch.ones(len(x)))["lpips"].tolist() == [1, 1]


def test_metrics_of_an_image_do_not_depend_on_its_batch():
    a, b = torch.rand(3, 3, 16, 16), torch.rand(3, 3, 16, 16)
    for name, together in image_metrics(a, b).items():
        alone = image_metrics(a[1:2], b[1:2])[name]
        torch.testing.assert_close(together[1:2], alone)


def test_the_protocol_names_window_range_and_network():
    for word in ("range 2", "11x11", "sigma 1.5", "VGG16"):
        assert word in PROTOCOL
