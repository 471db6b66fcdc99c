"""A model repository for Triton Inference Server: one folder a graph, none of it made by hand."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dseinvert.media.atomic import write_bytes

FOLDER = "triton"
_TYPES = {"float32": "TYPE_FP32", "uint8": "TYPE_UINT8"}
_PLATFORMS = {
    "onnx": ('backend: "onnxruntime"', "model.onnx"),
    "openvino": ('backend: "openvino"', "model.xml"),
    "tensorrt": ('platform: "tensorrt_plan"', "model.plan"),
}


def write_triton(folder: Path, sidecar: Mapping[str, Any]) -> None:
    """FOLDER/triton/MODEL_GRAPH/{config.pbtxt,1/model.*} for each graph of an export."""
    platform, file = _PLATFORMS[sidecar["to"]]
    for graph, about in sidecar["files"].items():
        own = folder / FOLDER / name(sidecar["model"], graph)
        (own / "1").mkdir(parents=True)
        main = folder / Path(about["file"]).with_suffix(Path(file).suffix)
        beside = folder.glob(f"{main.stem}.*") if sidecar["to"] != "tensorrt" else [main]
        for source in beside:
            _linked(source, own / "1" / _renamed(source, main.name, file))
        text = config(own.name, platform, about, _most(sidecar["batch"]))
        write_bytes(own / "config.pbtxt", text.encode())


def name(model: str, graph: str) -> str:
    """What a graph is called in the repository: letters, digits and _."""
    return "".join(c if c.isalnum() else "_" for c in f"{model}_{graph}")


def config(own: str, platform: str, about: Mapping[str, Any], most: int) -> str:
    """config.pbtxt; Triton adds the batch to every shape, and gathers requests into one."""
    lines = [f'name: "{own}"', platform, f"max_batch_size: {most}"]
    for kind in ("inputs", "outputs"):
        lines.append(f"{kind.removesuffix('s')} [")
        lines.append(",\n".join(_tensor(*pair) for pair in about[kind].items()))
        lines.append("]")
    return "\n".join([*lines, "dynamic_batching { }", ""])


def _tensor(tensor: str, about: Mapping[str, Any]) -> str:
    dims = ", ".join(map(str, about["shape"][1:]))
    return f'  {{ name: "{tensor}" data_type: {_TYPES[about["type"]]} dims: [ {dims} ] }}'


def _most(batch: str) -> int:
    return int(batch.partition("..")[2] or batch)


def _renamed(source: Path, main: str, file: str) -> str:
    """The graph's own file is renamed; weights beside an ONNX file are found by their name."""
    if source.name == main:
        return file
    return Path(file).stem + source.suffix if source.suffix == ".bin" else source.name


def _linked(source: Path, target: Path) -> None:
    try:
        os.link(source, target)  # the same bytes need no second place on the disk
    except OSError:
        shutil.copy2(source, target)
