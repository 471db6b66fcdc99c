"""TensorRT engines: built from ONNX for one GPU, kept, and run on torch's own memory and stream.

Nothing here has run on a GPU of this project: what needs none (versions, profiles, keys, messages)
is tested, the rest is written against the API of TensorRT 10.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from dseinvert.errors import DeviceError, MissingError
from dseinvert.export.graphs import Graph
from dseinvert.export.to_onnx import Batch
from dseinvert.media.atomic import write_bytes
from dseinvert.models import home

OLDEST = (10, 3)
_INSTALL = "pip install -U 'dseinvert[tensorrt]'"
_TIMING = "timing.cache"
_GRAPHS = 4
"""CUDA graphs kept by a runner, one a batch size."""
READS = {
    *("Abs", "Add", "And", "AveragePool", "BatchNormalization", "Cast", "Ceil", "Clip"),
    *("Concat", "Constant", "ConstantOfShape", "Conv", "ConvTranspose", "Cos", "DepthToSpace"),
    *("Div", "Einsum", "Elu", "Equal", "Erf", "Exp", "Expand", "Flatten", "Floor", "Gather"),
    *(
        "GatherElements",
        "GatherND",
        "Gelu",
        "Gemm",
        "GlobalAveragePool",
        "Greater",
        "GreaterOrEqual",
    ),
    *("Identity", "InstanceNormalization", "LayerNormalization", "LeakyRelu", "Less"),
    *("LessOrEqual", "Log", "MatMul", "Max", "MaxPool", "Min", "Mod", "Mul", "Neg", "Not", "Or"),
    *("Pad", "Pow", "PRelu", "Range", "Reciprocal", "ReduceL2", "ReduceMax", "ReduceMean"),
    *("ReduceMin", "ReduceSum", "ReduceSumSquare", "Relu", "Reshape", "Resize", "Round"),
    *("Shape", "Sigmoid", "Sign", "Sin", "Slice", "Softmax", "Softplus", "SpaceToDepth"),
    *("Split", "Sqrt", "Squeeze", "Sub", "Sum", "Tanh", "Tile", "Transpose", "Unsqueeze"),
    *("Where", "Xor"),
}
"""Operators that TensorRT's parser reads, of those a network may hold (the documentation of
onnx-tensorrt 10: "Supported ONNX Operators")."""


@dataclass(frozen=True)
class Profile:
    """Shapes that an engine takes of one input: the least, the commonest and the most."""

    least: tuple[int, ...]
    common: tuple[int, ...]
    most: tuple[int, ...]


def profiles(graph: Graph, batch: Batch) -> dict[str, Profile]:
    """One for each input; kernels are chosen for the largest batch, where most time is spent."""
    shapes = {name: tuple(tensor.shape[1:]) for name, tensor in graph.inputs.items()}
    return {
        name: Profile((batch.least, *rest), (batch.most, *rest), (batch.most, *rest))
        for name, rest in shapes.items()
    }


def engine_key(onnx_bytes: bytes, gpu: str, capability: tuple[int, int], version: str) -> str:
    """Engines run on the GPU and the version that built them, and nowhere else."""
    parts = [gpu, f"{capability[0]}.{capability[1]}", version]
    return hashlib.sha256("\n".join(parts).encode() + b"\n" + onnx_bytes).hexdigest()[:32]


def check_version(version: str) -> None:
    """MissingError where TensorRT is older than what is written against."""
    numbers = tuple(int(part) for part in version.split(".")[:2] if part.isdecimal())
    if numbers < OLDEST:
        wanted = ".".join(map(str, OLDEST))
        raise MissingError(f"TensorRT {version} is too old: {wanted} or newer is needed", _INSTALL)


def check_operators(file: Path) -> None:
    """MissingError where a graph holds what TensorRT does not read, before a GPU is asked."""
    import onnx

    nodes = onnx.load(file, load_external_data=False).graph.node
    unread = sorted({node.op_type for node in nodes if node.domain or node.op_type not in READS})
    if unread:
        raise MissingError(f"{file.name}: TensorRT does not read {', '.join(unread)}", "--to onnx")


def _tensorrt() -> Any:
    try:
        import tensorrt
    except ImportError as error:
        raise MissingError("TensorRT is not installed", _INSTALL) from error
    check_version(tensorrt.__version__)
    return tensorrt


def engine_place(file: Path, device: torch.device) -> Path:
    """Where the engine of an ONNX file for this GPU is kept."""
    if device.type != "cuda":
        raise DeviceError("TensorRT needs an NVIDIA GPU", "--to onnx, or --device cuda")
    trt = _tensorrt()
    gpu, capability = (
        torch.cuda.get_device_name(device),
        torch.cuda.get_device_capability(device),
    )
    key = engine_key(file.read_bytes(), gpu, capability, trt.__version__)
    return home() / "engines" / f"{key}.plan"


def build(file: Path, graph: Graph, batch: Batch, device: torch.device) -> Path:
    """The engine of an ONNX file, built unless an earlier run did.

    Raises:
        DeviceError: no GPU, or the build failed there. MissingError: no or an old TensorRT.
    """
    place = engine_place(file, device)
    if place.is_file():
        return place
    check_operators(file)
    trt = _tensorrt()
    builder = trt.Builder(_logger(trt))
    network = _parsed(trt, builder, file)
    config = builder.create_builder_config()
    config.clear_flag(trt.BuilderFlag.TF32)  # it has the digits of float16
    profile = builder.create_optimization_profile()
    for name, shapes in profiles(graph, batch).items():
        profile.set_shape(name, shapes.least, shapes.common, shapes.most)
    config.add_optimization_profile(profile)
    timing = place.with_name(_TIMING)
    known = config.create_timing_cache(timing.read_bytes() if timing.is_file() else b"")
    config.set_timing_cache(known, ignore_mismatch=False)
    with torch.cuda.device(device):
        plan = builder.build_serialized_network(network, config)
    if plan is None:
        raise DeviceError(f"{file.name}: TensorRT {trt.__version__} could not build an engine")
    place.parent.mkdir(parents=True, exist_ok=True)
    write_bytes(timing, bytes(config.get_timing_cache().serialize()))
    write_bytes(place, bytes(plan))
    return place


def _parsed(trt: Any, builder: Any, file: Path) -> Any:
    """A strongly typed network: each layer in the precision that the ONNX file gives it."""
    flags = 0
    if hasattr(trt.NetworkDefinitionCreationFlag, "STRONGLY_TYPED"):
        flags = 1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED)
    network = builder.create_network(flags)
    parser = trt.OnnxParser(network, _logger(trt))
    if not parser.parse_from_file(str(file)):
        said = "; ".join(str(parser.get_error(i).desc()) for i in range(parser.num_errors))
        raise MissingError(f"{file.name}: TensorRT {trt.__version__} cannot read it: {said[:300]}")
    return network


def _logger(trt: Any) -> Any:
    return trt.Logger(trt.Logger.ERROR)


class TensorRTRunner:
    """An engine; inputs and outputs are torch's tensors on the GPU, nothing crosses the bus.

    The first call of a batch size runs as it is and the next is captured as a CUDA graph, which
    spares the launches.
    """

    def __init__(self, file: Path, device: torch.device) -> None:
        trt = _tensorrt()
        place = engine_place(file, device)
        if not place.is_file():
            raise MissingError(f"{file}: no engine for this GPU", "export it again on this machine")
        self.device = device
        self.lock = threading.Lock()
        self.engine = trt.Runtime(_logger(trt)).deserialize_cuda_engine(place.read_bytes())
        self.context = self.engine.create_execution_context()
        names = [self.engine.get_tensor_name(i) for i in range(self.engine.num_io_tensors)]
        inputs = trt.TensorIOMode.INPUT
        self.takes = [name for name in names if self.engine.get_tensor_mode(name) == inputs]
        self.gives = [name for name in names if name not in self.takes]
        kinds = {trt.uint8: torch.uint8, trt.float32: torch.float32}
        self.types = {name: kinds[self.engine.get_tensor_dtype(name)] for name in names}
        self.captured: dict[int, tuple[Any, dict[str, Tensor], dict[str, Tensor]]] = {}
        self.seen: set[int] = set()

    def __call__(self, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Tensors on the GPU -> tensors there."""
        batch = len(inputs[self.takes[0]])
        with self.lock, torch.cuda.device(self.device):
            if batch in self.captured:
                return self._replayed(batch, inputs)
            if batch in self.seen and len(self.captured) < _GRAPHS:
                self._capture(batch, inputs)
                return self._replayed(batch, inputs)
            self.seen.add(batch)
            held = self._held(inputs)
            made = self._bound(held)
            self._enqueue()
            # The engine reads them until its stream is done.
            for tensor in held.values():
                tensor.record_stream(torch.cuda.current_stream())
            return made

    def _held(self, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        return {name: inputs[name].to(self.device).contiguous() for name in self.takes}

    def _bound(self, held: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Addresses of the inputs and of fresh outputs are given to the engine."""
        for name, tensor in held.items():
            self.context.set_input_shape(name, tuple(tensor.shape))
            self.context.set_tensor_address(name, tensor.data_ptr())
        made = {}
        for name in self.gives:
            shape = tuple(self.context.get_tensor_shape(name))
            made[name] = torch.empty(shape, dtype=self.types[name], device=self.device)
            self.context.set_tensor_address(name, made[name].data_ptr())
        return made

    def _enqueue(self) -> None:
        if not self.context.execute_async_v3(torch.cuda.current_stream().cuda_stream):
            raise DeviceError("TensorRT failed while running an engine", "--backend torch")

    def _capture(self, batch: int, inputs: Mapping[str, Tensor]) -> None:
        held = {name: tensor.clone() for name, tensor in self._held(inputs).items()}
        made = self._bound(held)
        self._enqueue()  # what new shapes ask of an engine is not to be in the graph
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            self._enqueue()
        self.captured[batch] = (graph, held, made)

    def _replayed(self, batch: int, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        graph, held, made = self.captured[batch]
        for name, tensor in held.items():
            tensor.copy_(inputs[name])
        graph.replay()
        return {name: tensor.clone() for name, tensor in made.items()}
