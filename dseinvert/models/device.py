"""The device that `--device` names."""

from __future__ import annotations

import torch

from dseinvert.errors import DeviceError
from dseinvert.written import DEVICE


def pick_device(name: str) -> torch.device:
    """`auto`, `cpu`, `cuda` or `cuda:N` -> a device that is there.

    Raises:
        UsageError: another word. DeviceError: a GPU that is not there.
    """
    DEVICE.read("--device", name)
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    device = torch.device(name)
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise DeviceError(
            f"--device {name}: {torch.cuda.device_count()} CUDA devices here", "--device cpu"
        )
    return device
