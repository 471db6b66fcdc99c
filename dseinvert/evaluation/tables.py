"""The numbers of a comparison as CSV and Markdown: mean, median and spread of every measure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from dseinvert.evaluation.compare import Result, columns
from dseinvert.evaluation.curves import Curve
from dseinvert.evaluation.panel import HIGHER
from dseinvert.media.tables import table_bytes

COSTS = ("steps", "seconds")
"""Columns without a best: whoever does nothing is fastest."""
Row = dict[str, str | float]


def summary(results: Sequence[Result], sets: str = "Fréchet") -> list[Row]:
    """A row for each method and measure: mean, median, deviation and the middle half.

    `sets` names the distance of all results from all images.
    """
    rows: list[Row] = []
    for result in results:
        for name, values in columns(result):
            rows.append({"method": result.name, "measure": name, **spread(values)})
        for name, value in {sets: result.apart, "peak MiB": result.peak}.items():
            if value is not None:
                same = dict.fromkeys(("mean", "median", "lower", "upper"), value)
                rows.append({"method": result.name, "measure": name, **same, "deviation": 0.0})
    return rows


def spread(values: Tensor) -> dict[str, float]:
    """Mean, median, deviation and quartiles of [N]."""
    values = values.double()
    lower, median, upper = torch.quantile(values, torch.tensor([0.25, 0.5, 0.75]).double()).tolist()
    deviation = float(values.std()) if len(values) > 1 else 0.0
    return {
        "mean": float(values.mean()),
        "median": median,
        "deviation": deviation,
        "lower": lower,
        "upper": upper,
    }


def each(results: Sequence[Result], names: Sequence[str]) -> list[Row]:
    """A row for each method and image."""
    return [
        {"method": result.name, "image": name}
        | {measure: float(values[k]) for measure, values in columns(result)}
        for result in results
        for k, name in enumerate(names)
    ]


def curve_rows(curves: Sequence[Curve], sets: str = "Fréchet") -> list[Row]:
    """A row for each method, direction and strength; `sets` as of `summary`."""
    return [
        {
            "method": one.method,
            "direction": one.direction,
            "strength": strength,
            "identity": float(one.identity[k].mean()),
            "identity median": spread(one.identity[k])["median"],
            "identity deviation": spread(one.identity[k])["deviation"],
            **_effects(one, k, sets),
        }
        for one in curves
        for k, strength in enumerate(one.strengths)
    ]


def _effects(one: Curve, k: int, sets: str) -> dict[str, float]:
    """What an edit did besides, by name: means over the images."""
    found = {"moved": float(one.moved[k].mean())}
    for name, score in one.scores.items():
        found |= {name: float(score[k].mean()), f"{name} deviation": spread(score[k])["deviation"]}
    if one.prior is not None:
        found["prior"] = float(one.prior[k].mean())
    if one.apart and (apart := one.apart[k]) is not None:
        found[sets] = apart
    return found


def as_csv(rows: Sequence[Mapping[str, str | float]], note: str) -> bytes:
    """A table whose first line is a comment: how it was measured."""
    return table_bytes([[*rows[0]], *([*row.values()] for row in rows)], note)


def as_markdown(
    results: Sequence[Result], curves: Sequence[Curve], note: str, sets: str = "Fréchet"
) -> bytes:
    """A table of medians with the deviation, best in bold, and two of what edits did."""
    names = [name for name, _ in columns(results[0])]
    rows = [[f"{result.name}", *_medians(result)] for result in results]
    for k, name in enumerate(names):
        if name not in COSTS:
            place = _best(name, [dict(columns(r))[name].median() for r in results])
            rows[place][k + 1] = f"**{rows[place][k + 1]}**"
    if all(result.apart is not None for result in results):
        names.append(sets)
        values = [result.apart for result in results]
        for row, value in zip(rows, values, strict=True):
            shown = f"{value:.4g}"
            row.insert(-1, f"**{shown}**" if value == min(values) else shown)  # type: ignore[type-var]
    parts = [f"Medians ± deviation over {len(results[0].seconds)} images."]
    parts.append(markdown_table(["method", *names, "peak MiB"], rows))
    if curves:
        parts.append("Identity to the source image after edits, mean over the images:")
        parts.append(_curve_table(curves))
        parts.append("What edits do at either end, means over the images; scores are changes:")
        parts.append(_ends_table(curves, sets))
    return "\n\n".join([*parts, note, ""]).encode()


def _medians(result: Result) -> list[str]:
    cells = []
    for _, values in columns(result):
        about = spread(values)
        cells.append(f"{about['median']:.4g} ± {about['deviation']:.2g}")
    return [*cells, "" if result.peak is None else f"{result.peak:.0f}"]


def _best(name: str, medians: Sequence[Tensor]) -> int:
    values = torch.stack(list(medians))
    return int(values.argmax() if HIGHER.get(name, False) else values.argmin())


def _curve_table(curves: Sequence[Curve]) -> str:
    strengths = curves[0].strengths
    head = ["method", "direction", *(f"{strength:+g}" for strength in strengths)]
    rows = [
        [one.method, one.direction, *(f"{float(v.mean()):.3f}" for v in one.identity)]
        for one in curves
    ]
    return markdown_table(head, rows)


def _ends_table(curves: Sequence[Curve], sets: str) -> str:
    names = [*_effects(curves[0], 0, sets)]
    rows = [
        [one.method, one.direction, f"{one.strengths[k]:+g}"]
        + [f"{_effects(one, k, sets)[name]:.4g}" for name in names]
        for one in curves
        for k in (0, len(one.strengths) - 1)
    ]
    return markdown_table(["method", "direction", "strength", *names], rows)


def markdown_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table of Markdown; what would end a cell is escaped."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(map(_cell, line)) + " |" for line in lines)


def _cell(text: str) -> str:
    """A name of a file or model may hold what ends a cell."""
    return " ".join(text.split()).replace("\\", "\\\\").replace("|", "\\|")
