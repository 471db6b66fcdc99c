"""How far exported files are from PyTorch, for every generator family and kind of encoder."""

from __future__ import annotations

import argparse
import importlib.util
from pathlib import Path
from tempfile import TemporaryDirectory
from types import ModuleType

from dseinvert.encoders.kinds import CHANGE_WEIGHTS
from dseinvert.export.exporting import write_graph
from dseinvert.export.graphs import Graph, graphs
from dseinvert.export.options import ExportOptions
from dseinvert.export.parity import Difference, compare
from dseinvert.export.runners import load
from dseinvert.export.runtimes import RUNTIMES, Threads
from dseinvert.models import Model
from measure import asked
from measure.asked import Verb
from measure.tables import Cell, Table, watched

MODELS = Path(__file__).parents[2] / "tests" / "export" / "models_of_every_kind.py"


def parity(given: argparse.Namespace) -> list[Table]:
    """A table for each runtime that is installed and runs on a CPU."""
    here = [one.name for one in RUNTIMES.values() if one.here and "cpu" in one.devices]
    models = _models()
    rows: dict[str, list[dict[str, Cell]]] = {name: [] for name in here}
    for name in watched("models", given.model or [*models.MODELS]):
        model = models.model_of(name)
        for graph in graphs(model, _what(model)):
            for runtime in here:
                rows[runtime].append(_row(name, graph, _compared(model, graph, runtime)))
    note = (
        "Small models of random weights, fp32, batches of 1 and 3. Difference: the largest of any "
        "output; of an encoder, also of what PyTorch draws of its latents."
    )
    return [Table(f"Parity with PyTorch, {name}", rows[name], note) for name in here]


def _what(model: Model) -> str:
    """All that can be exported of it."""
    encoder = model.encoder
    return "generator" if encoder is None or encoder.kind in CHANGE_WEIGHTS else "both"


def _models() -> ModuleType:
    spec = importlib.util.spec_from_file_location(MODELS.stem, MODELS)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _compared(model: Model, graph: Graph, runtime: str) -> list[Difference]:
    with TemporaryDirectory() as folder:
        file = write_graph(graph, model, ExportOptions(to=runtime), Path(folder))
        runner = load(runtime, file, model.generator.device, Threads())
        return compare(graph, runner, model, None, [1, 3])


def _row(name: str, graph: Graph, found: list[Difference]) -> dict[str, Cell]:
    psnr = [one.psnr for one in found if one.psnr is not None]
    return {
        "family, encoder": name,
        "graph": graph.name,
        "difference": f"{max(one.largest for one in found):.1e}",
        "of": max(one.scale for one in found),
        "PSNR, dB": min(psnr) if psnr else None,
    }


def options(parser: argparse.ArgumentParser) -> None:
    """What it can be told."""
    parser.add_argument("--model", action="append", help="one of the table; default: all")
    asked.out(parser)


VERB = Verb("how far exported files are from PyTorch", options, parity)
