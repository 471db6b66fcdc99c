"""`--device cuda` where there is none, told before PyTorch is loaded, which takes seconds."""

from __future__ import annotations

import ctypes
import importlib.util
import re
import sys
from pathlib import Path

from dseinvert.errors import DeviceError, UsageError
from dseinvert.export.runtimes import RUNTIMES
from dseinvert.written import DEVICE

_NO_CUDA = re.compile(r"^cuda\b.*= None$", re.M)
_HIP = re.compile(r"^hip\b.*= '", re.M)


def check_device(name: str) -> None:
    """UsageError for another word; DeviceError for a GPU that is not there, as `pick_device`."""
    DEVICE.read("--device", name)
    if not name.startswith("cuda"):
        return
    count = cuda_devices()
    if count is not None and int(name.partition(":")[2] or 0) >= count:
        raise DeviceError(f"--device {name}: {count} CUDA devices here", "--device cpu")


def check_backend(name: str, device: str) -> None:
    """UsageError for a device that it has not; MissingError where what runs it is not installed."""
    if name not in RUNTIMES:
        return
    runtime = RUNTIMES[name]
    kind = device.partition(":")[0]
    if kind != "auto" and kind not in runtime.devices:
        what = f"--backend {name} runs on {', '.join(runtime.devices)}, not on {kind}"
        raise UsageError(what, "name another --backend or --device")
    runtime.check(runtime.precisions[0])


def cuda_devices() -> int | None:
    """How many GPUs PyTorch is going to find; None = only it can tell."""
    built = _build()
    if _HIP.search(built):
        return None
    return 0 if _NO_CUDA.search(built) else driver_devices()


def _build() -> str:
    """How PyTorch was built, as a file of it says that need not be run; "" = it is not here."""
    found = importlib.util.find_spec("torch")
    path = Path(found.origin).with_name("version.py") if found and found.origin else None
    return path.read_text("utf-8") if path is not None and path.is_file() else ""


def driver_devices() -> int:
    """How many GPUs NVIDIA's driver lets this process see; 0 = none, or there is no driver."""
    try:
        driver = ctypes.CDLL("nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1")
        count = ctypes.c_int(0)
        good = driver.cuInit(0) == 0 and driver.cuDeviceGetCount(ctypes.byref(count)) == 0
    except (OSError, AttributeError):
        return 0
    return count.value if good else 0
