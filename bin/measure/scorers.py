"""Foreign networks that judge faces in measurements: who, how old, where; never used in training.

Weights are read from a folder laid out as `identity/`, `landmarks-and-age/`. Every scorer takes
images [B, 3, H, W] in [-1, 1] in the FFHQ framing, of any size, and works one image at a time in
effect: batches only save time.
"""

from __future__ import annotations

import importlib.util
import json
import math
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dseinvert.errors import MissingError
from dseinvert.similarity.identity import Box, Identity, crop, open_identity

Weights = dict[str, Tensor]


WHOLE = Box(0, 0, 1, 1)
# Where the eyes and mouth are as in UTKFace's tight crops, one of the sets it was trained on.
AGE_BOX = Box(0.18, 0.28, 0.82, 0.92)
LANDMARK_BOX = Box(0.15, 0.25, 0.85, 0.95)


# --- Who -----------------------------------------------------------------------------------------


def recognition(folder: Path) -> Identity:
    """MobileFaceNet on CASIA-WebFace: [B, 3, H, W] -> [B, 256] of length 1."""
    return open_identity(_found(folder / "identity" / "mobilefacenet-casia.ckpt"))


# --- How old, man or woman, and where: two networks of face-api.js -------------------------------

MEAN_RGB = (122.782, 117.001, 104.298)


def read_shards(folder: Path, name: str) -> Weights:
    """The weights of a TensorFlow.js model, in PyTorch's layout.

    Those stored as bytes become value * scale + min.
    """
    manifest = json.loads(_found(folder / f"weights__{name}-weights_manifest.json").read_text())
    data = _found(folder / f"weights__{name}-shard1").read_bytes()
    weights, offset = {}, 0
    for entry in manifest[0]["weights"]:
        packing, count = entry.get("quantization"), math.prod(entry["shape"])
        values = np.frombuffer(data, np.uint8 if packing else "<f4", count, offset)
        offset += values.nbytes
        if packing:
            values = values * packing["scale"] + packing["min"]
        weight = torch.tensor(values.reshape(entry["shape"]), dtype=torch.float32)
        weights[entry["name"]] = _transposed(weight, depthwise="depthwise" in entry["name"])
    return weights


def _transposed(weight: Tensor, *, depthwise: bool) -> Tensor:
    """[H, W, in, out] -> [out, in, H, W]; depthwise [H, W, in, 1] -> [in, 1, H, W]; [in, out]."""
    if weight.ndim == 4:
        return weight.permute((2, 3, 0, 1) if depthwise else (3, 2, 0, 1)).contiguous()
    return weight.T.contiguous() if weight.ndim == 2 else weight


def pad_same(x: Tensor, kernel: int, stride: int, value: float = 0) -> Tensor:
    """TensorFlow's "same" padding: the odd pixel goes below and to the right."""
    total = max(kernel - (x.shape[-1] % stride or stride), 0)
    before, after = total // 2, total - total // 2
    return F.pad(x, (before, after, before, after), value=value)


class ShardNet(nn.Module):
    """The layers that face-api.js is made of, over weights by name."""

    def __init__(self, weights: Weights) -> None:
        super().__init__()
        self.weights = nn.ParameterDict(weights).requires_grad_(False)

    def normalise(self, faces: Tensor, scale: float) -> Tensor:
        """[B, 3, 112, 112] in [-1, 1] -> what the networks were trained on."""
        mean = torch.tensor(MEAN_RGB).to(faces)[:, None, None]
        return ((faces + 1) * 127.5 - mean) / scale

    def conv(self, x: Tensor, name: str, stride: int = 1) -> Tensor:
        """A full convolution."""
        weight = self.weights[f"{name}/filters"]
        x = pad_same(x, weight.shape[-1], stride)
        return F.conv2d(x, weight, self.weights[f"{name}/bias"], stride)

    def separable(self, x: Tensor, name: str, stride: int = 1) -> Tensor:
        """A depthwise and a pointwise convolution."""
        depthwise = self.weights[f"{name}/depthwise_filter"]
        x = F.conv2d(pad_same(x, 3, stride), depthwise, None, stride, groups=x.shape[1])
        pointwise = self.weights[f"{name}/pointwise_filter"]
        return F.conv2d(x, pointwise, self.weights[f"{name}/bias"])

    def full(self, x: Tensor, name: str) -> Tensor:
        """A fully connected layer."""
        return F.linear(x, self.weights[f"{name}/weights"], self.weights[f"{name}/bias"])


class AgeGender(ShardNet):
    """Age in years and the probability of a man, by a small Xception network."""

    def __init__(self, folder: Path) -> None:
        super().__init__(read_shards(folder / "landmarks-and-age", "age_gender_model"))

    def forward(self, images: Tensor, box: Box = AGE_BOX) -> tuple[Tensor, Tensor]:
        """[B, 3, H, W] -> age [B] in years, man [B] in [0, 1]."""
        x = self.normalise(crop(images, box, 112, 112), 256)
        x = F.relu(self.conv(x, "entry_flow/conv_in", 2))
        x = self._reduce(x, x, "entry_flow/reduction_block_0")
        x = self._reduce(x, F.relu(x), "entry_flow/reduction_block_1")
        for index in range(2):
            x = x + self._main(x, f"middle_flow/main_block_{index}")
        x = self._reduce(x, F.relu(x), "exit_flow/reduction_block")
        x = F.relu(self.separable(x, "exit_flow/separable_conv")).mean(dim=(2, 3))
        return self.full(x, "fc/age")[:, 0], self.full(x, "fc/gender").softmax(dim=1)[:, 0]

    def _reduce(self, x: Tensor, active: Tensor, name: str) -> Tensor:
        y = F.relu(self.separable(active, f"{name}/separable_conv0"))
        y = self.separable(y, f"{name}/separable_conv1")
        y = F.max_pool2d(pad_same(y, 3, 2, -torch.inf), 3, 2)
        return y + self.conv(x, f"{name}/expansion_conv", 2)

    def _main(self, x: Tensor, name: str) -> Tensor:
        for index in range(3):
            x = self.separable(F.relu(x), f"{name}/separable_conv{index}")
        return x


class Landmarks(ShardNet):
    """The 68 points of a face, in iBUG's order."""

    def __init__(self, folder: Path) -> None:
        super().__init__(read_shards(folder / "landmarks-and-age", "face_landmark_68_model"))

    def forward(self, images: Tensor, box: Box = LANDMARK_BOX) -> Tensor:
        """[B, 3, H, W] -> [B, 68, 2]: x, y in fractions of the image's sides."""
        x = self.normalise(crop(images, box, 112, 112), 255)
        for index in range(4):
            x = self._dense(x, f"dense{index}")
        points = self.full(x.mean(dim=(2, 3)), "fc").unflatten(1, (68, 2))
        corner = torch.tensor([box.x0, box.y0]).to(points)
        return corner + points * torch.tensor([box.x1 - box.x0, box.y1 - box.y0]).to(points)

    def _dense(self, x: Tensor, name: str) -> Tensor:
        first = self.conv if name == "dense0" else self.separable
        total = F.relu(first(x, f"{name}/conv0", 2))
        x = total
        for index in (1, 2, 3):  # each convolution sees the sum of all before it
            total = total + self.separable(x, f"{name}/conv{index}")
            x = F.relu(total)
        return x


# Nose tip, chin, outer eye corners, mouth corners: their numbers among the 68, and where they lie
# on a mean head (right, down, towards the viewer; any unit).
HEAD_POINTS = (30, 8, 36, 45, 48, 54)
HEAD = (
    *((0, 0, 0), (0, 330, -65)),
    *((-225, -170, -135), (225, -170, -135)),
    *((-150, 150, -125), (150, 150, -125)),
)


def yaw(points: Tensor) -> Tensor:
    """[B, 68, 2] -> how far each head turns to the right of the picture: [B] in degrees."""
    camera = _camera(points)
    return torch.rad2deg(torch.atan2(camera[:, 2, 0], camera[:, 0, 0]))


def pitch(points: Tensor) -> Tensor:
    """[B, 68, 2] -> how far each head turns down, up to what is its own shape: [B] in degrees."""
    camera = _camera(points)
    return torch.rad2deg(torch.atan2(camera[:, 2, 1], camera[:, 1, 1]))


def _camera(points: Tensor) -> Tensor:
    """The weak-perspective camera that maps the mean head to the points best, by least squares."""
    head = torch.tensor(HEAD).to(points)
    seen = points[:, HEAD_POINTS]
    return torch.linalg.pinv(head - head.mean(0)) @ (seen - seen.mean(1, keepdim=True))


def head_mask(points: Tensor, side: int) -> Tensor:
    """Points [B, 68, 2] -> an ellipse about each head and its hair: [B, side, side], bool.

    From a little below the chin to as far above the brows as these are above the chin, and a
    third wider than the jaw on either side.
    """
    jaw, brows, chin = points[:, :17], points[:, 17:27, 1].amin(1), points[:, 8, 1]
    left, right = jaw[..., 0].amin(1), jaw[..., 0].amax(1)
    top, bottom = brows - (chin - brows), chin + 0.1 * (chin - brows)
    line = (torch.arange(side) + 0.5).to(points) / side
    across = (line - (left + right)[:, None] / 2) / ((right - left)[:, None] * (0.5 + 1 / 3))
    down = (line - (top + bottom)[:, None] / 2) / ((bottom - top)[:, None] / 2)
    return across.square()[:, None] + down.square()[:, :, None] < 1


def mouth_width(points: Tensor) -> Tensor:
    """[B, 68, 2] -> distance of the mouth's corners over that of the eyes' centres: [B]."""
    eyes = points[:, 42:48].mean(1) - points[:, 36:42].mean(1)
    return (points[:, 54] - points[:, 48]).norm(dim=1) / eyes.norm(dim=1)


def mouth_opening(points: Tensor) -> Tensor:
    """[B, 68, 2] -> distance of the inner lips over that of the eyes' centres: [B]."""
    eyes = points[:, 42:48].mean(1) - points[:, 36:42].mean(1)
    return (points[:, 65:68] - points[:, 61:64].flip(1)).norm(dim=2).mean(1) / eyes.norm(dim=1)


CHEEKS = ((3, 31, 48), (13, 35, 54))
"""Jaw, wing of the nose and corner of the mouth, on the left and the right of the picture."""


def side_light(images: Tensor, points: Tensor) -> Tensor:
    """Images [B, 3, H, W], points [B, 68, 2] -> how much brighter the right cheek is: [B].

    The patch of a cheek is a fifth of the eyes' distance wide.
    """
    grey = images.mean(1, keepdim=True)
    eyes = (points[:, 42:48].mean(1) - points[:, 36:42].mean(1)).norm(dim=1)
    steps = torch.linspace(-0.1, 0.1, 5).to(points)
    offsets = torch.cartesian_prod(steps, steps) * eyes[:, None, None]
    left, right = (
        F.grid_sample(
            grey,
            ((points[:, cheek].mean(1)[:, None] + offsets) * 2 - 1)[:, None],
            align_corners=False,
        ).mean(dim=(1, 2, 3))
        for cheek in CHEEKS
    )
    return right - left


# --- How alike: ST-LPIPS (Ghildyal and Liu, 2022), on AlexNet ------------------------------------


class STLPIPS(nn.Module):
    """Shift-tolerant LPIPS; its weights come with the package stlpips-pytorch. Not LPIPS."""

    layers = ("slice1.0", "slice2.5", "slice3.9", "slice4.11", "slice5.13")
    blurs = ("slice1.1", "slice2.4", "slice3.8")

    def __init__(self) -> None:
        super().__init__()
        package = importlib.util.find_spec("stlpips_pytorch")  # found, not imported: it needs more
        if package is None or package.origin is None:
            raise MissingError("ST-LPIPS needs its weights", "pip install stlpips-pytorch")
        file = Path(package.origin).parent / "weights" / "vST0.0" / "alex_shift_tolerant.pth"
        state = torch.load(_found(file), map_location="cpu", weights_only=True)
        self.weights = nn.ParameterDict({k.replace(".", "/"): v for k, v in state.items()})
        self.requires_grad_(False)

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        """Two batches [B, 3, H, W] in [-1, 1], enlarged to 64 px where smaller -> [B]."""
        pairs = zip(self._features(a), self._features(b), strict=True)
        distances = [
            F.conv2d((x - y).square(), self._get(f"lin{i}.model.1.weight")).mean(dim=(1, 2, 3))
            for i, (x, y) in enumerate(pairs)
        ]
        return torch.stack(distances).sum(0)

    def _features(self, images: Tensor) -> list[Tensor]:
        if images.shape[-1] < 64:
            images = F.interpolate(images, (64, 64), mode="bilinear")
        x = (images - self._get("scaling_layer.shift")) / self._get("scaling_layer.scale")
        maps = []
        for depth, layer in enumerate(self.layers):
            if depth in (1, 2):
                x = self._blur(F.max_pool2d(x, 3, 1), self.blurs[depth])
            weight = self._get(f"net.{layer}.weight")
            pad = 2 if depth < 2 else 1
            x = F.conv2d(x, weight, self._get(f"net.{layer}.bias"), padding=pad)
            x = F.relu(self._blur(x, self.blurs[0]) if depth == 0 else x)
            maps.append(F.normalize(x, dim=1))
        return maps

    def _blur(self, x: Tensor, name: str) -> Tensor:
        kernel = self._get(f"net.{name}.filt")
        return F.conv2d(F.pad(x, (2, 2, 2, 2), "reflect"), kernel, stride=2, groups=x.shape[1])

    def _get(self, name: str) -> Tensor:
        return self.weights[name.replace(".", "/")]


def _found(file: Path) -> Path:
    if not file.is_file():
        raise MissingError(f"{file}: no such file", "--data names the folder with models/ in it")
    return file
