"""How much of the bare networks' speed is left when files are read, written and journalled."""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode
from torch.utils.mkldnn import to_mkldnn

from dseinvert.errors import DseInvertError
from dseinvert.generators.pixels import to_pixels
from dseinvert.media.images import encode_png
from dseinvert.models import Model
from dseinvert.run.flow.batchsize import auto_size
from measure import asked
from measure.asked import Verb
from measure.sets import inverting, opened, samples
from measure.tables import Cell, Table, watched

COUNT = 1000


def speed(given: argparse.Namespace) -> list[Table]:
    """The bare loop and the whole command by turns, so that both meet the same weather."""
    model = opened(given)
    images = samples(model, given.count or COUNT)
    batch = auto_size(model.generator.resolution, model.generator.device)
    bare, whole, start = [], [], []
    with TemporaryDirectory() as name:
        folder = Path(name)
        write_all(folder / "many", images)
        write_all(folder / "one", images[:1])
        for index in watched("rounds", range(given.rounds)):
            bare.append(looped(model, images, batch))
            whole.append(commanded(given, folder / "many", folder / f"many-{index}", batch))
            start.append(commanded(given, folder / "one", folder / f"one-{index}", batch))
    return [table(model, len(images), batch, *map(median, (bare, whole, start)))]


def write_all(folder: Path, images: Tensor) -> None:
    """One PNG an image."""
    folder.mkdir()
    for index, pixels in enumerate(to_pixels(images)):
        (folder / f"{index:05d}.png").write_bytes(encode_png(pixels))


def looped(model: Model, images: Tensor, batch: int) -> float:
    """Seconds of encoder and generator alone over all images."""
    inverter = inverting(model)
    began = time.perf_counter()
    for part in images.split(batch):
        inverter.invert(part).images.cpu()
    return time.perf_counter() - began


def commanded(given: argparse.Namespace, folder: Path, out: Path, batch: int) -> float:
    """Seconds of `dseinvert images` on a folder, from start to end."""
    words = [Path(sys.executable).with_name("dseinvert"), "images", folder, "--no-align", "-q"]
    words += ["--out", out, "--model", given.model, "--device", given.device, "--batch", batch]
    began = time.perf_counter()
    done = subprocess.run(list(map(str, words)), capture_output=True, text=True)
    if done.returncode:
        raise DseInvertError(f"dseinvert images ended with {done.returncode}: {done.stderr[-500:]}")
    return time.perf_counter() - began


def table(model: Model, count: int, batch: int, bare: float, whole: float, start: float) -> Table:
    """Images a second; `start` is the time of a single image."""
    peak, work = peak_flops(model.generator.device), image_flops(model)
    rates = {
        "encoder and generator alone": count / bare,
        "images, the whole process": count / whole,
        "images, once started": (count - 1) / (whole - start),
    }
    rows: list[dict[str, Cell]] = [
        {
            "what": what,
            "images/s": rate,
            "% of the bare networks": 100 * rate * bare / count,
            "% of the matrix peak": 100 * rate * work / peak,
        }
        for what, rate in rates.items()
    ]
    note = (
        f"Medians, by turns; {count} PNG files of {model.generator.resolution} px, batches of "
        f"{batch}, {torch.get_num_threads()} CPU threads, {model.generator.device}. Once started: "
        f"less the {start:.2f} s that one image takes. An image is {work / 1e9:.3g} GFLOP; "
        f"fp32 matrix multiplication reaches {peak / 1e9:,.0f} GFLOP/s here."
    )
    return Table(f"Speed of {model.name}", rows, note)


def peak_flops(device: torch.device, times: int = 9) -> float:
    """The fp32 operations a second of the best of some products of square matrices.

    Beside MKL's, that is oneDNN's, with one matrix laid out for it as a layer's weights are: on
    processors of AMD it is nearly twice as fast. Small products are over before somebody else's
    process interrupts them.
    """
    sides = (512, 1024, 2048) if device.type == "cpu" else (2048, 8192)
    return max(_product_flops(device, side, times) for side in sides)


@torch.inference_mode()
def _product_flops(device: torch.device, side: int, times: int) -> float:
    a = torch.randn(side, side, device=device)
    ways: list[Callable[[], Tensor]] = [lambda: a @ a]
    if device.type == "cpu" and torch.backends.mkldnn.is_available():
        layer, packed = to_mkldnn(torch.nn.Linear(side, side, bias=False).eval()), a.to_mkldnn()
        ways.append(lambda: layer(packed))
    seconds = []
    for way in ways * times:
        began = time.perf_counter()
        made = way()
        if made.is_cuda:
            made[0, 0].item()  # waits for it
        seconds.append(time.perf_counter() - began)
    return 2 * side**3 / min(seconds)


def image_flops(model: Model) -> float:
    """Operations of encoding and drawing one image; a multiplication and its addition are two."""
    side = model.generator.resolution
    image = torch.zeros(1, 3, side, side, device=model.generator.device)
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        model.generator.synthesize(inverting(model).encoder.encode(image))
    return float(counter.get_total_flops())


def options(parser: argparse.ArgumentParser) -> None:
    """What it can be told."""
    asked.faces(parser)
    parser.add_argument("--rounds", type=int, default=5)


VERB = Verb("`images` from end to end beside the bare networks", options, speed)
