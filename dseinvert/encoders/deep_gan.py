"""The released DSE encoders that are not `dse`: with blurs and strided convolutions, for BigGAN.

Source: the code of DSE (Deep-GAN-Encoders), E_Blur ("case 2") and E_BIG; without their noise, so
that a code is the same each time.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dseinvert.encoders.blocks import BRANCH, RESIDUAL, StyleTap, instance_norm
from dseinvert.generators import Generator
from dseinvert.latent import Latent

STRIDED = 4  # blocks of E_Blur that shrink by a stride: they count down from 1024, at any size
TRUNCATION = "0.4"  # of the samples E_BIG was trained on


@dataclass(frozen=True)
class DeepGanConfig:
    """The numbers of an E_Blur; `widths` are channels from the image's resolution down to 4x4."""

    widths: tuple[int, ...]
    w_dim: int = 512
    strided: int = STRIDED

    def __post_init__(self) -> None:
        object.__setattr__(self, "widths", tuple(self.widths))

    @property
    def layers(self) -> int:
        """Rows of w+."""
        return 2 * len(self.widths)

    def asdict(self) -> dict[str, Any]:
        """The fields as plain values, for JSON."""
        return asdict(self)


@dataclass(frozen=True)
class DeepGanBigConfig:
    """The numbers of an E_BIG; `widths` as above."""

    widths: tuple[int, ...]
    z_dim: int = 128
    class_dim: int = 128

    def __post_init__(self) -> None:
        object.__setattr__(self, "widths", tuple(self.widths))

    def asdict(self) -> dict[str, Any]:
        """The fields as plain values, for JSON."""
        return asdict(self)


class BlurBlock(nn.Module):
    """A DSE block that blurs before its second convolution, which may shrink by a stride.

    The last block has no second convolution and does not shrink.
    """

    kernel: Tensor

    def __init__(
        self, in_channels: int, out_channels: int, w_dim: int, *, strided: bool, last: bool
    ) -> None:
        super().__init__()
        self.tap_a = StyleTap(in_channels, w_dim)
        self.first = nn.Conv2d(in_channels, in_channels, 3, padding=1)
        self.tap_b = StyleTap(in_channels, w_dim)
        self.second = None
        if not last:
            kernel, stride = (4, 2) if strided else (3, 1)
            self.second = nn.Conv2d(in_channels, out_channels, kernel, stride, padding=1)
        self.bypass = None
        if in_channels != out_channels:
            self.bypass = nn.Conv2d(in_channels, out_channels, 1)
        self.strided = strided
        row = torch.tensor([1.0, 2.0, 1.0]) / 4
        self.register_buffer("kernel", torch.outer(row, row), persistent=False)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """[B, C, H, W] -> (output [B, C', H/2, W/2], tap A [B, D], tap B [B, D])."""
        style_a = self.tap_a(x)
        branch = F.leaky_relu(self.first(instance_norm(x, self.training)), 0.2)
        style_b = self.tap_b(branch)
        if self.second is not None:
            branch = F.leaky_relu(
                self.second(self._blur(instance_norm(branch, self.training))), 0.2
            )
            branch = branch if self.strided else F.avg_pool2d(branch, 2)
            x = F.avg_pool2d(x, 2)
        if self.bypass is not None:
            x = self.bypass(x)
        return BRANCH * branch + RESIDUAL * x, style_a, style_b

    def _blur(self, x: Tensor) -> Tensor:
        kernel = self.kernel.to(x.dtype).expand(x.shape[1], 1, -1, -1)
        return F.conv2d(x, kernel, padding=1, groups=x.shape[1])


class DeepGanEncoder(nn.Module):
    """E_Blur: image -> w+, the rows themselves and not offsets."""

    kind = "deep-gan"

    def __init__(self, config: DeepGanConfig) -> None:
        super().__init__()
        self.config = config
        widths = config.widths
        self.from_rgb = nn.Conv2d(3, widths[0], 1)
        following = (*widths[1:], widths[-1])
        self.blocks = nn.ModuleList(
            BlurBlock(
                *(width, following[i], config.w_dim),
                strided=i < config.strided,
                last=i == len(widths) - 1,
            )
            for i, width in enumerate(widths)
        )

    def forward(self, images: Tensor) -> Tensor:
        """[B, 3, R, R] in [-1, 1] -> w' [B, L, D]."""
        x = F.leaky_relu(self.from_rgb(images), 0.2)
        rows: list[Tensor] = []
        for block in self.blocks:
            x, style_a, style_b = block(x)
            rows = [style_b, style_a, *rows]
        return torch.stack(rows, dim=1)

    def encode(self, images: Tensor, label: Tensor | None = None) -> Latent:
        """[B, 3, R, R] in [-1, 1] -> Latent in w+ [B, L, D]; `label` is passed on."""
        return Latent(self(images), "w+", label=label)

    def attach(self, generator: Generator) -> None:
        """It needs no generator."""


class ClassNorm(nn.Module):
    """A scale and a shift of each channel that depend on the class."""

    def __init__(self, channels: int, embedding: int) -> None:
        super().__init__()
        self.fc = nn.Linear(embedding, 2 * channels)

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        """[B, C, H, W], [B, E] -> [B, C, H, W]."""
        scale, shift = self.fc(condition)[:, :, None, None].chunk(2, dim=1)
        return torch.addcmul(shift, x, scale)


class ClassBlock(nn.Module):
    """Two convolutions, each after a norm of the class, and a bypass.

    The last block has only the first convolution.
    """

    def __init__(self, in_channels: int, out_channels: int, embedding: int, *, last: bool) -> None:
        super().__init__()
        self.norm_a = ClassNorm(in_channels, embedding)
        self.first = nn.Conv2d(in_channels, in_channels, 3, padding=1)
        self.norm_b = self.second = self.norm_c = self.bypass = None
        if not last:
            self.norm_b = ClassNorm(in_channels, embedding)
            self.second = nn.Conv2d(in_channels, out_channels, 3, padding=1)
            if in_channels != out_channels:
                self.norm_c = ClassNorm(in_channels, embedding)
                self.bypass = nn.Conv2d(in_channels, out_channels, 1)

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        """[B, C, H, W], [B, E] -> [B, C', H/2, W/2]; the last block does not shrink."""
        branch = F.leaky_relu(self.first(self.norm_a(x, condition)), 0.2)
        if self.second is None or self.norm_b is None:
            return branch
        branch = F.leaky_relu(self.second(self.norm_b(branch, condition)), 0.2)
        if self.bypass is not None and self.norm_c is not None:
            x = self.bypass(self.norm_c(x, condition))
            branch = F.leaky_relu(branch, 0.2)  # once more, as released
        return F.avg_pool2d(branch + x, 2)


class DeepGanBigEncoder(nn.Module):
    """E_BIG: image and class -> z of BigGAN.

    As trained it was also handed the z that it was to find; nothing is known of a picture's z, so
    it gets the mean, zeros (folded away).
    """

    kind = "deep-gan-big"
    embeddings: Tensor

    def __init__(self, config: DeepGanBigConfig) -> None:
        super().__init__()
        self.config = config
        widths = config.widths
        self.from_rgb = nn.Conv2d(3, widths[0], 1)
        following = (*widths[1:], widths[-1])
        last = len(widths) - 1
        self.blocks = nn.ModuleList(
            ClassBlock(width, following[i], config.class_dim, last=i == last)
            for i, width in enumerate(widths)
        )
        self.fc = nn.Linear(widths[-1] * 16, config.z_dim)
        # The generator's, and saved with it: [classes, class_dim].
        self.register_buffer("embeddings", torch.empty(0, config.class_dim), persistent=False)

    def forward(self, images: Tensor, label: Tensor) -> Tensor:
        """[B, 3, R, R] in [-1, 1], [B, classes] -> z' [B, D].

        Raises:
            ValueError: no generator attached, or a label of another number of classes.
        """
        if label.shape[1:] != self.embeddings.shape[:1]:
            known = len(self.embeddings) or "none: attach its generator first"
            raise ValueError(f"a label of {list(label.shape)[1:]} classes; known are {known}")
        condition = label.to(self.embeddings) @ self.embeddings
        x = F.leaky_relu(self.from_rgb(images), 0.2)
        for block in self.blocks:
            x = block(x, condition)
        return self.fc(x.flatten(1))

    def encode(self, images: Tensor, label: Tensor | None = None) -> Latent:
        """[B, 3, R, R] in [-1, 1], [B, classes] -> Latent in z; ValueError without a label."""
        if label is None:
            raise ValueError("this encoder needs the class of each image")
        origin = {"truncation": TRUNCATION}
        return Latent(self(images, label)[:, None], "z", label=label, origin=origin)

    def attach(self, generator: Generator) -> None:
        """Take a copy of the generator's class embeddings.

        Raises:
            ValueError: the generator is no BigGAN, or its embeddings have another width.
        """
        vectors = generator.class_vectors
        if vectors is None or vectors.shape[1] != self.config.class_dim:
            raise ValueError(f"a {self.kind} needs a BigGAN of {self.config.class_dim}-D classes")
        self.embeddings = vectors.detach().to(self.from_rgb.weight.device).clone()
