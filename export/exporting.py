"""The `export` verb: graphs to files, each compared with PyTorch before any is given its name."""

from __future__ import annotations

import json
import secrets
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from dseinvert.errors import InputError, OutputError, UsageError
from dseinvert.export.faces import read_faces
from dseinvert.export.graphs import Graph, graphs
from dseinvert.export.options import ExportOptions
from dseinvert.export.parity import TOLERANCES, Difference, check, compare, report
from dseinvert.export.runners import load
from dseinvert.export.runtimes import RUNTIMES, Threads
from dseinvert.export.to_onnx import Batch, save, to_onnx
from dseinvert.media.atomic import PART_SUFFIX, replace_folder, restore_folder, write_bytes
from dseinvert.media.digest import file_sha256
from dseinvert.models import Model
from dseinvert.names import count, each, file_name, json_value, read_regular, table, text, word
from dseinvert.version import __version__

FORMAT = "dseinvert-export-1"
SIDECAR = "export.json"
_TOOLS = ("torch", "onnx", "onnxscript", "onnxruntime", "openvino", "tensorrt")
_DAY = 86_400
_OLD = "-old"  # behind the name of a part: what it replaces
Told = Callable[[str], None]
"""Called with each step's name."""


def silent(_: str) -> None:
    """Tells nobody."""


@dataclass(frozen=True)
class Exported:
    """A folder of files that compute what a model computes."""

    folder: Path
    sidecar: dict[str, Any]

    @property
    def names(self) -> list[str]:
        """Of its graphs."""
        return list(self.sidecar["files"])

    def summary(self) -> str:
        """One line for people."""
        least = min(
            one["psnr"] for one in self.sidecar["parity"]["differences"] if one["psnr"] is not None
        )
        told = f"{', '.join(self.names)} in {self.folder}"
        return f"{told}: images as those of PyTorch, {least:.0f} dB or closer"


def export_model(model: Model, options: ExportOptions, told: Told = silent) -> Exported:
    """Write a model's files, or nothing.

    Raises:
        UsageError: options that cannot be honoured, or a folder that holds something else.
        MissingError: a package is not installed.
        ParityError: a file that differs too much from PyTorch.
        OutputError: the folder cannot be written.
    """
    runtime, batch = RUNTIMES[options.to], Batch.parse(options.batch)
    runtime.check(options.precision)
    folder = options.out or Path("exports") / f"{model.name}-{options.to}"
    _refuse_other(folder)
    pictures = read_faces(options.images, model) if options.images else None
    edits = [name.strip() for name in options.edit.split(",") if name.strip()]
    made = graphs(model, options.what, pixels=options.pixels, layer=options.layer, edits=edits)
    with _replacing(folder) as part:
        found, files = [], {}
        for index, graph in enumerate(made, 1):
            told(f"{index} of {len(made)}: writing {graph.name}")
            file = write_graph(graph, model, options, part, pictures)
            told(f"{index} of {len(made)}: comparing {graph.name} with PyTorch")
            differences = _compared(graph, model, options, batch, pictures, file)
            check(differences, TOLERANCES[options.precision], options.precision)
            found += differences
            files[graph.name] = _described(graph, file)
        sidecar = _sidecar(model, options, batch, files, found)
        write_bytes(part / SIDECAR, (json.dumps(sidecar, indent=2) + "\n").encode())
        if options.triton:
            from dseinvert.export.triton import write_triton

            write_triton(part, sidecar)
    return Exported(folder, sidecar)


def read_export(folder: Path) -> Exported | None:
    """A folder that `export_model` wrote; None where it is none, or is damaged."""
    try:
        sidecar = json_value(read_regular(folder / SIDECAR))
        if sidecar["format"] != FORMAT:
            return None
        sums = [one.items() for one in table(sidecar["files"], word, _checked).values()]
        _check_run(sidecar)
        whole = all(file_sha256(folder / file) == told for own in sums for file, told in own)
    except (OSError, InputError, ValueError, KeyError, TypeError, AttributeError):
        return None
    return Exported(folder, sidecar) if whole else None


def _checked(about: Any) -> dict[str, str]:
    """The sums of a graph's files; ValueError where it is not described as `_described` does."""
    file_name(about["file"])
    for tensors in (about["inputs"], about["outputs"]):
        table(tensors, text, lambda one: (text(one["type"]), each(one["shape"][1:], count)))
    text(about["space"])
    if "layer" in about:
        int(about["layer"])
    if "truncation" in about:
        float(text(about["truncation"]))
    text(about.get("skip", "keep"))
    return table(about["sha256"], file_name, text)


def _check_run(sidecar: Mapping[str, Any]) -> None:
    """ValueError or KeyError where it does not say of what model it is, and who runs it."""
    for name in ("generator_sha256", "encoder_sha256", "precision"):
        text(sidecar[name])
    if sidecar["precision"] not in RUNTIMES[text(sidecar["to"])].precisions:
        raise ValueError("a precision that its runtime has not")


def write_graph(
    graph: Graph, model: Model, options: ExportOptions, part: Path, pictures: Tensor | None = None
) -> Path:
    """Write one graph into the folder `part`, unchecked: the file that the runtime reads.

    `pictures` [N, 3, R, R] are for calibration besides samples; None = samples only.
    """
    batch = Batch.parse(options.batch)
    plain = to_onnx(graph, batch, _metadata(model, options, batch))
    if options.precision == "int8":
        from dseinvert.export.int8 import quantised

        plain = quantised(plain, graph, model, pictures, options.to)
    elif options.precision != "fp32" and options.to != "openvino":
        from dseinvert.export.half import halved

        plain = halved(plain, options.precision)
    file = part / f"{graph.name}.onnx"
    save(plain, file)
    if options.to == "openvino":
        from dseinvert.export.with_openvino import save_ir

        save_ir(file, part / f"{graph.name}.xml")
        file.unlink()
        part.joinpath(f"{file.name}.data").unlink(missing_ok=True)
        return part / f"{graph.name}.xml"
    if options.to == "tensorrt":
        from dseinvert.export.with_tensorrt import build

        engine = build(file, graph, batch, model.generator.device)
        shutil.copy2(engine, file.with_suffix(".plan"))  # for those who run it without this program
    return file


def _compared(
    graph: Graph,
    model: Model,
    options: ExportOptions,
    batch: Batch,
    pictures: Tensor | None,
    file: Path,
) -> list[Difference]:
    device = model.generator.device
    runner = load(options.to, file, device, Threads(1, torch.get_num_threads()), options.precision)
    sizes = sorted({batch.least, min(3, batch.most)}) if batch.free else [batch.least]
    return compare(graph, runner, model, pictures, sizes)


def _metadata(model: Model, options: ExportOptions, batch: Batch) -> dict[str, str]:
    """What every file carries, besides what its graph says."""
    spec = model.generator.spec
    return {
        "format": FORMAT,
        "version": __version__,
        "model": model.name,
        "family": model.generator.family,
        "generator_sha256": model.sha256,
        "encoder_sha256": model.encoder_sha256,
        "resolution": str(model.generator.resolution),
        "layers": str(spec.layers),
        "dim": str(spec.dim),
        "classes": str(spec.classes),
        "alignment": model.alignment,
        "precision": options.precision,
        "batch": str(batch),
    }


def _sidecar(
    model: Model,
    options: ExportOptions,
    batch: Batch,
    files: dict[str, Any],
    found: Sequence[Difference],
) -> dict[str, Any]:
    return {
        **_metadata(model, options, batch),
        "to": options.to,
        "made": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "tools": {name: _version(name) for name in _TOOLS if _version(name)},
        "files": files,
        "parity": report(found, TOLERANCES[options.precision]),
    }


def _described(graph: Graph, file: Path) -> dict[str, Any]:
    """One file of the sidecar; "batch" stands for the first size of every tensor."""
    outputs = graph.run(graph.inputs)
    parts = sorted(file.parent.glob(f"{file.stem}.*"))  # weights may lie beside it
    return {
        "file": file.name,
        "bytes": sum(one.stat().st_size for one in parts),
        "sha256": {one.name: file_sha256(one) for one in parts},
        "inputs": {name: _shape(tensor) for name, tensor in graph.inputs.items()},
        "outputs": {name: _shape(tensor) for name, tensor in outputs.items()},
        **graph.about,
    }


def _shape(tensor: Tensor) -> dict[str, Any]:
    return {
        "type": str(tensor.dtype).removeprefix("torch."),
        "shape": ["batch", *tensor.shape[1:]],
    }


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""


def _refuse_other(folder: Path) -> None:
    """Only an earlier export is written over."""
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"--out {folder}: a file is in the way")
    if folder.is_dir() and any(folder.iterdir()) and not (folder / SIDECAR).is_file():
        raise UsageError(f"--out {folder}: holds other files", "name a new or an empty folder")


class _replacing:
    """A folder to write into, which becomes `folder` where all goes well, and is gone otherwise."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        # Two processes that export the same have a part each; the last to end is kept.
        self.part = folder.with_name(f".{folder.name}.{secrets.token_hex(4)}{PART_SUFFIX}")

    def __enter__(self) -> Path:
        try:
            for stale in self.folder.parent.glob(f".{self.folder.name}.*{PART_SUFFIX}"):
                if time.time() - stale.stat().st_mtime > _DAY:  # of a killed process
                    shutil.rmtree(stale, ignore_errors=True)
            for old in self.folder.parent.glob(f".{self.folder.name}.*{PART_SUFFIX}{_OLD}"):
                restore_folder(self.folder, old)
            self.part.mkdir(parents=True)
        except OSError as error:
            raise OutputError(f"{self.folder}: cannot write: {error.strerror}") from error
        return self.part

    def __exit__(self, kind: type[BaseException] | None, error: object, trace: object) -> None:
        try:
            if kind is None:
                aside = self.part.with_name(f"{self.part.name}{_OLD}")
                replace_folder(self.part, self.folder, aside)
        except OSError as failed:
            raise OutputError(f"{self.folder}: cannot write: {failed.strerror}") from failed
        finally:
            shutil.rmtree(self.part, ignore_errors=True)
