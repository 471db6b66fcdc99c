"""metrics.csv and index.html of an output folder, made from its journal."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

from dseinvert.media.atomic import write_bytes
from dseinvert.media.scan import natural
from dseinvert.media.tables import Cell, table_bytes
from dseinvert.run.images.journal import Entry
from dseinvert.run.images.page import write_page
from dseinvert.similarity.metrics import PROTOCOL
from dseinvert.version import __version__

Undone = Sequence[tuple[str, str]]
"""Files and the reasons why they are not done."""


def write_report(
    out: Path, entries: Iterable[Entry], undone: Undone, settings: Mapping[str, Any]
) -> None:
    """Both files, atomically; the same entries give the same bytes."""
    done = [entry for entry in entries if entry.status == "done"]
    done.sort(key=lambda entry: natural(Path(entry.name)))
    facts = run_facts(settings)
    write_bytes(out / "metrics.csv", csv_bytes(done, facts))
    write_page(out, done, undone, facts, medians(done))


def run_facts(settings: Mapping[str, Any]) -> dict[str, str]:
    """What a reader of the numbers should know, in words."""
    crop = settings["crop"]
    return {
        "program": f"dseinvert {__version__}",
        "model": f"{settings['model']} ({settings['resolution']} px)",
        "generator": f"sha256 {settings['generator']}",
        "encoder": f"sha256 {settings['encoder']}",
        "faces": "images taken as they are" if crop == "none" else f"FFHQ crops, {crop} detector",
        "edits": "; ".join(settings["edits"]) or "none",
        **({"refinement": settings["refine"]} if "refine" in settings else {}),
        "measured": "reconstruction against input crop",
        "protocol": PROTOCOL,
    }


def medians(entries: Iterable[Entry]) -> dict[str, float]:
    """The median of each metric over all faces."""
    tables = [face.metrics for entry in entries for face in entry.faces]
    names = dict.fromkeys(name for table in tables for name in table)
    return {name: median(table[name] for table in tables if name in table) for name in names}


def csv_bytes(entries: Sequence[Entry], facts: Mapping[str, str]) -> bytes:
    """One row a face, below `#` lines that say how the numbers were made."""
    metrics = list(medians(entries))
    rows: list[list[Cell]] = [["name", "source", "face", "model", *metrics]]
    for entry in entries:
        for number, face in enumerate(entry.faces, 1):
            values = [float(face.metrics[m]) if m in face.metrics else "" for m in metrics]
            rows.append([face.name, entry.shown, number, entry.model, *values])
    return table_bytes(rows, facts)
