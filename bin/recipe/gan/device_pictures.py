"""Training pictures varied in background, framing and light where they lie: on the GPU, batched.

The same ideas as `pictures.Variations`, which varies one picture at a time on the CPU.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from dseinvert.media.pixels import Pixels

Draw = Callable[..., Tensor]
"""torch.rand or torch.randn of a step: sizes -> numbers."""


class DevicePictures:
    """Endless varied batches; a step's batch depends on the seed and the step alone.

    Args:
        pictures: uint8 [N, R, R, 3], kept on the device as they are.
        masks: uint8 [N, R, R], 255 where the person is.
    """

    def __init__(
        self, pictures: Pixels, masks: Pixels, batch: int, seed: int, device: torch.device
    ) -> None:
        self.pictures = torch.from_numpy(pictures).permute(0, 3, 1, 2).contiguous().to(device)
        self.masks = torch.from_numpy(masks)[:, None].to(device)
        self.batch, self.seed = batch, seed

    @torch.no_grad()
    def at(self, step: int) -> Tensor:
        """The batch of one step: [B, 3, R, R] in [-1, 1]."""
        device = self.pictures.device
        # Odd multiples: the even ones seed the latents of the same step.
        seed = (2 * self.seed + 1) * 0x9E3779B1 + step
        source = torch.Generator(device).manual_seed(seed)

        def rand(*size: int) -> Tensor:
            return torch.rand(size, generator=source, device=device)

        def randn(*size: int) -> Tensor:
            return torch.randn(size, generator=source, device=device)

        images, masks = self._pick(rand)
        others = self._pick(rand)[0]
        ground = torch.where(
            rand(self.batch, 1, 1, 1) < 0.5, corner(others, rand), colours(rand, randn, others)
        )
        kept = torch.where(rand(self.batch, 1, 1, 1) < 0.5, masks, 1)
        images = kept * images + (1 - kept) * ground
        return 2 * light(frame(images, rand, randn), rand, randn) - 1

    def _pick(self, rand: Draw) -> tuple[Tensor, Tensor]:
        """Pictures and masks [B, 3 and 1, R, R] in [0, 1]."""
        chosen = (rand(self.batch) * len(self.pictures)).long()
        return self.pictures[chosen] / 255, self.masks[chosen] / 255


def corner(pictures: Tensor, rand: Draw) -> Tensor:
    """A background [B, 3, R, R]: a picture's upper left quarter, enlarged, blurred, recoloured."""
    count, side = len(pictures), pictures.shape[-1]
    part = pictures[..., : side // 2, : side // 2]
    order = rand(count, 3).argsort(1)
    order = torch.where(rand(count, 1) < 0.3, order, torch.arange(3, device=order.device))
    part = part.gather(1, order[:, :, None, None].expand_as(part))
    # Enlarging and blurring in one: each new pixel is a Gaussian mean of the old ones.
    new = torch.arange(side, device=part.device)[:, None] / 2 - 0.25
    old = torch.arange(side // 2, device=part.device)
    blur = side / 2 * (0.006 + 0.077 * rand(count, 1, 1, 1))
    weights = torch.softmax(-(((new - old) / blur) ** 2) / 2, dim=-1)
    return weights @ part @ weights.mT * (0.2 + rand(count, 1, 1, 1))


def colours(rand: Draw, randn: Draw, like: Tensor) -> Tensor:
    """A background of smooth noise, from one colour to a dozen patches a side."""
    count = len(like)
    grey = (rand(count, 1, 12, 12) - 0.5) * rand(count, 1, 1, 1)
    tinted = (rand(count, 3, 12, 12) - 0.5) * 0.3 * rand(count, 1, 1, 1)
    zoom = (rand(count) * 12).ceil() / 12
    places = F.affine_grid(_scaled(zoom), list(like.shape), align_corners=False)
    noise = F.grid_sample(
        grey + tinted, places, mode="bicubic", padding_mode="reflection", align_corners=False
    )
    return (rand(count, 1, 1, 1) + 0.12 * randn(count, 3, 1, 1) + noise).clamp(0, 1)


def frame(images: Tensor, rand: Draw, randn: Draw) -> Tensor:
    """Enlarge by 0.98 to 1.1, turn by 2 degrees, move by 1.5 % of the side, mirror half of them."""
    count = len(images)
    angle = math.radians(2) * randn(count)
    zoom = 1 / (0.98 + 0.12 * rand(count))
    theta = _scaled(zoom)
    theta[:, :, :2] = (
        torch.stack([angle.cos(), -angle.sin(), angle.sin(), angle.cos()], dim=1).unflatten(
            1, (2, 2)
        )
        * zoom[:, None, None]
    )
    theta[:, :, 2] = 2 * 0.015 * randn(count, 2)
    theta[:, 0] *= torch.where(rand(count, 1) < 0.5, -1, 1)
    places = F.affine_grid(theta, list(images.shape), align_corners=False)
    return F.grid_sample(
        images, places, mode="bicubic", padding_mode="reflection", align_corners=False
    )


def light(images: Tensor, rand: Draw, randn: Draw) -> Tensor:
    """Vary exposure, contrast, colour temperature, saturation and the direction of the light."""
    count, side = len(images), images.shape[-1]
    images = images.clamp(1e-3, 1) ** (0.18 * randn(count, 1, 1, 1)).exp()
    images = images * (0.06 * randn(count, 3, 1, 1) + 0.12 * randn(count, 1, 1, 1)).exp()
    grey = images.mean(1, keepdim=True)
    images = grey + (images - grey) * (0.5 + rand(count, 1, 1, 1))
    images = 0.5 + (images - 0.5) * (0.8 + 0.5 * rand(count, 1, 1, 1))
    angle = 2 * math.pi * rand(count, 1, 1, 1)
    ramp = torch.linspace(-1, 1, side, device=images.device)
    slope = angle.cos() * ramp[:, None] + angle.sin() * ramp
    strength = 0.4 * rand(count, 1, 1, 1) * (rand(count, 1, 1, 1) < 0.4)
    return (images * (1 + strength * slope)).clamp(0, 1)


def _scaled(zoom: Tensor) -> Tensor:
    """Affine maps [B, 2, 3] that look at the central `zoom` [B] of a picture."""
    return zoom[:, None, None] * torch.eye(2, 3, device=zoom.device)
