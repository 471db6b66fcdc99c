"""Plots of a comparison: fidelity against editability, and quality against seconds."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from dseinvert.errors import MissingError
from dseinvert.evaluation.compare import Result
from dseinvert.evaluation.curves import Curve


def plots(results: Sequence[Result], curves: Sequence[Curve]) -> dict[str, bytes]:
    """SVG files by name.

    Raises:
        MissingError: matplotlib is not installed.
    """
    seconds = {one.name: float(one.seconds.median()) for one in results}
    psnr = {one.name: float(one.measures["psnr"].median()) for one in results}
    made = {"quality-seconds.svg": _points("seconds an image", seconds, "PSNR, dB", psnr, "log")}
    if curves:
        edited = dict.fromkeys(one.method for one in curves)
        kept = {name: _kept(curves, name) for name in edited}
        fidelity = {name: psnr[name] for name in edited}
        label = "identity after the strongest edits"
        made["fidelity-editability.svg"] = _points("PSNR, dB", fidelity, label, kept, "linear")
        for name in dict.fromkeys(one.direction for one in curves):
            made[f"identity-{name}.svg"] = _lines([one for one in curves if one.direction == name])
        for name in curves[0].scores:
            for direction in dict.fromkeys(one.direction for one in curves):
                own = [one for one in curves if one.direction == direction]
                made[f"identity-{direction}-by-{name}.svg"] = _effect(own, name)
    return made


def _kept(curves: Sequence[Curve], method: str) -> float:
    """Mean identity at both ends of all its curves."""
    ends = [one.identity[k].mean() for one in curves if one.method == method for k in (0, -1)]
    return float(sum(ends)) / len(ends)


def _points(
    x_name: str, x: Mapping[str, float], y_name: str, y: Mapping[str, float], scale: str
) -> bytes:
    def draw(axes: Any) -> None:
        for name in x:
            axes.scatter(x[name], y[name], s=40)
            axes.annotate(name, (x[name], y[name]), (6, 4), textcoords="offset points", fontsize=8)
        axes.set(xlabel=x_name, ylabel=y_name, xscale=scale)
        axes.margins(0.2)

    return _svg(draw)


def _lines(curves: Sequence[Curve]) -> bytes:
    def draw(axes: Any) -> None:
        for one in curves:
            axes.plot(one.strengths, one.identity.mean(1).tolist(), marker=".", label=one.method)
        axes.set(xlabel=f"{curves[0].direction}, deviations", ylabel="identity to the source")
        axes.legend(fontsize=8)

    return _svg(draw)


def _effect(curves: Sequence[Curve], scorer: str) -> bytes:
    """Identity against what a scorer says of the edit: methods at equal effect."""

    def draw(axes: Any) -> None:
        for one in curves:
            x = one.scores[scorer].mean(1).tolist()
            axes.plot(x, one.identity.mean(1).tolist(), marker=".", label=one.method)
        axes.set(
            xlabel=f"{curves[0].direction}: change of {scorer}", ylabel="identity to the source"
        )
        axes.legend(fontsize=8)

    return _svg(draw)


def _svg(draw: Callable[[Any], None]) -> bytes:
    try:
        from matplotlib import rc_context
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingError(
            "plots need the package matplotlib", "pip install 'dseinvert[evaluate]'"
        ) from error
    with rc_context({"svg.hashsalt": "dseinvert", "svg.fonttype": "none"}):  # same bytes each time
        figure = Figure(figsize=(6, 4.5), layout="constrained")
        axes = figure.add_subplot()
        draw(axes)
        axes.grid(alpha=0.3)
        file = io.BytesIO()
        figure.savefig(file, format="svg", metadata={"Date": None})
    return file.getvalue()
