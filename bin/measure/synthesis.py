"""How fast StyleGAN2 draws, beside what the machine could."""

from __future__ import annotations

import argparse
import copy
import time
from collections.abc import Callable
from statistics import median

import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from dseinvert.generators.stylegan2 import StyleGAN2, StyleGAN2Config
from dseinvert.models import pick_device
from measure import asked
from measure.asked import Verb
from measure.speed import peak_flops
from measure.tables import Cell, Table, watched

BASES = (16384, 32768)
"""Channels times resolution, at most 512 channels: as published for 256 px, and config-f."""
BATCHES = (1, 8)


def synthesis(given: argparse.Namespace) -> list[Table]:
    """All ways by turns, so that they meet the same weather."""
    device = pick_device(given.device)
    peak = peak_flops(device)
    bases, batches = given.channel_base or BASES, given.batch or BATCHES
    work = [(base, batch) for base in bases for batch in batches]
    rows = []
    for base, batch in watched("networks", work):
        rows += measured(network(given.resolution, base).to(device), base, batch, given, peak)
    note = (
        f"Medians of {given.rounds} rounds by turns; random weights, fixed noise, w+ given; "
        f"{given.resolution} px, fp32, {torch.get_num_threads()} CPU threads, {device}. fp32 "
        f"matrix multiplication reaches {peak / 1e9:,.0f} GFLOP/s here."
    )
    return [Table("Speed of synthesis", rows, note)]


def network(resolution: int, base: int) -> StyleGAN2:
    """Random weights, widths as published."""
    widths = {4 << step: min(base // (4 << step), 512) for step in range(9)}
    channels = {res: width for res, width in widths.items() if res <= resolution}
    return StyleGAN2(StyleGAN2Config(resolution, channels)).eval().requires_grad_(False)


def measured(
    plain: StyleGAN2, base: int, batch: int, given: argparse.Namespace, peak: float
) -> list[dict[str, Cell]]:
    """A row for each way of drawing the same images."""
    last = copy.deepcopy(plain).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    rows = torch.randn(batch, plain.config.layers, plain.config.w_dim, device=plain.device)
    ways: dict[str, Callable[[], Tensor]] = {
        "plain inference": lambda: inferred(plain, rows),
        "plain inference, all weights channels-last": lambda: inferred(last, rows),
        "as in training": lambda: plain.synthesis(rows),
    }
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        plain.synthesis(rows)
    for way in ways.values():
        seconds(way)
    rounds = [[seconds(way) for way in ways.values()] for _ in range(given.rounds)]
    times = [median(each) for each in zip(*rounds, strict=True)]
    return [
        {
            "channel base": f"{base:,}",
            "batch": str(batch),
            "way": name,
            "ms/image": 1000 * took / batch,
            "images/s": batch / took,
            "% of the matrix peak": 100 * counter.get_total_flops() / took / peak,
        }
        for name, took in zip(ways, times, strict=True)
    ]


@torch.inference_mode()
def inferred(generator: StyleGAN2, rows: Tensor) -> Tensor:
    """[B, L, D] -> [B, 3, R, R]."""
    return generator.synthesis(rows)


def seconds(way: Callable[[], Tensor]) -> float:
    """Until the images are there."""
    began = time.perf_counter()
    way()[0, 0, 0, 0].item()  # waits for a GPU, too
    return time.perf_counter() - began


def options(parser: argparse.ArgumentParser) -> None:
    """What it can be told."""
    add = parser.add_argument
    add("--resolution", type=int, default=256)
    add("--channel-base", type=int, action="append", help="default: 16384 and 32768")
    add("--batch", type=int, action="append", help="default: 1 and 8")
    add("--rounds", type=int, default=5)
    asked.out(parser)
    asked.device(parser)


VERB = Verb("how fast StyleGAN2 draws, beside what the machine could", options, synthesis)
