"""A paper's comparison on one's own model, its numbers beside."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import torch

from dseinvert.cli.main import run
from dseinvert.errors import UsageError
from dseinvert.evaluation.protocols import PROTOCOLS, parse_protocol
from dseinvert.evaluation.published import similarity
from dseinvert.inversion.asked import parse_refining
from dseinvert.inversion.asked_baselines import parse_baselines


@pytest.mark.parametrize("name", PROTOCOLS)
def test_every_protocol_runs_and_shows_both_kinds_of_numbers(
    name: str, faces_folder: Path, tiny_model: Path, tmp_path: Path, capfd: object
) -> None:
    text = f"{name}:2" if PROTOCOLS[name].steps else name
    line = ["evaluate", str(faces_folder), "--no-align", "--model", str(tiny_model), "-q"]
    line += ["--protocol", text, "--count", "2", "--sets", "none", "--perceptual", "none"]
    assert run([*line, "--out", str(tmp_path / "out"), "--json"]) == 0
    found = json.loads(capfd.readouterr().out)  # type: ignore[attr-defined]
    papers = [row for row in found["beside"] if row["by"] == "paper"]
    assert [row["method"] for row in papers] == [*PROTOCOLS[name].published]
    ours = {row["method"]: row for row in found["beside"] if row["by"] != "paper"}
    methods = [text.format(2) for text in (*PROTOCOLS[name].refine, *PROTOCOLS[name].baselines)]
    assert [*ours] == ["mean latent", "encoder", *methods]
    means = {row["method"]: row["mean"] for row in found["summary"] if row["measure"] == "mse"}
    factor = (PROTOCOLS[name].levels / 2) ** 2
    assert ours["encoder"]["mse"] == pytest.approx(factor * means["encoder"], rel=1e-4)
    report = (tmp_path / "out" / "report.md").read_text()
    assert "| paper |" in report and "Not as in the paper: generator" in report
    lines = (tmp_path / "out" / "beside.csv").read_text().splitlines()
    assert len([*csv.DictReader(lines[1:])]) == len(found["beside"])


@pytest.mark.parametrize("name", PROTOCOLS)
def test_a_protocol_names_methods_that_there_are(name: str) -> None:
    asked = parse_protocol(name)
    assert asked is not None and asked.steps == PROTOCOLS[name].steps
    for text in asked.refine:
        parse_refining(text.partition("@")[0], text.partition("@")[2] or None)
    parse_baselines(asked.baselines)


@pytest.mark.parametrize("text", ["fzz", "fz:1", "fz:x", "feature-style:9", ":3"])
def test_what_is_no_protocol_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="--protocol"):
        parse_protocol(text)


def test_ssim_of_uniform_windows_is_its_formula() -> None:
    source = torch.Generator().manual_seed(0)
    a, b = torch.rand(2, 1, 3, 9, 9, generator=source) * 2 - 1
    values = []
    for channel in range(3):
        x, y = a[0, channel].double().numpy(), b[0, channel].double().numpy()
        for top in range(3):
            for left in range(3):
                p, q = (z[top : top + 7, left : left + 7].ravel() for z in (x, y))
                both = np.cov(p, q)
                above = (2 * p.mean() * q.mean() + 0.0004) * (2 * both[0, 1] + 0.0036)
                below = p.mean() ** 2 + q.mean() ** 2 + 0.0004
                values.append(above / (below * (both[0, 0] + both[1, 1] + 0.0036)))
    assert float(similarity(a, b, "uniform 7")) == pytest.approx(np.mean(values), rel=1e-5)
    assert float(similarity(a, a, "uniform 7")) == pytest.approx(1)
