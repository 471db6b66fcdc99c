"""Who is seen: face recognition networks that the user has, behind one call.

Known are ONNX networks of the ArcFace kind (Deng et al., 2019), the IR-SE50 of pSp's training
(`model_ir_se50.pth`) and MobileFaceNet (Chen et al., 2018) with 112x96 faces. Nothing is
downloaded.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dseinvert.errors import InputError, MissingError
from dseinvert.pickled import pickles

VARIABLE = "DSEINVERT_IDENTITY"
FFHQ_POINTS = ((0.377, 0.4675), (0.623, 0.4675), (0.5, 0.6155), (0.387, 0.728), (0.613, 0.728))
"""Mean eyes, nose and mouth corners of photos in the FFHQ framing, in fractions of the side."""
TEMPLATE = (
    *((38.2946, 51.6963), (73.5318, 51.5014), (56.0252, 71.7366)),
    *((41.5493, 92.3655), (70.7299, 92.2041)),
)
"""Where ArcFace was taught to expect them, in pixels of a face of 112x112."""


@dataclass(frozen=True)
class Box:
    """A part of an image, in fractions of its sides; it may reach outside."""

    x0: float
    y0: float
    x1: float
    y1: float


def template_box(height: int = 112, width: int = 112) -> Box:
    """The part of an image in the FFHQ framing that a network sees, centred as the template.

    The scale and shift of least squares from the points to the template; both stand upright.
    Narrower faces, as of 112x96, are the middle of the square one.
    """
    places, wanted = np.array(FFHQ_POINTS), np.array(TEMPLATE) + 0.5  # pixels have their centre
    wanted -= [(112 - width) / 2, (112 - height) / 2]
    spread = places - places.mean(0)
    scale = float((spread * (wanted - wanted.mean(0))).sum() / (spread**2).sum())
    x0, y0 = (places.mean(0) - wanted.mean(0) / scale).tolist()
    return Box(x0, y0, x0 + width / scale, y0 + height / scale)


def crop(images: Tensor, box: Box, height: int, width: int) -> Tensor:
    """The box of each image, antialiased, resampled to [B, C, height, width]; edges repeat."""
    scale = (
        height / (box.y1 - box.y0) / images.shape[2],
        width / (box.x1 - box.x0) / images.shape[3],
    )
    if min(scale) < 1:  # shrink first: sampling a grid would alias
        size = [max(1, round(s * n)) for s, n in zip(scale, images.shape[2:], strict=True)]
        images = F.interpolate(images, size, mode="bicubic", antialias=True)
    matrix = [
        [box.x1 - box.x0, 0, box.x0 + box.x1 - 1],
        [0, box.y1 - box.y0, box.y0 + box.y1 - 1],
    ]
    theta = torch.tensor(matrix).to(images).expand(len(images), 2, 3)
    grid = F.affine_grid(theta, [len(images), 1, height, width], align_corners=False)
    return F.grid_sample(images, grid, "bicubic", "border", align_corners=False).clamp(-1, 1)


@dataclass(frozen=True)
class Identity:
    """A face recognition network, and what it wants to see."""

    embed: Callable[[Tensor], Tensor]
    """Faces [B, 3, height, width] in [-1, 1] -> [B, D]."""
    name: str
    """What kind of network."""
    sha256: str
    height: int = 112
    width: int = 112
    mirrored: bool = False
    """Whether the embedding of the mirror image stands beside that of the face."""

    def __call__(self, images: Tensor) -> Tensor:
        """[B, 3, H, W] in [-1, 1], FFHQ framing, any size -> [B, D] of length 1.

        The product of two is their cosine. Gradients pass where the network is PyTorch's.
        """
        box = template_box(self.height, self.width)
        faces = crop(images.float(), box, self.height, self.width)
        found = self.embed(faces)
        if self.mirrored:
            found = torch.cat([found, self.embed(faces.flip(3))], dim=1)
        return F.normalize(found, dim=1)


def open_identity(path: Path | None = None, device: torch.device | str = "cpu") -> Identity:
    """The network in a file, ready for inference; nothing in the file is executed.

    Args:
        path: .onnx, or weights of a known PyTorch network; None = what DSEINVERT_IDENTITY names.
        device: where PyTorch's run; ONNX networks run on the CPU.

    Raises:
        MissingError: no file is named or there, it is no such network, or onnxruntime is missing.
    """
    path = path or _named()
    if not path.is_file():
        raise MissingError(f"{path}: no such file", "--identity names a face recognition network")
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    if path.suffix.lower() == ".onnx":
        return _open_onnx(path, sha256)
    return _open_torch(path, sha256, device)


def is_named() -> bool:
    """Whether the environment names a network."""
    return bool(os.environ.get(VARIABLE))


def _named() -> Path:
    if not is_named():
        raise MissingError(
            "no face recognition network is named", f"--identity FILE, or {VARIABLE}=FILE"
        )
    return Path(os.environ[VARIABLE]).expanduser()


# --- ONNX ----------------------------------------------------------------------------------------


def _open_onnx(path: Path, sha256: str) -> Identity:
    try:
        import onnx
        import onnxruntime
    except ImportError as error:
        raise MissingError(
            f"{path}: an ONNX network needs onnxruntime", "pip install dseinvert[onnx]"
        ) from error
    try:
        raw = _takes_bytes(onnx.load(path, load_external_data=False).graph)
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # a foreign decoder: whatever it raises, the file is unusable
        first = (str(error).splitlines() or [type(error).__name__])[0]
        raise MissingError(f"{path}: not a readable ONNX network: {first}") from error
    height, width, last = _layout(path, session)
    embed = _onnx_embed(session, raw=raw, last=last)
    return Identity(embed, f"ONNX {height}x{width}", sha256, height, width)


def _takes_bytes(graph: Any) -> bool:
    """Whether the network brings 0 .. 255 to its own range: it begins by subtracting, scaling."""
    begin = {node.op_type for node in graph.node[:8]}
    return {"Sub", "Mul"} <= begin or {"Sub", "Div"} <= begin


def _layout(path: Path, session: Any) -> tuple[int, int, bool]:
    """Height and width of the face, and whether colours are the last axis."""
    inputs, outputs = session.get_inputs(), session.get_outputs()
    shape = inputs[0].shape
    if len(inputs) == 1 and len(shape) == 4 and len(outputs[0].shape) == 2:
        last = shape[3] == 3
        height, width = (
            side if isinstance(side, int) and side > 0 else 112
            for side in (shape[1:3] if last else shape[2:])
        )
        if (last or shape[1] == 3) and height == 112 and width in (96, 112):
            return height, width, last
    found = f"{shape} -> {outputs[0].shape}"
    raise MissingError(
        f"{path}: takes and gives {found}, not one face of 112x112 and an embedding",
        "choose a network of the ArcFace kind",
    )


def _onnx_embed(session: Any, *, raw: bool, last: bool) -> Callable[[Tensor], Tensor]:
    put = session.get_inputs()[0]

    def embed(faces: Tensor) -> Tensor:
        given = (faces.detach().cpu() + 1) * 127.5 if raw else faces.detach().cpu()
        given = given.permute(0, 2, 3, 1) if last else given
        arrays = given.contiguous().numpy()
        fixed = isinstance(put.shape[0], int) and put.shape[0] > 0
        parts = np.split(arrays, len(arrays)) if fixed else [arrays]
        found = [session.run(None, {put.name: part})[0] for part in parts]
        return torch.from_numpy(np.concatenate(found)).to(faces)

    return embed


# --- PyTorch -------------------------------------------------------------------------------------


def _open_torch(path: Path, sha256: str, device: torch.device | str) -> Identity:
    try:
        content = pickles.load(path)
    except InputError as error:
        raise MissingError(f"{path}: not a readable file of PyTorch weights") from error
    state = content.get("net_state_dict", content) if isinstance(content, Mapping) else {}
    for network, mark, name, width in _NETWORKS:
        if mark in state:
            net = _filled(network(), state, path, name).to(device)
            return Identity(net, name, sha256, 112, width, mirrored=width == 96)
    raise MissingError(
        f"{path}: not a face recognition network that is known here",
        "an ArcFace ONNX file, model_ir_se50.pth or a MobileFaceNet of 112x96",
    )


def _filled(net: nn.Module, state: Mapping[str, Any], path: Path, name: str) -> nn.Module:
    try:
        net.load_state_dict(dict(state))
    except (RuntimeError, AttributeError) as error:
        what = str(error).splitlines()[-1].strip()
        raise MissingError(f"{path}: not the weights of {name}: {what}") from error
    return net.eval().requires_grad_(False)


def _conv(inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False)


class ConvBlock(nn.Module):
    """Convolution, batch norm, PReLU (none where `linear`)."""

    def __init__(self, conv: nn.Conv2d, *, linear: bool = False) -> None:
        super().__init__()
        self.conv, self.bn = conv, nn.BatchNorm2d(conv.out_channels)
        self.prelu = None if linear else nn.PReLU(conv.out_channels)

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, H, W] -> [B, C', H', W']."""
        x = self.bn(self.conv(x))
        return x if self.prelu is None else self.prelu(x)


class Bottleneck(nn.Module):
    """Widen, depthwise convolution, narrow; the input is added where shapes allow."""

    def __init__(self, inputs: int, outputs: int, stride: int, expand: int) -> None:
        super().__init__()
        wide = inputs * expand
        self.conv = nn.Sequential(
            *(_conv(inputs, wide, 1), nn.BatchNorm2d(wide), nn.PReLU(wide)),
            *(_conv(wide, wide, 3, stride, wide), nn.BatchNorm2d(wide), nn.PReLU(wide)),
            *(_conv(wide, outputs, 1), nn.BatchNorm2d(outputs)),
        )
        self.connect = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, H, W] -> [B, C', H', W']."""
        return x + self.conv(x) if self.connect else self.conv(x)


class MobileFaceNet(nn.Module):
    """A face 112 high and 96 wide -> embedding [B, 128]."""

    stages = ((2, 64, 5, 2), (4, 128, 1, 2), (2, 128, 6, 1), (4, 128, 1, 2), (2, 128, 2, 1))

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = ConvBlock(_conv(3, 64, 3, 2))
        self.dw_conv1 = ConvBlock(_conv(64, 64, 3, groups=64))
        blocks, inputs = [], 64
        for expand, outputs, count, stride in self.stages:
            for index in range(count):
                blocks.append(Bottleneck(inputs, outputs, 1 if index else stride, expand))
                inputs = outputs
        self.blocks = nn.Sequential(*blocks)
        self.conv2 = ConvBlock(_conv(128, 512, 1))
        self.linear7 = ConvBlock(nn.Conv2d(512, 512, (7, 6), groups=512, bias=False), linear=True)
        self.linear1 = ConvBlock(_conv(512, 128, 1), linear=True)

    def forward(self, x: Tensor) -> Tensor:
        """[B, 3, 112, 96] in [-1, 1] -> [B, 128]."""
        x = x * (127.5 / 128)  # its faces were divided by 128
        x = self.blocks(self.dw_conv1(self.conv1(x)))
        return self.linear1(self.linear7(self.conv2(x))).flatten(1)


class Weigh(nn.Module):
    """Squeeze-and-excitation (Hu et al., 2018), its layers as 1x1 convolutions."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.fc1 = nn.Conv2d(channels, channels // 16, 1, bias=False)
        self.fc2 = nn.Conv2d(channels // 16, channels, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, H, W] -> the same."""
        return x * torch.sigmoid(self.fc2(F.relu(self.fc1(x.mean(dim=(2, 3), keepdim=True)))))


class Unit(nn.Module):
    """Norm, convolution, PReLU, strided convolution, norm, weights, and a bypass."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.stride = stride
        self.res_layer = nn.Sequential(
            *(nn.BatchNorm2d(inputs), _conv(inputs, outputs, 3), nn.PReLU(outputs)),
            *(_conv(outputs, outputs, 3, stride), nn.BatchNorm2d(outputs), Weigh(outputs)),
        )
        self.shortcut_layer = None
        if inputs != outputs:
            self.shortcut_layer = nn.Sequential(
                _conv(inputs, outputs, 1, stride), nn.BatchNorm2d(outputs)
            )

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, H, W] -> [B, C', H/stride, W/stride]."""
        bypass = x[:, :, :: self.stride, :: self.stride]
        if self.shortcut_layer is not None:
            bypass = self.shortcut_layer(x)
        return self.res_layer(x) + bypass


class IRSE50(nn.Module):
    """The improved residual network of ArcFace with 50 layers, named as its file names them."""

    widths, units = (64, 64, 128, 256, 512), (3, 4, 14, 3)

    def __init__(self) -> None:
        super().__init__()
        self.input_layer = nn.Sequential(_conv(3, 64, 3), nn.BatchNorm2d(64), nn.PReLU(64))
        body = []
        for (before, width), count in zip(pairwise(self.widths), self.units, strict=True):
            body += [Unit(before, width, 2), *(Unit(width, width, 1) for _ in range(count - 1))]
        self.body = nn.Sequential(*body)
        self.output_layer = nn.Sequential(
            *(nn.BatchNorm2d(512), nn.Dropout(), nn.Flatten()),
            *(nn.Linear(512 * 7 * 7, 512), nn.BatchNorm1d(512)),
        )

    def forward(self, x: Tensor) -> Tensor:
        """[B, 3, 112, 112] in [-1, 1] -> [B, 512]."""
        found: Tensor = self.output_layer(self.body(self.input_layer(x)))
        return found


_NETWORKS: tuple[tuple[type[nn.Module], str, str, int], ...] = (
    (MobileFaceNet, "dw_conv1.conv.weight", "MobileFaceNet", 96),
    (IRSE50, "output_layer.3.weight", "IR-SE50", 112),
)
"""Each with a weight that only it has, its name, and the width of its faces."""
