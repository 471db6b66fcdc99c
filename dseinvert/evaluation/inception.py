"""The Inception of FID, TensorFlow's release of 2015-12-05, from weights that the user has.

The file is `pt_inception-2015-12-05-6726825d.pth`, the weights as pytorch-fid publishes them.
Nothing is downloaded. NVIDIA's `inception-2015-12-05.pt` is a TorchScript: a program, and not run.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from dseinvert.errors import InputError, MissingError
from dseinvert.pickled import pickles

FILE = "pt_inception-2015-12-05-6726825d.pth"
SIDE, NUMBERS = 299, 2048
Embed = Callable[[Tensor], Tensor]
Pair = tuple[int, int]


def standard_file() -> Path:
    """Where torch keeps the weights once pytorch-fid has loaded them."""
    return Path(torch.hub.get_dir()) / "checkpoints" / FILE


def open_inception(path: Path, device: torch.device | str = "cpu") -> Embed:
    """Images [B, 3, R, R] in [-1, 1] -> what is before the last layer, [B, 2048].

    Raises:
        MissingError: no such file.
        InputError: not this network.
    """
    if not path.is_file():
        what = f"FID needs the standard Inception weights, and {path} is not there"
        raise MissingError(what, f"--inception {FILE}, or --sets features, which is not FID")
    try:
        content = pickles.load(path)
    except InputError as error:
        said = f"{path}: no weights (a TorchScript is a program, and is not run)"
        raise InputError(said, f"--inception {FILE}") from error
    return _weights(path, content, device)


def inception(state: Mapping[str, Tensor]) -> Embed:
    """The network of these weights, batch norms folded into the convolutions."""
    folded = _folded(state)

    @torch.no_grad()
    def embed(images: Tensor) -> Tensor:
        weight, _ = folded["Conv2d_1a_3x3"]
        size = (SIDE, SIDE)
        x = F.interpolate(images.to(weight).clamp(-1, 1), size, mode="bilinear")
        return _Net(folded).run(x)

    return embed


def _weights(path: Path, content: Any, device: torch.device | str) -> Embed:
    try:
        state = {name: tensor.to(device) for name, tensor in content.items()}
        embed = inception(state)
        if embed(torch.zeros(1, 3, 32, 32)).shape == (1, NUMBERS):
            return embed
    except (AttributeError, KeyError, RuntimeError, TypeError) as error:
        raise InputError(f"{path}: not the weights of FID's Inception: {error}") from error
    raise InputError(f"{path}: gives something else than {NUMBERS} numbers an image")


def _folded(state: Mapping[str, Tensor]) -> dict[str, tuple[Tensor, Tensor]]:
    """Weight and bias of each convolution, by its name."""
    found = {}
    for key, weight in state.items():
        name, mark, _ = key.partition(".conv.weight")
        if mark:
            norm = {n: state[f"{name}.bn.{n}"] for n in ("weight", "bias", "running_mean")}
            scale = norm["weight"] * (state[f"{name}.bn.running_var"] + 1e-3).rsqrt()
            bias = norm["bias"] - norm["running_mean"] * scale
            found[name] = (weight * scale[:, None, None, None], bias)
    return found


class _Net:
    """Inception v3 as TensorFlow released it (Szegedy et al., 2015), by the names of torchvision.

    Average pools leave out what is beyond the edge, and the last block pools by maximum.
    """

    def __init__(self, folded: Mapping[str, tuple[Tensor, Tensor]]) -> None:
        self.folded = folded

    def run(self, x: Tensor) -> Tensor:
        """[B, 3, 299, 299] in [-1, 1] -> [B, 2048]."""
        x = self.conv(x, "Conv2d_1a_3x3", 2, (0, 0))
        x = self.conv(self.conv(x, "Conv2d_2a_3x3", 1, (0, 0)), "Conv2d_2b_3x3")
        x = self.conv(F.max_pool2d(x, 3, 2), "Conv2d_3b_1x1")
        x = F.max_pool2d(self.conv(x, "Conv2d_4a_3x3", 1, (0, 0)), 3, 2)
        for name in ("Mixed_5b", "Mixed_5c", "Mixed_5d"):
            x = self.fives(x, name)
        x = self.shrink(
            x, "Mixed_6a", ("branch3x3",), ("branch3x3dbl_1", "branch3x3dbl_2", "branch3x3dbl_3")
        )
        for name in ("Mixed_6b", "Mixed_6c", "Mixed_6d", "Mixed_6e"):
            x = self.sevens(x, name)
        x = self.shrink(
            x,
            "Mixed_7a",
            ("branch3x3_1", "branch3x3_2"),
            ("branch7x7x3_1", "branch7x7x3_2", "branch7x7x3_3", "branch7x7x3_4"),
        )
        x = self.wide(x, "Mixed_7b", F.avg_pool2d(x, 3, 1, 1, count_include_pad=False))
        x = self.wide(x, "Mixed_7c", F.max_pool2d(x, 3, 1, 1))
        return x.mean((2, 3))

    def conv(self, x: Tensor, name: str, stride: int = 1, padding: Pair | None = None) -> Tensor:
        """Convolution and ReLU; padding None = the size stays."""
        weight, bias = self.folded[name]
        if padding is None:
            padding = (weight.shape[2] // 2, weight.shape[3] // 2)
        return F.relu(F.conv2d(x, weight, bias, stride, padding))

    def chain(self, x: Tensor, block: str, *names: str) -> Tensor:
        """Convolutions one after another."""
        for name in names:
            x = self.conv(x, f"{block}.{name}")
        return x

    def fives(self, x: Tensor, at: str) -> Tensor:
        """Block A."""
        pooled = F.avg_pool2d(x, 3, 1, 1, count_include_pad=False)
        return torch.cat(
            [
                self.chain(x, at, "branch1x1"),
                self.chain(x, at, "branch5x5_1", "branch5x5_2"),
                self.chain(x, at, "branch3x3dbl_1", "branch3x3dbl_2", "branch3x3dbl_3"),
                self.chain(pooled, at, "branch_pool"),
            ],
            dim=1,
        )

    def sevens(self, x: Tensor, at: str) -> Tensor:
        """Block C."""
        pooled = F.avg_pool2d(x, 3, 1, 1, count_include_pad=False)
        return torch.cat(
            [
                self.chain(x, at, "branch1x1"),
                self.chain(x, at, *(f"branch7x7_{k}" for k in (1, 2, 3))),
                self.chain(x, at, *(f"branch7x7dbl_{k}" for k in (1, 2, 3, 4, 5))),
                self.chain(pooled, at, "branch_pool"),
            ],
            dim=1,
        )

    def shrink(self, x: Tensor, at: str, *branches: tuple[str, ...]) -> Tensor:
        """Blocks B and D: each branch ends with a stride of 2."""
        ends = [
            self.conv(self.chain(x, at, *rest), f"{at}.{last}", 2, (0, 0))
            for *rest, last in branches
        ]
        return torch.cat([*ends, F.max_pool2d(x, 3, 2)], dim=1)

    def wide(self, x: Tensor, at: str, pooled: Tensor) -> Tensor:
        """Block E."""
        single = self.chain(x, at, "branch3x3_1")
        double = self.chain(x, at, "branch3x3dbl_1", "branch3x3dbl_2")
        return torch.cat(
            [
                self.chain(x, at, "branch1x1"),
                *(self.chain(single, at, f"branch3x3_2{k}") for k in "ab"),
                *(self.chain(double, at, f"branch3x3dbl_3{k}") for k in "ab"),
                self.chain(pooled, at, "branch_pool"),
            ],
            dim=1,
        )
