"""Readers of what runs leave for each other: notes, journals, checkpoints, and files of options."""

from __future__ import annotations

import json
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from torch import nn

from dseinvert.cli.told_by_file import read_config, weights_in
from dseinvert.editing.script import read_script
from dseinvert.errors import InputError
from dseinvert.media import stores
from dseinvert.media.colour import Colours
from dseinvert.media.encoding import Encoding
from dseinvert.media.rows import write_rows
from dseinvert.media.segments import Segments, read_segment, segment_times
from dseinvert.run.spread import shelf
from dseinvert.run.spread.ledger import Line, dumps, read_ledgers
from dseinvert.run.spread.report import report
from dseinvert.run.spread.status import status
from dseinvert.run.video.cast import Sighting, Somebody, load_people, save_people
from dseinvert.run.video.steady import Steady
from dseinvert.training import checkpoints
from tests.fuzz import mutators
from tests.fuzz.reader import Reader


def of_runs(place: Path) -> dict[str, Reader]:
    """By name; `place` is a folder that is not there yet."""
    place.mkdir()
    return {**_of_shares(place), **_of_clips(place), **_of_training(place), **_of_options()}


def _some(what: Any) -> None:
    if not what:
        raise InputError("nothing that we wrote, or damaged")


def _of_shares(place: Path) -> dict[str, Reader]:
    out = place / "shares"
    out.mkdir()
    lines = dumps(Line("a", "/p/a", "key", "done", files={"a.png": "ab"}))
    lines += dumps(Line("b", "/p/b", "key", "failed", "no face"))
    facts = {"version": "1", "at": 1.5, "pid": 3, "verb": "edit", "settings": {}, "total": 3}
    notes: list[Any] = [
        *({"run": {**facts, "earlier": 0}}, {"begun": "a"}, {"begun": "b", "alone": True}),
        *({"done": "a", "as": "done"}, {"end": True}),
    ]
    noted = b"".join(json.dumps(note).encode() + b"\n" for note in notes)
    noted += b"Fatal Python error: Segmentation fault\n"
    told = {"run": facts, "counts": {"done": 2, "failed": 1}, "ended": False, "last": 2.5}

    def of_notes(path: Path) -> None:
        (out / "journal-1-of-2.jsonl").write_bytes(lines)
        path.replace(out / ".journal-1-of-2.notes")
        for one in status(out):
            one.lines(), json.dumps(one.asdict())
        _some(status(out)[0].rows[0].left)

    def of_ledgers(path: Path) -> None:
        folder = place / "ledgers"
        folder.mkdir(exist_ok=True)
        path.replace(folder / "journal.jsonl")
        _some(read_ledgers(folder))
        for one in report(folder):
            one.summary(), json.dumps(one.asdict())
        for other in status(folder):
            other.lines()

    def of_store(path: Path) -> None:
        if not path.is_file():  # a store has no pipes
            raise InputError("no object")
        stores.put("memory://fuzz/a.run", path.read_bytes())
        _some(shelf._told("memory://fuzz/a.run"))

    return {
        "notes": Reader("n.notes", mutators.JSON, [noted], of_notes),
        "ledger": Reader("journal.jsonl", mutators.JSON, [lines], of_ledgers),
        "told in a store": Reader("a.run", mutators.JSON, [json.dumps(told).encode()], of_store),
    }


def _of_clips(place: Path) -> dict[str, Reader]:
    people = place / "a.people.json"
    points = np.arange(10.0).reshape(5, 2)
    vector = np.ones(4, np.float32) / 2
    seen = (Sighting(0.5, points), Sighting(1.0, points))
    save_people(people, [Somebody(1, seen, vector), Somebody(2, seen)], "s", "n")
    settings = Encoding(
        *("h264", 64, 64, "yuv420p", Fraction(1, 25), Fraction(25), Fraction(1)),
        *(Colours(1, 1), 23.0, None),
    )
    with Segments(place / "segments", settings, 2) as segments:
        for k in range(2):
            segments.write(np.full((64, 64, 3), 99 * k, np.uint8), k)
    (segment,) = (place / "segments").glob("0*")
    kept = place / "steady"
    steady = {"0.time": np.ones(1), "0.crop": np.zeros((4, 4, 3), np.uint8)}
    steady["0.change"] = np.zeros((4, 4, 3), np.float32)
    kept.mkdir()
    write_rows(kept / "00000002.safetensors", steady)

    def steadied(path: Path) -> None:
        path.replace(kept / "00000002.safetensors")
        state = Steady(1.0, {"a": kept}, 2)
        state.resume(2)
        _some(state._live)

    def packets(path: Path) -> None:
        _some(segment_times(path, settings))
        _some([*read_segment(path, settings)])

    return {
        "people": Reader(
            "a.people.json",
            mutators.JSON,
            [people.read_bytes()],
            lambda path: _some(load_people(path, "s", "n")),
        ),
        "segment": Reader("0.seg", mutators.PLAIN, [segment.read_bytes()], packets),
        "steadied": Reader(
            "s.st",
            mutators.SAFETENSORS,
            [(kept / "00000002.safetensors").read_bytes()],
            steadied,
        ),
    }


def _of_training(place: Path) -> dict[str, Reader]:
    folder, run = place / "training", {"method": "dse", "steps": 3}
    folder.mkdir()

    def fresh() -> checkpoints.State:
        network = nn.Linear(2, 3)
        optimiser = torch.optim.Adam(network.parameters())
        network(torch.ones(1, 2)).sum().backward()
        optimiser.step()
        return checkpoints.State(network, nn.Linear(2, 3), optimiser, 1, {"loss": 0.5})

    checkpoints.save_checkpoint(folder, fresh(), run)
    data = (folder / checkpoints.FILE).read_bytes()
    state = fresh()

    def resumed(path: Path) -> None:
        path.replace(folder / checkpoints.FILE)
        checkpoints.resume(folder, state, run)

    return {"checkpoint": Reader("c.pt", mutators.PICKLE, [data], resumed)}


_OPTIONS = b"""gan = "default"
out = "run"
steps = 20
rate = 1e-4
weight = ["latent=1", "mse=0.5"]
real = ["a.tar", "b"]
[weights]
epsilon = 1.5
mse = 2
"""
_SCRIPT = b"""[[edit]]
edit = "age@0-4"
keys = [[0.5, 0], ["0:01.5", 2]]
ease = "linear"
person = "left"

[[edit]]
edit = "smile=+2"
"""


def _of_options() -> dict[str, Reader]:
    names = {"gan": False, "out": False, "steps": False, "rate": False, "real": True}
    params = [
        SimpleNamespace(name=n, multiple=many) for n, many in {**names, "weight": True}.items()
    ]
    context: Any = SimpleNamespace(
        command=SimpleNamespace(params=params), resilient_parsing=False, default_map=None
    )

    def options(path: Path) -> None:
        read_config(context, path)
        weights_in(path)

    readers: dict[str, tuple[str, bytes, Callable[[Path], Any]]] = {
        "config": ("c.toml", _OPTIONS, options),
        "config of JSON": (
            "training.json",
            json.dumps({"gan": "default", "steps": 3, "weights": {"mse": 1.0}}).encode(),
            options,
        ),
        "script": ("e.toml", _SCRIPT, read_script),
    }
    return {
        name: Reader(file, mutators.JSON if file.endswith("json") else mutators.TEXT, [data], read)
        for name, (file, data, read) in readers.items()
    }
