"""From a graph to an ONNX file, by the exporter that torch.export feeds."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from dseinvert.errors import MissingError, UsageError
from dseinvert.export.graphs import Graph

OPSET = 20
LARGEST = 2_000_000_000  # bytes of one protobuf message; the weights of larger models lie beside
_BYTE = 2  # onnx.TensorProto.UINT8
_INSTALL = "pip install 'dseinvert[onnx]'"


@dataclass(frozen=True)
class Batch:
    """The batch sizes that a file takes; the same twice = that one only, which runs faster."""

    least: int = 1
    most: int = 8

    @property
    def free(self) -> bool:
        """Whether there is more than one."""
        return self.least < self.most

    @classmethod
    def parse(cls, text: str) -> Batch:
        """`1..8`, or `4`.

        Raises:
            UsageError: neither.
        """
        first, _, last = text.partition("..")
        numbers = [int(part) if part.isdecimal() else 0 for part in (first, last or first)]
        if not 1 <= numbers[0] <= numbers[1] <= 1024:
            raise UsageError(f"--batch {text!r}", "a range as 1..8, or one number; up to 1024")
        return cls(*numbers)

    def __str__(self) -> str:
        return f"{self.least}..{self.most}" if self.free else str(self.least)


@torch.no_grad()
def to_onnx(graph: Graph, batch: Batch, about: Mapping[str, str]) -> Any:
    """An onnx.ModelProto, simplified and checked, with `about` as its metadata.

    Raises:
        MissingError: the packages that write ONNX are not installed.
    """
    onnx = _packages()
    sized = {name: _sized(tensor, batch) for name, tensor in graph.inputs.items()}
    free = {0: torch.export.Dim("batch", min=1)} if batch.free else {}
    with warnings.catch_warnings(), _calm():
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            graph.module,
            kwargs=sized,
            dynamo=True,
            input_names=list(sized),
            output_names=list(graph.outputs),
            dynamic_shapes=dict.fromkeys(sized, free) if free else None,
            opset_version=OPSET,
            optimize=True,
            verbose=False,
        )
    assert program is not None
    made = program.model_proto
    del made.metadata_props[:]
    for name, value in {**graph.about, **about}.items():
        made.metadata_props.add(key=f"dseinvert.{name}", value=value)
    made.producer_name = "dseinvert"
    _anonymous(made)
    _only_cast(made)
    if made.ByteSize() < LARGEST:  # the checker takes larger ones from files only
        onnx.checker.check_model(made, full_check=True)
    return made


def save(model: Any, file: Path) -> None:
    """Write one file; of 2 GB and more, the weights lie beside it in `.data`."""
    onnx = _packages()
    large = model.ByteSize() >= LARGEST
    onnx.save_model(model, file, save_as_external_data=large, location=f"{file.name}.data")


def _sized(tensor: torch.Tensor, batch: Batch) -> torch.Tensor:
    """The example at the batch that is exported; a free one must not be exported from one."""
    count = max(2, batch.least) if batch.free else batch.least
    return tensor[torch.arange(count) % len(tensor)]


def _anonymous(model: Any) -> None:
    """Nothing about the machine it was made on: the exporter writes stack traces."""
    for node in model.graph.node:
        del node.metadata_props[:]
        node.doc_string = ""
    for value in (*model.graph.value_info, *model.graph.input, *model.graph.output):
        del value.metadata_props[:]
    for tensor in model.graph.initializer:
        del tensor.metadata_props[:]
    del model.graph.metadata_props[:]


def _only_cast(model: Any) -> None:
    """Nothing but a cast reads bytes: TensorRT has them as inputs and outputs alone."""
    nodes = model.graph.node
    for given in model.graph.input:
        readers = [node for node in nodes if given.name in node.input]
        casts = [node for node in readers if node.op_type == "Cast"]
        if given.type.tensor_type.elem_type != _BYTE or not casts:
            continue
        for node in readers:
            if node.op_type != "Cast":  # it asks for the shape
                node.input[:] = [casts[0].output[0] if n == given.name else n for n in node.input]
        first = type(casts[0])()
        first.CopyFrom(casts[0])
        nodes.remove(casts[0])
        nodes.insert(0, first)


def _packages() -> Any:
    try:
        import onnx
        import onnxscript  # noqa: F401 - what the exporter is built on
    except ImportError as error:
        raise MissingError(f"writing ONNX needs {error.name}", _INSTALL) from error
    return onnx


class _calm:
    """The exporter's warnings are for developers."""

    def __enter__(self) -> None:
        self.loggers = [logging.getLogger(name) for name in ("torch.onnx", "onnxscript", "onnx_ir")]
        self.levels = [logger.level for logger in self.loggers]
        for logger in self.loggers:
            logger.setLevel(logging.ERROR)

    def __exit__(self, *_: object) -> None:
        for logger, level in zip(self.loggers, self.levels, strict=True):
            logger.setLevel(level)
