"""Running exported files by OpenVINO on a CPU, and turning ONNX into its own format."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import openvino
import torch
from torch import Tensor

from dseinvert.errors import MissingError
from dseinvert.export.runtimes import Threads

SIZES = 2
"""Batch sizes compiled at a time; a run has one, and each holds its own copy of the weights."""


class OpenVinoRunner:
    """One file, compiled for this CPU and for each batch size that it meets.

    With the size known, layers are fused and memory is planned: a StyleGAN2 of 256 px is half as
    fast again. Each thread that calls has a request of its own.
    """

    def __init__(self, file: Path, threads: Threads, precision: str) -> None:
        self.core = openvino.Core()
        known = self.core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
        if precision == "bf16" and "BF16" not in known:
            raise MissingError("this CPU has no bfloat16", "--precision fp32")
        # What of an int8 file is not in integers is nearer than they are in bfloat16, too.
        half = precision in ("bf16", "int8") and "BF16" in known
        self.settings = {
            "INFERENCE_PRECISION_HINT": "bf16" if half else "f32",
            "NUM_STREAMS": threads.calls,
            "INFERENCE_NUM_THREADS": threads.calls * threads.each,
            "ENABLE_CPU_PINNING": False,  # readers and writers want the cores, too
        }
        self.file = file
        model = self._read()
        self.takes = [port.get_any_name() for port in model.inputs]
        self.gives = [port.get_any_name() for port in model.outputs]
        self.compiled: dict[int, Any] = {}
        self.lock = threading.Lock()
        self.own = threading.local()

    def __call__(self, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Tensors on the CPU -> tensors there."""
        given = {name: inputs[name].contiguous().numpy() for name in self.takes}
        made = self._request(len(inputs[self.takes[0]])).infer(given, share_inputs=True)
        # The request writes over its outputs the next time.
        return {name: torch.from_numpy(made[i].copy()) for i, name in enumerate(self.gives)}

    def _request(self, batch: int) -> Any:
        """This thread's, for that batch size."""
        requests = self.own.__dict__.setdefault("requests", {})
        with self.lock:
            if batch not in self.compiled:
                while len(self.compiled) >= SIZES:
                    self.compiled.pop(next(iter(self.compiled)))
                self.compiled[batch] = self._compile(batch)
            compiled = self.compiled[batch]
        if requests.get(batch, (None,))[0] is not compiled:
            requests.clear()  # those of models that were given up
            requests[batch] = (compiled, compiled.create_infer_request())
        return requests[batch][1]

    def _compile(self, batch: int) -> Any:
        model = self._read()
        shapes = {port: port.get_partial_shape() for port in model.inputs}
        if any(shape[0].is_dynamic for shape in shapes.values()):
            model.reshape({port: [batch, *list(shape)[1:]] for port, shape in shapes.items()})
        return self.core.compile_model(model, "CPU", self.settings)

    def _read(self) -> Any:
        try:
            return self.core.read_model(self.file)
        except RuntimeError as error:
            said = " ".join(str(error).split())[:200]
            raise MissingError(
                f"{self.file}: OpenVINO {openvino.__version__} refuses it: {said}",
                "export it again",
            ) from error


def save_ir(onnx_file: Path, file: Path) -> None:
    """ONNX -> OpenVINO's `.xml` with a `.bin` beside it, weights as they are."""
    import onnx

    model = openvino.convert_model(onnx_file)
    for entry in onnx.load(onnx_file, load_external_data=False).metadata_props:
        model.set_rt_info(entry.value, ["dseinvert", entry.key.removeprefix("dseinvert.")])
    openvino.save_model(model, file, compress_to_fp16=False)


def metadata(file: Path) -> dict[str, str]:
    """What the exporter wrote into a file."""
    info: Any = openvino.Core().read_model(file).get_rt_info()
    return {name: str(value.value) for name, value in info["dseinvert"].value.items()}
