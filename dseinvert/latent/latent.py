"""The value itself: a batch of latents, and where they came from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

Space = Literal["z", "z+", "w", "w+"]
Skip = Literal["keep", "drop"]
OPTIONAL = ("feature", "label", "style")
"""The fields of `Latent` that are tensors beside `code`, or None."""
TUNING = "tuning/"
"""What the names of `Latent.tuning` begin with among all tensors."""


@dataclass(frozen=True)
class LatentSpec:
    """The latent a generator takes: its space, number of layers L and width D."""

    space: Space
    layers: int
    dim: int
    classes: int = 0
    """Width of `Latent.label`; 0 = the generator has no classes."""


@dataclass(frozen=True)
class Latent:
    """A batch of latents of one generator.

    `code` is [B, L, D]. `feature` [B, C, H, W] replaces the output of styled convolution `layer`
    (counted from 1); `skip` says whether the RGB images below that layer are kept (Feature-Style
    Encoder) or dropped (BDInvert). `label` is [B, num_classes]. `origin` is free text about where
    the latent came from: generator and encoder hashes, source file, crop matrix, version. One
    entry is read again: BigGAN draws with `truncation`, so that batches share one value of it.

    `style` [B, S] is added to the styles of all layers of the generator, which stand one after the
    other in the order they are used (StyleSpace, Wu et al., 2021); None = nothing is.
    `tuning` is what was added to the generator's weights for each sample (pivotal tuning), of low
    rank: "NAME.up" [B, out, r] and "NAME.down" [B, r, rest of the weight NAME]; empty = nothing.
    """

    code: Tensor
    space: Space
    feature: Tensor | None = None
    layer: int | None = None
    skip: Skip = "keep"
    label: Tensor | None = None
    origin: Mapping[str, str] = field(default_factory=dict)
    style: Tensor | None = None
    tuning: Mapping[str, Tensor] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.code.ndim != 3:
            raise ValueError(f"code must be [B, L, D], got {list(self.code.shape)}")
        if (self.feature is None) != (self.layer is None):
            raise ValueError("feature and layer come together")

    def __len__(self) -> int:
        return len(self.code)

    def __getitem__(self, index: slice | Tensor) -> Latent:
        """The latents of some samples, still a batch; a tensor holds their numbers."""
        return self._map({name: tensor[index] for name, tensor in self.tensors().items()})

    def __repr__(self) -> str:
        parts = [f"{name}={list(tensor.shape)}" for name, tensor in self.tensors().items()]
        return f"Latent({self.space}, {', '.join(parts)})"

    def tensors(self) -> dict[str, Tensor]:
        """The tensors present, by field name; those of `tuning` as "tuning/NAME"."""
        named = {"code": self.code} | {name: getattr(self, name) for name in OPTIONAL}
        named |= {TUNING + name: tensor for name, tensor in self.tuning.items()}
        return {name: tensor for name, tensor in named.items() if tensor is not None}

    def to(self, device: torch.device | str) -> Latent:
        """The same latents on another device."""
        return self._map({name: tensor.to(device) for name, tensor in self.tensors().items()})

    def _map(self, tensors: dict[str, Tensor]) -> Latent:
        return replace(self, **fields_of(tensors))

    def with_origin(self, **entries: str) -> Latent:
        """The same latents knowing more about where they came from."""
        return replace(self, origin={**self.origin, **entries})

    def save(self, path: Path) -> None:
        """Write the latents to `path`, all or nothing.

        Raises:
            OutputError: it cannot be written.
        """
        from dseinvert.latent.file import save_latent  # the file knows the value

        save_latent(self, path)

    @staticmethod
    def load(path: Path) -> Latent:
        """The latents that `save` wrote, or those of a clip, a row each; see `load_latent`.

        Raises:
            InputError: not a latent file of this program, cut short, or holding NaN.
        """
        from dseinvert.latent.file import load_latent

        return load_latent(path)


def fields_of(tensors: Mapping[str, Tensor]) -> dict[str, Any]:
    """What `Latent.tensors` gave, as arguments of `Latent`; KeyError without a code."""
    tuning = {n.removeprefix(TUNING): t for n, t in tensors.items() if n.startswith(TUNING)}
    optional = {name: tensors.get(name) for name in OPTIONAL}
    return {"code": tensors["code"], **optional, "tuning": tuning}


def concat(latents: Sequence[Latent]) -> Latent:
    """Join batches of the same kind; `origin` is the first one's."""
    every = [latent.tensors() for latent in latents]
    return latents[0]._map({name: torch.cat([one[name] for one in every]) for name in every[0]})
