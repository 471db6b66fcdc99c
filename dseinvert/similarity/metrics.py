"""How alike two batches of images are, as reported to people: one protocol for every table."""

from __future__ import annotations

import torch
from torch import Tensor

from dseinvert.similarity.losses import Distance, mse, ssim

PROTOCOL = (
    "RGB in [-1, 1] (data range 2) at the model's resolution, per image; psnr: dB; "
    "ssim: Gaussian 11x11, sigma 1.5, no padding, mean of channels; mse: mean of all numbers; "
    "lpips: VGG16, v0.1"
)


@torch.no_grad()
def image_metrics(a: Tensor, b: Tensor, lpips: Distance | None = None) -> dict[str, Tensor]:
    """psnr, ssim, mse and perhaps lpips, each [B], of images [B, 3, H, W] in [-1, 1].

    Args:
        lpips: `similarity.perceptual.open_lpips()`; None = leave that column out.
    """
    a, b = a.float(), b.float()
    error = mse(a, b)
    metrics = {"psnr": 10 * (4 / error).log10(), "ssim": ssim(a, b), "mse": error}
    return metrics if lpips is None else {**metrics, "lpips": lpips(a, b)}
