"""Which runtimes there are, what each needs and can do; light: the command line reads it."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass

from dseinvert.errors import MissingError, UsageError

WHAT = ("both", "encoder", "generator")
PRECISIONS = ("fp32", "fp16", "bf16", "int8")


@dataclass(frozen=True)
class Threads:
    """How a CPU is shared: calls at the same time, and threads of each."""

    calls: int = 1
    each: int = 1


@dataclass(frozen=True)
class Runtime:
    """A way to run exported files."""

    name: str
    package: str
    install: str
    suffix: str
    precisions: tuple[str, ...]
    devices: tuple[str, ...]

    @property
    def here(self) -> bool:
        """Whether its package is installed."""
        return importlib.util.find_spec(self.package) is not None

    def check(self, precision: str = "fp32") -> None:
        """Refuse what cannot be.

        Raises:
            MissingError: not installed. UsageError: a precision that it has not.
        """
        if precision not in self.precisions:
            known = ", ".join(self.precisions)
            raise UsageError(f"--precision {precision}: not for {self.name}", f"it has {known}")
        if not self.here:
            raise MissingError(f"{self.name} needs the package {self.package}", self.install)


RUNTIMES = {
    runtime.name: runtime
    for runtime in (
        Runtime(
            *("onnx", "onnxruntime", "pip install 'dseinvert[onnx]'", ".onnx"),
            precisions=("fp32", "fp16", "int8"),
            devices=("cpu", "cuda"),
        ),
        Runtime(
            *("openvino", "openvino", "pip install 'dseinvert[onnx,openvino]'", ".xml"),
            precisions=("fp32", "bf16", "int8"),
            devices=("cpu",),
        ),
        Runtime(
            *("tensorrt", "tensorrt", "pip install 'dseinvert[onnx,tensorrt]'", ".plan"),
            precisions=("fp32", "fp16", "bf16"),
            devices=("cuda",),
        ),
    )
}
