"""How fast each runtime encodes and draws, beside PyTorch and what the machine could."""

from __future__ import annotations

import argparse
import importlib.util
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from dseinvert.encoders.dse import DSEEncoder, published_config
from dseinvert.errors import MissingError
from dseinvert.export.exporting import write_graph
from dseinvert.export.graphs import Graph, graphs
from dseinvert.export.options import ExportOptions
from dseinvert.export.parity import compare
from dseinvert.export.runners import load
from dseinvert.export.runtimes import RUNTIMES, Threads
from dseinvert.generators.stylegan2 import StyleGAN2
from dseinvert.models import Model, open_model, pick_device
from measure import asked
from measure.asked import Verb
from measure.speed import peak_flops
from measure.synthesis import network
from measure.tables import Cell, Table, watched

BATCHES = (1, 8)
Way = Callable[[Mapping[str, Tensor]], Any]


@dataclass(frozen=True)
class Backend:
    """One way to run both networks."""

    name: str
    encoder: Way
    generator: Way
    psnr: float | None
    """The least of its images and of those drawn of its latents; None = PyTorch itself."""


def backends(given: argparse.Namespace) -> list[Table]:
    """A table for each model; torch first, all ways by turns."""
    device = pick_device(given.device)
    tables = []
    for name in given.model or ("default", "256"):
        model = _opened(name, device)
        with TemporaryDirectory() as folder:
            tables.append(_table(model, given, Path(folder)))
    return tables


def _opened(name: str, device: torch.device) -> Model:
    """A model, or, for a number, one of random weights and that resolution."""
    if not name.isdecimal():
        return open_model(name, device)
    torch.manual_seed(0)
    side = int(name)
    generator = network(side, 16384 if side <= 256 else 32768).to(device)
    _soften(generator)
    encoder = DSEEncoder(published_config(side)).eval().requires_grad_(False).to(device)
    about = f"StyleGAN2 and DSE of {side} px, random weights"
    return Model(about, Path(), generator, encoder, {}, "0" * 64, "1" * 64, "none", {})


@torch.no_grad()
def _soften(generator: StyleGAN2) -> None:
    """Scale random weights so that images deviate as photographs do: what PSNR refers to."""
    images = generator.synthesize(generator.sample(range(4)))
    for to_rgb in generator.synthesis.to_rgbs:
        to_rgb.conv.weight *= 0.5 / images.std()  # type: ignore[union-attr, operator]


def _table(model: Model, given: argparse.Namespace, folder: Path) -> Table:
    threads = torch.get_num_threads()
    both = _networks(model)
    ways = _ways(model, both, given, folder)
    measured, peak = [], 0.0
    for batch in given.batch or BATCHES:
        inputs = {name: _sized(graph, batch) for name, graph in both.items()}
        work = {name: _flops(both[name], inputs[name]) for name in both}
        times, reached = _times(ways, inputs, given.rounds)
        measured.append((batch, times, work))
        peak = max(peak, reached)
    rows = [_row(way, *one, peak) for one in measured for way in ways]
    note = (
        f"Medians of {given.rounds} rounds by turns, {threads} CPU threads, "
        f"{model.generator.device}; images a second. PSNR: the least of drawn images and of images "
        f"drawn of encoded latents, beside PyTorch's. fp32 matrix multiplication reaches "
        f"{peak / 1e9:,.0f} GFLOP/s here; integers may go beyond it."
    )
    return Table(f"Backends, {model.name}", rows, note)


def _networks(model: Model) -> dict[str, Graph]:
    """What `images` runs: the encoder, and the generator, with a feature if there is one."""
    every = {graph.name: graph for graph in graphs(model)}
    drawing = every.get("generator-feature", every["generator"])
    return {"encoder": every["encoder"], "generator": drawing}


def _ways(
    model: Model, both: Mapping[str, Graph], given: argparse.Namespace, folder: Path
) -> list[Backend]:
    """PyTorch, compiled PyTorch, and every runtime and precision that is there."""
    eager = Backend("torch", both["encoder"].run, both["generator"].run, None)
    found = [eager]
    if not given.without_compile:
        found.append(_compiled(both))
    wanted = [
        (name, precision)
        for name, precision in given.way or _present(model.generator.device)
        if importlib.util.find_spec(RUNTIMES[name].package)
    ]
    for name, precision in watched("exports", wanted):
        with suppress(MissingError):  # a precision that this processor has not
            found.append(_exported(model, both, name, precision, folder / f"{name}-{precision}"))
    return found


def _present(device: torch.device) -> list[tuple[str, str]]:
    if device.type == "cuda":
        return [("onnx", "fp32"), ("tensorrt", "fp32"), ("tensorrt", "fp16")]
    onnx, openvino = ("fp32", "int8"), ("fp32", "bf16", "int8")
    return [*(("onnx", one) for one in onnx), *(("openvino", one) for one in openvino)]


def _compiled(both: Mapping[str, Graph]) -> Backend:
    import torch._inductor.config as inductor

    inductor.freezing = True  # weights are constants: they are laid out as convolutions like them
    runs: dict[str, Way] = {}
    for name, graph in both.items():
        module = torch.compile(graph.module)

        def run(inputs: Mapping[str, Tensor], module: Any = module) -> Any:
            with torch.no_grad():
                return module(**inputs)

        runs[name] = run
    return Backend("torch.compile", runs["encoder"], runs["generator"], None)


def _exported(
    model: Model, both: Mapping[str, Graph], name: str, precision: str, folder: Path
) -> Backend:
    folder.mkdir()
    options = ExportOptions(to=name, precision=precision)
    threads = Threads(1, torch.get_num_threads())
    runs, psnr = {}, []
    for part, graph in both.items():
        file = write_graph(graph, model, options, folder)
        runs[part] = load(name, file, model.generator.device, threads, precision)
        differences = compare(graph, runs[part], model, None, [1, 3])
        psnr += [one.psnr for one in differences if one.psnr is not None]
    return Backend(f"{name} {precision}", runs["encoder"], runs["generator"], min(psnr))


def _times(
    ways: list[Backend], inputs: Mapping[str, dict[str, Tensor]], rounds: int
) -> tuple[dict[str, dict[str, float]], float]:
    """Median seconds of each way by network; all once before, unmeasured.

    And the operations a second of the best matrix product, which meets the same weather.
    """
    took: dict[str, dict[str, list[float]]] = {
        way.name: {"encoder": [], "generator": []} for way in ways
    }
    peak = 0.0
    for index in watched("rounds", range(rounds + 1)):
        peak = max(peak, peak_flops(next(iter(inputs["encoder"].values())).device, times=3))
        for way in ways:
            for name, run in (("encoder", way.encoder), ("generator", way.generator)):
                began = time.perf_counter()
                run(inputs[name])
                if next(iter(inputs[name].values())).is_cuda:
                    torch.cuda.synchronize()
                if index:
                    took[way.name][name].append(time.perf_counter() - began)
    found = {name: {part: median(each) for part, each in own.items()} for name, own in took.items()}
    return found, peak


def _row(
    way: Backend,
    batch: int,
    times: Mapping[str, Mapping[str, float]],
    work: Mapping[str, float],
    peak: float,
) -> dict[str, Cell]:
    own, first = times[way.name], times["torch"]
    both = sum(own.values())
    return {
        "backend": way.name,
        "batch": str(batch),
        "encoder": batch / own["encoder"],
        "generator": batch / own["generator"],
        "both": batch / both,
        "x torch": sum(first.values()) / both,
        "% of peak, encoder": 100 * work["encoder"] / own["encoder"] / peak,
        "% of peak, generator": 100 * work["generator"] / own["generator"] / peak,
        "% of peak, both": 100 * sum(work.values()) / both / peak,
        "PSNR, dB": way.psnr,
    }


def _flops(graph: Graph, inputs: Mapping[str, Tensor]) -> float:
    with FlopCounterMode(display=False) as counter:
        graph.run(inputs)
    return float(counter.get_total_flops())


def _sized(graph: Graph, batch: int) -> dict[str, Tensor]:
    return {name: one[torch.arange(batch) % len(one)] for name, one in graph.inputs.items()}


def options(parser: argparse.ArgumentParser) -> None:
    """What it can be told."""
    add = parser.add_argument
    add("--model", action="append", help="or a resolution, for random weights; repeated")
    add("--batch", type=int, action="append", help="default: 1 and 8")
    add("--rounds", type=int, default=5)
    add("--way", type=way, action="append", help="as onnx-fp32; default: all there are")
    add("--without-compile", action="store_true", help="leave out torch.compile")
    asked.out(parser)
    asked.device(parser)


def way(text: str) -> tuple[str, str]:
    """`onnx-int8` -> ("onnx", "int8")."""
    name, _, precision = text.partition("-")
    return name, precision


VERB = Verb("how fast each runtime encodes and draws, beside PyTorch", options, backends)
