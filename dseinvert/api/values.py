"""What goes in and comes out at the front door besides photos, latents and tensors."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from torch import Tensor

from dseinvert.latent import Latent
from dseinvert.latent.latent import rows_at
from dseinvert.media.photo import Photo
from dseinvert.media.pixels import Doubles


@dataclass(frozen=True, eq=False)
class Face:
    """One face of a photo, or the photo as it is, at the size that the model takes."""

    crop: Photo
    """[R, R, 3]."""
    quad: Doubles = field(repr=False)
    """[4, 2] its corners in the photo: top-left, bottom-left, bottom-right, top-right, in pixels
    whose first has its centre at (0, 0)."""
    score: float = 1.0
    """How sure the detector is, from 0 to 1."""
    aligned: bool = True
    """Whether it is framed as FFHQ frames a face; False = the photo as it is."""


@dataclass(frozen=True, eq=False, repr=False)
class Found:
    """What an inversion found; a batch, of which `found[i]` is one."""

    latent: Latent
    images: Tensor
    """[B, 3, R, R] in [-1, 1]: what the latents draw."""
    metrics: Mapping[str, Tensor]
    """psnr (dB), ssim and others of the images beside what was inverted, [B] each."""
    steps: Tensor | None = None
    """[B] of refinement; None = there was none."""
    kept: Tensor | None = None
    """[B] bool: which are as they were before, for refinement found nothing better; None = there
    was none."""

    def __repr__(self) -> str:
        return f"Found({self.latent!r}, images={list(self.images.shape)})"

    def __len__(self) -> int:
        return len(self.latent)

    def __iter__(self) -> Iterator[Found]:
        return (self[index] for index in range(len(self)))

    def __getitem__(self, index: int | slice) -> Found:
        """One of them, or some, still a batch."""
        some = rows_at(index, len(self))
        metrics = {name: values[some] for name, values in self.metrics.items()}
        steps, kept = (None if one is None else one[some] for one in (self.steps, self.kept))
        return Found(self.latent[some], self.images[some], metrics, steps, kept)
