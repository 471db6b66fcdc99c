"""StyleGAN as Deep-GAN-Encoders (DSE) keeps it: Gs_dict.pth, Gm_dict.pth and center_tensor.pt."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from dseinvert.errors import InputError
from dseinvert.generators import Generator
from dseinvert.importers.found import Found
from dseinvert.importers.progressive import Source, stylegan1
from dseinvert.importers.tensors import count

FILES = SYNTHESIS, MAPPING, CENTRE = "Gs_dict.pth", "Gm_dict.pth", "center_tensor.pt"
MARKS = {"const", "decode_block.0.noise_weight_1", "to_rgb.0.to_rgb.weight"}
NAMES = {
    "const": "const",
    "weight": "decode_block.{block}.conv_{half}.weight",
    "bias": "decode_block.{block}.bias_{half}",
    "strength": "decode_block.{block}.noise_weight_{half}",
    "noise": "noise.{index}",
    "style.weight": "decode_block.{block}.style_{half}.weight",
    "style.bias": "decode_block.{block}.style_{half}.bias",
    "rgb.weight": "to_rgb.{index}.to_rgb.weight",
    "rgb.bias": "to_rgb.{index}.to_rgb.bias",
    "mapping.weight": "block_{place}.fc.weight",
    "mapping.bias": "block_{place}.fc.bias",
    "w_avg": CENTRE,
    "embedding": "none",
    "lod": "none",
}
NOISE = "its code draws new noise for each image; here it is drawn once, and kept"
FUSED = 128
"""The resolution from which it doubles by transposed convolutions."""
MOST = 9
"""Blocks of the largest StyleGAN there is, of 1024 px."""


def recognise(content: Any) -> bool:
    """Whether this is the state dict of its synthesis network, alone or by the files' names."""
    if not isinstance(content, Mapping):
        return False
    state = content.get(SYNTHESIS, content)
    return isinstance(state, Mapping) and set(state) >= MARKS


def convert(content: Any, generator: Generator | None = None) -> Found:
    """The generator, from {file name: content}.

    Raises:
        InputError: a file or tensor is missing, or a tensor is misshapen or not finite.
    """
    missing = [name for name in FILES if name not in content]
    if missing:
        raise InputError(
            f"a StyleGAN of Deep-GAN-Encoders without its {' and '.join(missing)}",
            "put its three files into one folder and give any of them",
        )
    if not all(isinstance(content[name], Mapping) for name in (SYNTHESIS, MAPPING)):
        raise InputError(f"{SYNTHESIS} and {MAPPING}: expected a state dict in each")
    state = {**content[MAPPING], CENTRE: _centre(content[CENTRE])}
    for name, value in content[SYNTHESIS].items():
        state[name] = _turned(str(name), value)
    state |= _noise(count(content[SYNTHESIS], "decode_block."))
    network = stylegan1(Source(state, _name, scaled=True), lambda resolution: resolution >= FUSED)
    return Found("StyleGAN of Deep-GAN-Encoders", generator=network, notes=(NOISE,))


def _name(part: str, index: int = 0) -> str:
    return NAMES[part].format(block=index // 2, half=index % 2 + 1, index=index, place=index + 1)


def _turned(name: str, value: Any) -> Any:
    """Biases [1, C, 1, 1] to [C], fused kernels [I, O, 3, 3] to [O, I, 3, 3]."""
    if not isinstance(value, Tensor) or value.ndim != 4:
        return value
    if ".bias_" in name or ".noise_weight_" in name:
        return value.flatten()
    block = name.removeprefix("decode_block.").split(".")[0]
    fused = name.endswith("conv_1.weight") and block.isdecimal() and 4 * 2 ** int(block) >= FUSED
    return value.transpose(0, 1) if fused else value


def _noise(blocks: int) -> dict[str, Tensor]:
    if blocks > MOST:
        raise InputError(f"a StyleGAN of {blocks} blocks; expected at most {MOST}")
    source = torch.Generator().manual_seed(0)
    sides = [4 * 2 ** (index // 2) for index in range(2 * blocks)]
    return {
        _name("noise", index): torch.randn(1, 1, side, side, generator=source)
        for index, side in enumerate(sides)
    }


def _centre(value: Any) -> Tensor:
    """The mean of w [D] from its rows [L, D], which are one and the same."""
    if not isinstance(value, Tensor) or value.ndim not in (1, 2) or 0 in value.shape:
        raise InputError(f"{CENTRE}: expected the mean latent [L, D]")
    rows = torch.atleast_2d(value)
    if not torch.allclose(rows, rows[:1]):
        raise InputError(f"{CENTRE}: its rows differ, as no mean of StyleGAN's w does")
    return rows[0]
