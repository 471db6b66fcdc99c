from __future__ import annotations

import pytest
import torch

from dseinvert.encoders.blocks import HalfBlock


@pytest.mark.parametrize("order", [torch.contiguous_format, torch.channels_last])
def test_the_gradients_of_images_one_by_one_sum_to_those_of_all(
    order: torch.memory_format,
) -> None:
    torch.manual_seed(0)
    block = HalfBlock(8, 5, noise=False).to(memory_format=order)  # type: ignore[call-overload]
    x = torch.randn(3, 8, 6, 6).contiguous(memory_format=order)

    def learned(images: torch.Tensor) -> torch.Tensor:
        images = images.clone(memory_format=torch.preserve_format).requires_grad_()
        (gradient,) = torch.autograd.grad(block.train()(images).square().sum(), images)
        return gradient

    alone = torch.cat([learned(one) for one in x.split(1)])
    torch.testing.assert_close(alone, learned(x), rtol=1e-4, atol=1e-6)
