"""Convolutions in 8-bit integers: weights per channel, activations calibrated on real samples.

What follows a sum over the image stays in float32: the styles, the statistics, the last layer.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from dseinvert.export.graphs import Graph
from dseinvert.export.parity import strengths_of
from dseinvert.generators.pixels import to_bytes
from dseinvert.models import Model

SAMPLES = 32
"""Latents, or images, that ranges are measured on."""
BATCH = 4
SEEDS = range(700_000, 700_000 + SAMPLES)


def quantised(
    model: Any, graph: Graph, owner: Model, pictures: Tensor | None, runtime: str = "onnx"
) -> Any:
    """The same model with quantise-dequantise pairs around its convolutions.

    Transposed ones stay as they are: neither runtime has them in integers. What a convolution
    gives is only rounded for ONNX Runtime, whose integer kernel must give integers; OpenVINO's
    does not, and is both faster and nearer without.
    """
    free = [] if runtime == "onnx" else ["Conv"]
    import onnx
    from onnxruntime import quantization
    from onnxruntime.quantization.shape_inference import quant_pre_process

    kept = {entry.key: entry.value for entry in model.metadata_props}
    with tempfile.TemporaryDirectory() as name:
        plain, ready, small = (Path(name) / f"{stem}.onnx" for stem in ("plain", "ready", "small"))
        onnx.save(model, plain)
        quant_pre_process(plain, ready, skip_symbolic_shape=True)
        quantization.quantize_static(
            ready,
            small,
            _Reader(graph, owner, pictures),
            quant_format=quantization.QuantFormat.QDQ,
            op_types_to_quantize=["Conv"],
            nodes_to_exclude=_kept(onnx.load(ready)),
            per_channel=True,
            activation_type=quantization.QuantType.QUInt8,
            weight_type=quantization.QuantType.QInt8,
            calibrate_method=quantization.CalibrationMethod.MinMax,
            extra_options={
                "CalibMovingAverage": False,
                "ActivationSymmetric": False,
                "OpTypesToExcludeOutputQuantization": free,
            },
        )
        made = onnx.load(small)
    del made.metadata_props[:]
    for key, value in kept.items():
        made.metadata_props.add(key=key, value=value)
    return made


def _kept(model: Any) -> list[str]:
    """Convolutions that stay: depthwise filters, and those from or to the three colours."""
    sizes = {one.name: tuple(one.dims) for one in model.graph.initializer}
    kept = []
    for node in model.graph.node:
        if node.op_type != "Conv":
            continue
        groups = next((a.i for a in node.attribute if a.name == "group"), 1)
        shape = sizes.get(node.input[1], (0, 0))
        if groups > 1 or 3 in shape[:2]:
            kept.append(node.name)
    return kept


class _Reader:
    """Calibration inputs, a batch at a time, as ONNX Runtime asks for them."""

    def __init__(self, graph: Graph, owner: Model, pictures: Tensor | None) -> None:
        self.batches = _batches(graph, owner, pictures)

    def get_next(self) -> dict[str, np.ndarray] | None:
        return next(self.batches, None)

    def rewind(self) -> None:
        raise NotImplementedError

    def set_range(self, start_index: int, end_index: int) -> None:
        raise NotImplementedError


@torch.no_grad()
def _batches(graph: Graph, owner: Model, pictures: Tensor | None) -> Iterator[dict[str, Any]]:
    for start in range(0, SAMPLES, BATCH):
        yield _arrays(_sampled(graph, owner, SEEDS[start : start + BATCH]))
    if graph.name == "encoder" and pictures is not None:
        labels = _sampled(graph, owner, SEEDS[:1])
        for picture in pictures:
            yield _arrays({**labels, "images": _as_asked(picture[None], graph)})


def _sampled(graph: Graph, owner: Model, seeds: range) -> dict[str, Tensor]:
    generator = owner.generator
    sample = generator.sample(seeds, psi=float(graph.about.get("truncation", 1)))
    found = {name: one for name, one in sample.tensors().items() if name in graph.inputs}
    if "images" in graph.inputs:
        found["images"] = _as_asked(generator.synthesize(sample).clamp(-1, 1), graph)
    if "strengths" in graph.inputs:
        found["strengths"] = strengths_of(graph, len(seeds), seeds[0])
    if "feature" in graph.inputs:
        found["feature"] = generator.features(sample, int(graph.about["layer"]))
    return found


def _as_asked(images: Tensor, graph: Graph) -> Tensor:
    if graph.inputs["images"].dtype == torch.float32:
        return images
    return to_bytes(images)


def _arrays(tensors: dict[str, Tensor]) -> dict[str, Any]:
    return {name: np.ascontiguousarray(one.cpu().numpy()) for name, one in tensors.items()}
