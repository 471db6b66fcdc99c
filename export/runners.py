"""Who runs a file: one protocol in front of every runtime."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor

from dseinvert.export.runtimes import RUNTIMES, Threads


class Runner(Protocol):
    """One file, loaded; may be called from several threads."""

    def __call__(self, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Tensors by name, on the runner's device, to tensors by name."""


def load(
    name: str, file: Path, device: torch.device, threads: Threads, precision: str = "fp32"
) -> Runner:
    """The runner of a file that `export` wrote.

    Raises:
        MissingError: its package is not installed, or is of another version than the file needs.
    """
    RUNTIMES[name].check(precision)
    if name == "onnx":
        from dseinvert.export.with_onnxruntime import OnnxRunner

        return OnnxRunner(file, device, threads)
    if name == "openvino":
        from dseinvert.export.with_openvino import OpenVinoRunner

        return OpenVinoRunner(file, threads, precision)
    from dseinvert.export.with_tensorrt import TensorRTRunner

    return TensorRTRunner(file, device)
