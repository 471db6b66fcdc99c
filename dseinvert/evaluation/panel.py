"""What is measured of each reconstruction, and the protocol that stands beside the numbers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from dseinvert.evaluation.frechet import Crowd, Features, crowd_of, frechet
from dseinvert.evaluation.prior import Prior
from dseinvert.latent import Latent
from dseinvert.similarity.losses import Distance, cosine
from dseinvert.similarity.metrics import PROTOCOL, image_metrics

AT_ONCE = 50
HIGHER = {"psnr": True, "ssim": True, "mse": False, "cosine": True, "identity": True}
"""Of each measure whether more is better; of others, less is."""


@dataclass(frozen=True)
class Panel:
    """The judges of a comparison; those that are None are left out."""

    prior: Prior
    perceptual: tuple[str, Distance] | None
    """Its name, as lpips, and the distance."""
    identity: Callable[[Tensor], Tensor] | None
    """Images [B, 3, R, R] in [-1, 1] -> unit vectors [B, K]."""
    scorers: Mapping[str, Callable[[Tensor], Tensor]] = field(default_factory=dict)
    """By name; images -> a score each [B], which edits change."""
    sets: Features | None = None
    """What all results are held against all images by."""
    part: bool = False
    """Whether these are a part of the images, whose numbers are going to be joined."""

    @torch.inference_mode()
    def judge(self, images: Tensor, drawn: Tensor, latent: Latent) -> dict[str, Tensor]:
        """Every measure [B] of a batch and its reconstructions, all on the CPU."""
        found = image_metrics(images, drawn)
        found["cosine"] = 1 - cosine(images.flatten(1), drawn.flatten(1))
        if self.perceptual is not None:
            name, distance = self.perceptual
            found[name] = distance(images, drawn).cpu()
        if self.identity is not None:
            found["identity"] = self.alike(images, drawn)
        found["prior"] = self.prior.distance(latent).float()
        return found

    def alike(self, a: Tensor, b: Tensor) -> Tensor:
        """[B]: cosine of the people in two batches of images."""
        assert self.identity is not None
        return (self.who(a) * self.who(b)).sum(1)

    @torch.inference_mode()
    def who(self, images: Tensor) -> Tensor:
        """Unit vectors [B, K] on the CPU."""
        assert self.identity is not None
        return torch.cat([self.identity(part).cpu() for part in images.split(AT_ONCE)])

    @torch.inference_mode()
    def scores(self, images: Tensor) -> dict[str, Tensor]:
        """What each scorer says of each image, [B] on the CPU."""
        return {
            name: torch.cat([score(part).cpu() for part in images.split(AT_ONCE)])
            for name, score in self.scorers.items()
        }

    def crowd(self, images: Tensor) -> Crowd | None:
        """What a set is compared by; None = nobody does."""
        return None if self.sets is None else crowd_of(self.sets.of(images))

    def apart(self, crowd: Crowd | None, drawn: Crowd | None) -> float | None:
        """How far pictures are from those of `crowd`; None = not measured, one image is no set."""
        if crowd is None or drawn is None or crowd.count < 2:
            return None
        return frechet(crowd, drawn)

    def kept(self, crowd: Crowd | None) -> Crowd | None:
        """What has to be kept of a set for those of other parts to be joined to it."""
        return crowd if self.part else None

    @property
    def protocol(self) -> str:
        """How each number was got."""
        parts = [PROTOCOL.removesuffix("; lpips: VGG16, v0.1"), "cosine: of whole images"]
        if self.perceptual is not None:
            parts.append(f"{self.perceptual[0]}: {PERCEPTUAL[self.perceptual[0]]}")
        if self.identity is not None:
            parts.append("identity: cosine of embeddings of the network given with --identity")
        if self.sets is not None:
            parts.append(
                f"{self.sets.name}: {self.sets.about}; of few images too large, so that it is for "
                "methods within one table"
            )
        parts.append("prior: distance of the code from the generator's samples, 1 = as they are")
        return "; ".join(parts)


PERCEPTUAL = {
    "lpips": "VGG16, v0.1, at the model's resolution",
    "features": "distance of EfficientNet-lite0 features, not LPIPS",
}
