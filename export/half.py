"""An ONNX model whose feature maps are in half precision; what goes in and out stays as it is.

Styles, statistics and what is divided by them stay in float32: their squares and small constants
leave the range of float16.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

MAPS = {
    *("Conv", "ConvTranspose", "Add", "Sub", "Mul", "LeakyRelu", "PRelu", "Relu", "Clip", "Pad"),
    *("AveragePool", "MaxPool", "Concat", "Resize", "DepthToSpace", "SpaceToDepth"),
}
"""Operators that are computed in half precision where they give a map, [B, C, H, W]."""


def halved(model: Any, precision: str) -> Any:
    """The same model in "fp16" or "bf16", with casts where the precision changes."""
    import onnx

    kind = onnx.TensorProto.FLOAT16 if precision == "fp16" else onnx.TensorProto.BFLOAT16
    model = onnx.shape_inference.infer_shapes(model, strict_mode=True)
    made = _Halving(model.graph, kind)
    for node in model.graph.node:
        made.add(node)
    del model.graph.node[:], model.graph.value_info[:]  # their types are no longer true
    model.graph.node.extend(made.nodes)
    used = {name for node in made.nodes for name in node.input}
    kept = [one for one in (*model.graph.initializer, *made.weights) if one.name in used]
    del model.graph.initializer[:]
    model.graph.initializer.extend(kept)
    return model


class _Halving:
    """Nodes one after the other, each fed with what it takes."""

    def __init__(self, graph: Any, kind: int) -> None:
        self.kind = kind
        self.shapes = {one.name: _shape(one) for one in _values(graph)}
        self.weights_of = {one.name: one for one in graph.initializer}
        self.results = {one.name for one in graph.output}
        self.nodes: list[Any] = []
        self.weights: list[Any] = []
        self.half: set[str] = set()
        self.cast: set[str] = set()

    def add(self, node: Any) -> None:
        """A node, its inputs cast to what it is computed in."""
        half = self._in_half(node)
        node.input[:] = [self._fed(name, half=half) for name in node.input]
        self.nodes.append(node)
        if half:
            self.half |= {name for name in node.output if name in self.shapes}

    def _in_half(self, node: Any) -> bool:
        if node.op_type not in MAPS or self.results.intersection(node.output):
            return False
        shape = self.shapes.get(node.output[0])
        return shape is not None and len(shape) == 4 and shape[2:] != (1, 1)

    def _fed(self, name: str, *, half: bool) -> str:
        """The name under which a value is there in the wanted precision."""
        number = name in self.shapes or self._is_float(name)
        if not number or (name in self.half) == half:
            return name
        fed = f"{name}.{'half' if half else 'single'}"
        if fed not in self.cast:
            self.cast.add(fed)
            self._convert(name, fed, half=half)
        return fed

    def _is_float(self, name: str) -> bool:
        weight = self.weights_of.get(name)
        return weight is not None and weight.data_type == 1

    def _convert(self, name: str, fed: str, *, half: bool) -> None:
        import onnx

        if name in self.weights_of:
            array = onnx.numpy_helper.to_array(self.weights_of[name]).astype(np.float32)
            dtype = onnx.helper.tensor_dtype_to_np_dtype(self.kind)
            self.weights.append(onnx.numpy_helper.from_array(array.astype(dtype), fed))
            return
        to = self.kind if half else onnx.TensorProto.FLOAT
        self.nodes.append(onnx.helper.make_node("Cast", [name], [fed], fed, to=to))


def _values(graph: Any) -> Iterable[Any]:
    """All float32 values that are no weights."""
    every = (*graph.input, *graph.value_info, *graph.output)
    return (one for one in every if one.type.tensor_type.elem_type == 1)


def _shape(value: Any) -> tuple[int, ...]:
    """0 where a size is free."""
    return tuple(dim.dim_value for dim in value.type.tensor_type.shape.dim)
