"""A classifier in an ONNX file as a score of pictures."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor

from dseinvert.errors import InputError, MissingError, UsageError

Pixels = Literal["-1..1", "0..1", "0..255", "imagenet"]
"""What a classifier takes black and white for; imagenet = its mean and deviation of 0..1."""
_MEAN, _DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
_ANY_SIDE = 224


@dataclass(frozen=True)
class OnnxScorer:
    """Images [B, 3, R, R] in [-1, 1] -> one number each [B]."""

    run: Callable[[Any], Any]
    height: int
    width: int
    output: int
    pixels: Pixels
    one_by_one: bool

    def __call__(self, images: Tensor) -> Tensor:
        """The score of each image, where the images are."""
        size = (self.height, self.width)
        small = F.interpolate(images.float(), size, mode="bilinear", antialias=True)
        given = scaled(small.clamp(-1, 1), self.pixels).cpu()
        parts = given.split(1) if self.one_by_one else (given,)
        told = torch.cat([torch.from_numpy(self.run(part.numpy())) for part in parts])
        return told.reshape(len(images), -1)[:, self.output].float().to(images.device)


def scaled(images: Tensor, pixels: Pixels) -> Tensor:
    """[B, 3, H, W] in [-1, 1] -> the numbers that a classifier wants."""
    if pixels == "-1..1":
        return images
    if pixels == "0..255":
        return (images + 1) * 127.5
    unit = (images + 1) / 2
    if pixels == "0..1":
        return unit
    mean, deviation = (unit.new_tensor(v)[:, None, None] for v in (_MEAN, _DEVIATION))
    return (unit - mean) / deviation


def open_scorer(file: Path, output: int = 0, pixels: str = "-1..1") -> OnnxScorer:
    """The classifier in a file; its first input takes RGB images [B, 3, H, W].

    Args:
        file: ONNX.
        output: which number of its first output is the score.
        pixels: what it takes black and white for.

    Raises:
        MissingError: onnxruntime is not installed, or there is no such file.
        InputError: not a classifier of pictures.
        UsageError: an output it does not have, or unknown `pixels`.
    """
    if pixels not in get_args(Pixels):
        raise UsageError(f"--pixels {pixels!r}", ", ".join(get_args(Pixels)))
    if not file.is_file():
        raise MissingError(f"{file}: no such file")
    if output < 0:
        raise UsageError(f"{file}: no output {output}", "they are counted from 0")
    session = _session(file)
    takes, gives = session.get_inputs()[0], session.get_outputs()[0]
    batch, channels, height, width = takes.shape if len(takes.shape) == 4 else (None,) * 4
    if channels != 3 or takes.type != "tensor(float)":
        raise InputError(f"{file}: takes {takes.type} {takes.shape}, not images [B, 3, H, W]")
    scorer = OnnxScorer(
        run=lambda images: session.run([gives.name], {takes.name: images})[0],
        height=height if isinstance(height, int) else _ANY_SIDE,
        width=width if isinstance(width, int) else _ANY_SIDE,
        output=output,
        pixels=pixels,  # type: ignore[arg-type]
        one_by_one=isinstance(batch, int),
    )
    with torch.no_grad():
        try:
            scorer(torch.zeros(1, 3, scorer.height, scorer.width))
        except IndexError as error:
            raise UsageError(f"{file}: no output {output}", "they are counted from 0") from error
        except Exception as error:  # a foreign runtime
            raise InputError(f"{file}: does not run: {_line(error)}") from error
    return scorer


def _session(file: Path) -> Any:
    try:
        import onnxruntime
    except ImportError as error:
        raise MissingError("a scorer needs onnxruntime", "pip install dseinvert[onnx]") from error
    try:
        providers = ["CPUExecutionProvider"]
        return onnxruntime.InferenceSession(str(file), providers=providers)
    except Exception as error:  # a foreign decoder
        raise InputError(f"{file}: not a readable ONNX file: {_line(error)}") from error


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:200]
