"""Running ONNX files by ONNX Runtime, on a CPU or through its CUDA provider."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import torch
from torch import Tensor
from torch.utils.dlpack import from_dlpack

from dseinvert.errors import MissingError
from dseinvert.export.runtimes import Threads


class OnnxRunner:
    """One ONNX file in a session of its own."""

    def __init__(self, file: Path, device: torch.device, threads: Threads) -> None:
        self.device = device
        self.session = _session(file, device, threads)
        self.takes = {one.name: one.type for one in self.session.get_inputs()}
        self.gives = {one.name: one.type for one in self.session.get_outputs()}

    def __call__(self, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Tensors on the session's device -> tensors there."""
        if self.device.type == "cuda":
            return self._bound(inputs)
        given = {name: inputs[name].contiguous().numpy() for name in self.takes}
        made = self.session.run(None, given)
        return {name: torch.from_numpy(array) for name, array in zip(self.gives, made, strict=True)}

    def _bound(self, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Read and written where they lie on the device, so that nothing crosses the bus."""
        binding, index = self.session.io_binding(), self.device.index or 0
        held = {name: inputs[name].contiguous() for name in self.takes}
        for name, tensor in held.items():
            kind = np.uint8 if tensor.dtype == torch.uint8 else np.float32
            binding.bind_input(name, "cuda", index, kind, tuple(tensor.shape), tensor.data_ptr())
        for name in self.gives:
            binding.bind_output(name, "cuda", index)
        torch.cuda.current_stream(self.device).synchronize()  # the session has its own stream
        self.session.run_with_iobinding(binding)
        binding.synchronize_outputs()
        return {
            name: from_dlpack(value._ortvalue.to_dlpack())  # shares its memory
            for name, value in zip(self.gives, binding.get_outputs(), strict=True)
        }


def _session(file: Path, device: torch.device, threads: Threads) -> Any:
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
    options.intra_op_num_threads = threads.each
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    # Readers and writers need the cores while the session waits.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    try:
        return onnxruntime.InferenceSession(file, options, providers=_providers(device))
    except Exception as error:  # a foreign decoder: its exceptions have no common type
        said = " ".join(str(error).split())[:200]
        raise MissingError(
            f"{file}: ONNX Runtime {onnxruntime.__version__} refuses it: {said}", "export it again"
        ) from error


def _providers(device: torch.device) -> list[Any]:
    if device.type == "cpu":
        return ["CPUExecutionProvider"]
    if "CUDAExecutionProvider" not in onnxruntime.get_available_providers():
        raise MissingError(
            "this ONNX Runtime has no CUDA provider", "pip install onnxruntime-gpu, or --device cpu"
        )
    own = {"device_id": device.index or 0, "cudnn_conv_algo_search": "EXHAUSTIVE"}
    own["use_tf32"] = 0  # it has the digits of float16
    return [("CUDAExecutionProvider", own), "CPUExecutionProvider"]
